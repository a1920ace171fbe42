"""The local times of a recurrence rule, period by period, in both directions.

A rule's frequency divides time into periods: years, months, weeks, days, or less. Each
has a set of local times, from which BYSETPOS may pick some. The search walks from one
period to the next and ends at the limit that it is given, so a rule that never fires
does not keep it.

Local seconds are counted like Unix seconds, as if local time were UTC.
Source: RFC 5545, 3.3.10; python-dateutil, which the tests compare it with.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from calendar import isleap, monthrange
from datetime import date, datetime, timedelta
from functools import lru_cache
from itertools import product
from math import gcd
from typing import TYPE_CHECKING

from ipycron.cron.walk import DAY
from ipycron.triggers.recurrence import (
    DAILY,
    HOURLY,
    MINUTELY,
    MONTHLY,
    SECONDLY,
    WEEKLY,
    YEARLY,
)

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence

    from ipycron.triggers.recurrence import Recurrence

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - local
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_LAST_DAY = date(9999, 12, 31).toordinal() - _EPOCH_DAY
_FIRST_DAY = 1 - _EPOCH_DAY
_UNITS = {HOURLY: 3600, MINUTELY: 60, SECONDLY: 1}


class Periods:
    """All local seconds of one rule. Immutable, apart from a cache.

    Args:
        rule: what it says.
        start: its DTSTART, local seconds: it counts intervals from there, and says
            what the rule leaves open.
        is_bounded: whether nothing before the start is of the rule.
    """

    def __init__(self, rule: Recurrence, start: int, *, is_bounded: bool) -> None:
        self._rule = rule
        self._start = start
        self._first = start if is_bounded else None
        self._day = start // DAY
        begin = date.fromordinal(self._day + _EPOCH_DAY)
        self._begin = begin
        self._week = self._day - (begin.weekday() - rule.week_start) % 7
        self._months, self._month_days, self._days = (
            rule.by_month,
            rule.by_month_day,
            rule.by_day,
        )
        self._set_defaults()
        self._units, self._times = self._list_times()
        self._drop_units()
        self._named: Container[int] = self._units
        if not isinstance(self._units, range):
            self._named = frozenset(self._units)
        self._occurrences = lru_cache(maxsize=4)(self._list_occurrences)

    def _set_defaults(self) -> None:
        """Fill in what the rule leaves to its start: the day, not yet the time."""
        rule = self._rule
        if rule.by_week or rule.by_year_day or rule.by_month_day or rule.by_day:
            return
        if rule.frequency == YEARLY:
            self._months = rule.by_month or (self._begin.month,)
        if rule.frequency in (YEARLY, MONTHLY):
            self._month_days = (self._begin.day,)
        elif rule.frequency == WEEKLY:
            self._days = ((0, self._begin.weekday()),)

    def _list_times(self) -> tuple[tuple[int, ...] | range, tuple[int, ...]]:
        """Return the units of a day that may be periods, and the seconds in a period.

        If a period is a day or longer there is one unit, the day.
        """
        rule, clock = self._rule, self._start % DAY
        hours, minutes, seconds = rule.by_hour, rule.by_minute, rule.by_second
        if rule.frequency < HOURLY:
            hours = hours or (clock // 3600,)
        if rule.frequency < MINUTELY:
            minutes = minutes or (clock // 60 % 60,)
        if rule.frequency < SECONDLY:
            seconds = seconds or (clock % 60,)
        if rule.frequency <= DAILY:
            return (0,), _add_up(hours, minutes, seconds)
        if rule.frequency == HOURLY:
            return hours or range(24), self._pick(_add_up((0,), minutes, seconds))
        every = range(60)
        if rule.frequency == MINUTELY:
            units: Sequence[int] = range(1440)
            if hours or minutes:
                both = product(hours or range(24), minutes or every)
                units = tuple(sorted(h * 60 + m for h, m in both))
            return units, self._pick(seconds)  # type: ignore[return-value]
        if not (hours or minutes or seconds):
            return range(DAY), self._pick((0,))
        times = _add_up(hours or range(24), minutes or every, seconds or every)
        return times, self._pick((0,))

    def _drop_units(self) -> None:
        """Drop the units that the interval never meets, whatever the day."""
        unit = _UNITS.get(self._rule.frequency)
        if unit is None or isinstance(self._units, range):
            return
        step = gcd(DAY // unit, self._rule.interval)
        base = self._start // unit
        self._units = tuple(u for u in self._units if (u - base) % step == 0)

    def _pick(self, items: tuple[int, ...]) -> tuple[int, ...]:
        """Return those of a period's set that BYSETPOS picks."""
        positions, count = self._rule.by_position, len(items)
        if not positions:
            return items
        places = {p - 1 if p > 0 else count + p for p in positions}
        return tuple(items[place] for place in sorted(places) if 0 <= place < count)

    # --- the search -----------------------------------------------------------------

    def find_next(self, local: int, last: int) -> int | None:
        """Return the first local second of the rule from `local` to `last`, or None."""
        if self._first is not None:
            local = max(local, self._first)
        for times in self._walk(local, last, step=1):
            place = bisect_left(times, local)
            if place < len(times):
                return times[place] if times[place] <= last else None
        return None

    def find_previous(self, local: int, first: int) -> int | None:
        """Return the last local second of the rule from `first` to `local`, or None."""
        if self._first is not None:
            first = max(first, self._first)
        for times in self._walk(local, first, step=-1):
            place = bisect_right(times, local)
            if place:
                return times[place - 1] if times[place - 1] >= first else None
        return None

    def _walk(self, local: int, limit: int, *, step: int) -> Iterator[Sequence[int]]:
        """Yield the times of the periods from the one with `local` towards `limit`."""
        if self._rule.frequency > DAILY:
            yield from self._walk_days(local, limit, step=step)
            return
        index = self._find_index(local // DAY)
        end = self._find_index(limit // DAY)
        while (index <= end) if step > 0 else (index >= end):
            yield self._occurrences(index)
            index += step

    def _walk_days(
        self, local: int, limit: int, *, step: int
    ) -> Iterator[Sequence[int]]:
        day, end = local // DAY, limit // DAY
        unit, interval = _UNITS[self._rule.frequency], self._rule.interval
        if not (self._units and self._times):
            return
        base, a_day = self._start // unit, DAY // unit
        is_far = interval > a_day  # most days have no period
        while (day <= end) if step > 0 else (day >= end):
            offset = (base - day * a_day) % interval
            if is_far and offset >= a_day:
                # Straight to the day of the next period.
                skipped = offset if step > 0 else offset - interval
                day += skipped // a_day
                continue
            if self._has_day(day):
                near = (local - day * DAY) // unit
                yield from self._list_units(day, offset, near, step=step)
            day += step

    def _list_units(
        self, day: int, offset: int, near: int, *, step: int
    ) -> Iterator[Sequence[int]]:
        """Yield the times of the periods within a day, from about `near` on."""
        unit, interval = _UNITS[self._rule.frequency], self._rule.interval
        grid, units = range(offset, DAY // unit, interval), self._units
        # Whichever has fewer: the units on the interval's grid, or those named.
        named: Sequence[int] = grid if len(grid) <= len(units) else units
        if step > 0:
            near_ones: Iterable[int] = named[bisect_left(named, near) :]
        else:
            near_ones = reversed(named[: bisect_right(named, near)])
        for number in near_ones:
            if number in (self._named if named is grid else grid):
                begin = day * DAY + number * unit
                yield [begin + second for second in self._times]

    # --- periods of a day and longer --------------------------------------------------

    def _find_index(self, day: int) -> int:
        """Return the number of the last period that begins by a day, from the start."""
        frequency, interval = self._rule.frequency, self._rule.interval
        if frequency == DAILY:
            return (day - self._day) // interval
        if frequency == WEEKLY:
            return (day - self._week) // 7 // interval
        found = _to_date(day)
        if frequency == MONTHLY:
            months = (found.year - self._begin.year) * 12
            return (months + found.month - self._begin.month) // interval
        return (found.year - self._begin.year) // interval

    def _list_occurrences(self, index: int) -> tuple[int, ...]:
        """Return the times of a period, in order."""
        days = (day for day in self._list_days(index) if self._has_day(day))
        times = self._times
        return self._pick(tuple(day * DAY + time for day in days for time in times))

    def _list_days(self, index: int) -> range:
        frequency, count = self._rule.frequency, index * self._rule.interval
        if frequency == DAILY:
            return _clip(self._day + count, 1)
        if frequency == WEEKLY:
            return _clip(self._week + 7 * count, 7)
        begin = self._begin
        if frequency == MONTHLY:
            years, month = divmod(begin.month - 1 + count, 12)
            year = begin.year + years
            if not 1 <= year <= 9999:  # noqa: PLR2004 - the calendar's
                return range(0)
            return _clip(_to_day(year, month + 1, 1), monthrange(year, month + 1)[1])
        year = begin.year + count
        if not 1 <= year <= 9999:  # noqa: PLR2004 - as above
            return range(0)
        return _clip(_to_day(year, 1, 1), 365 + isleap(year))

    def _has_day(self, day: int) -> bool:
        """Return whether a day is one of those that the rule names."""
        found, rule = _to_date(day), self._rule
        if self._months and found.month not in self._months:
            return False
        if self._days and not self._has_weekday(found):
            return False
        if self._month_days:
            length = monthrange(found.year, found.month)[1]
            if not {found.day, found.day - length - 1}.intersection(self._month_days):
                return False
        if rule.by_year_day:
            number, length = found.timetuple().tm_yday, 365 + isleap(found.year)
            if not {number, number - length - 1}.intersection(rule.by_year_day):
                return False
        return not rule.by_week or self._has_week(found)

    def _has_weekday(self, found: date) -> bool:
        weekday = found.weekday()
        if (0, weekday) in self._days:
            return True
        if not any(n and wanted == weekday for n, wanted in self._days):
            return False
        if self._rule.frequency == YEARLY and not self._rule.by_month:
            number, length = found.timetuple().tm_yday, 365 + isleap(found.year)
        else:
            number, length = found.day, monthrange(found.year, found.month)[1]
        nth, from_end = (number - 1) // 7 + 1, -((length - number) // 7 + 1)
        return (nth, weekday) in self._days or (from_end, weekday) in self._days

    def _has_week(self, found: date) -> bool:
        """Return whether its week's number is named; week 1 has four days or more."""
        begin = found.toordinal() - (found.weekday() - self._rule.week_start) % 7
        year = date.fromordinal(min(begin + 3, date.max.toordinal())).year
        number = (begin - self._find_week_1(year)) // 7 + 1
        if year >= date.max.year:
            return number in self._rule.by_week
        count = (self._find_week_1(year + 1) - self._find_week_1(year)) // 7
        return bool({number, number - count - 1}.intersection(self._rule.by_week))

    def _find_week_1(self, year: int) -> int:
        """Return the ordinal of the first day of week 1: that of 4 January."""
        fourth = date(year, 1, 4)
        return fourth.toordinal() - (fourth.weekday() - self._rule.week_start) % 7


def _add_up(
    hours: Iterable[int], minutes: Iterable[int], seconds: Iterable[int]
) -> tuple[int, ...]:
    every = product(hours, minutes, seconds)
    return tuple(sorted(h * 3600 + m * 60 + s for h, m, s in every))


def _to_date(day: int) -> date:
    return date.fromordinal(min(max(day, _FIRST_DAY), _LAST_DAY) + _EPOCH_DAY)


def _to_day(year: int, month: int, day: int) -> int:
    return date(year, month, day).toordinal() - _EPOCH_DAY


def _clip(day: int, count: int) -> range:
    """Return so many days from a day on, within the calendar."""
    return range(max(day, _FIRST_DAY), min(day + count, _LAST_DAY + 1))


def to_local(moment: datetime) -> int:
    """Return a local time as local seconds."""
    return int((moment.replace(tzinfo=None) - EPOCH) / timedelta(seconds=1))


def from_local(local: int) -> datetime:
    """Return local seconds as a local time."""
    return EPOCH + timedelta(seconds=local)
