"""Announcing an event: listeners are called and a log record is written.

Runs on the dispatcher's thread. L1 and L3 specify the level of each event.

A record about a task, here and elsewhere, has the task's name as `ipycron_name`: with
it, a notebook omits what a card shows anyway.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from ipycron.client.completion import log_error
from ipycron.client.executions import read_value, wrap_value
from ipycron.errors import ExecutionReplaced
from ipycron.process.wire.outcome import safe_str
from ipycron.process.wire.printable import keep_colours, show_controls
from ipycron.scheduling.events import Event, TaskContext, to_datetime

if TYPE_CHECKING:
    from datetime import datetime, tzinfo

    from ipycron.client.executions import Execution, PastRun
    from ipycron.client.listeners import Dispatcher, Listeners
    from ipycron.client.record import TaskRecord
    from ipycron.scheduling.events import Notice


_QUIET = {
    Event.TASK_STARTED,
    Event.TASK_STOPPED,
    Event.TASK_DESTROYED,
    Event.TASK_PAUSED,
    Event.TASK_RESUMED,
    Event.EXECUTION_STARTED,
    Event.EXECUTION_FINISHED,
    Event.EXECUTION_MAX_REACHED,
    Event.EXECUTION_QUEUED,
}
"""Events that are logged at the debug level only."""


def needs_announcement(task: TaskRecord, notice: Notice, listeners: Listeners) -> bool:
    """Return whether `announce` has anything to do; for most runs, it does not.

    `listeners` are those of all tasks.
    """
    return (
        task.listeners.has(notice.event)
        or listeners.has(notice.event)
        or is_logged(task, notice)
    )


def is_logged(task: TaskRecord, notice: Notice) -> bool:
    """Return whether `log_event` may write a record."""
    if task.is_kept:  # the service logs it, for all of its clients
        return False
    is_quiet = notice.event in _QUIET or notice.reason in ("paused", "excluded")
    return not is_quiet or task.logger.isEnabledFor(logging.DEBUG)


def log_event(task: TaskRecord, notice: Notice, context: TaskContext) -> None:
    """Write an event's log record, if it has one."""
    match notice.event:
        case Event.EXECUTION_MISSED:
            has_listener = task.listeners.has_named(notice.event)
            if not has_listener and not task.options.suppress_missed_warning:
                _log_missed(task, context)
        case Event.EXECUTION_OVERLAP if task.options.skips_overlap:
            text = "skipped %s, the run before is not over"
            _log(task, logging.WARNING, text, context.date_local_iso)
        case Event.TASK_RESTARTED if context.error is not None:
            text = "the worker died and was replaced: %s"
            _log(task, logging.WARNING, text, keep_colours(safe_str(context.error)))
        case Event.EXECUTION_FAILED if context.execution.reason != "invoked":
            # A manual run's failure is raised to its caller (Completion).
            _log_failure(task, context)
        case Event.EXECUTION_RETRY if context.error is not None:
            at = context.next_attempt_at
            when = "" if at is None else at.isoformat(" ", "seconds")
            text = "attempt %d failed, the next one is at %s: %s"
            assert notice.outcome is not None
            error = show_controls(notice.outcome.summary)  # in one line
            _log(task, logging.WARNING, text, context.attempt, when, error)
        case Event.TASK_FAILED:
            _log_error(task, "stopped", context.error)
        case Event.EXECUTION_SKIPPED if notice.reason == "coordinator-error":
            _log_error(task, "not run, the coordinator failed", context.error)
        case Event.EXECUTION_SKIPPED if notice.reason == "superseded":
            text = "skipped %s, a newer slot waits for the run before"
            _log(task, logging.WARNING, text, context.date_local_iso)
        case _:
            _log(task, logging.DEBUG, "%s", notice.event)


def _log(task: TaskRecord, level: int, text: str, *values: object) -> None:
    message, extra = f"task %r: {text}", {"ipycron_name": task.name}
    task.logger.log(level, message, task.name, *values, extra=extra)


def _log_missed(task: TaskRecord, context: TaskContext) -> None:
    count, last = context.missed_count or 1, context.date_local_iso
    if count > 1:
        text = "missed %d executions, the last at %s"
        _log(task, logging.WARNING, text, count, last)
    else:
        _log(task, logging.WARNING, "missed the execution at %s", last)


def _log_failure(task: TaskRecord, context: TaskContext) -> None:
    """Log the first failure of an incident; log its repetitions as debug records.

    An incident is a series of runs that fail with the same type of error.
    """
    error, execution = context.error, context.execution
    assert error is not None
    assert execution is not None
    before = task.observed.history.find_before(execution.id)
    if execution.is_stopped:
        _log(task, logging.DEBUG, "a run was ended by the stop")
    elif isinstance(error, ExecutionReplaced):
        _log(task, logging.INFO, "a run was replaced by a newer one")
    elif before is not None and _is_same(before, error):
        _log(task, logging.DEBUG, "a run failed again: %s", execution.summary)
    else:
        _log_error(task, "a run failed", error)


def _is_same(run: PastRun, error: BaseException) -> bool:
    return not run.is_ok and run.summary.partition(":")[0] == type(error).__name__


def _log_error(task: TaskRecord, what: str, error: BaseException | None) -> None:
    assert error is not None
    text = "task %r: %s: %s: %s"
    log_error(task.logger, error, text, task.name, what, task=task.name)


def announce(
    task: TaskRecord,
    notice: Notice,
    execution: Execution | None,
    *,
    listeners: Listeners,
    dispatcher: Dispatcher,
) -> None:
    """Log an event at its level, and call its listeners.

    Args:
        task: what the event is about.
        notice: the event.
        execution: the run that the event is about, if any.
        listeners: those of all tasks; the task's own are called first.
        dispatcher: calls them.
    """
    outcome = notice.outcome
    error = None
    if outcome is not None and not outcome.is_ok:
        error = read_value(wrap_value(outcome))
    zone = task.expression.timezone
    context = TaskContext(
        date=to_datetime(notice.date, zone),
        triggered_at=to_datetime(notice.triggered_at, zone),
        task=task.handle,
        execution=execution,
        reason=notice.reason,
        error=error,
        missed_count=notice.missed_count,
        holder=_find_holder(notice),
        event=str(notice.event),
        attempt=1 if notice.execution is None else notice.execution.attempt,
        next_attempt_at=_find_next_attempt(notice, zone),
    )
    if is_logged(task, notice):
        log_event(task, notice, context)
    label = f"a listener of {notice.event} of task {task.name!r}"
    dispatcher.follow_up(
        [
            (listener.lane, label, partial(listener, context))
            for some in (task.listeners, listeners)
            for listener in some.take(notice.event)
        ]
    )


def _find_next_attempt(notice: Notice, zone: tzinfo) -> datetime | None:
    instant = notice.next_attempt_at
    return None if instant is None else to_datetime(instant, zone)


def _find_holder(notice: Notice) -> str | None:
    if notice.reason != "not-elected" or notice.outcome is None:
        return None
    return notice.outcome.summary
