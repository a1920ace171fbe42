"""Opening the history's file: whose it is, in which version, and that it stays private.

Nothing here reads or closes the file but through SQLite: closing any descriptor of a
file releases the locks that this process's other connections to it hold.

Source: https://www.sqlite.org/howtocorrupt.html, 2.2 (locks), 2.4 (unlinked files).
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import stat
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ipycron.errors import HistoryError
from ipycron.runlog.filesystem import is_network
from ipycron.runlog.schema import APPLICATION_ID, MIGRATIONS, VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Identity = tuple[int, int] | None
"""Device and inode of a file; None if there is none."""

COMPANIONS = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a file, by the end of its name."""

_WAL_LIMIT = 4 << 20
"""Bytes that the write-ahead log keeps when it has been taken into the file."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_SMALLEST = 512
"""Bytes of the smallest database. SQLite takes a smaller file for an empty one."""
_PAUSE = 0.005
"""Seconds between two attempts where SQLite does not wait by itself."""
_LOCK_SECONDS = 2.0
"""How long another process may take to create a file or to set one aside. One that is
stopped in the middle of it does not keep the others from writing."""


def identify(path: Path | str) -> Identity:
    """Return which file the path names now."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a `Path` takes longer, twice a batch
    except OSError:
        return None
    return status.st_dev, status.st_ino


class Damaged(sqlite3.DatabaseError):
    """A file of ours without the tables that its version has."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


def connect_to_write(path: Path, *, busy: float) -> tuple[sqlite3.Connection, Identity]:
    """Open the history for writing, create it or bring it up to date.

    Args:
        path: absolute. Missing folders are made, for this user only.
        busy: seconds to wait for another process's transaction, here and later.

    Returns:
        The connection, and which file it is at least: one that replaces it meanwhile
        is another.

    Raises:
        HistoryError: if the file is another program's, another user's, or of a newer
            version: it has not been changed, and trying again would not help.
        sqlite3.Error, OSError: if it cannot be used now.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _create(path)
    _check_owner(path)
    check_program(path)
    identity = identify(path)
    connection = _open(path, mode="rw", busy=busy)
    try:
        _prepare(connection, path, busy)
    except BaseException:
        connection.close()
        raise
    return connection, identity


def connect_to_read(path: Path, *, busy: float) -> sqlite3.Connection:
    """Open the history for reading, also one that a newer version has written.

    Raises:
        HistoryError: if the file is another program's.
        sqlite3.Error, OSError: if it is missing or cannot be read.
    """
    check_program(path)
    connection = _open(path, mode="ro", busy=busy)
    try:
        connection.execute("PRAGMA schema_version")
    except sqlite3.OperationalError as error:
        connection.close()
        code = (error.sqlite_errorcode or 0) & 0xFF
        if code not in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}:
            raise
        # The log needs files beside this one. Where none can be made, nobody writes,
        # and what a writer left in its log is not seen.
        # Source: https://www.sqlite.org/wal.html, "Read-Only Databases".
        return _open(path, mode="ro&immutable=1", busy=busy)
    except BaseException:
        connection.close()
        raise
    return connection


def set_aside(path: Path, identity: Identity, now: float) -> Path | None:
    """Rename a corrupt file, with what belongs to it; return its new name.

    Args:
        path: the file.
        identity: of the corrupt file: another process may have set it aside already.
        now: Unix seconds, for the name.

    Returns:
        None if the path names another file by now.
    """
    day = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%S")
    with _locked(path.parent):
        if identify(path) != identity:
            return None
        aside = Path(f"{path}.corrupt-{day}")
        number = 1
        while aside.exists():
            number += 1
            aside = Path(f"{path}.corrupt-{day}-{number}")
        # The log first: a new file must not be given the old one's.
        for suffix in (*COMPANIONS, ""):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{path}{suffix}").rename(f"{aside}{suffix}")
    return aside


def is_corrupt(error: Exception) -> bool:
    """Return whether SQLite has found that the file is damaged."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF == sqlite3.SQLITE_CORRUPT


def is_busy(error: Exception) -> bool:
    """Return whether other processes use the file: later it may be free."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _BUSY


def explain(path: Path, error: Exception) -> HistoryError:
    """Return what an error of SQLite or of the system means, and what to do."""
    if isinstance(error, HistoryError):
        return error
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    # The system's text has the path in it, too.
    reason = getattr(error, "strerror", None) or str(error)
    advice = "Runs go on without it"
    if code == sqlite3.SQLITE_FULL or getattr(error, "errno", None) in _FULL:
        advice = "Free some space, or set a smaller max_bytes"
    elif code in _BUSY:
        advice = "Another program holds it open in a transaction: end that"
    elif code or isinstance(error, OSError):
        advice = (
            "It needs a folder that this user may write to: set IPYCRON_HISTORY to "
            "another path, or to off"
        )
    return HistoryError(path=show(path), reason=f"{reason}. {advice}.")


def show(path: Path) -> str:
    """Return a path as text that can be printed: it need not be any."""
    return os.fsencode(path).decode(errors="backslashreplace")


def check_program(path: Path) -> None:
    """Refuse a file that is not ours.

    Opened as one that cannot change, SQLite reads its header without taking part: no
    lock, no recovery, and no log that it would take into the file at the end. So the
    header may be newer than the file's size, in which a writer is just taking its log
    into it, or the file may be cut: that is no reason to call it another program's.

    Raises:
        HistoryError: if it is not a database, or one of another program.
        OSError: if there is no file.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise _refuse(path, "this is not a regular file")
    if not status.st_size:
        return
    if status.st_size < _SMALLEST:
        raise _refuse(path, "this is not an SQLite database")
    try:
        with contextlib.closing(_open(path, mode="ro&immutable=1", busy=0)) as found:
            found.execute("PRAGMA writable_schema = on")  # do not compare the two
            owner, version = _read_marks(found)
            if owner == APPLICATION_ID:
                return
            tables = found.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        raise _refuse(path, "this is not an SQLite database") from error
    if owner or version or tables:
        raise _refuse(path, "this is the database of another program")


def _refuse(path: Path, reason: str) -> HistoryError:
    return HistoryError(
        path=show(path),
        reason=f"{reason}, and is left as it is. Set IPYCRON_HISTORY to a path of its "
        "own, or to off.",
    )


def _open(path: Path, *, mode: str, busy: float) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.as_uri()}?mode={mode}",  # by itself it would be created for all to read
        uri=True,
        timeout=busy,
        isolation_level=None,
        check_same_thread=False,
    )


def _read_marks(connection: sqlite3.Connection) -> tuple[int, int]:
    owner = connection.execute("PRAGMA application_id").fetchone()[0]
    return owner, connection.execute("PRAGMA user_version").fetchone()[0]


def _prepare(connection: sqlite3.Connection, path: Path, busy: float) -> None:
    _migrate(connection, path)
    # Committed in the file itself, above, is whose it is; only then begins the log.
    mode = "delete" if is_network(path.parent) else "wal"
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != mode:
        _insist(lambda: connection.execute(f"PRAGMA journal_mode = {mode}"), busy)
        # A file system without shared memory stays without a log.
        mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    # No fsync per commit with a log: a process may die at any point. After a power
    # failure the last rows may be gone, but the file is sound.
    connection.execute(f"PRAGMA synchronous = {'normal' if mode == 'wal' else 'full'}")
    connection.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT}")


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    owner, version = _read_marks(connection)
    if owner == APPLICATION_ID and version == VERSION:
        return
    if not owner:
        # Before the first table, or never.
        connection.execute("PRAGMA auto_vacuum = incremental")
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _read_marks(connection)[1]
        if version > VERSION:
            raise _make_version_error(path, version)
        for script in MIGRATIONS[version:]:
            for statement in script.split(";"):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _make_version_error(path: Path, version: int) -> HistoryError:
    return HistoryError(
        path=show(path),
        reason=f"a newer ipycron has written it (schema {version}, expected at most "
        f"{VERSION}). It can be read, but is not written to. Upgrade ipycron, or set "
        "IPYCRON_HISTORY to another path.",
    )


def _insist(call: Callable[[], object], seconds: float) -> None:
    """Call until no other process is in the way: SQLite's own timeout is not for this.

    Raises:
        sqlite3.OperationalError: if one still is after `seconds`.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            call()
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() >= deadline:
                raise
            threading.Event().wait(_PAUSE)
        else:
            return


def _create(path: Path) -> None:
    """Make an empty file for this user only, unless there is one."""
    if path.exists():
        return
    with _locked(path.parent):
        if path.exists():
            return
        # Of a file that was deleted: SQLite would take its log for the new one's.
        for suffix in COMPANIONS:
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _check_owner(path: Path) -> None:
    """Take the file's permissions for others away.

    Raises:
        HistoryError: if it is another user's, and writable by this one nevertheless.
    """
    if not hasattr(os, "geteuid"):
        return
    for suffix in ("", *COMPANIONS):
        name = Path(f"{path}{suffix}")
        try:
            status = name.stat()
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(status.st_mode):
            continue
        mode = stat.S_IMODE(status.st_mode)
        if status.st_uid == os.geteuid():
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                name.chmod(mode & stat.S_IRWXU)
        elif mode & stat.S_IWOTH:
            raise _refuse(path, f"it is another user's and writable by all ({mode:o})")


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other processes from creating a file here or setting one aside.

    The lock is the folder's: no file that could be left behind. Where there is none
    (some network file systems), or it is held for too long, go on without.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        yield
        return
    try:
        deadline = time.monotonic() + _LOCK_SECONDS
        while time.monotonic() < deadline:
            try:
                _lock_nowait(descriptor)
            except BlockingIOError:
                threading.Event().wait(_PAUSE)
            except (OSError, ImportError):
                break
            else:
                break
        yield
    finally:
        os.close(descriptor)


def _lock_nowait(descriptor: int) -> None:
    import fcntl  # noqa: PLC0415 - only Unix has it

    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
