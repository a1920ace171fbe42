"""A kept task as data: what its client hands to the service, and the way back."""

from __future__ import annotations

import os
import platform
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from ipycron.client.jobs import Background
from ipycron.client.lives import find_origin, make_life
from ipycron.client.options import TaskOptions
from ipycron.client.record import TaskRecord
from ipycron.client.registration import make_registration
from ipycron.process.service.protocol import Declaration
from ipycron.process.wire.payload import Payload
from ipycron.process.wire.protocol import FileJob
from ipycron.process.wire.triggers import make_trigger
from ipycron.scheduling.policy import Policy

if TYPE_CHECKING:
    from ipycron.client.record import TaskClient
    from ipycron.cron.trigger import Trigger

_POLICY_NAMES = tuple(field.name for field in fields(Policy))


def describe_task(
    task: TaskRecord, *, version: str, is_started: bool
) -> tuple[Declaration, Payload]:
    """Return a background task as its service gets it, and the payload of its job.

    Args:
        task: the task.
        version: of ipycron.
        is_started: whether its schedule is to be armed.
    """
    register, payload = make_registration(task, None)
    options, source = task.options, task.source
    assert isinstance(source, Background)
    life = make_life(task) if options.history else None
    declaration = Declaration(
        register=replace(register, life=life),
        day_or=options.day_or,
        suppress_missed_warning=options.suppress_missed_warning,
        execute_timeout=options.execute_timeout,
        history=options.history,
        is_started=is_started,
        label=source.label,
        origin=find_origin(),
        declared_at=task.client.clock.now(),
        cell=task.cell,
        version=version,
        python=platform.python_version(),
    )
    return declaration, payload


def restore_task(
    client: TaskClient,
    declaration: Declaration,
    payload: Payload | None = None,
    *,
    keep: bool = False,
) -> TaskRecord:
    """Return the record of a task that was declared in another process.

    Args:
        client: the client that it will belong to.
        declaration: the task.
        payload: of its job; None where it does not run.
        keep: whether it lives in the service; False in the service itself, which has
            it in its own supervisor.
    """
    register = declaration.register
    source = Background(
        job=register.job,
        payload=Payload() if payload is None else payload,
        label=declaration.label or register.name,
    )
    trigger = make_trigger(register.trigger)
    task = TaskRecord(
        client,
        trigger,
        source,
        _restore_options(declaration, trigger, keep=keep),
        task_id=register.task_id,
        setting=register.setting,
    )
    task.fix_schedule()
    task.cell = declaration.cell
    task.observed.pause = register.pause
    return task


def _restore_options(
    declaration: Declaration, trigger: Trigger, *, keep: bool
) -> TaskOptions:
    """Return the options; what only the declaring process knew is not among them."""
    register = declaration.register
    policy = {name: getattr(register.policy, name) for name in _POLICY_NAMES}
    job = register.job
    args = job.args if isinstance(job, FileJob) else ()
    given: dict[str, Any] = {
        **policy,
        "name": register.name,
        "timezone": trigger.timezone,
        "day_or": declaration.day_or,
        "suppress_missed_warning": declaration.suppress_missed_warning,
        "execute_timeout": declaration.execute_timeout,
        "history": declaration.history,
        "args": tuple(map(os.fsdecode, args)),
        "cwd": os.fsdecode(register.setting.cwd) or None,
        "launcher": register.launcher,
        "background": True,
        "max_result_bytes": register.setting.max_result_bytes,
        # The program that declared it does not show what it prints, nor wait for it.
        "echo": False,
        "unref": True,
        "keep": keep,
    }
    return TaskOptions(**given)
