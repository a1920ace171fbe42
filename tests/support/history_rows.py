"""Rows of a history, for tests of its file."""

from __future__ import annotations

from ipycron.runlog.rows import OPEN, RunOutcome, RunRow, TaskRow
from ipycron.runlog.store import open_store

BEGAN = 3_914_380_800.0
"""The instant of the rows' first slot: 2094-01-15 08:00 UTC. Whoever writes to the file
deletes what is older than a month."""


def make_task(key="life", **said):
    """Return a life of the task ``report``."""
    facts = {
        "task_id": "t1",
        "name": "report",
        "origin": None,
        "kind": "function",
        "pattern": "* * * * *",
        "zone": "UTC",
        "schedule": "* * * * * UTC",
        "code_hash": None,
        "declared_at": BEGAN,
    }
    return TaskRow(key=key, **(facts | said))


def make_run(number=0, outcome="finished", **said):
    """Return the run of the slot `number` minutes after `BEGAN`."""
    slot = BEGAN + 60 * number
    facts = {"task": "life", "slot": slot, "trigger": "scheduled", "at": slot}
    facts |= {"id": f"run-{number}"} | said
    return RunRow(outcome=RunOutcome(outcome), **facts)


def read(store, columns="*", table="runs", order="rowid"):
    """Return what the file says, as tuples; without the tuple for one column."""
    statement = f"SELECT {columns} FROM {table} ORDER BY {order}"
    rows = store.connection.execute(statement).fetchall()
    return [row[0] for row in rows] if len(columns.split(",")) == 1 else rows


def read_counts(store):
    """Return slot, place and count of all rows, slots in minutes after `BEGAN`."""
    rows = read(store, "slot, at, missed_count", order="slot")
    return [(int(slot - BEGAN) // 60, int(at - BEGAN) // 60, n) for slot, at, n in rows]


def write(path, *changes):
    """Write rows to a file as a process does that ends after them, if none is open."""
    store = open_store(path, now=BEGAN, tell=print)
    try:
        assert store.apply(changes) == 0
        if not any(getattr(change, "outcome", "") in OPEN for change in changes):
            store.end(BEGAN)
    finally:
        store.close()
    return path
