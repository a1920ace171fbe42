"""Starting a supervisor, which only a client does.

Does not import asyncio: a client first starts its supervisor and then loads its own
half in parallel, which takes as long. Separate from `start`, which zygotes import, too:
the fork hook here would be called in each worker and cost 40 kB of its memory.
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
    from collections.abc import Sequence


class _Starts:
    """Keeps this process from forking during a start.

    During a start, this process holds the other ends of pipes and sockets for some
    milliseconds, among them the one that shows that the new program runs. A child
    forked by another thread in the meantime would hold them, too, for as long as it
    lives: the start would never return, and a supervisor's end would not be noticed.
    """

    def __init__(self) -> None:
        # Re-entrant: a signal handler may fork during a start.
        self.lock = threading.RLock()
        self._ours: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._acquire,
                after_in_parent=self._release,
                after_in_child=self._reset_in_child,
            )

    def add(self, ours: socket.socket) -> None:
        """Have children close our end of a supervisor's socket. Hold the lock."""
        self._ours.add(ours)

    def _acquire(self) -> None:
        self.lock.acquire()

    def _release(self) -> None:
        self.lock.release()

    def _reset_in_child(self) -> None:
        self.lock = threading.RLock()
        for sock in tuple(self._ours):
            sock.close()  # a supervisor ends with its client, not with its copies


_starts = _Starts()


class SupervisorProcess(NamedTuple):
    """A supervisor, and the client's connections to it.

    Attributes:
        process: the supervisor.
        sock: our end of its socket.
        leash: our end of a pipe that it and its zygote hold open as long as they live.
        stderr: the file that its stderr is written to.
        environment: the environment that it inherited.
    """

    process: subprocess.Popen[bytes]
    sock: socket.socket
    leash: int
    stderr: int
    environment: dict[bytes, bytes]

    def kill(self) -> None:
        """Kill a supervisor that was never used, and close its descriptors."""
        self.process.kill()
        self.process.wait()
        self.sock.close()
        has_ended(self.leash, ZYGOTE_GRACE)
        os.close(self.leash)
        os.close(self.stderr)


def start_supervisor(
    predecessor: int | None = None, more_leashes: Sequence[int] = ()
) -> SupervisorProcess:
    """Start a supervisor. Raises `OSError`; in a process of a job, `NestedSchedule`.

    Args:
        more_leashes: further descriptors that it and its zygote hold open as long as
            they live, such as a lock's.
        predecessor: the leash of the previous supervisor. The new one waits until no
            process holds it any more, so that no job runs twice at once.
    """
    check_not_inside()
    environment = dict(os.environb)
    with _starts.lock, contextlib.ExitStack() as undo:
        # Its stderr goes to a file, not to a notebook's cell; it is read if it dies.
        stderr = open_anonymous()
        undo.callback(os.close, stderr)
        ours, theirs = socket.socketpair()
        undo.enter_context(ours)
        _starts.add(ours)
        ours_of_leash, leash = os.pipe()
        undo.callback(os.close, ours_of_leash)
        held = [theirs.fileno(), leash, *more_leashes]
        held += [] if predecessor is None else [predecessor]
        count = len(more_leashes)
        with theirs, os.fdopen(leash):
            process = start_program("supervisor.program", held, count, stderr=stderr)
        undo.pop_all()
    return SupervisorProcess(process, ours, ours_of_leash, stderr, environment)


def describe_refusal(name: str, error: BaseException) -> SupervisorLost:
    """Return the error for a task whose start the system refuses."""
    reason = f"task {name!r} needs it, and it cannot be started: {describe(error)}"
    return SupervisorLost(reason=reason.rstrip("."), is_refusal=True)
