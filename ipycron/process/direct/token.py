"""Who may use a worker that two processes can call: one word that one of them has.

A word is the number of the last call that was begun, ended, or given to the supervisor,
twice; and one more while its run is in progress, and nobody but client and worker know.

The client calls a worker past the supervisor, so that a short run need not wake both.
What is needed then is an answer that all three see alike: which call was the last, and
is its run in progress?
"""

from __future__ import annotations

import contextlib
import os

_BYTES = 8


class WorkerToken:
    """A counter of the kernel's that holds a word, or nothing: somebody has taken it.

    Who takes the word has the worker until it is put back. A worker that begins a
    call puts it back at once, busy; who takes it then has the run. Nobody waits.

    Args:
        fd: ours to close; it need not block.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def put(self, word: int) -> None:
        """Put a word where both can take it. Raises `BlockingIOError` if it is full."""
        os.write(self.fd, word.to_bytes(_BYTES, "little"))

    def take(self) -> int:
        """Return the word, which is ours then; 0 where another has it."""
        try:
            return int.from_bytes(os.read(self.fd, _BYTES), "little")
        except BlockingIOError:
            return 0

    def is_whole(self) -> bool:
        """Return whether the descriptor is still ours: a job may have closed it.

        What it has opened since may have the same number.
        """
        try:
            return "eventfd" in os.readlink(f"/proc/self/fd/{self.fd}")  # noqa: PTH115
        except OSError:
            return False

    def close(self) -> None:
        """Close our end. May be repeated, and a job may have been here before."""
        fd, self.fd = self.fd, -1
        with contextlib.suppress(OSError):
            os.close(fd)


def say_free(number: int) -> int:
    """Return the word for a worker whose last call is over."""
    return number << 1


def say_busy(number: int) -> int:
    """Return the word for a worker that is in the middle of a call."""
    return number << 1 | 1


def make_worker_token() -> WorkerToken:
    """Return a token that we hold. Raises `OSError`, or `AttributeError`.

    Linux only. A pipe would do, but its ends are two.
    """
    return WorkerToken(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
