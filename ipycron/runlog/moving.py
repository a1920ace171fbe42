"""What a file says of the attempts of runs whose rows move to another one (H1)."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

from ipycron.errors import HistoryError
from ipycron.runlog import file
from ipycron.runlog.rows import RunOutcome, RunRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_BUSY = 1.0
"""Seconds to wait for another process's transaction."""


def read_attempts(path: Path, runs: Iterable[str]) -> Iterator[RunRow]:
    """Yield the rows of attempts of some runs, one run after another.

    One at a time is in memory: each may have 64 KB of output. A file that cannot be
    read yields none, or not all; the rows stay where they are.
    """
    with (
        contextlib.suppress(HistoryError, sqlite3.Error, OSError),
        contextlib.closing(file.connect_to_read(path, busy=_BUSY)) as connection,
    ):
        for run in runs:
            for values in connection.execute(_SELECT, (run,)):
                row = dict(zip(RunRow.__struct_fields__, values, strict=True))
                row["outcome"] = RunOutcome(row["outcome"])
                yield RunRow(**row)


_SELECT = (
    f"SELECT {', '.join(RunRow.__struct_fields__)} FROM runs "  # noqa: S608 - our own names
    "WHERE run = ? ORDER BY attempt"
)
