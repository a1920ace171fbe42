"""The option `exclude` as users write it: dates, periods, texts, holidays."""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Any, Literal, get_args

from ipycron.cron.walk import DAY
from ipycron.errors import InvalidOption, suggest
from ipycron.triggers.exclusions import WEEK, Exclusions, Window, merge_windows
from ipycron.triggers.holidays import Holidays, read_holidays
from ipycron.triggers.instants import read_instant, read_last

if TYPE_CHECKING:
    from datetime import tzinfo

OnExcluded = Literal["skip", "next"]

YEARS_BEFORE = 5
YEARS_AFTER = 50
"""Years whose holidays are listed: a task may run for long, and is backfilled."""
MOST = 1000
"""What one option may contain: all of it travels with the task."""

_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIMES = re.compile(r"(\d\d?:\d\d(?::\d\d)?)\s*-\s*(\d\d?:\d\d(?::\d\d)?)")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
EXPECTED = (
    "dates, (start, end) pairs, holidays(...), or text such as 'sat,sun', "
    "'22:00-06:00', 'mon-fri 12:00-13:00', '2026-12-24..2027-01-01' or 'holidays:DE'"
)


def check_on_excluded(name: str, value: Any) -> OnExcluded:
    """Accept one of the two words."""
    if not isinstance(value, str) or value not in get_args(OnExcluded):
        raise InvalidOption(option=name, value=value, expected="'skip' or 'next'")
    return value  # type: ignore[return-value]


def check_exclude(name: str, value: Any) -> Any:
    """Accept what can be read in some zone; it is read again in the task's.

    A list may be empty, as one that a program has put together: it excludes nothing.
    """
    if value is None or isinstance(value, Exclusions):
        return value
    if isinstance(value, list | tuple | set | frozenset) and not value:
        return None
    read_exclusions(value, UTC, now=0.0, option=name)
    return value


def read_exclusions(
    value: Any, zone: tzinfo, *, now: float, option: str = "exclude"
) -> Exclusions:
    """Return what a user excludes, as plain values.

    Args:
        value: one exclusion or several: a date, a pair of instants, text, `holidays`.
        zone: of what has none.
        now: Unix seconds; holidays are listed for the years around it.
        option: its name, for errors.

    Raises:
        InvalidOption: if something else is in it, or a period ends before it begins.
    """
    reader = _Reader(option, zone, datetime.fromtimestamp(now, zone).year)
    items = _list_items(option, value)
    if not 0 < len(items) <= MOST:
        shown = f"{len(items)} exclusions"
        raise InvalidOption(option=option, value=shown, expected=f"1 to {MOST} of them")
    for item in items:
        reader.read(item)
    return reader.finish()


def _list_items(option: str, value: Any) -> list[Any]:
    """Return the single exclusions of a value."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(";") if part.strip()] or [value]
    if isinstance(value, date | Holidays) or _is_pair(value):
        return [value]
    if isinstance(value, list | tuple | set | frozenset):
        items: list[Any] = []
        for item in value:
            items += _list_items(option, item)
        return items
    raise InvalidOption(option=option, value=value, expected=EXPECTED)


def _is_pair(value: Any) -> bool:
    """Return whether a value is a (start, end): a tuple of two instants."""
    is_two = isinstance(value, tuple) and len(value) == 2  # noqa: PLR2004 - a pair
    return is_two and all(
        isinstance(end, date) or (isinstance(end, str) and _DATE.match(end.strip()))
        for end in value
    )


class _Reader:
    """Collects the windows of one option."""

    def __init__(self, option: str, zone: tzinfo, year: int) -> None:
        self._option = option
        self._zone = zone
        self._years = range(year - YEARS_BEFORE, year + YEARS_AFTER + 1)
        self._spans: list[Window] = []
        self._days: list[Window] = []
        self._week: list[Window] = []
        self._has_holidays = False
        self._texts: list[str] = []

    def finish(self) -> Exclusions:
        """Return what was read."""
        until = None
        if self._has_holidays:
            until = int(datetime(self._years[-1], 12, 31, tzinfo=UTC).timestamp())
        return Exclusions(
            spans=merge_windows(self._spans),
            days=merge_windows(self._days),
            week=merge_windows(self._week),
            until=until,
            text="; ".join(self._texts),
        )

    def read(self, item: Any) -> None:
        """Read one exclusion."""
        if isinstance(item, Holidays):
            self._read_holidays(item)
        elif isinstance(item, datetime):
            self._refuse(item)  # an instant is no period
        elif isinstance(item, date):
            self._add_day(item)
            self._texts.append(str(item))
        elif isinstance(item, tuple):
            self._read_period(item, *item)
        else:
            self._read_text(item.strip())

    def _read_holidays(self, item: Holidays) -> None:
        self._has_holidays = True
        for day in item.list_dates(self._years):
            self._add_day(day)
        self._texts.append(str(item))

    def _add_day(self, day: date) -> None:
        start = _find_start(day)
        self._days.append((start, start + DAY))

    def _read_period(self, given: Any, first: Any, last: Any) -> None:
        if _is_day(first) and _is_day(last):
            start, end = _to_day(first), _to_day(last)
            if end < start:
                self._refuse_order(given)
            begin = _find_start(start)
            self._days.append((begin, begin + ((end - start).days + 1) * DAY))
            self._texts.append(f"{start}..{end}")
            return
        begin_at = math.ceil(read_instant(self._option, first, self._zone))
        end_at = math.ceil(read_last(self._option, last, self._zone))
        if end_at <= begin_at:
            self._refuse_order(given)
        self._spans.append((begin_at, end_at))
        shown = (datetime.fromtimestamp(i, self._zone) for i in (begin_at, end_at))
        self._texts.append("..".join(f"{s:%Y-%m-%d %H:%M}" for s in shown))

    def _refuse_order(self, given: Any) -> None:
        raise InvalidOption(
            option=self._option, value=given, expected="an end after the start"
        )

    def _refuse(self, given: Any, advice: str = "") -> None:
        raise InvalidOption(
            option=self._option, value=given, expected=EXPECTED, advice=advice
        )

    def _read_text(self, text: str) -> None:
        first, is_period, last = text.partition("..")
        if _DATE.match(text):
            if is_period:
                self._read_period(text, first.strip(), last.strip())
            elif not _is_day(text):
                self._refuse(text)
            else:
                self._add_day(_to_day(text))
                self._texts.append(text)
            return
        found = read_holidays(text)
        if found is not None:
            self._read_holidays(found)
            return
        self._read_week(text)
        self._texts.append(text)

    def _read_week(self, text: str) -> None:
        """Read weekdays, a time of day, or both."""
        times = _TIMES.search(text)
        words = (text if times is None else text.replace(times[0], " ", 1)).strip()
        days = (
            range(7)
            if times is not None and not words
            else self._read_days(text, words)
        )
        begin, end = 0, DAY
        if times is not None:
            begin, end = (self._read_time(text, part) for part in times.groups())
            if begin == end:
                self._refuse_order(text)
            end += DAY * (end < begin)
        for day in days:
            start, stop = day * DAY + begin, day * DAY + end
            self._week.append((start, min(stop, WEEK)))
            if stop > WEEK:
                self._week.append((0, stop - WEEK))

    def _read_days(self, text: str, words: str) -> list[int]:
        days: list[int] = []
        for word in re.split(r"[,\s]+", words.lower()):
            first, is_range, last = word.partition("-")
            ends = [first, last] if is_range else [first]
            unknown = next((end for end in ends if end[:3] not in _WEEKDAYS), None)
            if unknown is not None or not all(map(_is_weekday, ends)):
                near = suggest(unknown or word, _WEEKDAYS).strip()
                self._refuse(text, near)
            numbers = [_WEEKDAYS.index(end[:3]) for end in ends]
            count = (numbers[-1] - numbers[0]) % 7 + 1
            days += [(numbers[0] + n) % 7 for n in range(count)]
        return days

    def _read_time(self, text: str, part: str) -> int:
        hours, minutes, *seconds = map(int, part.split(":"))
        found = hours * 3600 + minutes * 60 + sum(seconds)
        if found > DAY or minutes > 59 or sum(seconds) > 59:  # noqa: PLR2004 - a clock's
            self._refuse(text)
        return found


def _is_weekday(word: str) -> bool:
    full = (
        *("monday", "tuesday", "wednesday", "thursday"),
        *("friday", "saturday", "sunday"),
    )
    return any(len(word) > 2 and name.startswith(word) for name in full)  # noqa: PLR2004


def _is_day(value: Any) -> bool:
    if isinstance(value, str):
        try:
            date.fromisoformat(value.strip())
        except ValueError:
            return False
        return True
    return isinstance(value, date) and not isinstance(value, datetime)


def _to_day(value: Any) -> date:
    return date.fromisoformat(value.strip()) if isinstance(value, str) else value


def _find_start(day: date) -> int:
    from ipycron.triggers.periods import to_local  # noqa: PLC0415 - few exclude days

    return to_local(datetime.combine(day, time()))


def say_exclusions(exclusions: Exclusions, on_excluded: OnExcluded) -> str:
    """Return what is excluded in words, after the words of a schedule."""
    moved = ", then as soon as possible" if on_excluded == "next" else ""
    return f", except {exclusions.text}{moved}"
