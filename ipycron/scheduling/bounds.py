"""A schedule between a first and a last instant (C6)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from ipycron.scheduling.policy import Policy
    from ipycron.scheduling.ports import Schedule


@dataclass(frozen=True, slots=True)
class Bounded:
    """A schedule without the slots before `first` and after `last`, Unix seconds."""

    schedule: Schedule
    first: int | None
    last: int | None

    def find_next(self, after: float) -> int | None:
        """Return the next slot within the bounds; see `Schedule`."""
        if self.first is not None and after < self.first:
            after = self.first - 1
        slot = self.schedule.find_next(after)
        is_beyond = slot is not None and self.last is not None and slot > self.last
        return None if is_beyond else slot


S = TypeVar("S", bound="Schedule")


def bound(schedule: S, policy: Policy) -> S | Bounded:
    """Return a schedule within the bounds of a task; slots are whole seconds."""
    start, end = policy.start, policy.end
    if start is None and end is None:
        return schedule
    return Bounded(
        schedule,
        None if start is None else math.ceil(start.timestamp()),
        None if end is None else math.floor(end.timestamp()),
    )
