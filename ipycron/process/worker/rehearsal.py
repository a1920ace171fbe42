"""A rehearsal in the zygote of what every worker does, from start to end.

Objects built on the way (decoders, a zone), and the form that CPython gives a
function's code after its first calls, are then on pages that workers only read. Without
the rehearsal each worker writes 0.4 MB more. It also shows which code workers use; see
`heap.gather_code`.
"""

from __future__ import annotations

import _signal
import logging
import math
import os
import socket
import sys
import threading
from typing import TYPE_CHECKING

from ipycron.process.direct.token import encode_free
from ipycron.process.direct.worker_end import make_connection
from ipycron.process.posix import (
    close_others,
    die_with_parent,
    hold_lifeline,
    keep_from_children,
)
from ipycron.process.standby import make_permit
from ipycron.process.wire.channel import BlockingChannel
from ipycron.process.wire.outcome import encode_error
from ipycron.process.wire.payload import open_anonymous
from ipycron.process.wire.protocol import (
    Answered,
    Call,
    DirectOpened,
    FileJob,
    Load,
    Quit,
    Run,
    Setting,
    StandBy,
    ToWorker,
    encode_message,
)
from ipycron.process.worker.heap import gather_code, record_code
from ipycron.process.worker.logs import stop_forwarding
from ipycron.process.worker.program import Worker

if TYPE_CHECKING:
    from ipycron.process.direct.token import WorkerToken

REHEARSALS = 12
RUNS = 4
"""Runs in each rehearsal: CPython 3.11 specializes a function at its eighth call."""
_MAX_BYTES = 1 << 20
_AT_FORK = [
    handler
    for module, name in (
        (threading, "_after_fork"),
        (logging, "_after_at_fork_child_reinit_locks"),
    )
    if (handler := getattr(module, name, None)) is not None
]
"""What Python calls in each forked process. These are private, but nothing else calls
them; without rehearsing them, each worker writes 70 kB more."""
_SOURCE = b"def task(ctx):\n    return 0\n"


def rehearse() -> None:
    """Rehearse several times. Nothing is left but warmed code and data."""
    path, argv, handlers = sys.path[:], sys.argv[:], logging.getLogger().handlers[:]
    try:
        _rehearse_once()  # imports what workers import
        gather_code(record_code(_rehearse_once))
        for _ in range(REHEARSALS - 2):
            _rehearse_once()
    finally:
        stop_forwarding()
        sys.path[:], sys.argv[:] = path, argv
        logging.getLogger().handlers[:] = handlers


def _rehearse_once() -> None:
    _start_up()
    _run_worker()
    encode_error(ValueError(), _MAX_BYTES)


def _start_up() -> None:
    """Do what a worker does first, as far as it can be undone."""
    if threading.active_count() == 1:  # else the others would count as stopped
        for handler in _AT_FORK:
            handler()
    close_others(int(fd) for fd in os.listdir("/dev/fd") if int(fd) > 2)  # noqa: PTH208, PLR2004
    die_with_parent(os.getppid(), _signal.SIGCONT)  # as `wake_with_parent_end` asked
    lifeline, end = os.pipe()
    keep_from_children([lifeline, end])
    hold_lifeline(lifeline)
    # In this order: closing the writing end first would signal the end.
    os.close(lifeline)
    os.close(end)


def _run_worker() -> None:
    """Load a file and run it, on messages of a supervisor whose end is closed."""
    script = open_anonymous()
    permit = make_permit()
    supervisor, worker = socket.socketpair()
    with os.fdopen(script, "r+b") as file, supervisor, worker:
        file.write(_SOURCE)
        file.seek(0)
        edge = BlockingChannel(supervisor, ToWorker)
        job = FileJob(f"/dev/fd/{script}".encode())
        path = tuple(map(os.fsencode, sys.path))
        setting = Setting(b".", {}, path, logging.WARNING, _MAX_BYTES)
        edge.send(Load("", "rehearsal", "* * * * *", "UTC", job, setting))
        for _ in range(RUNS):
            edge.send(Run("", "scheduled", 0.0, 0.0))
        permit.give()
        edge.send(StandBy("", 0.0, math.inf, crowd=sys.maxsize))
        direct = _open_direct(edge)
        edge.send(Quit())
        rehearsed = Worker(BlockingChannel(worker, ToWorker, takes_fds=True), permit)
        rehearsed.serve()
        if direct is not None:
            _call(rehearsed, *direct)
        rehearsed.close_sockets()
        rehearsed.close()
    permit.close()


def _open_direct(edge: BlockingChannel) -> tuple[socket.socket, WorkerToken] | None:
    """Open a direct connection, if the system can; return the client's end."""
    try:
        ours, theirs, token = make_connection()
    except (OSError, AttributeError):
        return None
    edge.send(DirectOpened("", "rehearsal", 0), None, (theirs.fileno(), token.fd))
    theirs.close()
    return ours, token


def _call(rehearsed: Worker, ours: socket.socket, token: WorkerToken) -> None:
    """Call a worker without its supervisor."""
    token.put(encode_free(1))
    for number in range(2, 2 + RUNS):
        ours.send(encode_message(Call(number)))
        rehearsed.wait_for_call()
        rehearsed.answer_call()
        # Sent here: a worker would check its output pipes, which the zygote does not
        # have.
        rehearsed.send_answer(Answered(number, "", 0.0, 0.0, b""))
    ours.close()
    token.close()
