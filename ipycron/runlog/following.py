"""Follows one task's rows as they come, by looking at the file again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipycron.runlog.reading import Query, read_by_id, read_history, read_states
from ipycron.runlog.rows import OPEN
from ipycron.scheduling.clock import SystemClock

if TYPE_CHECKING:
    from pathlib import Path

    from ipycron.runlog.records import RunRecord

_OPEN = frozenset(map(str, OPEN))
LATENESS = 60.0
"""Seconds that a row may come after its place in time, from a writer that had to wait.
A run that was seen open is followed however long it takes."""


class Follower:
    """The rows of a task that are closed from now on.

    Args:
        path: the file; it may be missing, come later, or be replaced.
        name: the task's.

    Raises:
        HistoryError: if the file cannot be read.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._name = name
        self._since: float | None = None
        self._closed: set[str] = set()  # of those that the next look finds again
        newest = read_history(path, Query(names=(name,), limit=1))
        opened = read_history(path, Query(names=(name,), outcomes=_OPEN))
        self._open = {record.id for record in opened}
        if newest:
            self._begin_after(newest[0].at.timestamp())
            self._look()

    def read(self) -> list[RunRecord]:
        """Return what was closed since the last call, in the order of the ends.

        Raises:
            HistoryError: if the file cannot be read.
        """
        before, awaited = self._closed, self._open
        self._look()
        # One that began long ago is not found again, only by its id.
        late = read_by_id(self._path, awaited - self._closed)
        ended = [record for record in late if record.outcome not in OPEN]
        self._open -= {record.id for record in ended}
        ended += read_by_id(self._path, self._closed - before)
        return sorted(ended, key=lambda record: record.finished_at or record.at)

    def _look(self) -> None:
        states = read_states(self._path, self._name, self._since)
        opened = {state.id for state in states if state.outcome in OPEN}
        self._closed = {state.id for state in states} - opened
        self._open = (self._open | opened) - self._closed
        if states:
            self._begin_after(max(state.at for state in states))

    def _begin_after(self, newest: float) -> None:
        # A clock that was wrong may have written rows of the future.
        self._since = min(newest, SystemClock().now()) - LATENESS
