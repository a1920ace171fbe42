"""Workers that stand by for a slot and begin its run by their own clocks.

A hundred workers that are woken one after the other begin ten milliseconds late. Told
before, each sleeps until the slot on its own. The scheduler takes note at the slot;
until then it can take the run back, and learns if it has begun.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipycron.scheduling.ports import Clock, Timer, Worker

# Seconds before a slot at which workers are told of it: for two hundred of them, with
# two cores, to hear it and to be asleep again.
LEAD = 0.05

# Seconds before a slot at which it is too late to tell.
LEAST = 0.002

# Seconds by which a worker may begin late. Later, and after a step of the clock, the
# scheduler decides what the slot is worth.
LATEST = 0.1


@dataclass(frozen=True, slots=True)
class Standby:
    """A run that a worker begins at its slot.

    Attributes:
        execution_id: the run's id.
        worker: who stands by.
    """

    execution_id: str
    worker: Worker


class SharedWorker:
    """What the workers in the client's own process have in common."""

    pid = None
    is_shared = True

    def stand_by(
        self,
        execution_id: str,
        slot: int,
        *,
        latest: float,
        on_begun: Callable[[], None],
    ) -> None:
        """Leave it at that: nobody need be woken; see `Worker.stand_by`."""

    def withdraw(self) -> bool:
        """Have nothing to take back; see `Worker.withdraw`."""
        return True


class ClockAhead:
    """A clock that is fast by `LEAD`: what is due on it, is due soon."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self) -> float:
        """Return the wall clock's time in a moment."""
        return self._clock.now() + LEAD

    def monotonic(self) -> float:
        """Return seconds that only ever grow."""
        return self._clock.monotonic()

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` after `delay` monotonic seconds."""
        return self._clock.call_later(delay, callback)

    def rest(self, seconds: float) -> None:
        """Leave the cores to other processes for a moment."""
        self._clock.rest(seconds)

    def call_punctually(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Do the same: a millisecond more or less before a slot is nothing."""
        return self._clock.call_later(delay, callback)
