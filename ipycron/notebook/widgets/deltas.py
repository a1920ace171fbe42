"""What has changed since the browser was last told. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ipycron.notebook.widgets.model import RunRow, TaskRow


class Deltas:
    """Remembers the rows of tasks as they were told, and finds what differs.

    A delta is a row's `id` with the fields that changed, as they are now. Of `bars`
    only the new ones are sent, as `more`; the browser adds those that it does not
    know, since a page that was loaded in between knows some of them.
    """

    def __init__(self) -> None:
        self._rows: dict[str, TaskRow] = {}
        self._runs: tuple[str, set[str]] = ("", set())

    def find(self, rows: Iterable[TaskRow]) -> list[dict[str, Any]]:
        """Return a delta of each row that differs; new rows are sent whole."""
        deltas = (self._find(row) for row in rows)
        return [delta for delta in deltas if delta is not None]

    def _find(self, row: TaskRow) -> dict[str, Any] | None:
        known = self._rows.get(row["id"])
        self._rows[row["id"]] = row
        now: dict[str, Any] = dict(row)
        if known is None:
            return now
        before: dict[str, Any] = dict(known)
        delta = {name: now[name] for name in now if now[name] != before[name]}
        if "bars" in delta:
            told = set(before["bars"])
            delta["more"] = [bar for bar in delta.pop("bars") if bar not in told]
        return {"id": row["id"], **delta} if delta else None

    def forget(self, ids: Iterable[str]) -> list[str]:
        """Return the tasks that were told and are not among `ids` any more."""
        present = set(ids)
        gone = [task_id for task_id in self._rows if task_id not in present]
        for task_id in gone:
            del self._rows[task_id]
        return gone

    def find_runs(self, task_id: str, runs: list[RunRow]) -> list[RunRow]:
        """Return the runs of a task that were not told; all if the task is another."""
        told = self._runs[1] if self._runs[0] == task_id else set()
        self._runs = task_id, {run["id"] for run in runs}
        return [run for run in runs if run["id"] not in told]
