"""The one place that reads the time."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipycron.schedule.ports import Timer


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
        """Call `callback` on the running loop after `delay` monotonic seconds."""
        return asyncio.get_running_loop().call_later(delay, callback)
