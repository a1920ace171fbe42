"""What a task passes to the scheduler that will run it."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from ipycron.client.executions import Execution
from ipycron.client.inline import InlineJob
from ipycron.client.jobs import Background, Inline, OnExecutor, pack_failures
from ipycron.process.wire.protocol import Load, Register, Reschedule, Setting
from ipycron.process.wire.triggers import describe_trigger
from ipycron.process.wire.zones import describe_zone
from ipycron.scheduling.events import TaskContext, TaskDescription, to_datetime
from ipycron.scheduling.retry import Matcher

if TYPE_CHECKING:
    from ipycron.client.options import TaskOptions
    from ipycron.client.record import TaskRecord
    from ipycron.executors.pools import ExecutorJob
    from ipycron.process.wire.payload import Payload
    from ipycron.runlog.rows import TaskRow
    from ipycron.scheduling.events import ScheduledExecution


def make_registration(
    task: TaskRecord, life: TaskRow | None
) -> tuple[Register, Payload]:
    """Return what a supervisor must know about a background task, and its job.

    `max_executions` is what is left of the limit, and the pause what was reported: this
    may be the second supervisor.
    """
    assert isinstance(task.source, Background)
    assert task.setting is not None
    register = Register(
        task_id=task.id,
        name=task.name,
        pattern=task.pattern,
        zone=describe_zone(task.expression.timezone),
        trigger=describe_trigger(task.trigger),
        policy=replace(task.options.get_policy(), max_executions=task.runs_left),
        job=task.source.job,
        setting=task.setting,
        launcher=task.options.launcher or "fork",
        pause=task.observed.pause,
        life=life,
    )
    return register, task.source.payload


def make_reschedule(task: TaskRecord) -> Reschedule:
    """Return what the supervisor must know about a task's new schedule."""
    return Reschedule(task_id=task.id, trigger=describe_trigger(task.trigger))


def make_inline_job(task: TaskRecord) -> InlineJob:
    """Return what the inline launcher runs."""
    assert isinstance(task.source, Inline)
    wants_context = task.source.wants_context
    return InlineJob(
        task.name,
        task.id,
        task.source.function,
        make_context=partial(_make_job_context, task) if wants_context else None,
        loop=task.source.loop,
        origin=task.source.origin,
        record=task.record_run,
        judge=Matcher(task.options.retries.on).judge,
    )


def make_executor_job(task: TaskRecord) -> ExecutorJob:
    """Return what the executor launcher runs."""
    from ipycron.executors.pools import ExecutorJob  # noqa: PLC0415 - rarely needed

    assert isinstance(task.source, OnExecutor)
    setting = Setting(
        cwd=b"",
        env={},
        path=(),
        log_level=logging.getLogger().getEffectiveLevel(),
        max_result_bytes=task.options.max_result_bytes,
        retry_on=pack_failures(task.options.retries.on),
    )
    load = Load(
        task_id=task.id,
        name=task.name,
        pattern=task.pattern,
        zone=describe_zone(task.expression.timezone),
        job=task.source.job,
        setting=setting,
    )
    payload = bytes(task.source.payload.open())
    return ExecutorJob(
        load=load,
        payload=payload,
        executor=task.source.executor,
        # As long as a run may wait for a worker of ipycron's own.
        patience=task.options.tolerance + task.options.start_timeout,
        window=_find_window(task.options),
    )


def _find_window(options: TaskOptions) -> float | None:
    """Return how long after its slot a run may begin on an executor (C2)."""
    is_short = options.patience <= options.tolerance + options.start_timeout
    return None if is_short else options.patience


def _make_job_context(task: TaskRecord, scheduled: ScheduledExecution) -> TaskContext:
    zone = task.expression.timezone
    return TaskContext(
        date=to_datetime(scheduled.date, zone),
        triggered_at=to_datetime(scheduled.begun_at or scheduled.date, zone),
        task=TaskDescription(
            id=task.id, name=task.name, pattern=task.pattern, timezone=task.timezone
        ),
        execution=Execution(scheduled, zone),
        attempt=scheduled.attempt,
    )
