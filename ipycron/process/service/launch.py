"""Starting the service, for the first task that is kept."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import time
from typing import TYPE_CHECKING

from ipycron.errors import ServiceError
from ipycron.process.interpreter import find_executable, find_paths, make_options
from ipycron.process.nesting import check_not_inside
from ipycron.process.refusal import describe
from ipycron.process.service.managed import start_managed
from ipycron.process.service.paths import VARIABLE, find_socket, make_private

if TYPE_CHECKING:
    from ipycron.process.service.paths import Places

START_TIMEOUT = 60.0
"""Seconds for a new service to answer; it takes a third of one, on a machine that has
nothing else to do. One that cannot start says so at once."""

_ROOT = os.path.abspath(f"{__file__}/../../../..")  # noqa: PTH100 - as in `start`
# The program forks at once, and its parent ends: a service is nobody's child. What ends
# all children of a kernel does not find it, and no kernel has to reap it.
_BOOT = (
    "import os, sys; os.fork() and os._exit(0); "
    "sys.path += sys.argv[1].split(os.pathsep); "
    "from ipycron.service.daemon import run_detached; run_detached(int(sys.argv[2]))"
)
READY = b"ready"
HELD = b"held"
"""What the program writes into the pipe: that it answers, or that another one holds the
lock. Anything else is the reason why it ends."""
_FOREIGN = ("JPY_PARENT_PID", "JPY_SESSION_NAME", "JPY_API_TOKEN", "PYTHONSTARTUP")
"""Variables that belong to the kernel which happens to start the service."""
_LATE = (
    "it was started and does not answer in time: `ipycron service log` shows what it "
    "wrote"
)
_LOG_BYTES = 2000
_POLL = 0.02


def start_service(places: Places, timeout: float = START_TIMEOUT) -> None:
    """Start the service in a session of its own; return once its socket answers.

    If a unit of it is installed, the system's manager starts it. If another process is
    starting it, or it runs already, wait for that one. Blocks.

    Raises:
        ServiceError: if it cannot be started, or does not answer in time; says why.
        NestedSchedule: in a process of a job.
    """
    check_not_inside()
    make_private(places.folder)
    deadline = time.monotonic() + timeout
    if start_managed(places.folder):
        _await_socket(places, deadline)
        return
    try:
        answer = _launch(places, deadline)
    except OSError as error:
        reason = f"it cannot be started: {describe(error)}"
        if error.filename == str(places.log):
            reason = (
                f"its log {places.log} cannot be written: {error.strerror}. Make it "
                f"writable, or set {VARIABLE} to a folder that you may write to"
            )
        raise ServiceError(reason=reason) from error
    if answer == HELD:
        _await_socket(places, deadline)
    elif answer != READY:
        reason = answer.decode("utf-8", "replace").strip() or _read_end(places)
        raise ServiceError(reason=reason)


def _launch(places: Places, deadline: float) -> bytes:
    """Run the program; return what it says, or nothing if it ended without a word."""
    with contextlib.ExitStack() as stack:
        ours, theirs = os.pipe()
        stack.callback(os.close, ours)
        with os.fdopen(theirs, "wb"):
            log = os.open(
                str(places.log),
                os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC,
                0o600,
            )
            with os.fdopen(log, "ab") as output:
                process = subprocess.Popen(  # noqa: S603 - our own interpreter
                    [
                        find_executable(),
                        *make_options(),
                        "-c",
                        _BOOT,
                        find_paths(_ROOT),
                        str(theirs),
                    ],
                    pass_fds=(theirs,),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd=places.folder,
                    env=_make_environment(),
                    start_new_session=True,
                )
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:  # it did not get as far as to its fork
            process.kill()
            process.wait()
            raise ServiceError(reason=_LATE) from None
        return _read_answer(ours, deadline)


def _make_environment() -> dict[str, str]:
    return {n: value for n, value in os.environ.items() if n not in _FOREIGN}


def _read_answer(pipe: int, deadline: float) -> bytes:
    answer = b""
    while True:
        left = max(0.0, deadline - time.monotonic())
        if not select.select([pipe], [], [], left)[0]:
            raise ServiceError(reason=_LATE)
        piece = os.read(pipe, 4096)
        if not piece:
            return answer
        answer += piece


def _await_socket(places: Places, deadline: float) -> None:
    """Wait until the service that holds the lock answers."""
    while time.monotonic() < deadline:
        if can_connect(places):
            return
        select.select([], [], [], _POLL)
    raise ServiceError(
        reason=f"a process holds {places.lock}, but nothing answers at its socket. "
        "`ipycron service restart` ends it and starts another"
    )


def can_connect(places: Places) -> bool:
    """Return whether a service accepts connections."""
    path = find_socket(places)
    if path is None:
        return False
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(os.fsencode(path))
        except OSError:
            return False
    return True


def _read_end(places: Places) -> str:
    """Return why a service ended without a word: the end of its log."""
    try:
        with places.log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_BYTES))
            lines = file.read().decode("utf-8", "replace").strip()
    except OSError:
        lines = ""
    return f"it ended while it was starting. Last lines of its log:\n{lines}"
