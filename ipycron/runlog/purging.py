"""Deletes what a user no longer wants in the history, as one more writer."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from ipycron.runlog import reading
from ipycron.runlog.file import explain, is_corrupt
from ipycron.runlog.retention import purge
from ipycron.runlog.store import Store
from ipycron.scheduling.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_PATIENCE = 5.0
"""Seconds to wait for another writer's transaction: each takes some milliseconds."""


def delete_runs(path: Path, names: Iterable[str] | None, before: float | None) -> int:
    """Delete closed runs, and return how many; a file that is missing has none.

    Args:
        path: the file.
        names: of the tasks; None for all.
        before: the instant after the last run, Unix seconds; None for all.

    Raises:
        HistoryError: if the file cannot be written. What was deleted is deleted.
    """
    reading.flush()
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return 0
    try:
        return _delete(path, names, before)
    except sqlite3.DatabaseError as error:
        if is_corrupt(error):
            raise reading.explain_error(path, error) from error
        raise explain(path, error) from error
    except OSError as error:
        raise explain(path, error) from error


def _delete(path: Path, names: Iterable[str] | None, before: float | None) -> int:
    now = SystemClock().now()
    with closing(Store(path, now=now, busy=_PATIENCE)) as store:
        chosen = (None,) if names is None else names
        count = sum(purge(store, name=name, before=before) for name in chosen)
        store.end(now)
    return count
