"""Slots that are to come once more, since the clock was ahead: one row each (H1, C3).

Slots that did not run by the clock that was ahead, such as those that were missed as it
was set forward, have not been reached after all: their rows go. Runs that have begun
happened: their rows stay, as those of no slot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from ipycron.runlog.rows import RunOutcome, find_since
from ipycron.scheduling.plan import Gap, count_slots

if TYPE_CHECKING:
    import sqlite3

    from ipycron.scheduling.plan import Recounted
    from ipycron.scheduling.ports import Schedule


def forget_after(connection: sqlite3.Connection, recounted: Recounted) -> None:
    """Leave no row of a slot after the recount, whichever life of the task it is of.

    The clock may have been ahead for several lives in a row. Those of other processes
    that go on recount their own.

    Raises:
        sqlite3.Error: if the file cannot be written.
    """
    values = {"task": recounted.task_id, "since": recounted.since}
    for life, is_schedule_known in connection.execute(_FIND_LIVES, values).fetchall():
        own = msgspec.structs.replace(recounted, task_id=life)
        if not is_schedule_known:
            own = msgspec.structs.replace(own, schedule=None, excluded=None)
        _forget_in_life(connection, own)


def _forget_in_life(connection: sqlite3.Connection, recounted: Recounted) -> None:
    """Leave no row of a slot after the recount to one life.

    A row that stands for many slots, some of them before it, stands for these. The
    life has not begun, or ended, after it either: the next one is a later life.
    """
    values = {"task": recounted.task_id, "since": recounted.since}
    for name, outcome, count in connection.execute(_FIND, values).fetchall():
        since = find_since(name)
        if since is None or since >= recounted.since or not count:
            connection.execute("DELETE FROM runs WHERE id = ?", (name,))
            continue
        is_excluded = outcome == RunOutcome.EXCLUDED
        schedule = recounted.excluded if is_excluded else recounted.schedule
        if schedule is not None:
            many = _Many(name, int(since), count)
            _cut(connection, recounted, schedule, many)
    # In this order: the attempts are found by their runs.
    for statement in (_TAKE_SLOTS_OF_ATTEMPTS, _TAKE_SLOTS, _RESET_LIFE):
        connection.execute(statement, values)


class _Many(NamedTuple):
    """A row that stands for `slots` slots after `since`; `name` is its id."""

    name: str
    since: int
    slots: int


def _cut(
    connection: sqlite3.Connection,
    recounted: Recounted,
    schedule: Schedule,
    many: _Many,
) -> None:
    """Have a row stand only for its slots up to the recount.

    The file knows how many they are only by the schedule, and which of them have rows
    of their own, such as those that ran after a pause. After years on a wrong clock
    counting takes seconds, on the writer's thread.
    """
    values = {"task": recounted.task_id, "after": many.since, "until": recounted.since}
    own = sorted({int(slot) for (slot,) in connection.execute(_FIND_OWN, values)})
    gap = Gap(
        after=many.since,
        before=int(recounted.since // 1) + 1,
        settled=tuple((slot - 1, slot) for slot in own),
    )
    try:
        left, newest, _ = count_slots(schedule, gap, limit=many.slots)
    except Exception:  # noqa: BLE001 - the border to the schedule, which is broken
        return  # and has no slot to come
    if left:
        connection.execute(_KEEP, (newest, newest, left, many.name))
    else:
        connection.execute("DELETE FROM runs WHERE id = ?", (many.name,))


# The life of the recount, and those of its task that are over and reach beyond it. Only
# one life's schedule is known: the slots of another one cannot be counted.
_FIND_LIVES = """
    SELECT life.key, life.schedule = this.schedule
    FROM tasks AS this
    JOIN tasks AS life ON life.name = this.name
        AND (life.origin IS NULL OR this.origin IS NULL OR life.origin = this.origin)
    LEFT JOIN writers ON writers.id = life.writer
    WHERE this.key = :task AND (life.key = this.key OR (
        max(life.declared_at, coalesce(life.last_slot, 0), coalesce(life.ended_at, 0))
            > :since
        AND (life.ending IN ('destroyed', 'shutdown')
            OR coalesce(writers.ended, writers.vanished, writers.id IS NULL))))
"""
# Not by `at`: a run may have begun after the correction, before it was noticed.
_OF_TASK = (
    "run IS NULL AND task = :task AND name = (SELECT name FROM tasks WHERE key = :task)"
)
_AHEAD = f"{_OF_TASK} AND slot > :since AND trigger IN ('scheduled', 'catch_up')"
_BEGUN = f"{_AHEAD} AND started_at IS NOT NULL"
_FIND = (
    f"SELECT id, outcome, missed_count FROM runs WHERE {_AHEAD} "  # noqa: S608 - our own text
    "AND started_at IS NULL"
)
_FIND_OWN = (
    f"SELECT slot FROM runs WHERE {_OF_TASK} "  # noqa: S608 - as above
    "AND slot > :after AND slot <= :until AND coalesce(missed_count, 1) = 1"
)
_KEEP = "UPDATE runs SET slot = ?, at = ?, missed_count = ? WHERE id = ?"
_TAKE_SLOTS = f"UPDATE runs SET slot = NULL WHERE {_BEGUN}"  # noqa: S608 - as above
_TAKE_SLOTS_OF_ATTEMPTS = (
    f"UPDATE runs SET slot = NULL WHERE run IN (SELECT id FROM runs WHERE {_BEGUN})"  # noqa: S608 - as above
)
_RESET_LIFE = (
    "UPDATE tasks SET last_slot = min(coalesce(last_slot, :since), :since), "
    "declared_at = min(declared_at, :since), ended_at = min(ended_at, :since) "
    "WHERE key = :task"
)
