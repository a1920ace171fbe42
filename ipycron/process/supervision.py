"""Starting a supervisor: what only a client does.

Without asyncio: a client starts its supervisor first and loads its own half meanwhile,
which takes as long. Apart from `start`, which zygotes have, too: what is called here
after a fork would be called in each worker, and takes 40 kB of its memory.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import weakref
from typing import TYPE_CHECKING, NamedTuple

from ipycron.errors import SupervisorLost
from ipycron.process.nesting import check_not_inside
from ipycron.process.posix import ZYGOTE_GRACE, has_ended
from ipycron.process.refusal import describe
from ipycron.process.start import start_program
from ipycron.process.wire.payload import open_anonymous

if TYPE_CHECKING:
    import subprocess


class _Starts:
    """Keeps starts and forks of this process apart.

    A start holds the far ends of pipes and sockets for some milliseconds, and one that
    shows that the new program runs. A child that another thread forks meanwhile would
    hold them, too, for as long as it lives: the start would never return, nor would
    the end of a supervisor be seen.
    """

    def __init__(self) -> None:
        # Taken again by a signal's handler that forks in the middle of a start.
        self.lock = threading.RLock()
        self._ours: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._wait,
                after_in_parent=self._go_on,
                after_in_child=self._leave_in_child,
            )

    def add(self, ours: socket.socket) -> None:
        """Have children close our end of a supervisor's socket. With the lock held."""
        self._ours.add(ours)

    def _wait(self) -> None:
        self.lock.acquire()

    def _go_on(self) -> None:
        self.lock.release()

    def _leave_in_child(self) -> None:
        self.lock = threading.RLock()
        for sock in tuple(self._ours):
            sock.close()  # a supervisor ends with its client, not with its copies


_starts = _Starts()


class SupervisorProcess(NamedTuple):
    """A supervisor, and what the client holds of it.

    Attributes:
        process: the supervisor.
        sock: our end of its socket.
        leash: our end of a pipe that it and its zygote hold as long as they live.
        complaints: the file of its stderr.
        environment: what it has inherited.
    """

    process: subprocess.Popen[bytes]
    sock: socket.socket
    leash: int
    complaints: int
    environment: dict[bytes, bytes]

    def kill(self) -> None:
        """Kill a supervisor that has not been used, and close its descriptors."""
        self.process.kill()
        self.process.wait()
        self.sock.close()
        has_ended(self.leash, ZYGOTE_GRACE)
        os.close(self.leash)
        os.close(self.complaints)


def start_supervisor(predecessor: int | None = None) -> SupervisorProcess:
    """Start a supervisor. Raises `OSError`, in a process of a job `NestedSchedule`.

    Args:
        predecessor: the leash of the one before. The supervisor waits until no process
            holds it any more, so that no job runs beside its own former run.
    """
    check_not_inside()
    environment = dict(os.environb)
    with _starts.lock, contextlib.ExitStack() as undo:
        # Its complaints go to a file, not to a notebook's cell; read if it dies.
        complaints = open_anonymous()
        undo.callback(os.close, complaints)
        ours, theirs = socket.socketpair()
        undo.enter_context(ours)
        _starts.add(ours)
        ours_of_leash, leash = os.pipe()
        undo.callback(os.close, ours_of_leash)
        held = [theirs.fileno(), leash]
        held += [] if predecessor is None else [predecessor]
        with theirs, os.fdopen(leash):
            process = start_program("supervisor.program", held, stderr=complaints)
        undo.pop_all()
    return SupervisorProcess(process, ours, ours_of_leash, complaints, environment)


def describe_refusal(name: str, error: BaseException) -> SupervisorLost:
    """Return what it means to a task that the system refuses what a start needs."""
    reason = f"task {name!r} needs it, and it cannot be started: {describe(error)}"
    return SupervisorLost(reason=reason.rstrip("."), is_refusal=True)
