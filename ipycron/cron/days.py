"""Which days a schedule runs on: the two day fields and the month, month by month."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ipycron.cron.fields import Fields, Token

# Days are counted from 1 January 1970, a Thursday.
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_EPOCH_WEEKDAY = 4

_SUNDAY, _SATURDAY = 0, 6
_DECEMBER = 12
# By leap year and month.
_LENGTHS = (
    (0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31),
    (0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31),
)


def make_mask(values: Iterable[int]) -> int:
    """Return the integer whose bit `n` is set for every value `n`."""
    mask = 0
    for value in values:
        mask |= 1 << value
    return mask


class Days:
    """The days of one schedule. Immutable apart from its cache; thread-safe.

    A month's days depend only on its length and on the weekday of its first day:
    28 kinds of months, each computed once, as a mask with bit `n` for day `n`.
    """

    __slots__ = ("_are_either", "_kinds", "_months", "_of_month", "_of_week")

    def __init__(self, fields: Fields, *, day_or: bool) -> None:
        self._of_month = fields.day_of_month
        self._of_week = fields.day_of_week
        self._months = make_mask(fields.month)
        # Source: Debian cron. A field that begins with a star only restricts and never
        # adds days: "*/2" with "mon" means Mondays on odd days.
        self._are_either = day_or and fields.starred.isdisjoint(
            ("day_of_month", "day_of_week")
        )
        self._kinds: dict[int, int] = {}

    @property
    def are_all(self) -> bool:
        """Whether the schedule includes every day."""
        plain = self._of_month == tuple(range(1, 32)), self._of_week == tuple(range(7))
        is_free = any(plain) if self._are_either else all(plain)
        return is_free and self._months.bit_count() == _DECEMBER

    def find_next(self, day: int, last: int) -> int | None:
        """Return the first of these days from `day` to `last`, or None."""
        date_ = date.fromordinal(day + _EPOCH_ORDINAL)
        year, month, from_day = date_.year, date_.month, date_.day
        before = day - from_day  # the last day of the month before
        while before < last:
            length = _LENGTHS[_is_leap(year)][month]
            if self._months >> month & 1:
                later = self._find_mask(before, length) >> from_day
                if later:
                    found = before + from_day + (later & -later).bit_length() - 1
                    return found if found <= last else None
            before += length
            from_day = 1
            month += 1
            if month > _DECEMBER:
                year, month = year + 1, 1
        return None

    def find_previous(self, day: int, first: int) -> int | None:
        """Return the last of these days from `first` to `day`, or None."""
        date_ = date.fromordinal(day + _EPOCH_ORDINAL)
        year, month, to_day = date_.year, date_.month, date_.day
        before = day - to_day  # the last day of the month before
        while before + to_day >= first:
            if self._months >> month & 1:
                length = _LENGTHS[_is_leap(year)][month]
                earlier = self._find_mask(before, length) & ((2 << to_day) - 1)
                if earlier:
                    found = before + earlier.bit_length() - 1
                    return found if found >= first else None
            month -= 1
            if month < 1:
                year, month = year - 1, _DECEMBER
            to_day = _LENGTHS[_is_leap(year)][month]
            before -= to_day
        return None

    def _find_mask(self, before: int, length: int) -> int:
        """Return the days chosen in the month that starts after `before`, as a mask."""
        weekday = (before + 1 + _EPOCH_WEEKDAY) % 7
        kind = weekday * 4 + length - 28
        mask = self._kinds.get(kind)
        if mask is None:
            mask = self._kinds[kind] = self._compute_mask(weekday, length)
        return mask

    def _compute_mask(self, weekday: int, length: int) -> int:
        """Compute the mask of the days chosen in a month that begins on `weekday`."""
        of_month = make_mask(
            day
            for token in self._of_month
            if (day := _choose_day(token, weekday, length)) is not None
        )
        of_week = make_mask(
            day
            for token in self._of_week
            for day in _choose_weekdays(token, weekday, length)
        )
        return of_month | of_week if self._are_either else of_month & of_week


def _is_leap(year: int) -> bool:
    """Return whether February has 29 days."""
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def _choose_day(token: Token, weekday: int, length: int) -> int | None:
    """Return the day of the month for a token; None if the month has no such day."""
    if isinstance(token, int):
        day = token
    elif token == "LW":  # noqa: S105 - a token of the grammar
        return _find_weekday(length, weekday, length)
    elif token.endswith("W"):
        day = int(token[:-1])
        return _find_weekday(day, weekday, length) if day <= length else None
    else:
        day = length - int(token[2:] or 0)  # "L" or "L-3"
    return day if 1 <= day <= length else None


def _find_weekday(day: int, weekday: int, length: int) -> int:
    """Return the nearest day to `day` from Monday to Friday, within the month."""
    of_day = (weekday + day - 1) % 7
    if of_day == _SATURDAY:
        return day - 1 if day > 1 else day + 2
    if of_day == _SUNDAY:
        return day + 1 if day < length else day - 2
    return day


def _choose_weekdays(token: Token, weekday: int, length: int) -> list[int]:
    """Return the days of the month for a weekday token."""
    of_week = token if isinstance(token, int) else int(token[0])
    days = list(range(1 + (of_week - weekday) % 7, length + 1, 7))
    if isinstance(token, int):
        return days
    if token.endswith("L"):
        return days[-1:]
    ordinal = int(token[2:])
    return days[ordinal - 1 : ordinal]
