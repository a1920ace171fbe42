"""Workers that stand by for a slot and begin its run by their own clocks.

A hundred workers woken one after another begin up to ten milliseconds late. If they
receive their orders in advance, each sleeps until the slot by itself. The scheduler
follows the run from its slot on; until then it can withdraw the order, and learns
whether the run has begun.

Work that follows a run, such as reporting its end, waits until all workers of the crowd
have begun: it takes as much time as beginning the runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipycron.scheduling.ports import Clock, Timer, Worker

# Seconds before a slot at which its orders are sent: enough for two hundred workers on
# two cores to receive the order and go back to sleep.
LEAD = 0.05

# Seconds before a slot from which on it is too late to send an order.
LEAST = 0.002

# Seconds by which a worker may begin late. If it is later, or after a clock step, the
# scheduler decides whether the slot still runs.
LATEST = 0.1

# If more than CROWD workers stand by for a slot, the supervisor leaves the cores to
# them at the slot: for SHARE seconds per worker, at most LONGEST_REST. Measured with a
# hundred workers on two busy cores (benchmarks/fires.py, from the slot to a job's first
# line, six alternating runs each): the p50 is 7.8 to 8.6 ms, and 10.0 to 11.8 ms
# without it. The goal is a fifth of node-cron's, 5 to 6 ms on that machine. The p99 is
# the same, 16 to 34 ms.
CROWD = 16
SHARE = 0.0001
LONGEST_REST = 0.01


class Standby(msgspec.Struct, frozen=True):
    """A run that a worker begins at its slot.

    Attributes:
        execution_id: the run's id.
        worker: the worker that stands by.
        number: how many orders were given for this slot before this one.
    """

    execution_id: str
    worker: Worker
    number: int


def find_rest(crowd: int) -> float:
    """Return the seconds after a slot that are reserved for beginning runs."""
    return min(crowd * SHARE, LONGEST_REST) if crowd > CROWD else 0.0


class ClockAhead:
    """A clock that is `LEAD` seconds ahead: what is due by it will be due shortly."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self) -> float:
        """Return the wall clock's time in `LEAD` seconds."""
        return self._clock.now() + LEAD

    def monotonic(self) -> float:
        """Return monotonic seconds."""
        return self._clock.monotonic()

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` after `delay` monotonic seconds."""
        return self._clock.call_later(delay, callback)

    def rest(self, seconds: float) -> None:
        """Sleep briefly, leaving the CPU to other processes. Blocks the loop."""
        self._clock.rest(seconds)

    def call_punctually(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Do the same: a millisecond does not matter before a slot."""
        return self._clock.call_later(delay, callback)
