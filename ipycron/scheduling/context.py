"""What a job and a listener are told about the run they serve."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import tzinfo

    from ipycron.scheduling.events import Reason, SkipReason


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDescription:
    """A task as its job sees it: plain data, no controls."""

    id: str
    name: str
    pattern: str
    timezone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionDescription:
    """A run as its own job sees it: it has begun, its end is not known."""

    id: str
    reason: Reason
    started_at: datetime
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskContext:
    """What happened, when, to whom. Jobs and listeners receive one.

    Attributes:
        date: the slot of a scheduled run; the call time of a manual one and of
            the events of a task. In the task's time zone.
        triggered_at: when the event happened (for a job: when it began).
        task: the `Task` for listeners, a `TaskDescription` for jobs.
        execution: the run, if the event is about one.
        reason: why an execution was skipped.
        error: the exception of a failed run, start or worker.
        missed_count: how many slots an `execution:missed` stands for.
        event: the event's name; None for jobs.

    Source: node-cron 4.6.0, TaskContext.
    """

    date: datetime
    triggered_at: datetime
    task: Any
    execution: Any = None
    reason: SkipReason | None = None
    error: BaseException | None = None
    missed_count: int | None = None
    event: str | None = None

    @property
    def date_local_iso(self) -> str:
        """`date` as ISO text with the task's offset: ``2026-11-24T09:00:00+01:00``."""
        return self.date.isoformat(timespec="seconds")


def to_datetime(instant: float, zone: tzinfo | None = None) -> datetime:
    """Return Unix seconds as an aware datetime in `zone`, UTC by default."""
    return datetime.fromtimestamp(instant, zone or UTC)
