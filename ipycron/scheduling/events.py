"""What happens to a task, as data: statuses, events, executions, notices.

These are msgspec structs: a thousand tasks due in one second create thousands of
them, and a frozen dataclass takes ten times as long to create. Those that hold no
containers are not tracked by the garbage collector (`gc=False`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from ipycron.errors import ExecutionReplaced, ExecutionStopped
from ipycron.scheduling.retry import (
    Judgement,  # noqa: TC001 - msgspec reads the annotations
)

if TYPE_CHECKING:
    from datetime import tzinfo


Reason = Literal["scheduled", "invoked", "catch_up", "backfill"]
"""Why a run happens: its slot is due, a caller asked for it, its slot fell into a gap
and is caught up on, or a caller asked for a slot of the past."""
BY_SCHEDULE: frozenset[Reason] = frozenset({"scheduled", "catch_up"})
"""The reasons of runs that are the schedule's own: they settle their slots, count
towards `max_executions` and are elected. The others are runs beside the schedule."""
SkipReason = Literal[
    "not-elected", "coordinator-error", "paused", "superseded", "excluded"
]
Manner = Literal["plain", "stopped", "replaced", "cancelled", "missed"]
"""How a run ended, where it has neither just returned nor failed: a stop or a newer run
ended it, the job cancelled it, or its code never began because it was too late."""


class Status(StrEnum):
    """A task's status. `RUNNING` covers scheduled and manual runs alike."""

    STOPPED = "stopped"
    IDLE = "idle"
    RUNNING = "running"
    DESTROYED = "destroyed"


class Event(StrEnum):
    """The events of a task; their string values are accepted as well.

    Source: node-cron 4.6.0, with `task:restarted`, `task:paused`, `task:resumed`,
    `execution:queued` and `execution:retry` added.
    """

    TASK_STARTED = "task:started"
    TASK_STOPPED = "task:stopped"
    TASK_DESTROYED = "task:destroyed"
    TASK_FAILED = "task:failed"
    TASK_RESTARTED = "task:restarted"
    TASK_PAUSED = "task:paused"
    TASK_RESUMED = "task:resumed"
    EXECUTION_STARTED = "execution:started"
    EXECUTION_FINISHED = "execution:finished"
    EXECUTION_FAILED = "execution:failed"
    EXECUTION_MISSED = "execution:missed"
    EXECUTION_OVERLAP = "execution:overlap"
    EXECUTION_MAX_REACHED = "execution:max_reached"
    EXECUTION_SKIPPED = "execution:skipped"
    EXECUTION_QUEUED = "execution:queued"
    EXECUTION_RETRY = "execution:retry"


EventName = Literal[
    "*",
    "task:started",
    "task:stopped",
    "task:destroyed",
    "task:failed",
    "task:restarted",
    "task:paused",
    "task:resumed",
    "execution:started",
    "execution:finished",
    "execution:failed",
    "execution:missed",
    "execution:overlap",
    "execution:max_reached",
    "execution:skipped",
    "execution:queued",
    "execution:retry",
]
"""The names of events as strings; ``"*"`` stands for every event."""


class Pause(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A pause of a task: the slots in it are skipped. Instants are Unix seconds.

    Attributes:
        since: when the task was paused.
        until: the first instant after the pause, at which a slot runs; None if the
            pause is open-ended. A whole second, as slots are.
        note: why, in the user's words; "" if nothing was said.
    """

    since: float
    until: int | None = None
    note: str = ""

    def is_over(self, now: float) -> bool:
        """Return whether the pause has ended by itself."""
        return self.until is not None and now >= self.until

    def find_last(self, now: float) -> float:
        """Return the last instant of the pause that `now` has reached."""
        return now if self.until is None else min(now, self.until - 1)


class ScheduledExecution(msgspec.Struct, kw_only=True, gc=False):
    """One run, as the scheduler sees it. Instants are Unix seconds.

    Attributes:
        id: unique among all runs.
        reason: why it happens.
        date: the slot; the call time of an invoked run.
        started_at: when the job's code was started; None before that.
        finished_at: when the job returned, by its worker's clock, or otherwise when
            its end was noticed; None before that.
        pid: the process that runs it; None for the client's own process.
        attempt: 1 for the first.
        attempt_started_at: when a later attempt began; None for the first.
    """

    id: str
    reason: Reason
    date: float
    started_at: float | None = None
    finished_at: float | None = None
    pid: int | None = None
    attempt: int = 1
    attempt_started_at: float | None = None

    @property
    def begun_at(self) -> float | None:
        """When the code of its newest attempt was started; None before that."""
        if self.attempt_started_at is None:
            return self.started_at
        return self.attempt_started_at

    @property
    def is_scheduled(self) -> bool:
        """Whether it is the schedule's own run; see `BY_SCHEDULE`."""
        return self.reason in BY_SCHEDULE

    def copy(self) -> ScheduledExecution:
        """Return a snapshot: the scheduler keeps changing this one."""
        return msgspec.structs.replace(self)


class RunDetails(msgspec.Struct, frozen=True, kw_only=True, gc=False, array_like=True):
    """What the process of a run says about it, beside its result.

    Attributes:
        traceback: the end of its traceback; empty if it returned.
        cpu_seconds: CPU time of the process, and of its children that it waited for,
            during the run.
        peak_memory: the largest resident set of the process so far, in bytes.
    """

    traceback: str = ""
    cpu_seconds: float | None = None
    peak_memory: int | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended.

    Attributes:
        is_ok: whether the job returned.
        value: its result or its error, opaque to the scheduler: an encoded payload for
            workers, the object itself for inline jobs.
        summary: one line for people: the result's short repr, or "ValueError: no".
        finished_at: when the job returned, Unix seconds, if the worker reports it.
        manner: how it ended, in a word: see `Manner`. A run that was stopped is not ok,
            but has not failed; one that was cancelled counts as returned.
        details: what the worker reports of the run, for the history only.
        judgement: what the process of a failed run says about its error.
        remark: why no further attempt followed a failed one; empty without retries.
    """

    is_ok: bool
    value: Any = None
    summary: str = ""
    finished_at: float | None = None
    manner: Manner = "plain"
    details: RunDetails | None = None
    judgement: Judgement | None = None
    remark: str = ""

    @property
    def snooze(self) -> float | None:
        """The seconds after which the job asked to be run again, or None."""
        return None if self.judgement is None else self.judgement.snooze

    @property
    def is_failure(self) -> bool:
        """Whether the run has failed: nobody has ended it."""
        return not self.is_ok and self.manner == "plain"

    @classmethod
    def of_error(cls, error: BaseException, *, is_missed: bool = False) -> Outcome:
        """Return the outcome of a run that an exception ended."""
        head, _, _ = str(error).partition("\n")
        name = type(error).__name__
        manner: Manner = "missed" if is_missed else "plain"
        if isinstance(error, ExecutionStopped):
            manner = "stopped"
        elif isinstance(error, ExecutionReplaced):
            manner = "replaced"
        return cls(
            is_ok=False,
            value=error,
            summary=f"{name}: {head}" if head else name,
            manner=manner,
        )


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """One event of one task, with the task's state right after it.

    Attributes:
        event: what happened.
        task_id: the task's id.
        status: the task's status after the event.
        date: the slot or call time of the run concerned, Unix seconds.
        triggered_at: when it happened, Unix seconds.
        execution: the run concerned (a copy), if any.
        outcome: how the run ended (finished, failed), or how an attempt failed; for an
            `execution:retry` that the job asked for, None. Or, not ok, the error of a
            `task:failed`, a `task:restarted` or an execution skipped because of a
            coordinator-error. For a skip with reason not-elected it is ok, and its
            summary names the instance that runs the slot.
        reason: why an execution was skipped.
        missed_count: how many slots an `execution:missed` covers, or an
            `execution:skipped` that covers several; `date` is the newest of them.
        missed_since: where it covers several: none of them is older. Every slot of the
            schedule between this instant and `date` is settled then.
        runs_left: scheduled runs left under `max_executions`, None without a limit.
        run_id: of a slot that did not run, the id of its run that was pending.
        is_skipped: whether the slot of an `execution:overlap` does not run.
        pause: what a `task:paused` begins or changes.
        next_attempt_at: when a run is to be attempted again, Unix seconds.
    """

    event: Event
    task_id: str
    status: Status
    date: float
    triggered_at: float
    execution: ScheduledExecution | None = None
    outcome: Outcome | None = None
    reason: SkipReason | None = None
    missed_count: int | None = None
    missed_since: float | None = None
    runs_left: int | None = None
    run_id: str | None = None
    is_skipped: bool = False
    pause: Pause | None = None
    next_attempt_at: float | None = None


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """A run that waits before its code begins; no event, for the history only.

    Attributes:
        task_id: the task's id.
        execution: the run (a copy).
        is_dropped: whether it waits no more, since the task was stopped.
        was_skipped: whether its slot has been reported as skipped by a pause, and runs
            after all.
        before: of such a slot, the newest one that was skipped before it and those
            that run with it; None if there is none.
    """

    task_id: str
    execution: ScheduledExecution
    is_dropped: bool = False
    was_skipped: bool = False
    before: int | None = None


class AttemptBegan(msgspec.Struct, frozen=True, kw_only=True):
    """The code of an attempt that was queued has begun; no event, for the views.

    A run starts once, whatever becomes of its attempts (Y2).

    Attributes:
        task_id: the task's id.
        status: the task's status now.
        execution: the run (a copy).
    """

    task_id: str
    status: Status
    execution: ScheduledExecution


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDescription:
    """A task as its job sees it: plain data, no controls."""

    id: str
    name: str
    pattern: str
    timezone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionDescription:
    """A run as its own job sees it: begun, not yet ended."""

    id: str
    reason: Reason
    started_at: datetime
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskContext:
    """What happened, when, and to which task. Jobs and listeners receive one.

    Attributes:
        date: the slot of a run; the call time of an invoked one and of
            the events of a task. In the task's time zone.
        triggered_at: when the event happened (for a job: when it began).
        task: the `Task` for listeners, a `TaskDescription` for jobs.
        execution: the run, if the event concerns one.
        reason: why an execution was skipped.
        error: the exception of a failed run, start or worker.
        missed_count: how many slots an `execution:missed` covers, or an
            `execution:skipped` that covers several.
        attempt: which attempt of the run this is, or has failed, counted from 1; 1 for
            events without a run.
        next_attempt_at: of an `execution:retry`: when the next attempt begins.
        holder: text that names the instance that runs a slot skipped as not-elected;
            None if unknown.
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
    holder: str | None = None
    attempt: int = 1
    next_attempt_at: datetime | None = None

    @property
    def date_local_iso(self) -> str:
        """`date` as ISO text with the task's offset: ``2026-11-24T09:00:00+01:00``."""
        return self.date.isoformat(timespec="seconds")


def to_datetime(instant: float, zone: tzinfo | None = None) -> datetime:
    """Return Unix seconds as an aware datetime in `zone`, UTC by default."""
    return datetime.fromtimestamp(instant, zone or UTC)
