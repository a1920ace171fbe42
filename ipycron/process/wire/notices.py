"""The notices of a scheduler as messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipycron.process.wire.protocol import Noticed

if TYPE_CHECKING:
    from ipycron.scheduling.events import Notice


def describe_notice(notice: Notice) -> Noticed:
    """Return the message of a notice; its outcome's value travels beside it."""
    outcome = notice.outcome
    return Noticed(
        event=notice.event,
        task_id=notice.task_id,
        status=notice.status,
        date=notice.date,
        triggered_at=notice.triggered_at,
        execution=notice.execution,
        is_ok=None if outcome is None else outcome.is_ok,
        summary="" if outcome is None else outcome.summary,
        reason=notice.reason,
        missed_count=notice.missed_count,
        missed_since=notice.missed_since,
        manner="plain" if outcome is None else outcome.manner,
        runs_left=notice.runs_left,
        pause=notice.pause,
        next_attempt_at=notice.next_attempt_at,
        is_skipped=notice.is_skipped,
        run_id=notice.run_id,
        remark="" if outcome is None else outcome.remark,
    )
