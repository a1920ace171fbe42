"""The executions of a task as the user sees them: runs in progress and past ones."""

from __future__ import annotations

import threading
from _thread import RLock  # of C: `threading.RLock` is a call to it
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
from msgspec.structs import replace

from ipycron.client.output import Output
from ipycron.process.wire.outcome import (
    decode_error,
    decode_result,
    read_traceback,
)
from ipycron.process.wire.payload import Payload
from ipycron.runlog.recorder import identify_slot, judge_slot
from ipycron.scheduling.events import Event, to_datetime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime, tzinfo

    from ipycron.runlog.rows import RunOutcome
    from ipycron.scheduling.events import (
        Manner,
        Notice,
        Outcome,
        Reason,
        ScheduledExecution,
    )


_ENDED_BY_SOMEBODY = frozenset({"stopped", "replaced", "cancelled"})


class RunFacts:
    """What the scheduler knows about a run, in the user's terms.

    Most runs are never inspected: a date is computed when it is read.
    """

    __slots__ = ()

    _scheduled: ScheduledExecution
    _zone: tzinfo
    is_ok: bool | None
    manner: Manner

    @property
    def outcome(self) -> str | None:
        """How it ended, in a word; None before the end.

        ``"finished"`` or ``"failed"``; ``"stopped"`` if a stop ended it, ``"replaced"``
        if a newer run did, ``"cancelled"`` if its job did so by `Cancel`.
        """
        if self.is_ok is None:
            return None
        if self.manner in _ENDED_BY_SOMEBODY:
            return self.manner
        return "finished" if self.is_ok else "failed"

    @property
    def is_stopped(self) -> bool:
        """Whether a stop ended it."""
        return self.manner == "stopped"

    @property
    def attempt(self) -> int:
        """Which attempt this is, counted from 1; after the end, how many there were."""
        return self._scheduled.attempt

    @property
    def id(self) -> str:
        """Unique among all runs."""
        return self._scheduled.id

    @property
    def reason(self) -> Reason:
        """``"scheduled"``, ``"invoked"``, ``"catch_up"`` or ``"backfill"``."""
        return self._scheduled.reason

    @property
    def pid(self) -> int | None:
        """The worker's process; None for inline tasks."""
        return self._scheduled.pid

    @property
    def date(self) -> datetime:
        """The slot; the call time of an invoked run."""
        return to_datetime(self._scheduled.date, self._zone)

    @property
    def started_at(self) -> datetime | None:
        """When the job's code was started; None before, or if it never was."""
        instant = self._scheduled.started_at
        return None if instant is None else to_datetime(instant, self._zone)

    @property
    def finished_at(self) -> datetime | None:
        """When it ended; None before."""
        instant = self._scheduled.finished_at
        return None if instant is None else to_datetime(instant, self._zone)

    @property
    def duration(self) -> float | None:
        """Seconds from start to end, None before the end."""
        begin, end = self.started_at, self.finished_at
        return None if begin is None or end is None else (end - begin).total_seconds()


def read_instants(run: RunFacts) -> tuple[float, float | None, float | None]:
    """Return a run's date, start and end in Unix seconds, consistent with each other.

    Fast, as many are read at once, possibly while the run is in progress.
    """
    scheduled = run._scheduled  # noqa: SLF001 - for the values, no dates
    return scheduled.date, scheduled.started_at, scheduled.finished_at


def is_begun(run: RunFacts) -> bool:
    """Return whether a run's code was started, without computing when, as a date."""
    return run._scheduled.started_at is not None  # noqa: SLF001 - as above


class Execution(RunFacts):
    """One run of a task. It changes while the run is in progress, then no more.

    Attributes:
        is_ok: whether it returned; None before its end. A run that its job has
            cancelled counts as returned.
        manner: how it ended, in a word; see `outcome`.
        summary: its result or error in one short line; before its end, the error of the
            attempt before, empty if that was snoozed.
        remark: why no further attempt followed a failed one; empty without retries.
        output: what it printed and displayed, in all attempts.
        is_queued: whether it, or its next attempt, waits for its turn or for a place.
    """

    __slots__ = (
        "__weakref__",
        "_next_attempt_at",
        "_scheduled",
        "_value",
        "_zone",
        "is_ok",
        "is_queued",
        "manner",
        "output",
        "remark",
        "summary",
    )

    def __init__(self, scheduled: ScheduledExecution, zone: tzinfo) -> None:
        self._scheduled = scheduled
        self._zone = zone
        self.is_ok: bool | None = None
        self.manner: Manner = "plain"
        self._next_attempt_at: float | None = None
        self.summary = self.remark = ""
        self.output = Output()
        self.is_queued = False
        self._value: Any = None

    def finish(self, scheduled: ScheduledExecution, outcome: Outcome) -> None:
        """Record how the run ended."""
        self._scheduled = scheduled
        self._next_attempt_at = None
        self.is_queued = False
        self.summary, self.remark = outcome.summary, outcome.remark
        self._value = wrap_value(outcome)
        self.manner = outcome.manner
        self.is_ok = outcome.is_ok

    def begin(self, scheduled: ScheduledExecution) -> None:
        """Record that its code was started, after it had been queued."""
        self._scheduled = scheduled
        self.is_queued = False

    def wait(self, scheduled: ScheduledExecution) -> None:
        """Record that it, or its next attempt, is queued."""
        self._scheduled = scheduled
        self.is_queued = True

    def go_on(self, scheduled: ScheduledExecution) -> None:
        """Record that an attempt has begun, after it had been queued."""
        self.begin(scheduled)
        self._next_attempt_at = scheduled.begun_at

    def cut_short(self, now: float) -> ScheduledExecution:
        """Return the run as it would end now: without an attempt that has not begun."""
        scheduled, following = self._scheduled, self._next_attempt_at
        if following is None:
            return scheduled
        if not (self.is_queued or following > now):
            return replace(scheduled, attempt_started_at=following)
        number = scheduled.attempt - bool(self.summary)  # a snooze uses none
        return replace(scheduled, attempt=number)

    def rest(self, notice: Notice) -> None:
        """Record that an attempt is over, and when the next one begins."""
        attempt, is_failure = notice.execution, notice.outcome is not None
        assert attempt is not None
        number = attempt.attempt + is_failure
        self._scheduled = replace(attempt, attempt=number, finished_at=None)
        self._next_attempt_at = notice.next_attempt_at
        self.summary = "" if notice.outcome is None else notice.outcome.summary

    @property
    def next_attempt_at(self) -> datetime | None:
        """When the current attempt is due, or has begun; None in the first one.

        None after the end, too.
        """
        instant = self._next_attempt_at
        return None if instant is None else to_datetime(instant, self._zone)

    @property
    def result(self) -> Any:
        """What the job returned; None before its end and after a failure."""
        return read_value(self._value) if self.is_ok else None

    @property
    def error(self) -> BaseException | None:
        """What the job raised; None before its end and after a success."""
        if self.is_ok is not False:
            return None
        error: BaseException = read_value(self._value)
        return error

    @property
    def traceback_text(self) -> str | None:
        """The traceback of `error` where it was raised, or None."""
        error = self.error
        return None if error is None else read_traceback(error)

    def read(self) -> Any:
        """Return the result or raise the error, for a completion."""
        error = self.error
        if error is not None:
            raise error
        return self.result

    def __repr__(self) -> str:
        if self.is_ok is None:
            state = "queued" if self.is_queued else "running"
        else:
            state = f"{self.outcome} {self.summary}"
        took = "" if self.duration is None else f" in {self.duration:.3f} s"
        return f"<Execution {self.date.isoformat(' ', 'seconds')} {state}{took}>"


class Encoded:
    """A value received from another process; decoded once, when first read.

    Thread-safe: a listener and a caller of the run may read it at the same time.
    """

    __slots__ = ("_decode", "_is_decoded", "_lock", "_value")

    def __init__(self, value: Payload, decode: Callable[[Payload], Any]) -> None:
        self._value: Any = value
        self._decode = decode
        self._is_decoded = False
        # Reentrant: decoding runs the user's code, which may read it as well.
        self._lock = RLock()

    def read(self) -> Any:
        """Return the value."""
        with self._lock:
            if not self._is_decoded:
                payload, self._value = self._value, self._decode(self._value)
                self._is_decoded = True
                payload.close()
            return self._value


def wrap_value(outcome: Outcome) -> Any:
    """Return an outcome's value for `read_value`, without decoding it."""
    value = outcome.value
    if isinstance(value, Payload):
        return Encoded(value, decode_result if outcome.is_ok else decode_error)
    return value


def wrap_result(payload: Payload) -> Encoded:
    """Return a result, not yet decoded; every read returns the same object."""
    return Encoded(payload, decode_result)


def read_value(wrapped: Any) -> Any:
    """Return the result or the error that `wrap_value` has wrapped."""
    return wrapped.read() if isinstance(wrapped, Encoded) else wrapped


MAX_RUNS = 20
"""Runs that are kept."""
MAX_OUTPUT_BYTES = 4 * 1024 * 1024
"""Limit for the output of all kept runs; the last run's is always kept."""


class _Failure:
    """The error of a run, until its text is known.

    The error may hold the frames of a whole notebook, so it is released then.
    """

    __slots__ = ("_error", "_lock", "_text")

    def __init__(self, error: Any) -> None:
        self._error = error
        self._lock = threading.RLock()
        self._text: str | None = None

    def read(self) -> str | None:
        """Return the traceback's text."""
        with self._lock:
            if self._error is not None:
                self._text = read_traceback(self._error)
                self._error = None
            return self._text


class PastRun(RunFacts, msgspec.Struct, gc=False, eq=False):
    """A run that has ended, without its result. A struct: see `Output`.

    Attributes:
        is_ok: whether it returned.
        manner: how it ended, in a word; see `outcome`.
        summary: its result or error in one short line.
        output: what it printed and displayed; late output is still added.
        remark: why no further attempt followed a failed one; empty without retries.
    """

    _scheduled: ScheduledExecution
    _zone: tzinfo
    is_ok: bool
    manner: Manner
    summary: str
    output: Output
    _failure: _Failure | None
    remark: str
    # Whether it ended before this process followed the task.
    _is_recalled: bool = False

    @classmethod
    def of(
        cls, execution: Execution, outcome: Outcome, *, is_recalled: bool = False
    ) -> PastRun:
        """Return what the history keeps of an execution that has ended."""
        return cls(
            execution._scheduled,  # noqa: SLF001 - this module's
            execution._zone,  # noqa: SLF001 - as above
            outcome.is_ok,
            outcome.manner,
            outcome.summary,
            execution.output,
            None if outcome.is_ok else _Failure(outcome.value),
            outcome.remark,
            is_recalled,
        )

    @property
    def result(self) -> Any:
        """Raises `AttributeError`, with the alternatives: results are not kept."""
        message = (
            "the history keeps no results, they may be large: see summary, is_ok and "
            "output, and last_run.result for the newest. A listener of "
            "execution:finished gets each result."
        )
        raise AttributeError(message)

    @property
    def traceback_text(self) -> str | None:
        """The traceback of a failure where it was raised; None after a success.

        The first read runs the exception's own code; not for the client's loop.
        """
        return None if self._failure is None else self._failure.read()

    def __repr__(self) -> str:
        date = self.date.isoformat(" ", "seconds")
        return f"<PastRun {date} {self.outcome} {self.summary}>"


class PastSlot(msgspec.Struct, frozen=True, gc=False):
    """A slot, or several, that did not run.

    Attributes:
        id: as the row of the history has it.
        date: the slot, or the newest of several; Unix seconds.
        outcome: what became of it.
        slots: how many.
        summary: the error, or who runs it; mostly empty.
    """

    id: str
    date: float
    outcome: RunOutcome
    slots: int
    summary: str


COUNTED = (
    "finished",
    "failed",
    "stopped",
    "replaced",
    "cancelled",
    "missed",
    "skipped",
)
"""What a history counts; see `History`."""


class History:
    """The last runs of one task. Written on the client's loop, read in any thread.

    Attributes:
        finished: runs that returned, since the task was created.
        failed: runs that did not.
        stopped: runs that a stop ended; they count as neither.
        replaced: runs that a newer one ended; they count as neither.
        cancelled: runs that their job has cancelled; they count as neither.
        missed: slots that did not run in time.
        skipped: slots left to another instance, without a coordinator's answer, in a
            pause, or for a newer slot.
    """

    __slots__ = ("_runs", "_slots", *COUNTED)

    finished: int
    failed: int
    stopped: int
    replaced: int
    cancelled: int
    missed: int
    skipped: int

    def __init__(self) -> None:
        # Replaced, never mutated: a reader has a snapshot.
        self._runs: tuple[PastRun, ...] = ()
        self._slots: tuple[PastSlot, ...] = ()
        self.finished = 0
        self.failed = 0
        self.stopped = 0
        self.replaced = 0
        self.cancelled = 0
        self.missed = 0
        self.skipped = 0

    def add(self, execution: Execution, outcome: Outcome) -> PastRun:
        """Add a run that has ended; forget the oldest ones beyond the limits."""
        run = PastRun.of(execution, outcome)
        self._count_run(run)
        self._runs = (*self._runs[1 - MAX_RUNS :], run)
        self._trim()
        return run

    def recall(self, runs: Sequence[PastRun]) -> None:
        """Remember the runs that another process knows, and count what is new.

        Those that came before one that is remembered have been counted.

        Args:
            runs: the last ones, oldest first.
        """
        known = {run.id for run in self._runs}
        for run in reversed(runs):
            if run.id in known:
                break
            self._count_run(run)
        listed = {run.id for run in runs}
        others = [run for run in self._runs if run.id not in listed]
        self._runs = (*others, *runs)[-MAX_RUNS:]
        self._trim()

    def _count_run(self, run: PastRun) -> None:
        if run.manner == "cancelled":
            self.cancelled += 1
        elif run.is_ok:
            self.finished += 1
        elif run.manner == "stopped":
            self.stopped += 1
        elif run.manner == "replaced":
            self.replaced += 1
        else:
            self.failed += 1

    def count_finished(self, count: int) -> None:
        """Count runs that returned and are not remembered."""
        self.finished += count

    def read_counts(self) -> dict[str, int]:
        """Return what has been counted, by attribute."""
        return {name: getattr(self, name) for name in COUNTED}

    def raise_counts(self, counts: Mapping[str, int]) -> None:
        """Count what another process has counted, and this one has not.

        A service that was started again counts what the history still has, which may
        be less than its clients have seen.
        """
        for name in COUNTED:
            setattr(self, name, max(getattr(self, name), counts.get(name, 0)))

    def _trim(self) -> None:
        """Forget the oldest runs while the output of all together is too large."""
        # Only two can have grown since the last check: the newest run and, by late
        # output, the one before.
        if not any(run.output.position for run in self._runs[-2:]):
            return
        size = 0
        for kept, past in enumerate(reversed(self._runs)):
            size += past.output.size
            if size > MAX_OUTPUT_BYTES and kept:
                self._runs = self._runs[-kept:]
                break

    def count(self, notice: Notice) -> None:
        """Count a slot that did not run, and remember it."""
        if notice.event is Event.EXECUTION_MISSED:
            self.missed += notice.missed_count or 1
        elif notice.event is Event.EXECUTION_SKIPPED:
            self.skipped += notice.missed_count or 1
        outcome = judge_slot(notice)
        if outcome is not None:
            slot = PastSlot(
                identify_slot(notice),
                notice.date,
                outcome,
                notice.missed_count or 1,
                "" if notice.outcome is None else notice.outcome.summary,
            )
            self._slots = (*self._slots[1 - MAX_RUNS :], slot)

    @property
    def total(self) -> int:
        """The number of all runs, including those forgotten."""
        ended = self.stopped + self.replaced + self.cancelled
        return self.finished + self.failed + ended

    def __repr__(self) -> str:
        kept, total = len(self), self.total
        return f"<History: {kept if kept == total else f'{kept} of {total}'} runs>"

    def __iter__(self) -> Iterator[PastRun]:
        """Iterate over a snapshot, oldest first."""
        return iter(self._runs)

    def __len__(self) -> int:
        return len(self._runs)

    def __bool__(self) -> bool:
        return bool(self._runs)

    def __getitem__(self, index: int) -> PastRun:
        return self._runs[index]

    def find_before(self, run_id: str) -> PastRun | None:
        """Return the run that ended before the one with this id, if both are kept."""
        before = None
        for run in self:
            if run.id == run_id:
                return before
            before = run
        return None

    def find(self, run_id: str) -> PastRun | None:
        """Return the run with this id; None if it is not kept."""
        # The newest first: mostly it is the one that has just ended.
        return next((run for run in reversed(self._runs) if run.id == run_id), None)


def read_slots(history: History) -> tuple[PastSlot, ...]:
    """Return the last slots that did not run, oldest first; a snapshot."""
    return history._slots  # noqa: SLF001 - for views; `task.history` is of runs


def lacks_output(run: RunLike) -> bool:
    """Return whether a run ended before this process followed its task.

    What it wrote is not here, but may be in the history's file.
    """
    return isinstance(run, PastRun) and run._is_recalled and not run.output.position  # noqa: SLF001 - as above


RunLike: TypeAlias = "Execution | PastRun"
"""A run in progress, or one of the history."""
