"""The next hours of a schedule as marks on a line: instants, and bands of many."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipycron.scheduling.ports import Schedule

    Mark = int | tuple[int, int]

BUCKETS = 240
"""Steps of the line. Slots closer together than two steps are one band: nobody
could tell them apart, and a schedule of every second is not counted out."""
MAX_LIMIT = 1000
"""Slots left to a schedule beyond which its end is not looked for."""


@lru_cache(maxsize=1024)  # asked for each second; most of the time they stay the same
def find_marks(
    schedule: Schedule, start: int, horizon: int, limit: int | None = None
) -> tuple[Mark, ...]:
    """Return the slots of a schedule in the seconds from `start` on.

    Asks the schedule at most once a step.

    Args:
        schedule: when it fires.
        start: the first instant, Unix seconds.
        horizon: how many seconds are looked at.
        limit: slots that are left to it, None for no end. What stands in a band is
            not counted: a band ends where its limit may.

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
        # The next one that would be seen as another.
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
