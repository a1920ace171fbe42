"""An SQLite file that many processes and threads of one machine write to."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import stat
import tempfile
import threading
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

from ipycron.errors import CoordinatorError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BUSY_TIMEOUT = 4.0
"""Seconds to wait for the file's lock: less than an election's deadline of 5 s, so that
the answer is SQLite's reason and not a timeout."""

_PAUSE = 0.005
"""Seconds between two attempts when SQLite does not wait by itself."""

_PREPARE = (
    # Readers and the writer do not block each other, and a commit is one append.
    "PRAGMA journal_mode = WAL",
    # No fsync per claim. A process may die at any point; after a power failure the
    # last claims may be gone, but so are their runs, and the file is sound.
    "PRAGMA synchronous = NORMAL",
    """CREATE TABLE IF NOT EXISTS claims (
        key TEXT PRIMARY KEY, owner TEXT NOT NULL, expires_at REAL NOT NULL
    ) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS claims_by_expiry ON claims (expires_at)",
)

_log = logging.getLogger("ipycron")

_Identity = tuple[int, int] | None


class ClaimFile:
    """One statement at a time on the file's table ``claims``, from any thread.

    Holds one connection, opened at the first statement. It is closed before a fork
    and reopened in both processes: a child that has a connection of its parent, or only
    its lock tables, breaks SQLite's locking. It is also reopened when the file was
    removed or replaced; otherwise two processes would claim in two files.

    Args:
        path: absolute. Created if missing, readable by its user only.

    Raises:
        CoordinatorError: if the file cannot be used.

    Source: https://www.sqlite.org/howtocorrupt.html, 2.2 (locks are lost when any
    descriptor of the file is closed), 2.4 (a file is unlinked), 2.6 (fork).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._identity: _Identity = None
        # Re-entrant: a signal handler may fork inside a statement.
        self._lock = threading.RLock()
        self._close_over_fork()
        # Deletes nothing, but succeeds only with write permission.
        self.change("DELETE FROM claims WHERE key IS NULL", {})
        self.close()

    def change(self, statement: str, values: Mapping[str, str | float]) -> int:
        """Execute `statement`, which is its own transaction; return rows changed.

        Raises:
            CoordinatorError: if the file cannot be used now; the next call tries again.
        """
        with self._connected() as connection:
            return connection.execute(statement, values).rowcount

    def read(self, statement: str, values: Mapping[str, str | float]) -> str | None:
        """Return the first value that `statement` selects; None if there is no row.

        Raises:
            CoordinatorError: as `change`.
        """
        with self._connected() as connection:
            row = connection.execute(statement, values).fetchone()
        return None if row is None else str(row[0])

    @contextlib.contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """Give the connection to one statement at a time, within `BUSY_TIMEOUT` in all.

        The time counts from the call: otherwise threads that wait for each other would
        silently wait longer than an election lasts.
        """
        deadline = time.monotonic() + BUSY_TIMEOUT
        if not self._lock.acquire(timeout=BUSY_TIMEOUT):
            raise self._explain(sqlite3.OperationalError("database is locked"))
        try:
            left = max(0.0, deadline - time.monotonic())
            connection = self._connect_unlocked(left)
            connection.execute(f"PRAGMA busy_timeout = {int(left * 1000)}")
            yield connection
        except (sqlite3.Error, OSError) as error:
            self._close_unlocked()
            raise self._explain(error) from error
        finally:
            self._lock.release()

    def close(self) -> None:
        """Close the connection. The next statement opens it again."""
        with self._lock:
            self._close_unlocked()

    def __del__(self) -> None:
        self.close()

    def _connect_unlocked(self, seconds: float) -> sqlite3.Connection:
        if self._connection is not None:
            if self._identity == _identify(self._path):
                return self._connection
            self._close_unlocked()
        _make_private_file(self._path)
        _close_to_others(self._path)
        # Before the file is opened: if it is replaced in between, the next call
        # notices.
        self._identity = _identify(self._path)
        self._connection = _open(self._path, seconds)
        _prepare(self._connection, seconds)
        return self._connection

    def _close_unlocked(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _explain(self, error: Exception) -> CoordinatorError:
        folder = self._path.parent
        if not folder.is_dir():
            return CoordinatorError(
                reason=f"{self._path}: the folder {folder} does not exist. Make it "
                "first, or choose another path."
            )
        if isinstance(error, sqlite3.DatabaseError) and "not a database" in str(error):
            return CoordinatorError(
                reason=f"{self._path}: this is not an SQLite database. Choose a path "
                "of its own for the claims."
            )
        return CoordinatorError(
            reason=f"{self._path}: {error}. The claims need a file, in a folder that "
            "this user may write to, on a disk of this machine."
        )

    def _close_over_fork(self) -> None:
        if not hasattr(os, "register_at_fork"):
            return
        # The hooks stay until the process ends, so they must not keep the file; and one
        # thread may register them between another thread's `before` and `after`.
        reference = weakref.ref(self)
        held: list[ClaimFile] = []

        def before() -> None:
            file = reference()
            if file is not None:
                file._lock.acquire()  # noqa: SLF001 - a method in all but place
                file._close_unlocked()  # noqa: SLF001
                held.append(file)

        def after() -> None:
            if held:
                held.pop()._lock.release()  # noqa: SLF001

        os.register_at_fork(before=before, after_in_parent=after, after_in_child=after)


def _open(path: Path, seconds: float) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.as_uri()}?mode=rw",  # SQLite would create it readable by all
        uri=True,
        timeout=seconds,
        isolation_level=None,
        check_same_thread=False,
    )


def _prepare(connection: sqlite3.Connection, seconds: float) -> None:
    """Execute `_PREPARE`; retry while another process is doing the same.

    SQLite's own busy timeout does not cover the switch to the write-ahead log.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            for statement in _PREPARE:
                connection.execute(statement)
        except sqlite3.OperationalError as error:
            is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not is_busy or time.monotonic() >= deadline:
                raise
            threading.Event().wait(_PAUSE)  # SQLite does not notify us
        else:
            return


def _identify(path: Path) -> _Identity:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _close_to_others(path: Path) -> None:
    """Remove the file's permissions for others, and log that.

    Any process that can write to it decides what runs here, or that nothing does.

    Raises:
        PermissionError: if another user owns it and has made it writable for everybody.
    """
    for name in (path, *(Path(f"{path}{suffix}") for suffix in ("-wal", "-shm"))):
        try:
            status = name.stat()
        except FileNotFoundError:
            continue
        mode = stat.S_IMODE(status.st_mode)
        if os.name == "nt" or not mode & stat.S_IRWXO:
            continue  # a group may share a file on purpose
        if status.st_uid == os.geteuid():
            name.chmod(mode & stat.S_IRWXU)
            _log.warning(
                "run coordinator: %s was accessible to everybody (mode %o), now only "
                "to its user",
                name,
                mode,
            )
        elif mode & stat.S_IWOTH:
            raise PermissionError(
                f"it is another user's file and writable by everybody (mode {mode:o})"
            )


def _make_private_file(path: Path) -> None:
    """Make an empty file for this user only, unless the path exists.

    It is created under another name and then linked: opening and closing the path
    itself would release the locks of this process's other connections to it.
    """
    if path.exists():
        return
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=".ipycron-")
    os.close(descriptor)
    try:
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(draft)
    finally:
        Path(draft).unlink()
