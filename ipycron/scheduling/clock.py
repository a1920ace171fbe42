"""The one place that reads the time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from ipycron.scheduling.ports import Timer

# Seconds before its end at which a punctual timer stops to sleep and looks at the
# clock at every turn of the loop: asyncio and epoll both round up to milliseconds.
LAST_STRETCH = 0.002

# Share of a sleep by which Linux may wake a process late, twice what it is for a
# process of low priority (select_estimate_accuracy in fs/select.c).
# Measured with a slot a second: 2.0 ms late without these two, 0.2 ms with them, for
# 1 ms of a core per wake-up.
SLACK = 0.01

# Seconds by which a timer may be late before this process is taken to have stood
# still (SIGSTOP, swapping), and seconds it then waits for news that came meanwhile:
# a job that was done in time must not be ended for our own pause.
STALL = 0.5
CATCH_UP = 0.5


class SystemClock:
    """The computer's clocks, and the running loop's timers.

    The monotonic clock stands still while a laptop sleeps, on Linux and macOS:
    a timer alone does not notice a suspend. See `Timetable`.
    """

    def now(self) -> float:
        """Return the wall clock, in Unix seconds."""
        return time.time()  # noqa: TID251 - the one class that reads the clock

    def monotonic(self) -> float:
        """Return seconds that only ever grow."""
        return time.monotonic()

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` on the running loop after `delay` monotonic seconds.

        After a pause of this process a little later: see `STALL`.
        """
        return _PatientTimer(delay, callback)

    def call_punctually(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Do the same, and keep the loop turning through the last millisecond."""
        return _PunctualTimer(delay, callback)

    def rest(self, seconds: float) -> None:
        """Leave the cores to other processes for a moment."""
        time.sleep(seconds)  # noqa: TID251 - milliseconds, where waking costs more


class _PatientTimer:
    """A timer that after a pause of its process lets everything else go first.

    Once it has rung it lets go of its handle, which holds the timer: a circle would
    keep all that the callback holds until the garbage collector comes by.
    """

    def __init__(self, delay: float, callback: Callable[[], None]) -> None:
        self._loop = _get_loop()
        self._callback = callback
        self._deadline = self._loop.time() + max(delay, 0.0)
        self._handle: asyncio.TimerHandle | None = self._loop.call_at(
            self._deadline, self._ring
        )

    def cancel(self) -> None:
        """Make sure that the call never happens. May be repeated."""
        if self._handle is not None:
            self._handle.cancel()

    def _ring(self) -> None:
        self._handle = None
        if self._loop.time() - self._deadline > STALL:
            self._handle = self._loop.call_later(CATCH_UP, self._callback)
        else:
            self._callback()


class _PunctualTimer:
    """A timer that wakes early, sleeps the rest, and waits out the last stretch."""

    def __init__(self, delay: float, callback: Callable[[], None]) -> None:
        self._loop = _get_loop()
        self._callback = callback
        self._deadline = self._loop.time() + delay
        self._handle: asyncio.Handle | None = self._sleep(delay)

    def cancel(self) -> None:
        """Make sure that the call never happens. May be repeated."""
        if self._handle is not None:
            self._handle.cancel()

    def _sleep(self, delay: float) -> asyncio.Handle:
        return self._loop.call_later(delay * (1 - SLACK) - LAST_STRETCH, self._look)

    def _look(self) -> None:
        left = self._deadline - self._loop.time()
        if left > 2 * LAST_STRETCH:
            self._handle = self._sleep(left)
        elif left > 0:
            # Other callbacks and I/O have their turn in between.
            self._handle = self._loop.call_soon(self._look)
        else:
            self._handle = None  # as above
            self._callback()


def _get_loop() -> asyncio.AbstractEventLoop:
    import asyncio  # noqa: PLC0415 - 45 ms; who has a loop has it

    return asyncio.get_running_loop()
