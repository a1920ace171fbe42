"""An order to stand by, as the supervisor sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipycron.process.standby import Permit


class StandbyOrder:
    """What one worker stands by for, until the scheduler takes note of the run.

    Args:
        permit: the leave to begin, which the worker takes or we take back.
    """

    def __init__(self, permit: Permit) -> None:
        self._permit = permit
        self._execution_id: str | None = None
        self._on_begun: Callable[[], None] | None = None

    def give(self, execution_id: str, on_begun: Callable[[], None]) -> bool:
        """Let the worker begin a run, if it can be; to be called before it is told."""
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
        """Tell if the worker has begun before the scheduler has looked at the clock."""
        if self._on_begun is not None and not self._permit.is_there():
            self._on_begun()

    def is_for(self, execution_id: str) -> bool:
        """Return whether the order is for this run."""
        return self._execution_id == execution_id

    def forget(self) -> None:
        """Forget the order: the scheduler knows of its run, or it is withdrawn."""
        self._execution_id = self._on_begun = None
