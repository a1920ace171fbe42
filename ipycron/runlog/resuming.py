"""Slots that a pause skipped, and that run after all: a slot has one row (H1).

The row that said so goes with the first row of the run, in one transaction. A row that
stands for many slots stands for one less.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipycron.runlog.rows import find_since

if TYPE_CHECKING:
    import sqlite3

    from ipycron.runlog.rows import Resumed


def take_back(connection: sqlite3.Connection, resumed: Resumed) -> None:
    """Take a slot out of the row that says that it was skipped, if there is one.

    Raises:
        sqlite3.Error: if the file cannot be written.
    """
    slot = resumed.row.slot
    assert slot is not None  # for mypy: no call was skipped
    values = {"task": resumed.row.task, "slot": slot}
    if connection.execute(_DELETE_OWN, values).rowcount:
        return
    found = connection.execute(_FIND_COUNT, values).fetchone()
    if found is None:
        return
    name, newest, count = found
    since = find_since(name)
    if since is None or slot <= since:
        return  # the slot's own row has been purged
    if count == 1:
        connection.execute("DELETE FROM runs WHERE id = ?", (name,))
        return
    # Those that run are taken out oldest first: what is left is older than they are.
    if newest == slot and resumed.before is not None:
        newest = resumed.before
    connection.execute(_COUNT_LESS, (newest, newest, name))


_PAUSED = (
    "run IS NULL AND outcome = 'paused' AND task = :task "
    "AND name = (SELECT name FROM tasks WHERE key = :task)"
)
_DELETE_OWN = (
    f"DELETE FROM runs WHERE {_PAUSED} AND at = :slot AND missed_count IS NULL"  # noqa: S608 - our own text
)
# Counts do not overlap: no other one can have this slot.
_FIND_COUNT = (
    f"SELECT id, slot, missed_count FROM runs WHERE {_PAUSED} AND at >= :slot "  # noqa: S608 - as above
    "AND missed_count IS NOT NULL ORDER BY at LIMIT 1"
)
_COUNT_LESS = (
    "UPDATE runs SET slot = ?, at = ?, missed_count = missed_count - 1 WHERE id = ?"
)
