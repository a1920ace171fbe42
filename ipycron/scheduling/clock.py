"""The one place that reads the time."""

from __future__ import annotations

import math
import sys
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

# Linux' coarse clock moves once a tick, every 1 to 10 ms, and is behind by up to one:
# `time.localtime()` and `time.strftime()` show it, and so do the times of files. A job
# must not see the second before its slot. Python has no name for it, see <time.h>.
_COARSE: int | None = 5 if sys.platform == "linux" else None
try:
    _TICK = 0.0 if _COARSE is None else time.clock_getres(_COARSE)
    if _COARSE is not None:
        time.clock_gettime(_COARSE)
except (AttributeError, OSError):  # a sandbox refuses it
    _COARSE, _TICK = None, 0.0

# Seconds to wait instead where there is no such clock: the longest usual tick.
_MARGIN = 0.010

# Seconds by which it can be behind. Where it is more, one of the two is not this
# computer's time, a test's perhaps.
_LONGEST_LAG = 1.0

# Seconds to look again after, where a tick is over that the kernel has yet to count.
_RETRY = 0.00005

# Seconds by which a timer may be late before this process is taken to have stood
# still (SIGSTOP, swapping), and seconds it then waits for news that came meanwhile:
# a job that was done in time must not be ended for our own pause.
STALL = 0.5
CATCH_UP = 0.5


def _read_coarse(now: float) -> float:
    """Return the time that the slowest clock of this computer shows at `now`."""
    if _COARSE is None:
        return now - _MARGIN
    coarse = time.clock_gettime(_COARSE)
    return coarse if 0.0 < now - coarse <= _LONGEST_LAG else now


def read_wall_clock() -> float:
    """Return Unix seconds; a second begins when every clock of this computer shows it.

    Up to a tick long, at the beginning of a second, this is the last instant of the
    second before.
    """
    now = time.time()  # noqa: TID251 - the one place that reads the clock
    second = math.floor(now)
    return now if _read_coarse(now) >= second else math.nextafter(second, 0.0)


def measure_wait(moment: float) -> float:
    """Return the seconds until every clock of this computer has reached `moment`.

    An estimate, to be asked again when they are over; 0.0 once it is reached.
    """
    now = time.time()  # noqa: TID251 - as above
    coarse = _read_coarse(now)
    if coarse >= moment:
        return 0.0
    if _COARSE is None:
        return moment - coarse
    ticks = math.ceil((moment - coarse) / _TICK)
    return max(coarse + ticks * _TICK - now, _RETRY)


class SystemClock:
    """The computer's clocks, and the running loop's timers.

    The monotonic clock stands still while a laptop sleeps, on Linux and macOS:
    a timer alone does not notice a suspend. See `Timetable`.
    """

    def now(self) -> float:
        """Return the wall clock, in Unix seconds; see `read_wall_clock`."""
        return read_wall_clock()

    def monotonic(self) -> float:
        """Return seconds that only ever grow."""
        return time.monotonic()

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` on the running loop after `delay` monotonic seconds.

        After a pause of this process a little later: see `STALL`.
        """
        return _PatientTimer(delay, callback)

    def call_punctually(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Do the same, and keep the loop turning through the last millisecond.

        Where that is the end of a second, when every clock shows the next one.
        """
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
        left = self._measure_left()
        if left > 2 * LAST_STRETCH:
            self._handle = self._sleep(left)
        elif left > 0:
            # Other callbacks and I/O have their turn in between.
            self._handle = self._loop.call_soon(self._look)
        else:
            self._handle = None  # as above
            self._callback()

    def _measure_left(self) -> float:
        left = max(self._deadline - self._loop.time(), 0.0)
        now = time.time()  # noqa: TID251 - as above
        # A slot is the beginning of a second; every clock must show it.
        return max(left, measure_wait(math.floor(now + left)))


def _get_loop() -> asyncio.AbstractEventLoop:
    import asyncio  # noqa: PLC0415 - 45 ms; who has a loop has it

    return asyncio.get_running_loop()
