"""A scheduler's notices as they arrive from its process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipycron.process.wire.printable import show_controls
from ipycron.scheduling.events import AttemptBegan, Notice, Outcome

if TYPE_CHECKING:
    from ipycron.process.wire.payload import Payload
    from ipycron.process.wire.protocol import Continued, Noticed


def read_attempt(message: Continued) -> AttemptBegan:
    """Return what a message says of an attempt that was queued and has begun."""
    return AttemptBegan(
        task_id=message.task_id, status=message.status, execution=message.execution
    )


def read_notice(message: Noticed, payload: Payload) -> Notice:
    """Return the notice of a message; its outcome's value is not decoded yet."""
    outcome = None
    if message.is_ok is not None:
        outcome = Outcome(
            is_ok=message.is_ok,
            value=payload,
            summary=show_controls(message.summary),
            manner=message.manner,
            remark=message.remark,
        )
    return Notice(
        event=message.event,
        task_id=message.task_id,
        status=message.status,
        date=message.date,
        triggered_at=message.triggered_at,
        execution=message.execution,
        outcome=outcome,
        reason=message.reason,
        missed_count=message.missed_count,
        missed_since=message.missed_since,
        runs_left=message.runs_left,
        pause=message.pause,
        next_attempt_at=message.next_attempt_at,
        is_skipped=message.is_skipped,
        run_id=message.run_id,
    )
