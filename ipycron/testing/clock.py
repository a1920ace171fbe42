"""A clock that moves only when a test moves it."""

from __future__ import annotations

import asyncio
import heapq
from datetime import datetime
from itertools import count
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

# Fake time is counted in whole nanoseconds, so that a thousand small steps add up to
# exactly what one large step is.
_SECOND = 1_000_000_000

T = TypeVar("T")

# Turns of a loop that does not show whether it has anything left to do.
_TURNS = 100


class FakeTimer:
    """A delayed call, in fake time."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Make sure that the call never happens. Idempotent."""
        self._callback = None

    def fire(self) -> None:
        """Call, unless it was cancelled."""
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class FakeClock:
    """A clock that stands still until a test moves it.

    `advance` lets time pass: both clocks move, and each timer on the way fires at its
    own instant. `step` does what a suspend, NTP or an administrator does: only the wall
    clock moves, and no timer is affected.

    Threads and other processes do not live on fake time: `advance` does not wait
    for what happens there.

    Args:
        at: the initial wall clock: Unix seconds, or an aware datetime.

    >>> async def main():
    ...     clock = FakeClock(1_000)
    ...     clock.call_later(60, lambda: print("a minute later:", clock.now()))
    ...     await clock.advance(90)
    ...     print("at the end:", clock.now())
    >>> asyncio.run(main())
    a minute later: 1060.0
    at the end: 1090.0
    """

    def __init__(self, at: float | datetime = 1_700_000_000) -> None:
        seconds = at.timestamp() if isinstance(at, datetime) else at
        self._wall = round(seconds * _SECOND)
        self._monotonic = 0
        self._order = count()
        self._timers: list[tuple[int, int, FakeTimer]] = []

    def now(self) -> float:
        """Return the wall clock, in Unix seconds."""
        return self._wall / _SECOND

    def monotonic(self) -> float:
        """Return the seconds that have passed since the clock was made."""
        return self._monotonic / _SECOND

    def call_later(self, delay: float, callback: Callable[[], None]) -> FakeTimer:
        """Call `callback` on the loop once `delay` seconds have passed."""
        timer = FakeTimer(callback)
        deadline = self._monotonic + max(0, round(delay * _SECOND))
        heapq.heappush(self._timers, (deadline, next(self._order), timer))
        return timer

    def call_punctually(self, delay: float, callback: Callable[[], None]) -> FakeTimer:
        """Do the same: fake time is punctual."""
        return self.call_later(delay, callback)

    def rest(self, seconds: float) -> None:
        """Do not wait: no other process runs on fake time."""

    def step(self, seconds: float) -> None:
        """Set the wall clock forward, or back by a negative number."""
        self._wall += round(seconds * _SECOND)

    async def pass_until(self, work: Awaitable[T], *, limit: float = 86_400) -> T:
        """Let time pass until `work` is done; return its result.

        Raises:
            TimeoutError: if it is not done after `limit` seconds.
        """
        future = asyncio.ensure_future(work)
        end = self._monotonic + round(limit * _SECOND)
        await self.advance()
        while not future.done():
            if not self._timers or self._timers[0][0] > end:
                future.cancel()
                await self.settle()
                message = f"not done within {limit:g} s of fake time"
                raise TimeoutError(message)
            await self.advance((self._timers[0][0] - self._monotonic) / _SECOND)
        return await future

    async def advance(self, seconds: float = 0.0) -> None:
        """Let time pass; return when everything due on the way has happened."""
        end = self._monotonic + round(seconds * _SECOND)
        await self.settle()
        while self._timers and self._timers[0][0] <= end:
            deadline, _, timer = heapq.heappop(self._timers)
            self._pass(deadline)
            # As a loop does: outside any task, with failures reported to the loop.
            asyncio.get_running_loop().call_soon(timer.fire)
            await self.settle()
        self._pass(end)

    async def settle(self) -> None:
        """Return when the loop has nothing left to do at this instant."""
        # asyncio does not expose its queue; its own loops keep it in this attribute.
        queue = getattr(asyncio.get_running_loop(), "_ready", None)
        if queue is None:
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            return
        await asyncio.sleep(0)
        while queue:  # noqa: ASYNC110 - a loop does not report that it has no work left
            await asyncio.sleep(0)

    def _pass(self, deadline: int) -> None:
        self._wall += deadline - self._monotonic
        self._monotonic = deadline
