"""The history's file, as one process writes it: a batch of changes at a time."""

from __future__ import annotations

import contextlib
import sqlite3
import uuid
from typing import TYPE_CHECKING, Any

import msgspec

from ipycron.errors import HistoryError
from ipycron.runlog import file
from ipycron.runlog.moving import hand_over
from ipycron.runlog.presence import Presence, find_own_presence, is_gone
from ipycron.runlog.recounting import forget_after
from ipycron.runlog.resuming import take_back
from ipycron.runlog.rows import (
    OPEN,
    Moved,
    Moving,
    Resumed,
    RunOutcome,
    RunRow,
    TaskEnd,
    TaskRow,
)
from ipycron.scheduling.plan import Recounted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from ipycron.runlog.rows import Change

BUSY_TIMEOUT = 0.25
"""Seconds to wait for another process's transaction in one attempt."""

VANISHED = "the process that ran it vanished"
"""The error of a run that was open when its process ended without saying so."""

_REFUSED = (
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    OverflowError,
    TypeError,
)
"""What SQLite raises for a row that it could never store, such as a number that is none
or one of more than 64 bits. The other rows of the batch are stored."""


def make_writer() -> str:
    """Return an id for a new writer."""
    return uuid.uuid4().hex


def open_store(
    path: Path, *, now: float, tell: Callable[[str], None], writer: str | None = None
) -> Store:
    """Open the file; set a corrupt one aside, say so and begin a new one.

    Args:
        path: absolute; created if missing.
        now: Unix seconds.
        tell: called with a line for the user.
        writer: as `Store`.

    Raises:
        HistoryError, sqlite3.Error, OSError: as `Store`.
    """
    identity = file.identify(path)
    try:
        return Store(path, now=now, writer=writer)
    except sqlite3.DatabaseError as error:
        if not file.is_corrupt(error):
            raise
        begin_anew(path, identity, now=now, tell=tell)
        return Store(path, now=now, writer=writer)


def begin_anew(
    path: Path, identity: file.Identity, *, now: float, tell: Callable[[str], None]
) -> None:
    """Set a corrupt file aside, unless another process has, and say so."""
    aside = file.set_aside(path, identity, now)
    if aside is not None:
        tell(
            f"history: {file.show(path)} was damaged. It is now {file.show(aside)}, "
            "and a new one is begun."
        )


def has_lost(connection: sqlite3.Connection) -> bool:
    """Return whether rows are open whose writers have ended, of which few are left."""
    try:
        found = connection.execute(_OPEN_WRITERS).fetchall()
    except sqlite3.OperationalError:
        return False  # a newer version's tables
    own = find_own_presence() if found else None
    return own is not None and any(
        is_over
        or is_gone(Presence(host=host, boot=boot, pid=pid, started=started), own)
        for host, boot, pid, started, is_over in found
    )


def close_lost(path: Path, now: float) -> None:
    """Close the rows that vanished processes have left open, if that is possible."""
    with (
        contextlib.suppress(HistoryError, sqlite3.Error, OSError),
        contextlib.closing(Store(path, now=now)) as store,
    ):
        store.end(now)


class Store:
    """The file, open for writing as one of its writers.

    For one thread at a time. Opening it also closes what vanished processes have left
    open.

    Args:
        path: absolute; created if missing.
        now: Unix seconds.
        writer: the id of a writer of this process that has had the file open before;
            None for a new one.
        busy: seconds to wait for another process's transaction, each time.

    Attributes:
        path: the file.
        identity: which file it was when it was opened.
        is_new: whether this writer has never had this file open before.
        writer: this writer's id.
        connection: in autocommit mode, for who keeps or reads the same file.

    Raises:
        HistoryError: if it cannot be written to, and trying again would not help.
        sqlite3.Error, OSError: if it cannot be used now. `file.explain` says why.
    """

    def __init__(
        self,
        path: Path,
        *,
        now: float,
        writer: str | None = None,
        busy: float = BUSY_TIMEOUT,
    ) -> None:
        self.path = path
        self._log_path = f"{path}-wal"
        self.writer = writer or make_writer()
        self._presence = find_own_presence()
        self.connection, self.identity = file.connect_to_write(path, busy=busy)
        try:
            self._check_columns()
            with self.transaction():
                self.is_new = self._enter(now)
                self._mark_lost(now)
            self._log = self._identify_log()
        except BaseException:
            self.connection.close()
            raise

    @property
    def is_current(self) -> bool:
        """Whether the paths still name the file that is open, and its log.

        Without its log, what is written is nowhere until the file is closed.
        """
        is_same = file.identify(self.path) == self.identity
        return is_same and self._identify_log() == self._log

    def _identify_log(self) -> file.Identity:
        return file.identify(self._log_path)

    def apply(self, changes: Sequence[Change]) -> int:
        """Write a batch in one transaction; return how many of it were refused.

        A row replaces an earlier one with the same id, but what it does not say (None)
        stays. A closed row is never opened again, and its outcome only changes from
        `lost` to what it really was.

        Raises:
            sqlite3.Error: if nothing of it was written.
        """
        refused = 0
        slots: dict[str, float] = {}
        with self.transaction():
            for change in changes:
                if type(change) is Recounted:
                    self._remember_slots(slots)  # which it takes back
                try:
                    self._write(change)
                except _REFUSED:
                    refused += 1
                    continue
                if type(change) is RunRow:
                    slot = self._find_slot(change)
                    if slot is not None:
                        slots[change.task] = max(slots.get(change.task, slot), slot)
            self._remember_slots(slots)
        return refused

    def _remember_slots(self, slots: dict[str, float]) -> None:
        for task, slot in slots.items():
            self._execute(_REMEMBER_SLOT, [slot, slot, task])
        slots.clear()

    def end(self, now: float) -> None:
        """Say that this writer has ended, and that nothing of it is missing."""
        with self.transaction():
            statement = "UPDATE writers SET ended = ? WHERE id = ?"
            self.connection.execute(statement, (now, self.writer))

    def close(self) -> None:
        """Close the connection. May be called twice."""
        self.connection.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold the file's write lock, and write all or nothing."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.connection.execute("COMMIT")
        except BaseException:
            # SQLite ends it by itself after some errors, such as a full disk.
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise

    def _write(self, change: Change) -> None:
        if type(change) is RunRow:
            values = list(msgspec.structs.astuple(change))
            values[_OUTCOME] = change.outcome.value
            self._execute(_PUT_RUN, [*values, self.writer, change.task])
        elif type(change) is Resumed:
            take_back(self.connection, change)
        elif type(change) is Moving:
            hand_over(self.connection, change)
        elif type(change) is Recounted:
            forget_after(self.connection, change)
        elif type(change) is Moved:
            for run in change.runs:
                self._execute(_DELETE_MOVED, [run, self.writer])
                self._execute(_DELETE_ATTEMPTS, [run, self.writer])
        elif type(change) is TaskRow:
            self._execute(_PUT_TASK, [*msgspec.structs.astuple(change), self.writer])
        elif type(change) is TaskEnd:
            at = None if change.end is None else change.at
            self._execute(_END_TASK, [at, change.end, change.key])
        else:
            raise TypeError(change)

    def _find_slot(self, row: RunRow) -> float | None:
        """Return the slot that a row says was reached, as it is in the file.

        A run may end after a recount (C3), which has taken its slot from it.
        """
        if row.slot is None or row.run is not None or row.trigger == "backfill":
            return None
        found = self.connection.execute(_FIND_SLOT, [to_text(row.id)]).fetchone()
        return None if found is None else found[0]

    def _execute(self, statement: str, values: list[Any]) -> None:
        try:
            self.connection.execute(statement, values)
        except UnicodeEncodeError:
            self.connection.execute(
                statement, [to_text(v) if isinstance(v, str) else v for v in values]
            )

    def _check_columns(self) -> None:
        """Raise `Damaged` if a table is not as we have made it."""
        for statement in (_PUT_RUN, _PUT_TASK, _END_TASK, _REMEMBER_SLOT):
            try:
                self.connection.execute("EXPLAIN " + statement)
            except sqlite3.ProgrammingError:
                continue  # there are no values for it: everything else is right
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_ERROR:
                    raise
                raise file.Damaged(str(error)) from error

    def _enter(self, now: float) -> bool:
        own = self._presence
        entered = self.connection.execute(
            "INSERT INTO writers (id, host, boot, pid, started, since) "
            "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
            (self.writer, own.host, own.boot, own.pid, own.started, now),
        )
        return entered.rowcount == 1

    def _mark_lost(self, now: float) -> None:
        """Close the rows of writers that have ended without doing it."""
        present = self.connection.execute(
            "SELECT id, host, boot, pid, started FROM writers "
            "WHERE ended IS NULL AND vanished IS NULL AND id != ?",
            (self.writer,),
        ).fetchall()
        for name, host, boot, pid, started in present:
            other = Presence(host=host, boot=boot, pid=pid, started=started)
            if is_gone(other, self._presence):
                statement = "UPDATE writers SET vanished = ? WHERE id = ?"
                self.connection.execute(statement, (now, name))
        self.connection.execute(_LOSE, (VANISHED,))


def to_text(text: str) -> str:
    """Return text that SQLite can store: lone surrogates become their escapes.

    Texts that are compared with stored ones, such as a name to look for, are passed
    through this as well.
    """
    return text.encode(errors="backslashreplace").decode()


def _list(values: frozenset[RunOutcome]) -> str:
    return ", ".join(f"'{value}'" for value in sorted(values))


def _make_upsert(table: str, kind: type[msgspec.Struct], rest: dict[str, str]) -> str:
    """Return the statement that inserts a struct, or updates what it says.

    Args:
        table: the table; its key is the struct's first field.
        kind: the struct, whose fields are columns.
        rest: further columns and their values' expressions.
    """
    fields = [f.encode_name for f in msgspec.structs.fields(kind)]
    columns = [*fields, *rest]
    values = [*["?"] * len(fields), *rest.values()]
    changes = [f"{c} = coalesce(excluded.{c}, {table}.{c})" for c in columns[1:]]
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) "  # noqa: S608 - our own names
        f"VALUES ({', '.join(values)}) "
        f"ON CONFLICT ({fields[0]}) DO UPDATE SET {', '.join(changes)}"
    )


_OUTCOME = RunRow.__struct_fields__.index("outcome")
_PUT_TASK = _make_upsert("tasks", TaskRow, {"writer": "?"})
_NAME = "coalesce((SELECT name FROM tasks WHERE key = ?), '')"
_PUT_RUN = (
    _make_upsert("runs", RunRow, {"writer": "?", "name": _NAME})
    # A recount takes a run's slot from it, and its end does not bring it back.
    .replace("slot = coalesce(excluded.slot, runs.slot)", "slot = runs.slot")
    .replace("coalesce(excluded.name,", "coalesce(nullif(excluded.name, ''),")
    # Only what a lost run really became may say that there was no error.
    .replace(
        "error = coalesce(excluded.error, runs.error)",
        f"error = coalesce(excluded.error, nullif(runs.error, '{VANISHED}'))",
    )
    + f" WHERE runs.outcome IN ({_list(OPEN)}) OR runs.outcome = excluded.outcome "
    f"OR runs.outcome = 'lost' AND excluded.outcome NOT IN ({_list(OPEN)})"
)
_OPEN_WRITERS = (
    "SELECT host, boot, pid, started, coalesce(ended, vanished) IS NOT NULL "  # noqa: S608 - as above
    "FROM writers WHERE EXISTS (SELECT 1 FROM runs WHERE writer = writers.id "
    f"AND outcome IN ({_list(OPEN)}))"
)
_DELETE_MOVED = (
    "DELETE FROM runs WHERE id = ? AND writer = ? "  # noqa: S608 - as above
    f"AND outcome IN ({_list(OPEN)})"
)
_DELETE_ATTEMPTS = "DELETE FROM runs WHERE run = ? AND writer = ?"
_FIND_SLOT = "SELECT slot FROM runs WHERE id = ?"
_END_TASK = "UPDATE tasks SET ended_at = ?, ending = ? WHERE key = ?"
_REMEMBER_SLOT = (
    "UPDATE tasks SET last_slot = max(coalesce(last_slot, ?), ?) WHERE key = ?"
)
_LOSE = (
    f"UPDATE runs SET outcome = 'lost', error = ? WHERE outcome IN ({_list(OPEN)}) "  # noqa: S608 - as above
    "AND writer IN (SELECT id FROM writers "
    "WHERE ended IS NOT NULL OR vanished IS NOT NULL)"
)
