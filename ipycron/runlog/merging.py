"""What is held until it is written: fewer rows than there were changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from ipycron.runlog.rows import (
    OPEN,
    Moved,
    Resumed,
    RunOutcome,
    RunRow,
    TaskEnd,
    TaskRow,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ipycron.runlog.rows import Change

MAX_TEXT = 32 << 20
"""Characters of outputs and tracebacks that wait while the file cannot be written."""

NOT_WRITTEN = "its end could not be written to the history"
"""The error of a run whose closing row was dropped."""


class Pending:
    """The changes that are to be written, and what a new file would have to be told.

    A later row of a run replaces an earlier one that is still here: a run that is over
    before the next batch is written once.

    Attributes:
        changes: to be written, in order.
        lives: of the tasks that have not been destroyed, by key.
        running: rows that are open, by id, as they were last.
    """

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.lives: dict[str, TaskRow] = {}
        self.running: dict[str, RunRow] = {}
        self._places: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.changes)

    def add(self, changes: Iterable[Change]) -> None:
        """Take changes in their order."""
        for change in changes:
            if type(change) is RunRow:
                self._add_run(change)
                continue
            if type(change) is TaskRow:
                self.lives[change.key] = change
            elif type(change) is TaskEnd and change.end in {"destroyed", "shutdown"}:
                self.lives.pop(change.key, None)
            elif type(change) is Moved:
                for name in change.runs:
                    self.running.pop(name, None)
                    self._places.pop(name, None)
            self.changes.append(change)
            if type(change) is Resumed:  # what it takes back, then its row
                self._add_run(change.row)

    def add_known(self) -> None:
        """Have all that is alive written again, for a file that was begun anew."""
        written = {c.key for c in self.changes if type(c) is TaskRow}
        lives = [life for key, life in self.lives.items() if key not in written]
        runs = [run for name, run in self.running.items() if name not in self._places]
        earlier: list[Change] = [*lives, *runs]
        self.changes[:0] = earlier
        self._places = {k: v + len(earlier) for k, v in self._places.items()}

    def add_dropped(self, name: str) -> None:
        """Close the open row, if there is one, whose closing row could not be held."""
        row = self.running.get(name)
        if row is not None:
            outcome = RunOutcome.LOST
            self._add_run(
                msgspec.structs.replace(row, outcome=outcome, error=NOT_WRITTEN)
            )

    def list_names(self) -> Iterator[str]:
        """Yield the task's name for each run."""
        for change in self.changes:
            if type(change) is RunRow and change.task in self.lives:
                yield self.lives[change.task].name

    def clear(self) -> None:
        """Forget the changes: they are written, or lost."""
        self.changes.clear()
        self._places.clear()

    def trim(self) -> None:
        """Drop the texts of the oldest rows if they are too long to be held."""
        text = sum(map(_count_text, self.changes))
        for place, change in enumerate(self.changes):
            if text <= MAX_TEXT:
                return
            if type(change) is RunRow:
                text -= _count_text(change)
                self.changes[place] = msgspec.structs.replace(
                    change, output=None, traceback=None
                )

    def _add_run(self, row: RunRow) -> None:
        earlier = self.running.get(row.id)
        if earlier is not None:
            row = _fill(row, earlier)
        place = self._places.get(row.id)
        if row.outcome in OPEN:
            self.running[row.id] = row
            if place is None:
                self._places[row.id] = len(self.changes)
        else:
            self.running.pop(row.id, None)
            self._places.pop(row.id, None)
        if place is None:
            self.changes.append(row)
        else:
            self.changes[place] = row


def _fill(row: RunRow, earlier: RunRow) -> RunRow:
    """Return the row with what only the earlier one says."""
    fields = msgspec.structs.astuple(row)
    if None not in fields:
        return row
    return RunRow(
        **{
            name: then if now is None else now
            for name, now, then in zip(
                RunRow.__struct_fields__,
                fields,
                msgspec.structs.astuple(earlier),
                strict=True,
            )
        }
    )


def _count_text(change: Change) -> int:
    if type(change) is not RunRow:
        return 0
    return len(change.output or "") + len(change.traceback or "")
