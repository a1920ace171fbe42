"""Backfills: slots of the past, run one after another beside the schedule (C5)."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ipycron.client.completion import Completion
from ipycron.client.state import ENDS
from ipycron.errors import (
    BackfillRefused,
    InvalidOption,
    OverlapError,
    SupervisorLost,
    TaskDestroyed,
    TaskNotStarted,
)
from ipycron.scheduling.checks import check_flag
from ipycron.scheduling.events import Event, to_datetime
from ipycron.triggers.instants import read_instant, read_last

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping
    from typing import Literal

    from ipycron.client.record import TaskRecord
    from ipycron.scheduling.events import Notice

    Only = Literal["missing", "failed", "all"]

MAX_SLOTS = 10_000
"""Slots of one backfill: all of them are remembered, and a mistake in a year or in the
seconds of an expression must not keep a task busy for days."""
_MAX_COUNTED = 100_000
"""Slots that are counted for the error's text: they take a fifth of a second."""
_ONLY = ("missing", "failed", "all")

_MISSING = frozenset(
    {"missed", "paused", "overlap", "superseded", "coordinator_error", "stopped"}
)
"""Outcomes of slots whose work was not done, though their task wanted it: a slot that
another instance ran, or that was excluded or cancelled, is not missing."""

_ENDINGS: Mapping[Event, str] = MappingProxyType(
    {
        Event.TASK_PAUSED: "the task was paused",
        Event.TASK_STOPPED: "the task was stopped",
        Event.TASK_FAILED: "the task has failed",
        Event.TASK_DESTROYED: "the task was destroyed",
    }
)
"""The events of a task that end its backfill, and what the handle says then."""

_lock = threading.RLock()  # reentrant, as signal handlers may start a backfill, too


class Backfill:
    """The runs of slots of the past, oldest first, one at a time.

    Made by `Task.backfill`. ``await backfill`` in a notebook, ``backfill.wait()`` in a
    script. It ends early when it is cancelled, or when its task is paused, stopped or
    destroyed: `stopped_by` says why, and `left` which slots were not run. A run that
    fails ends nothing. Its properties may be read in any thread.

    Attributes:
        slots: all of them, in the task's zone.
        ended: how many of them have run.
        failed: how many of these did not return.
        stopped_by: why it ended early, in words; empty otherwise.
    """

    def __init__(self, task: TaskRecord, slots: Iterable[int]) -> None:
        zone = task.expression.timezone
        self._task = task
        self.slots = tuple(to_datetime(slot, zone) for slot in slots)
        self.ended = 0
        self.failed = 0
        self.stopped_by = ""
        self._end: Completion[Backfill] = task.make_completion("backfill")
        self._run_id: str | None = None  # of the run in progress
        self._is_waiting = False  # for other runs to end

    @property
    def left(self) -> tuple[datetime, ...]:
        """The slots that have not run, the one in progress included; oldest first."""
        return self.slots[self.ended :]

    @property
    def is_over(self) -> bool:
        """Whether nothing more of it will run."""
        return self._end.done()

    def cancel(self) -> None:
        """Run no more of its slots. A run in progress continues."""
        self._submit(partial(self._stop, "it was cancelled"))

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is over, however it ends.

        Args:
            timeout: seconds to wait; None waits for ever.

        Returns:
            Whether it is over.
        """
        try:
            self._end.result(timeout)
        except TimeoutError:
            return False
        return True

    def __await__(self) -> Generator[Any, None, Backfill]:
        return self._end.__await__()

    def __repr__(self) -> str:
        text = f"{self.ended} of {len(self.slots)} slots"
        if self.failed:
            text += f", {self.failed} failed"
        if self.stopped_by:
            text += f", ended: {self.stopped_by}"
        return f"<Backfill of task {self._task.name!r}: {text}>"

    # --- on the client's loop -------------------------------------------------------

    def start(self) -> None:
        """Begin with the first slot.

        Raises:
            BackfillRefused: if the task has a backfill in progress.
        """
        with _lock:
            if self._task.backfill is not None:
                reason = "another one is in progress. Wait for it, or cancel it"
                raise BackfillRefused(name=self._task.name, reason=reason)
            self._task.backfill = self
        self._submit(self._advance)

    def _submit(self, call: Callable[[], None]) -> None:
        """Make a call on the client's loop, after what it is doing now."""
        if not self._task.client.submit(call):  # everything is shut down
            self._stop(_ENDINGS[Event.TASK_DESTROYED])

    def _advance(self) -> None:
        """Begin the next slot's run, if there is one."""
        self._is_waiting = False
        if self.is_over or self._run_id is not None:
            return
        if self.stopped_by or not self.left:
            self._finish()
            return
        task = self._task
        self._run_id = task.client.make_id()
        task.waiters.add(self._run_id, _Turn(task, self._handle_refusal))
        task.client.execute(task, self._run_id, slot=int(self.left[0].timestamp()))

    def follow(self, notice: Notice) -> None:
        """Apply an event of the task."""
        if notice.event in _ENDINGS:
            self._stop(_ENDINGS[notice.event])
        run = notice.execution
        if run is not None and run.id == self._run_id and notice.event in ENDS:
            self._run_id = None
            self.failed += notice.event is Event.EXECUTION_FAILED
            self.ended += 1
            # The restart of the task is an event, and so is its failure.
            self._is_waiting = _is_loss(notice) and bool(self.left)
            if self.stopped_by or not self._is_waiting:
                self._submit(self._advance)
        elif self._is_waiting and not _is_loss(notice):
            self._submit(self._advance)

    def _handle_refusal(self, error: BaseException) -> None:
        """Wait for other runs, or for the next supervisor; or give up."""
        self._run_id = None
        if isinstance(error, OverlapError | SupervisorLost):
            self._is_waiting = True  # until there is an event of the task
        elif isinstance(error, TaskDestroyed):
            self._stop(_ENDINGS[Event.TASK_DESTROYED])
        elif isinstance(error, TaskNotStarted):
            self._stop(_ENDINGS[Event.TASK_STOPPED])
        else:
            self._stop(str(error))
        if self.stopped_by:
            self._finish()

    def _stop(self, why: str) -> None:
        """End it once the run in progress, if there is one, has ended."""
        if self.is_over:
            return
        self.stopped_by = self.stopped_by or why
        if self._run_id is None:
            self._finish()

    def _finish(self) -> None:
        if not self.left:
            self.stopped_by = ""  # what came after the last run ended nothing
        self._task.backfill = None
        self._end.set(lambda: self)


def _is_loss(notice: Notice) -> bool:
    """Return whether an event is a run's end with its supervisor's."""
    outcome = notice.outcome
    if outcome is None or notice.event not in ENDS:
        return False
    return isinstance(outcome.value, SupervisorLost)


class _Turn(Completion[Any]):
    """Waits for the run of one slot to be refused. Its end is an event like any."""

    __slots__ = ("_refuse",)

    def __init__(
        self, task: TaskRecord, refuse: Callable[[BaseException], None]
    ) -> None:
        super().__init__("backfill", task)
        self._refuse = refuse

    def set(self, read: Callable[[], Any], *, is_ok: bool = True) -> None:
        """Do nothing: the backfill follows the events of its task."""

    def fail(self, error: BaseException) -> None:
        """Pass on the refusal."""
        self._refuse(error)


def start_backfill(
    task: TaskRecord, start: Any, end: Any, *, only: Any, is_dry: Any
) -> Backfill | list[datetime]:
    """Start a backfill, or list its slots; see `Task.backfill`."""
    check_flag("dry_run", is_dry)
    if task.client.is_copy or task.is_over:
        raise task.client.make_over_error(task)
    if not (is_dry or task.is_started or task.is_starting):
        raise TaskNotStarted(name=task.name, call="backfill()")
    backfill = Backfill(task, find_slots(task, start, end, only))
    if is_dry:
        return list(backfill.slots)
    backfill.start()
    return backfill


def find_slots(task: TaskRecord, start: Any, end: Any, only: Any) -> list[int]:
    """Return the slots of the past that a backfill runs, oldest first.

    Args:
        task: whose.
        start: the first instant, as `read_instant` accepts it.
        end: the last instant, as `read_last` accepts it.
        only: which of the slots: see `Task.backfill`.

    Raises:
        InvalidOption: if an argument is not acceptable, or there are too many slots.
        BackfillRefused: if a choice needs the history, and there is none, or it does
            not reach back that far.
        HistoryError: if it cannot be read.
    """
    if only not in _ONLY:
        expected = "'missing', 'failed' or 'all'"
        raise InvalidOption(option="only", value=only, expected=expected)
    first, last = _read_period(task, start, end)
    slots = _list_slots(task, first, last, end)
    if only == "all" or not slots:
        return slots
    known = task.client.find_outcomes(task, first, last)
    if known is None:
        reason = f'there is no history, and only="{only}" needs it; only="all" does not'
        raise BackfillRefused(name=task.name, reason=reason)
    if only == "missing" and slots[0] < known.since:
        since = to_datetime(known.since, task.expression.timezone)
        reason = (
            f"the history reaches back to {since:%Y-%m-%d %H:%M:%S} only, and older "
            'slots would all look missing. Begin there, or use only="all"'
        )
        raise BackfillRefused(name=task.name, reason=reason)
    return [slot for slot in slots if _is_wanted(known.by_slot.get(slot), only)]


def _is_wanted(outcome: str | None, only: Only) -> bool:
    if only == "missing":
        return outcome is None or outcome in _MISSING
    from ipycron.runlog.rows import FAILURES  # noqa: PLC0415 - not at `import ipycron`

    return outcome in FAILURES


def _read_period(task: TaskRecord, start: Any, end: Any) -> tuple[float, float]:
    zone, now = task.expression.timezone, task.client.clock.now()
    first, last = read_instant("start", start, zone), read_last("end", end, zone)
    if first > last:
        raise InvalidOption(option="end", value=end, expected="an instant after start")
    if last > now:
        shown = datetime.fromtimestamp(now, UTC).astimezone(zone)
        expected = f"an instant that has passed: it is {shown:%Y-%m-%d %H:%M:%S%z}"
        advice = "The slots to come are the schedule's."
        raise InvalidOption(option="end", value=end, expected=expected, advice=advice)
    return first, last


def _list_slots(task: TaskRecord, first: float, last: float, end: Any) -> list[int]:
    slots: list[int] = []
    slot = task.schedule.find_next(first - 1 if first == int(first) else first)
    while slot is not None and slot <= last:
        slots.append(slot)
        if len(slots) > _MAX_COUNTED:
            break
        slot = task.schedule.find_next(slot)
    if len(slots) > MAX_SLOTS:
        is_all = len(slots) <= _MAX_COUNTED
        count = f"{len(slots):,}" if is_all else f"more than {_MAX_COUNTED:,}"
        raise InvalidOption(
            option="end",
            value=end,
            expected=f"at most {MAX_SLOTS:,} slots since start, there are {count}",
            advice="Backfill shorter periods, one after another.",
        )
    return slots
