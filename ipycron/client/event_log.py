"""The last events of all tasks, for the views."""

from __future__ import annotations

import itertools
import sys
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from ipycron.scheduling.events import Event

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipycron.scheduling.events import Notice, Outcome

    Watcher = Callable[[str], None]

MAX_ITEMS = 200
"""Events that are remembered, and as many problems: a busy schedule must not displace
the only failure of an hour."""

PROBLEMS = frozenset(
    {
        Event.TASK_FAILED,
        Event.TASK_RESTARTED,
        Event.EXECUTION_FAILED,
        Event.EXECUTION_MISSED,
        Event.EXECUTION_OVERLAP,
        Event.EXECUTION_SKIPPED,
        Event.EXECUTION_RETRY,
    }
)


class Item(NamedTuple):
    """One event, in plain values. Instants are Unix seconds.

    Attributes:
        number: increases over all events of this process.
        duration: seconds that the run took, None where the event ends no run.
        summary: the result or error in one line.
        reason: why a slot did not run, or in which manner a run has ended.
        is_stopped: whether a stop, or a newer run, ended the run.
    """

    number: int
    event: str
    at: float
    date: float
    task_id: str
    name: str
    run_id: str | None
    duration: float | None
    summary: str
    reason: str | None
    missed_count: int | None
    is_stopped: bool


def _find_manner(outcome: Outcome | None) -> str | None:
    return None if outcome is None or outcome.manner == "plain" else outcome.manner


class EventLog:
    """The last events of all tasks, and the watchers of changes.

    Events are posted on the client's loop, which must not block: a watcher is called
    with the task's id and only stores it. Reading is thread-safe.
    """

    def __init__(self) -> None:
        self._items: deque[Item] = deque(maxlen=MAX_ITEMS)
        self._problems: deque[Item] = deque(maxlen=MAX_ITEMS)
        self._numbers = itertools.count(1)
        self._watchers: tuple[Watcher, ...] = ()

    def watch(self, watcher: Watcher) -> None:
        """Call `watcher` from now on; a repeated call changes nothing."""
        if watcher not in self._watchers:
            self._watchers = (*self._watchers, watcher)

    def unwatch(self, watcher: Watcher) -> None:
        """Stop calling `watcher`. An unknown one is ignored."""
        self._watchers = tuple(known for known in self._watchers if known != watcher)

    def notify(self, task_id: str) -> None:
        """Notify the watchers that a task has changed."""
        for watcher in self._watchers:
            watcher(task_id)

    def post(self, task_id: str, name: str, *notices: Notice) -> None:
        """Remember events of a task, and notify the watchers."""
        for notice in notices:
            self._remember(task_id, name, notice)
        self.notify(task_id)

    def _remember(self, task_id: str, name: str, notice: Notice) -> None:
        run = notice.execution
        outcome = notice.outcome
        duration = None
        if run is not None and run.started_at and run.finished_at:
            duration = run.finished_at - run.started_at
        item = Item(
            next(self._numbers),
            sys.intern(str(notice.event)),  # one string for all events of a kind
            notice.triggered_at,
            notice.date,
            task_id,
            name,
            None if run is None else run.id,
            duration,
            "" if outcome is None else outcome.summary,
            notice.reason or _find_manner(outcome),
            notice.missed_count,
            outcome is not None and outcome.manner in ("stopped", "replaced"),
        )
        is_wanted = item.is_stopped or notice.reason in ("paused", "excluded")
        is_problem = notice.event in PROBLEMS and not is_wanted
        kept = self._problems if is_problem else self._items
        kept.append(item)

    def read(self, since: int = 0) -> list[Item]:
        """Return the remembered events after number `since`, oldest first."""
        items = [*tuple(self._items), *tuple(self._problems)]
        return sorted(item for item in items if item.number > since)
