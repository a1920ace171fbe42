"""A schedule without a cron expression."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Every:
    """Slots at whole multiples of a number of seconds since 1970.

    >>> Every(60).find_next(59.9), Every(60).find_next(60)
    (60, 120)
    """

    seconds: int

    def find_next(self, after: float) -> int:
        """Return the first slot strictly after `after`."""
        return (math.floor(after / self.seconds) + 1) * self.seconds
