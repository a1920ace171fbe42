"""The attempts of runs in progress whose rows move to another file (H1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipycron.runlog.rows import RunOutcome, RunRow

if TYPE_CHECKING:
    import sqlite3

    from ipycron.runlog.rows import Moving


def hand_over(connection: sqlite3.Connection, moving: Moving) -> None:
    """Give the rows of attempts of some runs to whoever writes the other file."""
    for run in moving.runs:
        for values in connection.execute(_SELECT, (run,)):
            row = dict(zip(RunRow.__struct_fields__, values, strict=True))
            row["outcome"] = RunOutcome(row["outcome"])
            moving.take(RunRow(**row))


_SELECT = (
    f"SELECT {', '.join(RunRow.__struct_fields__)} FROM runs "  # noqa: S608 - our own names
    "WHERE run = ? ORDER BY attempt"
)
