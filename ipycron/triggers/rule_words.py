"""A recurrence rule in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipycron.triggers.periods import from_local
from ipycron.triggers.recurrence import DAILY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ipycron.triggers.recurrence import Recurrence

_UNITS = ("year", "month", "week", "day", "hour", "minute", "second")
_DAYS = (
    *("Monday", "Tuesday", "Wednesday", "Thursday"),
    *("Friday", "Saturday", "Sunday"),
)
_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
_MOST_TIMES = 6


def say_rule(rule: Recurrence, start: int | None) -> str:
    """Return it in words; `start` is its DTSTART in local seconds, if known."""
    return " ".join(_say(rule, start)).replace(" ,", ",")


def _say(rule: Recurrence, start: int | None) -> Iterator[str]:
    unit, interval = _UNITS[rule.frequency], rule.interval
    yield f"Every {unit}" if interval == 1 else f"Every {interval} {unit}s"
    if rule.by_month:
        yield f"in {_join(_MONTHS[month - 1] for month in rule.by_month)}"
    if rule.by_week:
        yield f"in {_join(_say_nth(week, 'week') for week in rule.by_week)}"
    if rule.by_year_day:
        days = _join(_say_nth(day, "day") for day in rule.by_year_day)
        yield f"on {days} of the year"
    if rule.by_month_day:
        days = _join(_say_nth(day, "day") for day in rule.by_month_day)
        yield f"on {days} of the month"
    if rule.by_day:
        days = _join(_say_nth(n, _DAYS[weekday]) for n, weekday in rule.by_day)
        yield f"on {days}"
    yield from _say_time(rule, start)
    if rule.by_position:
        picked = _join(_say_nth(place, "time") for place in rule.by_position)
        yield f"({picked} of each {unit})"
    if rule.count is not None:
        yield "once" if rule.count == 1 else f", {rule.count} times"
    if rule.until is not None:
        yield f"until {rule.until:%Y-%m-%d %H:%M}{' UTC' if rule.is_utc else ''}"


def _say_time(rule: Recurrence, start: int | None) -> Iterator[str]:
    if rule.frequency > DAILY:
        for word, values in (
            ("hours", rule.by_hour),
            ("minutes", rule.by_minute),
            ("seconds", rule.by_second),
        ):
            if values:
                yield f"at {word} {_join(map(str, values))}"
        return
    begin = None if start is None else from_local(start)
    if begin is None and not rule.by_hour:
        return
    default = (0, 0, 0) if begin is None else (begin.hour, begin.minute, begin.second)
    times = [
        f"{hour:02}:{minute:02}" + (f":{second:02}" if second else "")
        for hour in rule.by_hour or default[:1]
        for minute in rule.by_minute or default[1:2]
        for second in rule.by_second or default[2:]
    ]
    shown = times[:_MOST_TIMES]
    more = len(times) - len(shown)
    yield f"at {_join(shown)}" if not more else f"at {', '.join(shown)} and {more} more"


def _say_nth(number: int, word: str) -> str:
    """Return "Friday", "the first Friday", "the last Friday", "the 2nd last Friday"."""
    if not number:
        return word
    if number == -1:
        return f"the last {word}"
    count = abs(number)
    teens = range(11, 14)
    ending = (
        "th"
        if count % 100 in teens
        else {1: "st", 2: "nd", 3: "rd"}.get(count % 10, "th")
    )
    nth = "first" if count == 1 else f"{count}{ending}"
    return f"the {nth} last {word}" if number < 0 else f"the {nth} {word}"


def _join(items: Iterable[str]) -> str:
    *most, last = items
    return f"{', '.join(most)} and {last}" if most else last
