"""A schedule that needs no cron line."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Every:
    """Slots at the whole multiples of some seconds, counted from 1970.

    >>> Every(60).find_next(59.9), Every(60).find_next(60)
    (60, 120)
    """

    seconds: int

    def find_next(self, after: float) -> int:
        """Return the first slot strictly after `after`."""
        return (math.floor(after / self.seconds) + 1) * self.seconds
