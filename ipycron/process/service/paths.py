"""Where the service of this user and this Python environment is.

One service for each user and `sys.prefix`: its state is in a folder of its own, which
only this user may enter, and its socket where the system keeps such things.
``IPYCRON_SERVICE_DIR`` names another folder for both.
"""

from __future__ import annotations

import hashlib
import os
import socket
import stat
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ipycron.errors import ServiceError
from ipycron.process.unix import fcntl

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "IPYCRON_SERVICE_DIR"
"""The environment variable with a folder of its own for the service."""

EXIT_HELD = 75
"""Exit code of a service that ends because another one holds the lock."""
EXIT_SETUP = 78
"""Exit code of one that cannot be set up: starting it again would not help."""

MAX_SOCKET_BYTES = 107
"""The longest path of a Unix socket, without its final zero byte. Source: unix(7)."""

_HASH_LENGTH = 16
_SHARED = stat.S_IRWXG | stat.S_IRWXO


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """The files of one service; all paths are absolute.

    Attributes:
        folder: of its state.
        socket: where it listens. A running one says in its lock file where that is:
            another environment variable may have led it elsewhere.
        lock: locked by the service as long as it lives; holds a `Holder`.
        log: what it writes: start and end, warnings, errors.
        store: its tasks.
        begun: which slots have begun; see `runlog.begun`.
        payloads: the folder of what belongs to them, each file named by its hash.
    """

    folder: Path
    socket: Path
    lock: Path
    log: Path
    store: Path
    begun: Path
    payloads: Path


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """What the lock file says about the service that holds it.

    Attributes:
        pid: its process.
        host: the machine's name: a home folder may be on several.
        socket: where it listens.
        version: of ipycron.
        started_at: when it was started, Unix seconds.
        started: the same as the system says it, as text to compare.
    """

    pid: int
    host: str
    socket: str
    version: str
    started_at: float
    started: str = ""


def find_places(environ: Mapping[str, str] = os.environ) -> Places:
    """Return where the service is, or would be. Nothing is created.

    Raises:
        ServiceError: if there is no such place: no home folder, a variable that is not
            an absolute path, a path that is too long for a socket.
    """
    given = environ.get(VARIABLE, "")
    name = _hash(os.fsencode(sys.prefix))
    if given:
        folder = Path(given)
        if not folder.is_absolute():
            raise ServiceError(
                reason=f"{VARIABLE} is {given!r}, expected an absolute path"
            )
        listening = folder / "socket"
        name = _hash(os.fsencode(folder))
    else:
        folder, listening = _find_usual(name)
    return Places(
        folder=folder,
        socket=_shorten(listening, name),
        lock=folder / "lock",
        log=folder / "service.log",
        store=folder / "service.sqlite",
        begun=folder / "begun",
        payloads=folder / "payloads",
    )


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:_HASH_LENGTH]


def _find_usual(name: str) -> tuple[Path, Path]:
    import platformdirs  # noqa: PLC0415 - 3 ms, for those who use the service

    try:
        folder = platformdirs.user_state_path("ipycron") / "service" / name
        with warnings.catch_warnings():
            # It warns of what the next lines handle: XDG_RUNTIME_DIR is not set.
            warnings.simplefilter("ignore")
            runtime = platformdirs.user_runtime_path("ipycron")
    except (OSError, RuntimeError) as error:
        raise ServiceError(
            reason=f"there is no folder for its state: {error}. Set HOME, or "
            f"{VARIABLE} to a folder"
        ) from None
    if not folder.is_absolute():  # "~" where there is no home
        raise ServiceError(
            reason=f"there is no home folder for its state. Set HOME, or {VARIABLE} "
            "to a folder"
        )
    return folder, runtime / f"{name}.socket"


def _shorten(path: Path, name: str) -> Path:
    """Return a path that a socket can have, elsewhere if this one is too long."""
    if len(os.fsencode(path)) <= MAX_SOCKET_BYTES:
        return path
    import tempfile  # noqa: PLC0415 - 2 ms, for a path that is too long

    folder = Path(tempfile.gettempdir()) / f"ipycron-{os.getuid()}"
    short = folder / f"{name}.socket"
    if len(os.fsencode(short)) <= MAX_SOCKET_BYTES:
        return short
    raise ServiceError(
        reason=f"the path of its socket is too long: {path} has "
        f"{len(os.fsencode(path))} bytes, the system allows {MAX_SOCKET_BYTES}. Set "
        f"{VARIABLE} or TMPDIR to a shorter folder"
    )


def make_private(folder: Path) -> None:
    """Create a folder that only this user may enter, or check that it is one.

    One that others may enter, though it is this user's, is closed to them.

    Raises:
        ServiceError: if it cannot be created, is another user's or no folder.
    """
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode):
            raise ServiceError(reason=f"{folder} is not a folder. Remove it")
        if status.st_uid != os.geteuid():
            raise ServiceError(
                reason=f"the folder {folder} is another user's (uid {status.st_uid}). "
                f"Set {VARIABLE} to a folder of your own"
            )
        if status.st_mode & (_SHARED | stat.S_IRWXU) != stat.S_IRWXU:
            folder.chmod(0o700)
    except (FileExistsError, NotADirectoryError) as error:
        places = (
            place for place in (folder, *folder.parents) if os.path.lexists(place)
        )
        reason = f"{next(places, folder)} is not a folder. Remove it, or set {VARIABLE}"
        raise ServiceError(reason=f"{reason} to a folder") from error
    except OSError as error:
        raise ServiceError(
            reason=f"the folder {folder} cannot be used: {error.strerror or error}. "
            f"Set {VARIABLE} to a folder that you may write to"
        ) from error


def read_holder(places: Places) -> Holder | None:
    """Return who held the lock last, who may be gone; None if nobody did."""
    try:
        return msgspec.json.decode(places.lock.read_bytes(), type=Holder)
    except (OSError, msgspec.MsgspecError, ValueError):
        return None


def find_socket(places: Places) -> Path | None:
    """Return where the service listens, if it may be running; None if it is not.

    Raises:
        ServiceError: if it runs on another machine, which shares this home folder.
    """
    holder = read_holder(places)
    if holder is None:
        return None
    path = Path(holder.socket)
    if holder.host == socket.gethostname():
        return path if path.exists() else None
    if not is_held(places):
        return None  # a container has another name each time
    raise ServiceError(
        reason=f"it runs on another machine, {holder.host}, which shares the "
        f"folder {places.folder}. Use it there, or set {VARIABLE} to a folder of "
        "this machine"
    )


def is_held(places: Places) -> bool:
    """Return whether a service holds the lock; it is tried for a moment."""
    try:
        descriptor = os.open(places.lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # Shared, and for a moment: a service that starts just now tries again.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False
