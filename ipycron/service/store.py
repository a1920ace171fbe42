"""The store: what the service keeps, on the disk, so that it outlives the service.

One SQLite file for the tasks and a folder for the payloads of their jobs, each file
named by the hash of its content. A task is written in one transaction, after its
payload: whenever the process is killed, the store holds the old task or the new one.
The payload of a task that is gone is removed with it; what a kill has left of one, by
`collect`.

Used by one thread at a time, of the process that holds the service's lock.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import sqlite3
import stat
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from ipycron.errors import ServiceError
from ipycron.process.service.paths import make_private
from ipycron.process.service.protocol import Declaration
from ipycron.process.wire.payload import INLINE_BYTES, Payload
from ipycron.runlog.file import COMPANIONS, Identity, identify
from ipycron.runlog.filesystem import is_network
from ipycron.scheduling.events import (
    Pause,  # noqa: TC001 - msgspec reads the annotations
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ipycron.process.service.paths import Places

APPLICATION_ID = 0x69706B74
"""What SQLite's header says: "ipkt", for kept tasks."""

MIGRATIONS = (
    """
    CREATE TABLE tasks (
        position INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL UNIQUE,
        declaration BLOB NOT NULL,
        payload TEXT,
        state BLOB NOT NULL
    );
    CREATE TABLE pools (name TEXT PRIMARY KEY, pool_limit INTEGER NOT NULL);
    CREATE TABLE marks (name TEXT PRIMARY KEY, instant REAL NOT NULL)
    """,
)
"""What makes each version of the file from the one before, in order. Never changed."""
VERSION = len(MIGRATIONS)

MAX_PAYLOAD_BYTES = 1 << 30
"""The largest payload that is kept: a cell's variables."""
_PIECE = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_POOL = ""
"""Stands for the pool without a name, which no pool can be called."""


class KeptState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a task must know again after its service was restarted.

    Stored by field names: an older file lacks the newer fields, and what a newer one
    adds without another schema is in `extra`.

    Attributes:
        is_started: whether its schedule is armed; False after a stop.
        pause: its pause, None if it is not paused.
        runs_left: scheduled runs left under `max_executions`; None without a limit.
        error: why it failed for good, in one line; "" if it has not.
        extra: further state, by name: incidents, for example.
    """

    is_started: bool = True
    pause: Pause | None = None
    runs_left: int | None = None
    error: str = ""
    extra: dict[str, Any] = {}


class StoredTask(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the store.

    Attributes:
        declaration: None if it cannot be read; then `error` says why.
        payload: the name of its payload's file; None without a payload.
    """

    id: str
    name: str
    declaration: Declaration | None
    payload: str | None
    state: KeptState
    error: str = ""


class Store:
    """The open store; see the module.

    Raises:
        ServiceError: from every method, if the file cannot be used: says why, and what
            to do. Nothing is half written then.
    """

    def __init__(self, places: Places) -> None:
        self._places = places
        make_private(places.folder)
        make_private(places.payloads)
        with self._explaining():
            self._connection = _open(places.store)
        try:
            with self._explaining():
                _prepare(self._connection, places.store)
        except BaseException:
            self._connection.close()
            raise
        self._identity: Identity = identify(places.store)
        self._added: Counter[str | None] = Counter()  # not released

    def close(self) -> None:
        """Close the file. May be repeated."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()

    def load(self) -> list[StoredTask]:
        """Return all tasks, in the order of their declaration."""
        with self._explaining():
            rows = self._connection.execute(
                "SELECT id, name, declaration, payload, state FROM tasks "
                "ORDER BY position"
            ).fetchall()
        return [_read_task(*row) for row in rows]

    def find(self, task_id: str) -> StoredTask | None:
        """Return a task; None if it is not kept."""
        with self._explaining():
            row = self._connection.execute(
                "SELECT id, name, declaration, payload, state FROM tasks WHERE id = ?",
                (task_id,),
            ).fetchone()
        return None if row is None else _read_task(*row)

    def put(
        self, declaration: Declaration, payload: str | None, state: KeptState
    ) -> None:
        """Keep a task in place of the one with its name, whole or not at all.

        The payload is from `add_payload`; that of the earlier task is removed.
        """
        register = declaration.register
        packed = _pack(declaration)
        with self._changing():
            values = register.name, register.task_id
            query = "SELECT payload FROM tasks WHERE name = ? OR id = ?"
            dropped = self._connection.execute(query, values).fetchall()
            self._connection.execute(
                "DELETE FROM tasks WHERE name = ? OR id = ?", values
            )
            self._connection.execute(
                "INSERT INTO tasks (id, name, declaration, payload, state) "
                "VALUES (?, ?, ?, ?, ?)",
                (register.task_id, register.name, packed, payload, _pack(state)),
            )
        self._drop(*dropped)

    def change(self, declaration: Declaration) -> None:
        """Change a task in its place: it has another schedule."""
        with self._changing():
            self._connection.execute(
                "UPDATE tasks SET declaration = ? WHERE id = ?",
                (_pack(declaration), declaration.register.task_id),
            )

    def save(self, states: dict[str, KeptState]) -> None:
        """Save the states of tasks, by id; those that are gone are left out."""
        with self._changing():
            self._connection.executemany(
                "UPDATE tasks SET state = ? WHERE id = ?",
                [(_pack(state), task_id) for task_id, state in states.items()],
            )

    def remove(self, task_id: str) -> None:
        """Keep a task no longer, nor its payload. Idempotent."""
        with self._changing():
            query = "SELECT payload FROM tasks WHERE id = ?"
            dropped = self._connection.execute(query, (task_id,)).fetchall()
            self._connection.execute("DELETE FROM tasks WHERE id = ?", (task_id,))
        self._drop(*dropped)

    def read_pools(self) -> dict[str | None, int]:
        """Return the limits of pools, by name; None is that of tasks without one."""
        with self._explaining():
            rows = self._connection.execute("SELECT name, pool_limit FROM pools")
            return {name or None: limit for name, limit in rows}

    def put_pool(self, name: str | None, limit: int | None) -> None:
        """Keep the limit of a pool; None: it has none."""
        key = name or _NO_POOL
        with self._changing():
            self._connection.execute("DELETE FROM pools WHERE name = ?", (key,))
            if limit is not None:
                values = key, limit
                self._connection.execute("INSERT INTO pools VALUES (?, ?)", values)

    def put_mark(self, name: str, instant: float) -> None:
        """Note when something happened, Unix seconds."""
        with self._changing():
            values = name, instant
            self._connection.execute("REPLACE INTO marks VALUES (?, ?)", values)

    def read_mark(self, name: str) -> float | None:
        """Return when that happened last; None if it has not."""
        query = "SELECT instant FROM marks WHERE name = ?"
        with self._explaining():
            row = self._connection.execute(query, (name,)).fetchone()
        return None if row is None else float(row[0])

    # --- payloads -------------------------------------------------------------------

    def add_payload(self, payload: Payload) -> str | None:
        """Write a payload to the disk; return its name, None if it is empty.

        Returns once it is safe there: the task that refers to it comes later, and until
        `release_payload` it stays there without one.

        Raises:
            ServiceError: also if the payload is too large, or was lost on its way.
        """
        if payload.loss is not None:
            raise ServiceError(
                reason=f"the variables of the job were lost: {payload.loss}"
            )
        if not payload.size:
            return None
        if payload.size > MAX_PAYLOAD_BYTES:
            raise ServiceError(
                reason=f"the variables of the job have {payload.size:,} bytes, at most "
                f"{MAX_PAYLOAD_BYTES:,} are kept. Put what is large into a file"
            )
        folder = self._places.payloads
        make_private(folder)
        draft = folder / f"draft-{os.getpid()}"
        with self._explaining():
            try:
                name = _write_payload(draft, payload)
                draft.rename(folder / name)
            finally:
                draft.unlink(missing_ok=True)
            _sync_folder(folder)
        self._added[name] += 1
        return name

    def release_payload(self, name: str | None) -> None:
        """Remove an added payload if no task has come to refer to it."""
        self._added[name] -= 1
        if self._added[name] < 1:
            del self._added[name]
        self._drop((name,))

    def _drop(self, *rows: tuple[str | None]) -> None:
        """Remove the payloads of rows that are gone: they may hold secrets.

        One that another task has, or is about to have, stays. One that cannot be
        removed now is removed when the service starts (`collect`).
        """
        for (name,) in rows:
            if name is None or self._added[name] > 0:
                continue
            query = "SELECT 1 FROM tasks WHERE payload = ?"
            with contextlib.suppress(OSError, sqlite3.Error):
                if self._connection.execute(query, (name,)).fetchone() is None:
                    (self._places.payloads / name).unlink(missing_ok=True)

    def read_payload(self, name: str | None) -> Payload:
        """Return a payload; a large one as a descriptor of its file.

        Raises:
            ServiceError: if the file is gone or is not what it was.
        """
        if name is None:
            return Payload()
        with self._explaining(self._places.payloads / name):
            descriptor = os.open(
                self._places.payloads / name, os.O_RDONLY | os.O_CLOEXEC
            )
        payload = Payload(fd=descriptor)
        if _hash(payload) != name:
            payload.close()
            raise ServiceError(
                reason=f"{self._places.payloads / name} was changed or is damaged. "
                "Declare the task again"
            )
        if payload.size <= INLINE_BYTES:
            payload.settle()
        return payload

    def collect(self) -> None:
        """Remove payloads that no task refers to, such as those of a killed declare.

        What cannot be removed stays until the next start: tasks run beside it.
        """
        with self._explaining():
            rows = self._connection.execute("SELECT DISTINCT payload FROM tasks")
            used = {name for (name,) in rows}
            for file in self._places.payloads.iterdir():
                if file.name not in used:
                    with contextlib.suppress(OSError):
                        file.unlink()

    # --- errors ---------------------------------------------------------------------

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Make one transaction of the block; none of it is there after an error."""
        with self._explaining():
            self._check_place()
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def _check_place(self) -> None:
        """Check that the file is still the one that was opened; write it again if not.

        A file that was deleted lives on, unseen, until it is closed.
        """
        found = identify(self._places.store)
        if found == self._identity:
            return
        if found is not None:
            raise ServiceError(
                reason=f"{self._places.store} was replaced by another file while it "
                "was in use. Remove that; the service writes its own again"
            )
        make_private(self._places.folder)
        for suffix in COMPANIONS:
            self._places.store.with_name(self._places.store.name + suffix).unlink(
                missing_ok=True
            )
        copy = self._places.store.with_name("service.sqlite-copy")
        copy.unlink(missing_ok=True)
        _create(copy)
        self._connection.execute("VACUUM INTO ?", (str(copy),))
        copy.rename(self._places.store)
        self._connection.close()
        self._connection = _open(self._places.store)
        _prepare(self._connection, self._places.store)
        self._identity = identify(self._places.store)

    @contextlib.contextmanager
    def _explaining(self, path: Path | None = None) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise explain(path or self._places.store, error) from error


def explain(path: Path, error: Exception) -> ServiceError:
    """Return what an error of SQLite or of the system means, and what to do."""
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    number = getattr(error, "errno", None)
    what = getattr(error, "strerror", None) or str(error)
    advice = "Check the folder and its disk"
    if code == sqlite3.SQLITE_FULL or number in _FULL:
        advice = "The disk is full: free some space, then repeat it"
    elif code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        advice = (
            "The file is damaged, and is left as it is: restore it from a backup, or "
            "rename it to begin without tasks"
        )
    elif code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN) or number in (
        errno.EACCES,
        errno.EROFS,
        errno.EPERM,
    ):
        advice = "It needs a folder that this user may write to"
    elif number == errno.ENOENT:
        advice = "It was deleted: declare the task again"
    return ServiceError(reason=f"{path}: {what}. {advice}")


def _pack(value: msgspec.Struct) -> bytes:
    return msgspec.msgpack.encode(value)


def _read_task(
    task_id: str, name: str, packed: bytes, payload: str | None, state: bytes
) -> StoredTask:
    """Return a row as a task: what a later or earlier version cannot read is failed."""
    declaration, kept, error = None, KeptState(), ""
    try:
        kept = msgspec.msgpack.decode(state, type=KeptState)
        declaration = msgspec.msgpack.decode(packed, type=Declaration)
    except (msgspec.MsgspecError, ValueError, TypeError) as failure:
        error = (
            "it was declared by another version of ipycron, which this one cannot "
            f"read ({failure}). Declare it again"
        )
    return StoredTask(
        id=task_id,
        name=name,
        declaration=declaration,
        payload=payload,
        state=kept,
        error=error,
    )


def _open(path: Path) -> sqlite3.Connection:
    _create(path)
    return sqlite3.connect(
        f"{path.as_uri()}?mode=rw",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=5.0,
    )


def _create(path: Path) -> None:
    """Make an empty file for this user only, or take its permissions for others away.

    Raises:
        ServiceError: if it is no file, or another user's.
    """
    with contextlib.suppress(FileExistsError):
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
        os.close(os.open(path, flags, 0o600))
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
        raise ServiceError(reason=f"{path} is no file of this user. Remove it")
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        path.chmod(0o600)


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the file up to date; raise `ServiceError` if it is not this version's."""
    owner = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if owner != APPLICATION_ID and (owner or version or tables):
        raise ServiceError(
            reason=f"{path} is the database of another program, and is left as it is. "
            "Remove it"
        )
    if version > VERSION:
        raise ServiceError(
            reason=f"{path} was written by a newer ipycron (schema {version}, expected "
            f"at most {VERSION}), and is left as it is. Upgrade ipycron"
        )
    if version < VERSION:
        _migrate(connection, version)
    mode = "delete" if is_network(path.parent) else "wal"
    connection.execute(f"PRAGMA journal_mode = {mode}")
    # A task that the service has confirmed must be there after a power failure.
    connection.execute("PRAGMA synchronous = full")
    # A declaration has an environment: what is removed must not stay in a free page.
    connection.execute("PRAGMA secure_delete = on")


def _migrate(connection: sqlite3.Connection, version: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for script in MIGRATIONS[version:]:
            for statement in script.split(";"):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _write_payload(path: Path, payload: Payload) -> str:
    """Write a payload, wait until it is on the disk, return its hash."""
    digest = hashlib.sha256()
    flags = os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        for piece in _read(payload):
            digest.update(piece)
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _read(payload: Payload) -> Iterator[bytes]:
    """Return a payload's bytes piece by piece: it may be larger than the memory."""
    if payload.fd is None:
        yield bytes(payload.data)
        return
    at = 0
    while at < payload.size:
        piece = os.pread(payload.fd, min(_PIECE, payload.size - at), at)
        if not piece:
            raise ServiceError(reason="the sender has cut the job's variables short")
        at += len(piece)
        yield piece


def _hash(payload: Payload) -> str:
    digest = hashlib.sha256()
    for piece in _read(payload):
        digest.update(piece)
    return digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    """Have the names in a folder written, too; some file systems cannot."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
