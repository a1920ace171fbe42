"""A run that a worker was ordered to begin at its slot, and the permit to begin it.

A `Permit` can be taken only once, by one process: either the worker begins the run, or
the supervisor withdraws it. A `StandbyOrder` is the supervisor's view of such a run.
"""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


_ONE = (1).to_bytes(8, "little")  # a whole counter, or eight bytes of a pipe


class Permit:
    """A kernel semaphore that the supervisor posts and one process takes.

    Whoever takes it first has it: the worker, at the slot, or the supervisor, which
    then knows that the run has not begun and never will. Neither blocks.

    Args:
        fd: the descriptor for taking it.
        giver: the descriptor for posting it; None in the worker.

    Attributes:
        fd: also inherited by the worker.
    """

    def __init__(self, fd: int, giver: int | None = None) -> None:
        self.fd = fd
        self._giver = giver

    def give(self) -> bool:
        """Make the permit available; it must not be available already.

        Returns:
            False if a job has filled the counter or the pipe.
        """
        assert self._giver is not None
        try:
            os.write(self._giver, _ONE)
        except BlockingIOError:
            return False
        return True

    def take(self) -> bool:
        """Take the permit; return whether it was available."""
        try:
            os.read(self.fd, len(_ONE))
        except BlockingIOError:
            return False
        return True

    def is_there(self) -> bool:
        """Return whether the permit is still available."""
        watch = select.poll()
        watch.register(self.fd, select.POLLIN)
        return bool(watch.poll(0))

    def close(self) -> None:
        """Close the descriptors."""
        os.close(self.fd)
        if self._giver is not None and self._giver != self.fd:
            os.close(self._giver)


def make_permit() -> Permit:
    """Return a permit that is not available yet. Raises `OSError`."""
    try:
        fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    except (AttributeError, OSError):  # not Linux, or forbidden; or no descriptor left
        pass
    else:
        return Permit(fd, fd)
    taker, giver = os.pipe()
    os.set_blocking(taker, False)
    os.set_blocking(giver, False)
    return Permit(taker, giver)


class StandbyOrder:
    """The run that one worker stands by for, until the scheduler takes over.

    Args:
        permit: taken by the worker to begin, or by the supervisor to withdraw.
    """

    def __init__(self, permit: Permit) -> None:
        self._permit = permit
        self._execution_id: str | None = None
        self._on_begun: Callable[[], None] | None = None

    def give(self, execution_id: str, on_begun: Callable[[], None]) -> bool:
        """Make the permit available for a run. Call this before sending the order."""
        if not self._permit.give():
            return False
        self._execution_id, self._on_begun = execution_id, on_begun
        return True

    def withdraw(self) -> bool:
        """Withdraw the order, if there is one; return False if the run has begun."""
        if self._execution_id is not None and not self._permit.take():
            return False
        self.forget()
        return True

    def check(self) -> None:
        """Report a run that began before the scheduler noticed its slot."""
        if self._on_begun is not None and not self._permit.is_there():
            self._on_begun()

    def handle_end(self, execution_id: str) -> None:
        """Report a run that has ended, whether or not the permit was taken."""
        if self.is_for(execution_id) and self._on_begun is not None:
            self._on_begun()

    def is_for(self, execution_id: str) -> bool:
        """Return whether the order is for this run."""
        return self._execution_id == execution_id

    def forget(self) -> None:
        """Forget the order: the scheduler has taken over, or it was withdrawn."""
        self._execution_id = self._on_begun = None
