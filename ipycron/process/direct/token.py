"""The token of a worker: the process that holds it decides what the worker runs.

The client may call a worker directly, so that a short run need not wake the supervisor.
Client, worker and supervisor must then agree on two facts: which call was the last, and
whether its run is in progress. The token's value holds both: twice the number of the
last call that has begun, has ended or was taken over by the supervisor, plus one while
its run is in progress and the supervisor does not know of it.
"""

from __future__ import annotations

import contextlib
import os

_BYTES = 8


class WorkerToken:
    """An eventfd that holds the token's value, or nothing while a process has taken it.

    The process that takes the value owns the worker until it puts the value back. A
    worker that begins a call puts the value back at once, as busy; a supervisor that
    takes a busy value owns the run, too. No process waits for another.

    Args:
        fd: a non-blocking eventfd; `close` closes it.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def put(self, value: int) -> None:
        """Put the value back. Raises `BlockingIOError` if a job filled the eventfd."""
        os.write(self.fd, value.to_bytes(_BYTES, "little"))

    def take(self) -> int:
        """Take the value; return 0 if another process has taken it."""
        try:
            return int.from_bytes(os.read(self.fd, _BYTES), "little")
        except BlockingIOError:
            return 0

    def is_whole(self) -> bool:
        """Return whether the descriptor is still the eventfd.

        A job may have closed it, and opened something else under the same number.
        """
        try:
            return "eventfd" in os.readlink(f"/proc/self/fd/{self.fd}")  # noqa: PTH115
        except OSError:
            return False

    def close(self) -> None:
        """Close the descriptor. May be repeated; a job may have closed it already."""
        fd, self.fd = self.fd, -1
        with contextlib.suppress(OSError):
            os.close(fd)


def encode_free(number: int) -> int:
    """Return the value for a worker whose last call is over."""
    return number << 1


def encode_busy(number: int) -> int:
    """Return the value for a worker with a call in progress."""
    return number << 1 | 1


def make_worker_token() -> WorkerToken:
    """Return a token that is taken.

    Linux only: a pipe would do, but needs two descriptors.

    Raises:
        OSError: if there are no descriptors left.
        AttributeError: if the system has no eventfd.
    """
    return WorkerToken(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
