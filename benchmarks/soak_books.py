"""The books of a soak: what became of every slot of every task, and of every run."""

from __future__ import annotations

import bisect
import contextlib
import pickle
import tempfile
import threading
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ipycron import CronExpression, Task, TaskContext
    from ipycron.scheduling.policy import Policy

EDGE = 0.05
"""Seconds around a start or a stop in which a slot may fall on either side."""
NEAR = 6.0
"""Seconds around a slot whose events are shown where it does not add up."""
ENDS = ("execution:finished", "execution:failed")
CLOSINGS = ("task:stopped", "task:failed", "task:destroyed")
OPENINGS = ("task:started", "task:restarted")


class Entry(NamedTuple):
    """One event as it was told. Instants are Unix seconds."""

    event: str
    at: float
    date: float
    run_id: str | None
    is_scheduled: bool
    missed_count: int


class Account(NamedTuple):
    """A task's facts and events, and when somebody began to stop it."""

    facts: str
    expression: CronExpression
    policy: Policy
    stops: list[float]
    entries: list[Entry]


class Books:
    """Listens to everything, and sums it up in the end.

    Events go to a file meanwhile: it is ipycron's memory that is to be judged.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `_read`
        self._accounts: dict[str, Account] = {}
        self.problems: list[str] = []

    def open(self, task: Task) -> None:
        """Take in a new task."""
        policy = task.options.get_policy()
        with self._lock:
            self._accounts[task.id] = Account(
                f"{task.name} {policy}", task.expression, policy, [], []
            )

    def note_stop(self, task: Task, at: float) -> None:
        """Remember that a stop was asked for: no later slot is owed."""
        with self._lock:
            self._accounts[task.id].stops.append(at)

    def hear(self, context: TaskContext) -> None:
        """Write down an event."""
        run = context.execution
        entry = Entry(
            event=str(context.event),
            at=context.triggered_at.timestamp(),
            date=context.date.timestamp(),
            run_id=None if run is None else run.id,
            is_scheduled=run is not None and run.reason == "scheduled",
            missed_count=context.missed_count or 0,
        )
        with self._lock:
            pickle.dump((context.task.id, tuple(entry)), self._file)

    def _read(self) -> None:
        with self._file:
            self._file.seek(0)
            with contextlib.suppress(EOFError):
                while True:
                    task_id, entry = pickle.load(self._file)
                    if task_id in self._accounts:
                        self._accounts[task_id].entries.append(Entry(*entry))

    def balance(self) -> Counter[str]:
        """Return how often each thing happened; "unaccounted" and "twice" are bad."""
        self._read()
        total: Counter[str] = Counter()
        for account in self._accounts.values():
            total += Counter(_count_runs(account.entries))
            total += Counter(self._count_slots(account))
        return total

    def _count_slots(self, account: Account) -> Iterable[str]:
        """Yield what became of each slot that was owed."""
        told = _find_told(account.entries)
        policy = account.policy
        # A slot may wait so long: for its random delay, and from then on for a worker
        # that is being replaced.
        patience = policy.jitter + policy.tolerance
        for since, until, grey in _find_periods(account):
            slot = account.expression.find_next(since)
            while slot is not None and slot <= until:
                kinds = told.get(slot, [])
                if len(kinds) > 1:
                    self._note_problem(account, slot, "slots told twice")
                    yield "slots told twice"
                elif kinds:
                    yield f"slots {kinds[0]}"
                elif slot > grey - patience - EDGE:
                    yield "slots dropped by a stop"
                elif slot > since + EDGE:
                    self._note_problem(account, slot, "slots unaccounted")
                    yield "slots unaccounted"
                slot = account.expression.find_next(slot)

    def _note_problem(self, account: Account, slot: int, what: str) -> None:
        """Remember what was told around a slot that does not add up."""
        near = [
            f"{entry.at - slot:+.2f} {entry.event} of {entry.date - slot:+.2f}"
            for entry in account.entries
            if abs(entry.at - slot) < NEAR
        ]
        stops = [f"{at - slot:+.2f} stop" for at in account.stops]
        self.problems.append(f"{what}: {account.facts}: {near} {stops}")


def _count_runs(entries: Iterable[Entry]) -> Iterable[str]:
    """Yield "run" for each run that ended once, and what is wrong with others."""
    ends: Counter[str | None] = Counter()
    started: Counter[str | None] = Counter()
    for entry in entries:
        if entry.event == "execution:started":
            started[entry.run_id] += 1
        elif entry.event in ENDS:
            if not started[entry.run_id]:
                yield "ended before they started"
            ends[entry.run_id] += 1
    for run_id, count in started.items():
        if (count, ends[run_id]) == (1, 1):
            yield "runs"
        elif not ends[run_id]:
            yield "never ended"
        else:
            yield "told twice"


def _find_told(entries: list[Entry]) -> dict[int, list[str]]:
    """Return what was told of each slot: it ran, was missed, overlapped, skipped."""
    told: dict[int, list[str]] = defaultdict(list)
    # A slot that overlaps may run all the same, or be missed for want of a worker.
    later = {
        entry.date
        for entry in entries
        if (entry.event == "execution:started" and entry.is_scheduled)
        or entry.event in ("execution:missed", "execution:skipped")
    }
    for entry in entries:
        slot = int(entry.date)
        if entry.event == "execution:started" and entry.is_scheduled:
            told[slot].append("run")
        elif entry.event == "execution:missed":
            told[slot].append("missed")
        elif entry.event == "execution:skipped":
            told[slot].append("left to others")
        elif entry.event == "execution:overlap" and entry.date not in later:
            told[slot].append("overlapped")
    return told


def _find_periods(account: Account) -> Iterable[tuple[float, float, float]]:
    """Yield when the task was started and stopped, and since when no slot is owed.

    That is when a stop was asked for, its limit reached, or its last worker died.
    """
    since: float | None = None
    limit = float("inf")
    for entry in account.entries:
        if entry.event in OPENINGS and since is None:
            since, limit = entry.at, float("inf")
        elif entry.event == "execution:started" and _is_last(account, entry):
            limit = entry.date
        elif entry.event in CLOSINGS and since is not None:
            stops = [at for at in account.stops if since - 1 <= at <= entry.at]
            grey = min([entry.at, limit, *stops])
            if entry.event == "task:failed":
                grey = min(grey, _find_last_end(account.entries, entry.at))
            yield since, entry.at, grey
            since = None


def _is_last(account: Account, entry: Entry) -> bool:
    maximum = account.policy.max_executions
    if maximum is None or not entry.is_scheduled:
        return False
    dates = sorted(
        e.at
        for e in account.entries
        if e.event == "execution:started" and e.is_scheduled
    )
    return bisect.bisect_right(dates, entry.at) >= maximum


def _find_last_end(entries: list[Entry], at: float) -> float:
    """Return when the last run before `at` ended: its worker died with it."""
    return max((e.at for e in entries if e.event in ENDS and e.at <= at), default=at)


def describe(total: Counter[str]) -> list[str]:
    """Return the lines of the books, and the bad ones even where they are nought."""
    bad = ("slots unaccounted", "slots told twice", "never ended", "told twice")
    names = sorted({*total, *bad, "ended before they started"})
    return [f"{name:<28}{total[name]:>10,}" for name in names]


def is_balanced(total: Counter[str]) -> bool:
    """Return whether nothing is lost and nothing counted twice."""
    wrong: tuple[Any, ...] = (
        total["slots unaccounted"],
        total["slots told twice"],
        total["never ended"],
        total["told twice"],
        total["ended before they started"],
    )
    return not any(wrong)
