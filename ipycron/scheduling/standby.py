"""Workers that stand by for a slot and begin its run by their own clocks.

A hundred workers that are woken one after the other begin ten milliseconds late. Told
before, each sleeps until the slot on its own. The scheduler takes note at the slot;
until then it can take the run back, and learns if it has begun.

What follows a run, its end and the books, waits until the whole crowd has begun: it is
as much work as the beginnings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

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

# How many workers that stand by for a slot have the cores to themselves when it comes,
# for how many seconds each, and for how long at most. Measured with a hundred on two
# cores, from the slot to a job's first line: half of the time, of p50 and of p99.
CROWD = 16
SHARE = 0.0001
LONGEST_REST = 0.01


class Standby(msgspec.Struct, frozen=True):
    """A run that a worker begins at its slot.

    Attributes:
        execution_id: the run's id.
        worker: who stands by.
        number: how many others were told before it.
    """

    execution_id: str
    worker: Worker
    number: int


def find_rest(crowd: int) -> float:
    """Return for how many seconds after its slot a crowd only begins runs."""
    return min(crowd * SHARE, LONGEST_REST) if crowd > CROWD else 0.0


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
