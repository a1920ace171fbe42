"""A run that was ordered from a worker before its slot, and the permit to begin it.

A `Permit` can be taken once, by one process: the worker begins the run, or the
supervisor takes it back. A `StandbyOrder` is the supervisor's view of such a run.
"""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


_ONE = (1).to_bytes(8, "little")  # a whole counter, or eight bytes of a pipe


class Permit:
    """A semaphore of the kernel's, given by the supervisor.

    The first process to take it has it: the worker, when the slot has come, or the
    supervisor, which then knows that the run has not begun and never will. Neither
    waits.

    Args:
        fd: where it is taken.
        giver: where it is given; None in the worker.

    Attributes:
        fd: inherited by the process that may take it, too.
    """

    def __init__(self, fd: int, giver: int | None = None) -> None:
        self.fd = fd
        self._giver = giver

    def give(self) -> bool:
        """Make it available to both; it must not be available already.

        Returns:
            False if a job has filled the counter, or the pipe.
        """
        assert self._giver is not None
        try:
            os.write(self._giver, _ONE)
        except BlockingIOError:
            return False
        return True

    def take(self) -> bool:
        """Take it; return whether it was available."""
        try:
            os.read(self.fd, len(_ONE))
        except BlockingIOError:
            return False
        return True

    def is_there(self) -> bool:
        """Return whether it is still available."""
        watch = select.poll()
        watch.register(self.fd, select.POLLIN)
        return bool(watch.poll(0))

    def close(self) -> None:
        """Close the descriptors."""
        os.close(self.fd)
        if self._giver is not None and self._giver != self.fd:
            os.close(self._giver)


def make_permit() -> Permit:
    """Return a permit that is not given yet. Raises `OSError`."""
    try:
        fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    except (AttributeError, OSError):  # not Linux, or forbidden; no descriptor
        pass
    else:
        return Permit(fd, fd)
    taker, giver = os.pipe()
    os.set_blocking(taker, False)
    os.set_blocking(giver, False)
    return Permit(taker, giver)


class StandbyOrder:
    """The run that one worker stands by for, until the scheduler follows it.

    Args:
        permit: taken by the worker to begin, or by the supervisor to withdraw.
    """

    def __init__(self, permit: Permit) -> None:
        self._permit = permit
        self._execution_id: str | None = None
        self._on_begun: Callable[[], None] | None = None

    def give(self, execution_id: str, on_begun: Callable[[], None]) -> bool:
        """Give the permit for a run; to be called before the order is sent."""
        if not self._permit.give():
            return False
        self._execution_id, self._on_begun = execution_id, on_begun
        return True

    def withdraw(self) -> bool:
        """Take the order back, if there is one; return False if the run has begun."""
        if self._execution_id is not None and not self._permit.take():
            return False
        self.forget()
        return True

    def look(self) -> None:
        """Report a run that has begun before the scheduler noticed its slot."""
        if self._on_begun is not None and not self._permit.is_there():
            self._on_begun()

    def see_ended(self, execution_id: str) -> None:
        """Report a run that the worker has ended, wherever the permit is."""
        if self.is_for(execution_id) and self._on_begun is not None:
            self._on_begun()

    def is_for(self, execution_id: str) -> bool:
        """Return whether the order is for this run."""
        return self._execution_id == execution_id

    def forget(self) -> None:
        """Forget the order: the scheduler knows of its run, or it is withdrawn."""
        self._execution_id = self._on_begun = None
