"""A kept task as the service has it, and as its clients are told of it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from msgspec.structs import replace

from ipycron.errors import StartError
from ipycron.process.service.protocol import PastState, TaskState
from ipycron.process.wire.payload import INLINE_BYTES, Payload
from ipycron.process.wire.protocol import Streamed
from ipycron.scheduling.events import Event, Notice, Status

if TYPE_CHECKING:
    import asyncio

    from ipycron.client.record import TaskRecord
    from ipycron.process.service.protocol import Declaration
    from ipycron.scheduling.policy import Policy
    from ipycron.service.server import Visitor
    from ipycron.service.store import KeptState

MAX_RUNS = 20
"""Past runs of a task that a client gets when it attaches."""


class KeptTask:
    """One kept task.

    Attributes:
        declaration: as its clients see it, without what may be secret.
        record: the client's; None if it could not be made.
        state: as the store has it, or soon will.
        error: why it is not scheduled; "" if it is, or was stopped.
        is_replaced: whether another one is about to take its place: that it stops then
            is nobody's wish.
        start: its start with the service; None if it was declared since then, or is not
            to be started.
        is_due: whether it is still to be started with what earlier services owe it,
            at its turn or when a client requests it.
        starting: that start, once it has begun.
    """

    def __init__(
        self,
        declaration: Declaration,
        record: TaskRecord | None,
        state: KeptState,
        *,
        error: str = "",
    ) -> None:
        self.declaration = declaration
        self.record = record
        self.state = state
        self.error = error
        self.is_replaced = False
        self.start: asyncio.Task[None] | None = None
        self.is_due = False
        self.starting: asyncio.Task[None] | None = None

    @property
    def id(self) -> str:
        """Its id."""
        return self.declaration.register.task_id

    @property
    def name(self) -> str:
        """Its name."""
        return self.declaration.register.name


def get_record(kept: KeptTask) -> TaskRecord:
    """Return the record of a task.

    Raises:
        StartError: if it could not be made.
    """
    if kept.record is None:
        raise StartError(name=kept.name, reason=kept.error)
    return kept.record


def read_state(kept: KeptTask) -> TaskState:
    """Return what has happened to a task so far."""
    if kept.record is None:
        return TaskState(pause=kept.state.pause, start_error=kept.error)
    observed = kept.record.observed
    runs = list(observed.history)[-MAX_RUNS:]
    return TaskState(
        status=observed.status,
        pause=observed.pause,
        runs_left=observed.runs_left,
        running=tuple(run._scheduled for run in observed.running),  # noqa: SLF001 - as the history does
        queued=tuple(run._scheduled for run in observed.queued),  # noqa: SLF001 - as above
        passed=observed.passed,
        last_end=observed.last_end,
        start_error=kept.error,
        runs=tuple(
            PastState(
                execution=run._scheduled,  # noqa: SLF001 - as above
                is_ok=run.is_ok,
                manner=run.manner,
                summary=run.summary,
                remark=run.remark,
            )
            for run in runs
        ),
        counts=observed.history.read_counts(),
    )


def send_outputs(visitor: Visitor, record: TaskRecord) -> None:
    """Send what the runs in progress have written and displayed so far."""
    for run in record.observed.running:
        for piece in run.output.read(0)[0]:
            if piece.kind == "display":
                continue
            missing = piece.missing
            # In parts as a worker sends them: none needs a descriptor.
            for at in range(0, len(piece.data), INLINE_BYTES) or (0,):
                message = Streamed(record.id, run.id, piece.kind, missing)
                visitor.send(message, Payload(piece.data[at : at + INLINE_BYTES]))
                missing = 0


def make_gone(task_id: str, now: float) -> Notice:
    """Return the notice of a task that the service keeps no longer."""
    return Notice(
        event=Event.TASK_DESTROYED,
        task_id=task_id,
        status=Status.DESTROYED,
        date=now,
        triggered_at=now,
    )


def limit_runs(policy: Policy, runs_left: int | None) -> Policy:
    """Return a policy with what is left of its limit."""
    if policy.max_executions is None or runs_left is None:
        return policy
    return dataclasses.replace(policy, max_executions=runs_left)


def redact(declaration: Declaration) -> Declaration:
    """Return a declaration without what may be secret, or is not needed to show it."""
    register = declaration.register
    setting = replace(register.setting, env={}, worker_init=b"", retry_on=b"")
    return replace(declaration, register=replace(register, setting=setting))
