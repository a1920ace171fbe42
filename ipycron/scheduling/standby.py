"""Workers that stand by for a slot and begin its run by their own clocks.

A hundred workers that are woken one after the other begin ten milliseconds late.
Ordered before, each sleeps until the slot by itself. The scheduler follows the run from
its slot on; until then it can withdraw the order, and learns whether the run has begun.

What follows a run, its end and its history, waits until the whole crowd has begun: it
is as much work as the beginnings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipycron.scheduling.ports import Clock, Timer, Worker

# Seconds before a slot at which its runs are ordered: enough for two hundred workers on
# two cores to receive the order and to sleep again.
LEAD = 0.05

# Seconds before a slot at which it is too late for an order.
LEAST = 0.002

# Seconds by which a worker may begin late. Later, and after a step of the clock, the
# scheduler decides whether the slot still runs.
LATEST = 0.1

# From how many workers on a crowd has the cores to itself when its slot comes, for how
# many seconds a worker, and for how long at most. Measured with a hundred on two busy
# cores (benchmarks/fires.py, from the slot to a job's first line, six runs each in
# turns): the p50 is 7.8 to 8.6 ms, and 10.0 to 11.8 without it. The goal is a fifth of
# node-cron's, 5 to 6 ms on that machine. The p99 is the same, 16 to 34 ms.
CROWD = 16
SHARE = 0.0001
LONGEST_REST = 0.01


class Standby(msgspec.Struct, frozen=True):
    """A run that a worker begins at its slot.

    Attributes:
        execution_id: the run's id.
        worker: stands by.
        number: how many orders for this slot came before.
    """

    execution_id: str
    worker: Worker
    number: int


def find_rest(crowd: int) -> float:
    """Return the seconds after a slot in which a crowd only begins its runs."""
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
