"""The text of a recurrence rule, ``FREQ=MONTHLY;BYDAY=-1FR``, parsed and checked.

Source: RFC 5545, 3.3.10.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

from ipycron.errors import CronSyntaxError, suggest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FREQUENCIES = (
    *("YEARLY", "MONTHLY", "WEEKLY", "DAILY"),
    *("HOURLY", "MINUTELY", "SECONDLY"),
)
YEARLY, MONTHLY, WEEKLY, DAILY, HOURLY, MINUTELY, SECONDLY = range(7)
WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
MOST = 10_000
"""The largest COUNT: the last of so many slots is found in 0.1 s."""
LONGEST = 100_000
"""The largest INTERVAL, in whatever unit."""

_DAY = re.compile(r"([+-]?\d+)?(MO|TU|WE|TH|FR|SA|SU)")
_MOMENT = re.compile(r"(\d{8})(?:T(\d{6})(Z?))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurrence:
    """What a rule says. Lists are sorted and without repetitions; empty if not given.

    Attributes:
        frequency: the index in `FREQUENCIES`.
        by_day: (n, weekday), Monday is 0; n is 0 for every such day, negative from
            the end.
        until: local time, or UTC if `is_utc`.
        week_start: the weekday with which a week begins.
    """

    frequency: int
    interval: int = 1
    count: int | None = None
    until: datetime | None = None
    is_utc: bool = False
    by_month: tuple[int, ...] = ()
    by_week: tuple[int, ...] = ()
    by_year_day: tuple[int, ...] = ()
    by_month_day: tuple[int, ...] = ()
    by_day: tuple[tuple[int, int], ...] = ()
    by_hour: tuple[int, ...] = ()
    by_minute: tuple[int, ...] = ()
    by_second: tuple[int, ...] = ()
    by_position: tuple[int, ...] = ()
    week_start: int = 0


def read_moment(text: str) -> tuple[datetime, bool] | None:
    """Return a date or a time as RFC 5545 writes it, and whether it is UTC.

    A date alone is its last second.
    """
    found = _MOMENT.fullmatch(text)
    if found is None:
        return None
    try:
        moment = datetime.strptime(  # noqa: DTZ007 - local time
            found[1] + (found[2] or "235959"), "%Y%m%d%H%M%S"
        )
    except ValueError:
        return None
    return moment, bool(found[3])


def parse_recurrence(text: str) -> Recurrence:
    """Parse the text of a rule, without ``RRULE:``.

    Raises:
        CronSyntaxError: if it is not one; names the part.
    """
    given: dict[str, str] = {}
    for part in text.strip(";").split(";"):
        name, has_value, value = part.strip().partition("=")
        key = name.strip().upper()
        if not has_value or key not in _READERS:
            near = suggest(key, _READERS) if key else ""
            known = ", ".join(_READERS)
            raise _refuse(text, part, f"NAME=VALUE with one of {known}.{near}")
        if key in given:
            raise _refuse(text, part, f"each part once, but there is {key} before it")
        given[key] = value.strip().upper()
    if "FREQ" not in given:
        raise _refuse(text, text, f"FREQ= with one of {', '.join(FREQUENCIES)}")
    values: dict[str, object] = {}
    for key, value in given.items():
        read = _READERS[key](value)
        if read is None:
            near = suggest(value, FREQUENCIES) if key == "FREQ" else ""
            raise _refuse(
                text, f"{key}={value}", f"{_EXPECTED[key]}{near and '.'}{near}"
            )
        values.update(read)
    rule = Recurrence(**values)  # type: ignore[arg-type] # as `_READERS` returns them
    _check_whole(text, rule)
    return rule


def _check_whole(text: str, rule: Recurrence) -> None:
    """Refuse parts that do not go together."""
    if rule.count is not None and rule.until is not None:
        raise _refuse(text, "both COUNT and UNTIL", "one of them")
    has_nth = any(n for n, _ in rule.by_day)
    if has_nth and rule.frequency not in (YEARLY, MONTHLY):
        raise _refuse(text, "a number in BYDAY", "one with MONTHLY or YEARLY only")
    if rule.by_week and rule.frequency != YEARLY:
        raise _refuse(text, "BYWEEKNO", "it with YEARLY only")
    if rule.by_position and not (
        *rule.by_month,
        *rule.by_week,
        *rule.by_year_day,
        *rule.by_month_day,
        *rule.by_day,
        *rule.by_hour,
        *rule.by_minute,
        *rule.by_second,
    ):
        raise _refuse(text, "BYSETPOS", "it beside another part that begins with BY")


def _refuse(text: str, got: str, expected: str) -> CronSyntaxError:
    return CronSyntaxError(
        expression=text, message=f"RRULE: got {got!r:.80}, expected {expected}"
    )


def _read_frequency(value: str) -> dict[str, object] | None:
    return {"frequency": FREQUENCIES.index(value)} if value in FREQUENCIES else None


def _read_until(value: str) -> dict[str, object] | None:
    read = read_moment(value)
    return None if read is None else {"until": read[0], "is_utc": read[1]}


def _read_days(value: str) -> dict[str, object] | None:
    days = set()
    for word in value.split(","):
        found = _DAY.fullmatch(word.strip())
        if found is None or (found[1] and not 1 <= abs(int(found[1])) <= 53):  # noqa: PLR2004 - weeks
            return None
        days.add((int(found[1] or 0), WEEKDAYS.index(found[2])))
    return {"by_day": tuple(sorted(days))}


def _read_week_start(value: str) -> dict[str, object] | None:
    return {"week_start": WEEKDAYS.index(value)} if value in WEEKDAYS else None


def _read_number(
    name: str, least: int, most: int
) -> Callable[[str], dict[str, object] | None]:
    def read(value: str) -> dict[str, object] | None:
        is_number = re.fullmatch(r"\d{1,9}", value) is not None
        return {name: int(value)} if is_number and least <= int(value) <= most else None

    return read


def _read_list(
    name: str, least: int, most: int, *, is_signed: bool = False
) -> Callable[[str], dict[str, object] | None]:
    def read(value: str) -> dict[str, object] | None:
        numbers = set()
        for word in value.split(","):
            if not re.fullmatch(r"[+-]?\d{1,4}", word.strip()):
                return None
            number = int(word)
            in_range = least <= (abs(number) if is_signed else number) <= most
            if not in_range:
                return None
            numbers.add(number)
        return {name: tuple(sorted(numbers))}

    return read


_READERS: Mapping[str, Callable[[str], dict[str, object] | None]] = MappingProxyType(
    {
        "FREQ": _read_frequency,
        "INTERVAL": _read_number("interval", 1, LONGEST),
        "COUNT": _read_number("count", 1, MOST),
        "UNTIL": _read_until,
        "BYMONTH": _read_list("by_month", 1, 12),
        "BYWEEKNO": _read_list("by_week", 1, 53, is_signed=True),
        "BYYEARDAY": _read_list("by_year_day", 1, 366, is_signed=True),
        "BYMONTHDAY": _read_list("by_month_day", 1, 31, is_signed=True),
        "BYDAY": _read_days,
        "BYHOUR": _read_list("by_hour", 0, 23),
        "BYMINUTE": _read_list("by_minute", 0, 59),
        "BYSECOND": _read_list("by_second", 0, 59),
        "BYSETPOS": _read_list("by_position", 1, 366, is_signed=True),
        "WKST": _read_week_start,
    }
)
_EXPECTED: Mapping[str, str] = MappingProxyType(
    {
        "FREQ": f"one of {', '.join(FREQUENCIES)}",
        "INTERVAL": f"a number from 1 to {LONGEST:,}",
        "COUNT": f"a number from 1 to {MOST:,}",
        "UNTIL": "a date such as 20261231, 20261231T120000 or 20261231T120000Z",
        "BYMONTH": "numbers from 1 to 12",
        "BYWEEKNO": "numbers from 1 to 53, or from -53 to -1",
        "BYYEARDAY": "numbers from 1 to 366, or from -366 to -1",
        "BYMONTHDAY": "numbers from 1 to 31, or from -31 to -1",
        "BYDAY": "weekdays such as MO, 1MO or -1FR",
        "BYHOUR": "numbers from 0 to 23",
        "BYMINUTE": "numbers from 0 to 59",
        "BYSECOND": "numbers from 0 to 59",
        "BYSETPOS": "numbers from 1 to 366, or from -366 to -1",
        "WKST": f"one of {', '.join(WEEKDAYS)}",
    }
)
