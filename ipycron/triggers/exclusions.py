"""Times at which a task does not run: days, parts of a week, periods (T2)."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import msgspec

from ipycron.cron.walk import DAY, HORIZON
from ipycron.cron.zone import find_zone

if TYPE_CHECKING:
    from datetime import tzinfo

WEEK = 7 * DAY
_MONDAY = 3 * DAY  # 1 January 1970 was a Thursday

Window = tuple[int, int]
"""The seconds from the first to before the second."""


class Exclusions(msgspec.Struct, frozen=True, array_like=True):
    """What is excluded, as plain values; windows in order, not touching each other.

    Attributes:
        spans: in Unix seconds.
        days: in local seconds, counted as if local time were UTC: whole days, mostly.
        week: in seconds of a local week that begins with Monday.
        until: the last instant for which everything is known, Unix seconds: holidays
            are listed for a number of years. None for no end.
        text: what was given, for people.
    """

    spans: tuple[Window, ...] = ()
    days: tuple[Window, ...] = ()
    week: tuple[Window, ...] = ()
    until: int | None = None
    text: str = ""


class Slots(Protocol):
    """Whatever has slots: a trigger, perhaps within bounds."""

    def find_next(self, after: float) -> int | None:
        """Return the first slot strictly after an instant, Unix seconds."""


class Calendar:
    """Exclusions in a time zone. Thread-safe.

    A local time that is excluded is so each time that the clock shows it.
    """

    def __init__(self, exclusions: Exclusions, timezone: tzinfo) -> None:
        self._zone = find_zone(timezone)
        self._spans = _Windows(exclusions.spans)
        self._days = _Windows(exclusions.days)
        self._week = _Windows(exclusions.week)
        self._is_all = exclusions.week == ((0, WEEK),)

    def is_excluded(self, instant: int) -> bool:
        """Return whether an instant is excluded."""
        return self._find_until(instant) is not None

    def find_end(self, instant: int) -> int | None:
        """Return the first instant from this one on that is not excluded.

        None if there is none within a hundred years.
        """
        if self._is_all:
            return None
        limit = instant + HORIZON
        while instant <= limit:
            until = self._find_until(instant)
            if until is None:
                return instant
            instant = until
        return None

    def find_start(self, instant: int, last: int) -> int | None:
        """Return the first instant up to `last` that is excluded, or None."""
        while instant <= last:
            if self._find_until(instant) is not None:
                return instant
            instant = self._find_change(instant)
        return None

    def find_begin(self, instant: int) -> int:
        """Return the first instant of what is excluded around an excluded instant."""
        limit = instant - HORIZON
        while instant > limit:
            since = self._find_since(instant)
            if since is None:
                return instant + 1
            instant = since - 1
        return limit

    def _find_until(self, instant: int) -> int | None:
        """Return up to when an instant is excluded, at least; None if it is not."""
        _, end, offset, _ = self._zone.find_span(instant)
        local = instant + offset
        found = self._spans.find_end(instant) or 0
        days = self._days.find_end(local)
        if days is not None:
            found = max(found, min(days - offset, end))
        in_week = (local + _MONDAY) % WEEK
        week = self._week.find_end(in_week)
        if week is not None:
            found = max(found, min(instant + week - in_week, end))
        return found or None

    def _find_since(self, instant: int) -> int | None:
        """Return since when an instant is excluded, at most; None if it is not."""
        start, _, offset, _ = self._zone.find_span(instant)
        local = instant + offset
        found = [since for since in (self._spans.find_begin(instant),) if since]
        days = self._days.find_begin(local)
        if days is not None:
            found.append(max(days - offset, start))
        in_week = (local + _MONDAY) % WEEK
        week = self._week.find_begin(in_week)
        if week is not None:
            found.append(max(instant + week - in_week, start))
        return min(found, default=None)

    def _find_change(self, instant: int) -> int:
        """Return the next instant at which something may begin to be excluded."""
        _, end, offset, _ = self._zone.find_span(instant)
        local = instant + offset
        found = [end]
        spans, days = self._spans.find_next(instant), self._days.find_next(local)
        if spans is not None:
            found.append(spans)
        if days is not None:
            found.append(days - offset)
        in_week = (local + _MONDAY) % WEEK
        week = self._week.find_next(in_week)
        if week is None and self._week:
            week = self._week.first + WEEK
        if week is not None:
            found.append(instant + week - in_week)
        return min(found)


class _Windows:
    """Windows in order, searched in a few steps."""

    def __init__(self, windows: tuple[Window, ...]) -> None:
        self._starts = [start for start, _ in windows]
        self._ends = [end for _, end in windows]

    def __bool__(self) -> bool:
        return bool(self._starts)

    @property
    def first(self) -> int:
        """The start of the first window."""
        return self._starts[0]

    def _find(self, second: int) -> int | None:
        place = bisect_right(self._starts, second) - 1
        return place if place >= 0 and second < self._ends[place] else None

    def find_end(self, second: int) -> int | None:
        """Return the end of the window with a second, or None."""
        place = self._find(second)
        return None if place is None else self._ends[place]

    def find_begin(self, second: int) -> int | None:
        """Return the start of the window with a second, or None."""
        place = self._find(second)
        return None if place is None else self._starts[place]

    def find_next(self, second: int) -> int | None:
        """Return the start of the first window after a second, or None."""
        place = bisect_right(self._starts, second)
        return self._starts[place] if place < len(self._starts) else None


@dataclass(frozen=True, slots=True)
class Included:
    """A schedule without its excluded slots.

    Attributes:
        schedule: the whole one.
        calendar: what is excluded.
        moves: whether there is a slot right after each period in which slots were
            excluded.
    """

    schedule: Slots
    calendar: Calendar
    moves: bool = False

    def find_next(self, after: float) -> int | None:
        """Return the first slot strictly after an instant that is not excluded."""
        pending = self._find_pending(math.floor(after)) if self.moves else None
        slot = self.schedule.find_next(after)
        limit = (after if slot is None else slot) + HORIZON
        while slot is not None and self.calendar.is_excluded(slot):
            end = self.calendar.find_end(slot)
            if end is None or end > limit:
                slot = None
            elif self.moves:
                slot = end
            else:
                slot = self.schedule.find_next(end - 1)
        if pending is not None and (slot is None or pending < slot):
            return pending
        return slot

    def _find_pending(self, instant: int) -> int | None:
        """Return the end of the period around an instant, if a slot was moved there."""
        if not self.calendar.is_excluded(instant):
            return None
        begin, end = self.calendar.find_begin(instant), self.calendar.find_end(instant)
        slot = self.schedule.find_next(begin - 1)
        return end if slot is not None and end is not None and slot < end else None


@dataclass(frozen=True, slots=True)
class Excluded:
    """The excluded slots of a schedule up to an instant, Unix seconds."""

    schedule: Slots
    calendar: Calendar
    last: int

    def find_next(self, after: float) -> int | None:
        """Return the first excluded slot strictly after an instant."""
        slot = self.schedule.find_next(after)
        while slot is not None and slot <= self.last:
            if self.calendar.is_excluded(slot):
                return slot
            start = self.calendar.find_start(slot, self.last)
            if start is None:
                return None
            slot = self.schedule.find_next(start - 1)
        return None


def merge_windows(windows: list[Window]) -> tuple[Window, ...]:
    """Return windows in order, those that touch as one."""
    merged: list[Window] = []
    for start, end in sorted(windows):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return tuple(merged)


@lru_cache(maxsize=64)
def _share_calendar(exclusions: Exclusions, timezone: tzinfo) -> Calendar:
    return Calendar(exclusions, timezone)


def make_calendar(exclusions: Exclusions, timezone: tzinfo) -> Calendar:
    """Return exclusions in a zone; one object for equal ones, if it is hashable."""
    try:
        return _share_calendar(exclusions, timezone)
    except TypeError:  # dateutil's zones are unhashable
        return Calendar(exclusions, timezone)
