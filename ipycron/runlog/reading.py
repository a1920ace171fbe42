"""Reads the history. Each question has a connection of its own, and a short one.

Readers open the file read-only: they never create it, and never wait for a writer or
delay one. Only if vanished processes have left rows open does a reader first close
these, as whoever writes would. A file of a newer version of ipycron is read as far as
its columns are known.
"""

from __future__ import annotations

import heapq
import math
import sqlite3
from contextlib import closing
from functools import partial
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec

from ipycron.cron.zone import FIRST_INSTANT, LAST_INSTANT
from ipycron.errors import HistoryError
from ipycron.runlog.file import connect_to_read, is_corrupt
from ipycron.runlog.ids import split_id
from ipycron.runlog.records import RunRecord
from ipycron.runlog.rows import RunOutcome
from ipycron.runlog.schema import VERSION
from ipycron.runlog.store import close_lost, has_lost, to_text
from ipycron.scheduling.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

T = TypeVar("T")

before_reading: list[Callable[[], None]] = []
"""Called before each question: this process's writers put their rows on the disk."""

_PATIENCE = 5.0
"""Seconds to wait for a lock: only where the file has a rollback journal is there one
to wait for, while a writer commits."""
_GAPS = 10
"""Rows for several slots of which one may be asked for: each has its kind."""
_LAST_CHARACTER = "\U0010ffff"

_COLUMNS = (
    ("runs", "id"),
    ("runs", "name"),
    ("tasks", "task_id"),
    ("tasks", "origin"),
    ("tasks", "kind"),
    ("tasks", "pattern"),
    ("tasks", "zone"),
    ("runs", "at"),
    ("runs", "slot"),
    ("runs", "trigger"),
    ("runs", "outcome"),
    ("runs", "attempt"),
    ("runs", "attempts"),
    ("runs", "started_at"),
    ("runs", "finished_at"),
    ("runs", "missed_count"),
    ("runs", "error_type"),
    ("runs", "error"),
    ("runs", "traceback"),
    ("runs", "exit_code"),
    ("runs", "signal"),
    ("runs", "pid"),
    ("writers", "host"),
    ("runs", "cpu_seconds"),
    ("runs", "peak_memory"),
    ("runs", "summary"),
    ("runs", "output"),
    ("runs", "output_left_out"),
    ("tasks", "code_hash"),
)
"""In the order of `RunRecord`'s fields."""
_AT = _COLUMNS.index(("runs", "at"))
_KNOWN = {str(outcome): outcome for outcome in RunOutcome}


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """A question to the history. Instants are Unix seconds.

    Attributes:
        names: of the tasks; None for all.
        since: the first instant.
        until: the instant after the last one.
        outcomes: which; None for all.
        limit: the number of records; None for all.
    """

    names: tuple[str, ...] | None = None
    since: float | None = None
    until: float | None = None
    outcomes: frozenset[str] | None = None
    limit: int | None = None


class RunState(NamedTuple):
    """How far a run is. `at` is its place in time, Unix seconds."""

    id: str
    at: float
    outcome: str


class SlotOutcomes(NamedTuple):
    """What became of a task's slots.

    Attributes:
        by_slot: the outcome of each slot that has a row of its own; of several rows,
            the newest one's.
        since: rows of slots before this instant may have been deleted, Unix seconds.
    """

    by_slot: dict[int, str]
    since: float


def read_history(path: Path, query: Query) -> list[RunRecord]:
    """Return the runs that a query asks for, the newest first; attempts are not runs.

    Raises:
        HistoryError: if the file cannot be read.
    """
    return ask(path, partial(_read_runs, query=query)) or []


def find_runs(path: Path, name: str, text: str, limit: int) -> list[RunRecord]:
    """Return the runs of a task whose ids are abbreviated so, in the order of ids.

    Args:
        path: the file.
        name: the task's.
        text: as `ids.abbreviate` writes it, or as much of an id as one likes.
        limit: how many at most.
    """
    return ask(path, partial(_find_runs, name=name, text=text, limit=limit)) or []


def read_attempts(path: Path, run_id: str) -> list[RunRecord]:
    """Return the attempts of a run, the first one first; none if it was not retried."""
    return ask(path, partial(_read_attempts, run_id=run_id)) or []


def read_slot(path: Path, name: str, slot: int) -> list[RunRecord]:
    """Return the rows that may be a slot's: its own, or some that stand for several.

    Args:
        path: the file.
        name: the task's.
        slot: Unix seconds.

    Returns:
        Its newest row alone, if it has one. Else the next rows for several slots, of
        which each has the newest of them, the first one first; perhaps none.
    """
    return ask(path, partial(_read_slot, name=name, slot=slot)) or []


def read_states(path: Path, name: str, since: float | None) -> list[RunState]:
    """Return how far the runs of a task are, in no order; fast.

    Args:
        path: the file.
        name: the task's.
        since: the first instant, Unix seconds; None for all.
    """
    return ask(path, partial(_read_states, name=name, since=since)) or []


def read_outcomes(
    path: Path, name: str, first: float, last: float, *, keep_runs: int
) -> SlotOutcomes:
    """Return what became of a task's slots from one instant to another.

    Args:
        path: the file.
        name: the task's.
        first: Unix seconds.
        last: Unix seconds.
        keep_runs: how many rows of a name are kept.
    """
    question = partial(
        _read_outcomes, name=name, first=first, last=last, keep_runs=keep_runs
    )
    return ask(path, question) or SlotOutcomes({}, -math.inf)


def read_by_id(path: Path, ids: Iterable[str]) -> list[RunRecord]:
    """Return the runs with these ids, in no order."""
    return ask(path, partial(_read_by_id, ids=list(ids))) or []


def read_names(path: Path) -> list[str]:
    """Return the names of all tasks in the history, in alphabetical order."""
    return ask(path, _read_names) or []


def flush() -> None:
    """Have this process's own writers put their rows on the disk."""
    for put in before_reading:
        put()


def ask(
    path: Path, read: Callable[[sqlite3.Connection], T], *, is_flushed: bool = True
) -> T | None:
    """Return what `read` reads from the file; None if there is no file yet.

    Args:
        path: the file.
        read: called with a connection for this question alone.
        is_flushed: whether this process's own rows are put on the disk first; without
            it, the last 200 ms may be missing.

    Raises:
        HistoryError: if the file cannot be read.
    """
    if is_flushed:
        flush()
    try:
        return _ask_once(path, read)
    except sqlite3.DatabaseError:
        # It may have been replaced, or set aside, between the opening and the reading.
        try:
            return _ask_once(path, read)
        except sqlite3.DatabaseError as error:
            raise explain_error(path, error) from error


def _ask_once(
    path: Path, read: Callable[[sqlite3.Connection], T], *, is_checked: bool = False
) -> T | None:
    try:
        connection = connect_to_read(path.absolute(), busy=_PATIENCE)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise HistoryError(path=str(path), reason=f"{error.strerror}.") from error
    with closing(connection):
        connection.text_factory = _decode
        if not _has_tables(connection, path):
            return None
        if is_checked or not has_lost(connection):
            return read(connection)
    # Nobody may write again for long, and "running" would not be true until then.
    close_lost(path.absolute(), SystemClock().now())
    return _ask_once(path, read, is_checked=True)


def _decode(data: bytes) -> str:
    return data.decode(errors="replace")


def _has_tables(connection: sqlite3.Connection, path: Path) -> bool:
    """Return whether there are rows to read; False if the file is only just begun.

    Raises:
        HistoryError: if a newer version has written it and nothing is known of it.
    """
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if tables >= {"runs", "tasks", "writers"}:
        return True
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version <= VERSION:
        return False
    raise HistoryError(
        path=str(path),
        reason=f"a newer ipycron has written it (schema {version}, expected at most "
        f"{VERSION}), and this one cannot read it. Upgrade ipycron.",
    )


def explain_error(path: Path, error: sqlite3.DatabaseError) -> HistoryError:
    """Return what an error of SQLite means for who reads, in one line."""
    reason = f"it cannot be read ({error})."
    if is_corrupt(error):
        reason = (
            f"the file is damaged ({error}). The next process that writes to it sets "
            "it aside and begins a new one."
        )
    return HistoryError(path=str(path), reason=reason)


def _read_runs(connection: sqlite3.Connection, query: Query) -> list[RunRecord]:
    conditions = ["runs.run IS NULL"]
    values: list[Any] = []
    for value, condition in ((query.since, ">="), (query.until, "<")):
        if value is not None:
            conditions.append(f"runs.at {condition} ?")
            values.append(value)
    if query.outcomes is not None:
        marks = ", ".join("?" * len(query.outcomes))
        conditions.append(f"runs.outcome IN ({marks})")
        values += sorted(query.outcomes)
    limit = -1 if query.limit is None else query.limit
    order = "ORDER BY runs.at DESC LIMIT ?"
    select = _write_select(connection)
    connection.execute("BEGIN")  # all tasks at the same instant
    if query.names is None:
        text = f"{select} WHERE {' AND '.join(conditions)} {order}"
        return [_make_record(row) for row in connection.execute(text, (*values, limit))]
    # One search for each name comes in order from the index; one for all would sort.
    conditions.append("runs.name = ?")
    text = f"{select} WHERE {' AND '.join(conditions)} {order}"
    found: Iterator[Any] = heapq.merge(
        *(
            connection.execute(text, (*values, to_text(name), limit))
            for name in query.names
        ),
        key=itemgetter(_AT),
        reverse=True,
    )
    return [_make_record(row) for row in islice(found, query.limit)]


def _find_runs(
    connection: sqlite3.Connection, name: str, text: str, limit: int
) -> list[RunRecord]:
    # A whole id is that run, even if others begin with it.
    conditions = ["runs.id = ?", "(runs.id >= ? AND runs.id < ?)"]
    values: list[tuple[str | int, ...]] = [(text,), (text, text + _LAST_CHARACTER)]
    head, number = split_id(text)
    if number:
        conditions[1] += " OR (substr(runs.id, 1, ?) = ? AND substr(runs.id, ?) = ?)"
        values[1] += (len(head), head, -len(number), number)
    for condition, given in zip(conditions, values, strict=True):
        rows = connection.execute(
            f"{_write_select(connection)} WHERE runs.run IS NULL AND runs.name = ? "
            f"AND ({condition}) ORDER BY runs.id LIMIT ?",
            (to_text(name), *given, limit),
        ).fetchall()
        if rows:
            return [_make_record(row) for row in rows]
    return []


def _read_attempts(connection: sqlite3.Connection, run_id: str) -> list[RunRecord]:
    rows = connection.execute(
        f"{_write_select(connection)} WHERE runs.run = ? ORDER BY runs.attempt",
        (run_id,),
    )
    return [_make_record(row) for row in rows]


def _read_slot(connection: sqlite3.Connection, name: str, slot: int) -> list[RunRecord]:
    # A second less: a run may be found to have begun just before its slot.
    head = (
        f"{_write_select(connection)} WHERE runs.run IS NULL AND runs.name = ? "
        "AND runs.at >= ? AND "
    )
    for condition in (
        "runs.slot = ? ORDER BY runs.at DESC LIMIT 1",
        f"runs.slot > ? AND runs.missed_count > 1 ORDER BY runs.slot LIMIT {_GAPS}",
    ):
        values = to_text(name), slot - 1, slot
        rows = connection.execute(head + condition, values).fetchall()
        if rows:
            return [_make_record(row) for row in rows]
    return []


def _read_states(
    connection: sqlite3.Connection, name: str, since: float | None
) -> list[RunState]:
    rows = connection.execute(
        "SELECT id, at, outcome FROM runs WHERE run IS NULL AND name = ? AND at >= ?",
        (to_text(name), FIRST_INSTANT if since is None else since),
    )
    return [RunState(*row) for row in rows]


def _read_outcomes(
    connection: sqlite3.Connection,
    name: str,
    first: float,
    last: float,
    keep_runs: int,
) -> SlotOutcomes:
    connection.execute("BEGIN")  # both at the same instant
    oldest = connection.execute(
        "SELECT at FROM runs WHERE run IS NULL AND name = ? "
        "ORDER BY at DESC LIMIT 1 OFFSET ?",
        (to_text(name), keep_runs - 1),
    ).fetchone()
    # A second less: a run may be found to have begun just before its slot.
    rows = connection.execute(
        "SELECT slot, outcome FROM runs WHERE run IS NULL AND name = ? AND at >= ? "
        "AND slot BETWEEN ? AND ? ORDER BY at",
        (to_text(name), first - 1, first, last),
    )
    by_slot = {int(slot): outcome for slot, outcome in rows}
    return SlotOutcomes(by_slot, -math.inf if oldest is None else oldest[0])


def _read_by_id(connection: sqlite3.Connection, ids: list[str]) -> list[RunRecord]:
    text = f"{_write_select(connection)} WHERE runs.id = ?"
    rows = (connection.execute(text, (run_id,)).fetchone() for run_id in ids)
    return [_make_record(row) for row in rows if row is not None]


def _read_names(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute("SELECT DISTINCT name FROM tasks ORDER BY name")
    return [name for (name,) in rows]


def _write_select(connection: sqlite3.Connection) -> str:
    """Return the beginning of a query; NULL for what the file does not have."""
    there = {
        (table, row[1])
        for table in ("runs", "tasks", "writers")
        for row in connection.execute(f"PRAGMA table_info({table})")
    }
    columns = ", ".join(
        f"{table}.{name}" if (table, name) in there else "NULL"
        for table, name in _COLUMNS
    )
    return (
        f"SELECT {columns} FROM runs "  # noqa: S608 - names of ours
        "LEFT JOIN tasks ON tasks.key = runs.task "
        "LEFT JOIN writers ON writers.id = runs.writer"
    )


def _make_record(row: tuple[Any, ...]) -> RunRecord:
    (
        run_id, name, task_id, origin, kind, pattern, zone, at, slot, trigger, outcome,
        attempt, attempts, started_at, finished_at, *rest,
    ) = row  # fmt: skip
    return RunRecord(
        run_id,
        name,
        task_id or "",
        origin,
        kind or "",
        pattern or "",
        zone or "UTC",
        clean_instant(at) or 0.0,
        clean_instant(slot),
        trigger,
        _KNOWN.get(outcome, outcome),
        attempt,
        attempts,
        clean_instant(started_at),
        clean_instant(finished_at),
        *rest,
    )


def clean_instant(instant: Any) -> float | None:
    """Return an instant that a calendar has, else None: any file may be opened."""
    if isinstance(instant, float) and FIRST_INSTANT < instant < LAST_INSTANT:
        return instant
    return None
