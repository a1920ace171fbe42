"""Runs that somebody has called for and may wait for."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from ipycron.scheduling.small_map import NOTHING, Few

if TYPE_CHECKING:
    from ipycron.client.completion import Completion

_lock = threading.RLock()
"""Held for a moment where calls come and go: one for all, there are many tasks. A
signal's handler may take it again."""
# As concurrent.futures does: another thread may hold it while this one forks.
os.register_at_fork(after_in_child=_lock._at_fork_reinit)  # type: ignore[attr-defined] # noqa: SLF001


class Calls:
    """The called runs of one task that have not ended, by id. Safe in threads."""

    __slots__ = ("_completions",)

    def __init__(self) -> None:
        self._completions: Few[str, Completion[Any]] = NOTHING

    def add(self, execution_id: str, completion: Completion[Any]) -> None:
        """Note that a run was called for."""
        with _lock:
            self._completions = self._completions.add(execution_id, completion)

    def __bool__(self) -> bool:
        return self._completions is not NOTHING

    def take(self, execution_id: str) -> Completion[Any] | None:
        """Return who waits for a run, once; None where nobody does."""
        if self._completions is NOTHING:
            return None
        with _lock:
            completion = self._completions.get(execution_id)
            self._completions = self._completions.remove(execution_id)
        return completion

    def take_all(self) -> tuple[Completion[Any], ...]:
        """Return who waits for any run, once."""
        with _lock:
            completions, self._completions = self._completions, NOTHING
        return completions.values()
