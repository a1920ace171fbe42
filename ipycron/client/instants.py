"""Instants that have passed or are to come as users write them, checked."""

from __future__ import annotations

import contextlib
import math
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from ipycron.errors import InvalidOption
from ipycron.scheduling.checks import check_duration, is_number
from ipycron.triggers.durations import read_duration
from ipycron.triggers.instants import INSTANT, LAST, check_range, read_datetime

if TYPE_CHECKING:
    from datetime import tzinfo
    from typing import TypeAlias

    Instant: TypeAlias = datetime | date | timedelta | str

MAX_NOTE = 500
"""Characters in a note: it is shown in one line."""

_PAST = (
    "a datetime, a date, a timedelta (that long ago), or text such as '7d', '24h' or "
    "'2026-11-24 09:00'"
)
_MOMENT = f"seconds from now or text such as '30m', a time of day, or {INSTANT}"


def read_moment(name: str, value: Any, zone: tzinfo, now: float) -> float:
    """Return an instant to come as Unix seconds.

    Args:
        name: the option's, for the error.
        value: as for `read_instant`; or seconds, a timedelta or a duration as text
            (``90s``, ``1h30m``) from now; or a time of day, as an object or ISO text,
            for the next time that clocks show it.
        zone: of what has none.
        now: Unix seconds.

    Raises:
        InvalidOption: if it is something else, not to come, or too far away.
    """
    if isinstance(value, timedelta) or is_number(value):
        seconds = check_duration(name, value)
        return _check_to_come(name, value, now + seconds, zone, now)
    found = _find_time_of_day(value, zone, now) or read_datetime(value, zone)
    if found is None:
        length = _read_length(value)
        if length is not None:
            return _check_to_come(name, value, now + length, zone, now)
        raise InvalidOption(option=name, value=value, expected=_MOMENT)
    return _check_to_come(name, value, check_range(name, value, found), zone, now)


def read_past(name: str, value: Any, now: float) -> float | None:
    """Return an instant of the past as Unix seconds; None for None.

    Args:
        name: the option's, for the error.
        value: a datetime (local time if it has no zone), a date (its midnight, local
            time), a timedelta (that long ago), or text: a duration with units (that
            long ago), a date or a datetime in ISO 8601.
        now: the present, Unix seconds.

    Raises:
        InvalidOption: if it is something else, or beyond the calendar.
    """
    if value is None:
        return None
    try:
        instant = _read_past(value, now)
    except (ValueError, OverflowError, OSError):  # 30 February; the year 1
        instant = None
    if instant is None:
        raise InvalidOption(option=name, value=value, expected=_PAST)
    return instant


def check_note(note: Any) -> str:
    """Accept a short text, which may be empty."""
    expected = f"text of at most {MAX_NOTE} characters"
    if not isinstance(note, str) or len(note) > MAX_NOTE:
        raise InvalidOption(option="note", value=note, expected=expected)
    try:
        note.encode()
    except UnicodeEncodeError:
        expected = "text without lone surrogates"
        raise InvalidOption(option="note", value=note, expected=expected) from None
    return note


def _read_past(value: Any, now: float) -> float | None:
    is_length = isinstance(value, timedelta)
    seconds = value.total_seconds() if is_length else _read_length(value)
    if seconds is not None:
        return now - seconds if seconds >= 0 else None
    found = read_datetime(value, None)
    return None if found is None else found.timestamp()


def _read_length(value: Any) -> float | None:
    """Return the seconds of a duration as text; None if it is something else.

    A number alone may be a year, a date or seconds: it needs a unit.
    """
    if isinstance(value, str) and value.strip()[-1:].isalpha():
        return read_duration(value.strip())
    return None


def _find_time_of_day(value: Any, zone: tzinfo, now: float) -> datetime | None:
    """Return the next instant at which clocks show a time of day, if it is one."""
    if isinstance(value, str) and ":" in value.strip()[1:3]:  # not 20261201, a date
        text = value.strip()
        with contextlib.suppress(ValueError):
            value = time.fromisoformat(f"0{text}" if text[1] == ":" else text)
    if not isinstance(value, time):
        return None
    zone = value.tzinfo or zone
    today = datetime.fromtimestamp(now, zone).date()
    found = datetime.combine(today, value, zone)
    if found.timestamp() <= now:
        found = datetime.combine(today + timedelta(days=1), value, zone)
    return found


def _check_to_come(
    name: str, value: Any, instant: float, zone: tzinfo, now: float
) -> float:
    if not math.isfinite(instant) or instant > LAST:
        raise InvalidOption(option=name, value=value, expected="a year before 9999")
    if instant <= now:
        shown = datetime.fromtimestamp(now, zone).isoformat(" ", "seconds")
        expected = f"an instant to come: it is {shown}"
        raise InvalidOption(option=name, value=value, expected=expected)
    return instant
