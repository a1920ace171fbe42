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

# Seconds before its deadline at which a punctual timer stops sleeping and reads the
# clock on every iteration of the loop: asyncio and epoll round up to milliseconds.
LAST_STRETCH = 0.002

# Seconds of sleep between two of these readings. Polling without a pause took 4 ms of
# CPU for each slot, where the wait for the coarse clock (below) comes to them.
NAP = 0.0002

# Fraction of a sleep by which Linux may wake a process late: twice the value that it
# uses for low-priority processes (select_estimate_accuracy in fs/select.c).
# Measured with one slot per second: 2.0 ms late without these two constants, 0.2 ms
# with them, for 1 ms of CPU time per wake-up.
SLACK = 0.01

# Linux's coarse clock advances once per tick, every 1 to 10 ms, so it is up to a tick
# behind. `time.localtime()`, `time.strftime()` and file timestamps use it. A job must
# not see the second before its slot. Python has no name for it; see <time.h>.
_COARSE: int | None = 5 if sys.platform == "linux" else None
try:
    _TICK = 0.0 if _COARSE is None else time.clock_getres(_COARSE)
    if _COARSE is not None:
        time.clock_gettime(_COARSE)
except (AttributeError, OSError):  # a sandbox refuses it
    _COARSE, _TICK = None, 0.0

# Seconds to wait where there is no such clock: the longest usual tick.
_MARGIN = 0.010

# The most seconds it can be behind. If it is further behind, one of the two clocks is
# not this computer's: a test may have replaced it.
_LONGEST_LAG = 1.0

# Seconds until the next look if a tick has passed that the kernel has not counted yet.
_RETRY = 0.00005

# A timer that is later than STALL seconds means that this process was suspended
# (SIGSTOP, swapping). It then waits CATCH_UP seconds, so that messages that arrived in
# the meantime are handled first: a job that finished in time must not be ended because
# of our own pause.
STALL = 0.5
CATCH_UP = 0.5


def _read_coarse(now: float) -> float:
    """Return the time shown by this computer's slowest clock at `now`."""
    if _COARSE is None:
        return now - _MARGIN
    coarse = time.clock_gettime(_COARSE)
    return coarse if 0.0 < now - coarse <= _LONGEST_LAG else now


def read_wall_clock() -> float:
    """Return Unix seconds; a second begins once every clock of this computer shows it.

    For up to one tick at the start of a second, this is therefore the last instant of
    the previous second.
    """
    now = time.time()  # noqa: TID251 - the one place that reads the clock
    second = math.floor(now)
    return now if _read_coarse(now) >= second else math.nextafter(second, 0.0)


def measure_wait(moment: float) -> float:
    """Return the seconds until every clock of this computer has reached `moment`.

    This is an estimate: call again after waiting. Returns 0.0 once it is reached.
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

    On Linux and macOS the monotonic clock stops while a laptop sleeps, so a timer
    alone does not notice a suspend. See `Timetable`.
    """

    def now(self) -> float:
        """Return the wall clock, in Unix seconds; see `read_wall_clock`."""
        return read_wall_clock()

    def monotonic(self) -> float:
        """Return monotonic seconds."""
        return time.monotonic()

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` on the running loop after `delay` monotonic seconds.

        After this process was suspended, slightly later: see `STALL`.
        """
        return _PatientTimer(delay, callback)

    def call_punctually(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Do the same, but poll the clock during the last milliseconds.

        At the end of a second, wait until every clock shows the next one.
        """
        return _PunctualTimer(delay, callback)

    def rest(self, seconds: float) -> None:
        """Sleep briefly, leaving the CPU to other processes. Blocks the loop."""
        time.sleep(seconds)  # noqa: TID251 - milliseconds, where waking costs more


class _PatientTimer:
    """A timer that runs after everything else if its process was suspended.

    When it expires or is cancelled, it drops its handle, which refers back to the
    timer, and the callback, whose owner may hold the timer. Otherwise these reference
    cycles would keep whatever the callback refers to, such as a run's result, alive
    until the next garbage collection.
    """

    def __init__(self, delay: float, callback: Callable[[], None]) -> None:
        self._loop = _get_loop()
        self._callback: Callable[[], None] | None = callback
        self._deadline = self._loop.time() + max(delay, 0.0)
        self._handle: asyncio.TimerHandle | None = self._loop.call_at(
            self._deadline, self._expire
        )

    def cancel(self) -> None:
        """Cancel the call. May be repeated."""
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self._callback = None

    def _expire(self) -> None:
        if self._loop.time() - self._deadline > STALL:
            self._handle = self._loop.call_later(CATCH_UP, self._call)
        else:
            self._call()

    def _call(self) -> None:
        callback = self._callback
        self._handle = self._callback = None
        if callback is not None:
            callback()


class _PunctualTimer:
    """A timer that wakes early, sleeps again, and polls until its deadline."""

    def __init__(self, delay: float, callback: Callable[[], None]) -> None:
        self._loop = _get_loop()
        self._callback: Callable[[], None] | None = callback
        self._deadline = self._loop.time() + delay
        self._handle: asyncio.Handle | None = self._sleep(delay)

    def cancel(self) -> None:
        """Cancel the call. May be repeated."""
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self._callback = None  # as above

    def _sleep(self, delay: float) -> asyncio.Handle:
        return self._loop.call_later(delay * (1 - SLACK) - LAST_STRETCH, self._look)

    def _look(self) -> None:
        left = self._measure_left()
        if left > 2 * LAST_STRETCH:
            self._handle = self._sleep(left)
        elif left > 0:
            # Other callbacks and I/O run in between.
            time.sleep(min(left / 2, NAP))  # noqa: TID251 - less than a loop's timer
            self._handle = self._loop.call_soon(self._look)
        else:
            callback = self._callback
            self._handle = self._callback = None
            if callback is not None:
                callback()

    def _measure_left(self) -> float:
        left = max(self._deadline - self._loop.time(), 0.0)
        now = time.time()  # noqa: TID251 - as above
        # A slot is the start of a second, and every clock must show it.
        return max(left, measure_wait(math.floor(now + left)))


def _get_loop() -> asyncio.AbstractEventLoop:
    import asyncio  # noqa: PLC0415 - 45 ms; with a loop running it is loaded

    return asyncio.get_running_loop()
