"""Retrying: how long to wait, and how often to log the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipycron.errors import StartRefused, WorkerCrashed

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipycron.scheduling.ports import Clock

FIRST_BACKOFF = 0.1
"""Seconds before a dead worker is replaced; doubled with each death in a row (R7)."""
LONGEST_BACKOFF = 30.0
WARNING_INTERVAL = 60.0
"""Seconds between two warnings about starts that the system refuses, of any kind."""


def find_backoff(count: int) -> float:
    """Return the number of seconds to wait before the next attempt.

    Args:
        count: consecutive failures so far, at least 1.
    """
    # The exponent is bounded: after a thousand restarts the power would overflow.
    return min(FIRST_BACKOFF * (1 << min(count - 1, 16)), LONGEST_BACKOFF)


def is_refusal(error: BaseException) -> bool:
    """Return whether an error is a refusal by the system, not a fault of the job."""
    return isinstance(error, StartRefused) or (
        isinstance(error, WorkerCrashed) and error.is_lost
    )


class RefusalLog:
    """Warns about refused starts, at most once a minute.

    Args:
        clock: measures the time since the last warning.
        warn: called with the warning, one line.
    """

    def __init__(self, clock: Clock, warn: Callable[[str], None]) -> None:
        self._clock = clock
        self._warn = warn
        self._last: float | None = None

    def report(self, error: BaseException) -> None:
        """Warn that a refused start is being retried, if another warning is due."""
        now = self._clock.monotonic()
        if self._last is None or now - self._last >= WARNING_INTERVAL:
            self._last = now
            self._warn(f"{error} Retrying until it succeeds.")
