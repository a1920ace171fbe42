"""The next hours of a schedule as marks on a line: instants, and bands of slots."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from ipycron.notebook.display.words import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ipycron.scheduling.ports import Schedule

    Mark = int | tuple[int, int]

BUCKETS = 240
"""Steps of the line. Slots closer together than two steps form one band: they could not
be told apart, and a schedule of every second is not enumerated."""
HORIZONS = (3600, 6 * 3600, 24 * 3600, 7 * 86_400, 31 * 86_400, 366 * 86_400)
"""Maximum seconds that the line looks ahead."""
_WEEK = HORIZONS[3]
_SAMPLE = 12  # slots used to find the pace of a band
_UNITS = {1: "second", 60: "minute", 3600: "hour", 86_400: "day"}
MAX_LIMIT = 1000
"""If a schedule has more slots left, its end is not computed."""


@dataclass(frozen=True, slots=True)
class From:
    """A schedule from an instant on: what a pause leaves of it."""

    schedule: Schedule
    first: int

    def find_next(self, after: float) -> int | None:
        """Return the next slot that is not before the instant; see `Schedule`."""
        return self.schedule.find_next(max(after, self.first - 1))


@lru_cache(maxsize=1024)  # called each second; mostly the result stays the same
def find_marks(
    schedule: Schedule, start: int, horizon: int, limit: int | None = None
) -> tuple[Mark, ...]:
    """Return the slots of a schedule in the seconds from `start` on.

    Queries the schedule at most once a step.

    Args:
        schedule: when it fires.
        start: the first instant, Unix seconds.
        horizon: how many seconds to cover.
        limit: slots left to it; None for no end. Slots within a band are not counted: a
            band ends where its limit may.

    Returns:
        Seconds after `start`, in order: a number for a single slot, a pair for the
        first and the last of a band.
    """
    step = max(1, horizon // BUCKETS)
    if limit is not None and limit > MAX_LIMIT:
        limit = None
    marks: list[Mark] = []
    slot = schedule.find_next(start - 1)
    asked = 0
    while slot is not None and slot <= start + horizon:
        if limit is not None and asked >= limit:
            break
        asked += 1
        _add(marks, slot - start, reach=2 * step)
        # The next slot that would be a visibly separate mark.
        slot = schedule.find_next(slot if limit is not None else slot + step - 1)
    return tuple(marks)


def _add(marks: list[Mark], offset: int, *, reach: int) -> None:
    last = marks[-1] if marks else None
    if isinstance(last, tuple) and offset - last[1] <= reach:
        marks[-1] = (last[0], offset)
    elif isinstance(last, int) and offset - last <= reach:
        marks[-1] = (last, offset)
    else:
        marks.append(offset)


@lru_cache(maxsize=1024)
def find_pace(schedule: Schedule, first: int) -> str:
    """Return how often a schedule fires from a slot on, as text: ``every 5 s``.

    Args:
        schedule: when it fires.
        first: the first slot of a band, Unix seconds.

    Returns:
        The text, with the shortest and the longest pause if they differ; empty if
        nothing follows.
    """
    slots: list[int] = [first]
    while len(slots) <= _SAMPLE:
        slot = schedule.find_next(slots[-1])
        if slot is None:
            break
        slots.append(slot)
    pauses = [after - before for before, after in itertools.pairwise(slots)]
    if not pauses:
        return ""
    shortest, longest = min(pauses), max(pauses)
    if shortest == longest:
        return f"every {_UNITS.get(shortest) or format_duration(shortest)}"
    return f"every {format_duration(shortest)} to {format_duration(longest)}"


def fit_horizon(schedules: Iterable[tuple[Schedule, int | None]], now: int) -> int:
    """Return the shortest horizon that shows what armed tasks do.

    It reaches to the next slot of each, and is as long as the pause after that: a daily
    task gets a day even if its slot is near. Tasks that are due in more than a week
    count only if there is no other task.

    Args:
        schedules: the schedule of each task, and how many slots are left to it; None
            for no end.
        now: Unix seconds.
    """
    reaches = [_find_reach(schedule, now, limit) for schedule, limit in schedules]
    near = [reach for reach in reaches if reach <= _WEEK]
    wanted = max(near) if near else min(reaches, default=0)
    return next((h for h in HORIZONS if h >= wanted), HORIZONS[-1])


def _find_reach(schedule: Schedule, now: int, limit: int | None) -> int:
    first = schedule.find_next(now)
    if first is None or limit == 0:
        return 0
    second = None if limit == 1 else schedule.find_next(first)
    return max(first - now, 0 if second is None else second - first)
