"""Leave to begin one run, which of two processes only one can take."""

from __future__ import annotations

import os
import select

_ONE = (1).to_bytes(8, "little")  # a whole counter, or eight bytes of a pipe


class Permit:
    """A semaphore of the kernel's, given by the supervisor.

    Who takes it first has it: the worker, when the slot has come, or the supervisor,
    which then knows that the run has not begun and never will. Neither waits.

    Args:
        fd: where it is taken.
        giver: where it is given; None in the worker.

    Attributes:
        fd: for who shall be able to take it, too.
    """

    def __init__(self, fd: int, giver: int | None = None) -> None:
        self.fd = fd
        self._giver = giver

    def give(self) -> bool:
        """Put it where both can take it; it must not lie there already.

        Returns:
            False where it cannot be: a job has filled the counter, or the pipe.
        """
        assert self._giver is not None
        try:
            os.write(self._giver, _ONE)
        except BlockingIOError:
            return False
        return True

    def take(self) -> bool:
        """Take it; return whether it was there."""
        try:
            os.read(self.fd, len(_ONE))
        except BlockingIOError:
            return False
        return True

    def is_there(self) -> bool:
        """Return whether nobody has taken it yet."""
        watch = select.poll()
        watch.register(self.fd, select.POLLIN)
        return bool(watch.poll(0))

    def close(self) -> None:
        """Close what a giver holds."""
        os.close(self.fd)
        if self._giver is not None and self._giver != self.fd:
            os.close(self._giver)


def make_permit() -> Permit:
    """Return a permit that nobody has given yet. Raises `OSError`."""
    if hasattr(os, "eventfd"):
        fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        return Permit(fd, fd)
    taker, giver = os.pipe()
    os.set_blocking(taker, False)
    os.set_blocking(giver, False)
    return Permit(taker, giver)
