"""Starting the supervisor: what a client does first.

Without asyncio: the supervisor takes as long to load as the client's own half that
talks to it, and loads meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING, NamedTuple

from ipycron.errors import SupervisorLost
from ipycron.process.nesting import check_not_inside
from ipycron.process.posix import ZYGOTE_GRACE, has_ended
from ipycron.process.start import start_program
from ipycron.process.wire.payload import open_anonymous

if TYPE_CHECKING:
    import subprocess


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
        """End one that nobody has talked to, and let go of it."""
        self.process.kill()
        self.process.wait()
        self.sock.close()
        has_ended(self.leash, ZYGOTE_GRACE)
        os.close(self.leash)
        os.close(self.complaints)


def start_supervisor(predecessor: int | None = None) -> SupervisorProcess:
    """Start a supervisor. Raises `OSError`, in a process of a job `NestedSchedule`.

    Args:
        predecessor: the leash of the one before. The supervisor waits until nobody
            holds it any more, so that no job runs beside its own former run.
    """
    check_not_inside()
    environment = dict(os.environb)
    with contextlib.ExitStack() as undo:
        # Its complaints go to a file, not to a notebook's cell; read if it dies.
        complaints = open_anonymous()
        undo.callback(os.close, complaints)
        ours, theirs = socket.socketpair()
        undo.enter_context(ours)
        ours_of_leash, leash = os.pipe()
        undo.callback(os.close, ours_of_leash)
        held = [theirs.fileno(), leash]
        held += [] if predecessor is None else [predecessor]
        with theirs, os.fdopen(leash):
            process = start_program("supervisor.program", held, stderr=complaints)
        undo.pop_all()
    return SupervisorProcess(process, ours, ours_of_leash, complaints, environment)


def describe_refusal(error: OSError) -> SupervisorLost:
    """Return what it means that the system refuses a process or descriptors."""
    return SupervisorLost(reason=f"it cannot be started: {error}")
