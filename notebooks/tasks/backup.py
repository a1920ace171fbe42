"""Copies an SQLite database while it is in use, and keeps the newest copies.

BACKUP_SOURCE names the database, BACKUP_FOLDER where the copies go.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

KEEP = 3


def task(ctx):
    """Return the path of the new copy."""
    source = os.environ.get("BACKUP_SOURCE", "system_load.sqlite")
    folder = Path(os.environ.get("BACKUP_FOLDER", "backups"))
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{ctx.triggered_at:%Y%m%dT%H%M%S%f}.sqlite"
    with (
        closing(sqlite3.connect(source)) as before,
        closing(sqlite3.connect(target)) as after,
    ):
        before.backup(after)
    for old in sorted(folder.glob("*.sqlite"))[:-KEEP]:
        old.unlink()
    return str(target)
