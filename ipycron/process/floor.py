"""Who may use a worker that two processes can call: one word that one of them has.

The client calls a worker past the supervisor, so that a short run need not wake both.
What is needed then is an answer that all three see alike: which call was the last, and
is its run in progress?
"""

from __future__ import annotations

import os
from typing import NamedTuple

_BYTES = 8


class Word(NamedTuple):
    """What the floor says.

    Attributes:
        number: of the last call that was begun, ended, or given to the supervisor.
        is_busy: whether its run is in progress and nobody but client and worker know.
    """

    number: int
    is_busy: bool


class Floor:
    """A counter of the kernel's that holds a `Word`, or nothing: somebody has taken it.

    Who takes the word has the worker until it is put back. A worker that begins a
    call puts it back at once, busy; who takes it then has the run. Nobody waits.

    Args:
        fd: ours to close; it need not block.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def put(self, number: int, *, is_busy: bool = False) -> None:
        """Put a word where both can take it. Raises `BlockingIOError` if it is full."""
        os.write(self.fd, (number << 1 | is_busy).to_bytes(_BYTES, "little"))

    def put_back(self, word: Word) -> None:
        """Put back what was taken."""
        self.put(word.number, is_busy=word.is_busy)

    def take(self) -> Word | None:
        """Return the word, which is ours then; None where another has it."""
        try:
            value = int.from_bytes(os.read(self.fd, _BYTES), "little")
        except BlockingIOError:
            return None
        return Word(value >> 1, bool(value & 1))

    def close(self) -> None:
        """Close our end."""
        os.close(self.fd)


def make_floor() -> Floor:
    """Return a floor whose word we have. Raises `OSError`, or `AttributeError`.

    Linux only. A pipe would do, but its ends are two.
    """
    return Floor(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
