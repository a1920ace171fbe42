"""What the lives of a task say: about the slots since then, and to who asks."""

from __future__ import annotations

import contextlib
import math
import sqlite3
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from ipycron.runlog import file
from ipycron.runlog.presence import Presence, find_own_presence, is_gone
from ipycron.runlog.reading import ask
from ipycron.runlog.store import BUSY_TIMEOUT, to_text

if TYPE_CHECKING:
    from pathlib import Path


class LastLife(msgspec.Struct, frozen=True, kw_only=True):
    """An earlier life of a task's name; instants are Unix seconds.

    Attributes:
        key: the life's.
        task_id: the task's id in its process.
        origin: the notebook or script that declared it; None if unknown.
        schedule: the text that decides its slots.
        declared_at: when it was declared.
        last_slot: the newest slot that has a row; None if none has. Every slot since
            then, or since `declared_at`, was neither run nor counted as missed.
        ended_at: when it ended; None if it did not, or not by itself.
        end: ``"stopped"``, ``"destroyed"``, ``"shutdown"``, or None.
        is_alive: whether its process is still there, as far as is known, and goes on
            writing: the slots are that life's own.
    """

    key: str
    task_id: str
    origin: str | None
    schedule: str
    declared_at: float
    last_slot: float | None
    ended_at: float | None
    end: str | None
    is_alive: bool

    @property
    def since(self) -> float:
        """The instant after which its slots are not settled."""
        return max(self.declared_at, self.last_slot or self.declared_at)


def find_last_lives(
    path: Path, name: str, origin: str | None, *, besides: str | None = None
) -> list[LastLife]:
    """Return the lives of that name before this one, the newest first, at most 50.

    Args:
        path: the history's file; there need not be one.
        name: the task's name.
        origin: the notebook or script that declares it now. Lives of another one are
            other tasks; where one of the two is unknown, the name decides.
        besides: the key of this life, if it may be in the file already.

    Raises:
        HistoryError: if the file cannot be read: another program's, or damaged.
    """
    try:
        connection = file.connect_to_read(path, busy=BUSY_TIMEOUT)
    except FileNotFoundError:
        return []
    except (sqlite3.Error, OSError) as error:
        raise file.explain(path, error) from error
    values = {
        "name": to_text(name),
        "origin": None if origin is None else to_text(origin),
        "besides": besides,
    }
    try:
        with contextlib.closing(connection):
            rows = connection.execute(_LAST, values).fetchall()
    except sqlite3.Error as error:
        raise file.explain(path, error) from error
    return [_make_life(*row) for row in rows]


def find_since(lives: list[LastLife], *, catches_up: bool) -> float:
    """Return the instant after which a task's slots are not settled, Unix seconds.

    That is the newest slot that has a row. A life that was killed before any of its
    slots had one may have owed those since the life before it, and still owes them.

    Args:
        lives: of one task, the newest first; at least one.
        catches_up: whether slots after a clean end are owed, too.
    """
    last, since = lives[0], lives[0].since
    for life in lives:
        if life is not last and not _goes_on(life, last, catches_up=catches_up):
            break
        since = life.since
        if life.last_slot is not None:
            break
    return since


def _goes_on(life: LastLife, last: LastLife, *, catches_up: bool) -> bool:
    """Return whether what an earlier life has left open was left to the last one."""
    if life.schedule != last.schedule or life.is_alive:
        return False
    return life.end is None or (life.end == "shutdown" and catches_up)


class KnownLife(msgspec.Struct, frozen=True, kw_only=True):
    """A life of a task's name, as anybody may ask for it; instants are Unix seconds.

    Attributes:
        pattern: its schedule's text.
        zone: the name of its time zone.
        facts: as `TaskRow.facts`.
        declared_at: when it was declared.
        last_slot: the newest slot that has a row, or None.
        ended_at: when it was over, or was found to be; None while it goes on.
        end: ``"stopped"``, ``"destroyed"``, ``"shutdown"``, ``"vanished"``, or None.
        host: of its process.
        pid: of its process.
    """

    pattern: str
    zone: str
    facts: str | None
    declared_at: float
    last_slot: float | None
    ended_at: float | None
    end: str | None
    host: str | None
    pid: int | None


def find_life(path: Path, name: str, at: float | None = None) -> KnownLife | None:
    """Return the newest life of a name, or the one that an instant belongs to.

    That is the newest that was declared by then, else the first one.

    Raises:
        HistoryError: if the file cannot be read.
    """
    return ask(path, partial(_read_life, name=name, at=at))


def _read_life(
    connection: sqlite3.Connection, name: str, at: float | None
) -> KnownLife | None:
    columns = {row[1] for row in connection.execute("PRAGMA table_info(tasks)")}
    facts = "facts" if "facts" in columns else "NULL"
    row = connection.execute(
        f"SELECT pattern, zone, {facts}, declared_at, last_slot, ended_at, ending, "  # noqa: S608 - ours
        "host, boot, pid, started, ended, vanished "
        "FROM tasks LEFT JOIN writers ON writers.id = tasks.writer "
        "WHERE name = :name ORDER BY declared_at <= :at DESC, "
        "CASE WHEN declared_at <= :at THEN -declared_at ELSE declared_at END LIMIT 1",
        {"name": to_text(name), "at": math.inf if at is None else at},
    ).fetchone()
    return None if row is None else _make_known(*row)


def _make_known(*row: Any) -> KnownLife:
    pattern, zone, facts, declared_at, last_slot, ended_at, end = row[:7]
    host, boot, pid, started, closed, vanished = row[7:]
    if end is None and closed is not None:
        ended_at, end = closed, "shutdown"
    elif end is None and (vanished is not None or host is None):
        ended_at, end = vanished, "vanished"
    elif end is None:
        there = Presence(host=host, boot=boot, pid=pid, started=started)
        end = "vanished" if is_gone(there, find_own_presence()) else None
    return KnownLife(
        pattern=pattern,
        zone=zone,
        facts=facts,
        declared_at=declared_at,
        last_slot=last_slot,
        ended_at=ended_at,
        end=end,
        host=host,
        pid=pid,
    )


_LAST = """
    SELECT key, task_id, origin, schedule, declared_at, last_slot, ended_at, ending,
        host, boot, pid, started, ended, vanished
    FROM tasks LEFT JOIN writers ON writers.id = tasks.writer
    WHERE name = :name AND key IS NOT :besides
    AND (origin IS NULL OR :origin IS NULL OR origin = :origin)
    ORDER BY declared_at DESC, tasks.rowid DESC LIMIT 50
"""


def _make_life(
    *row: str | float | None,
) -> LastLife:
    said, (host, boot, pid, started, ended, vanished) = row[:8], row[8:]
    is_over = row[7] is not None or ended is not None or vanished is not None
    is_alive = False
    if not is_over and host is not None:
        facts = {"host": host, "boot": boot, "pid": pid, "started": started}
        is_alive = not is_gone(msgspec.convert(facts, Presence), find_own_presence())
    names = LastLife.__struct_fields__
    return LastLife(**dict(zip(names, (*said, is_alive), strict=True)))  # type: ignore[arg-type]
