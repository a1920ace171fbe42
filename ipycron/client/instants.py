"""Instants and durations as users write them, checked."""

from __future__ import annotations

import contextlib
import math
import re
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from ipycron.errors import InvalidOption
from ipycron.scheduling.checks import check_duration

if TYPE_CHECKING:
    from datetime import tzinfo
    from typing import TypeAlias

    Instant: TypeAlias = datetime | date | timedelta | str

LAST = datetime(9999, 12, 1, tzinfo=UTC).timestamp()
"""The last instant that is accepted: a later one has no date in some time zones."""

MAX_NOTE = 500
"""Characters in a note: it is shown in one line."""

_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ms|s|m|h|d|w|)")
_SECONDS = {
    "": 1.0,
    "ms": 0.001,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86_400.0,
    "w": 604_800.0,
}
_INSTANT = "an instant: a datetime or ISO text, such as '2026-12-01 09:00'"
_PAST = (
    "a datetime, a date, a timedelta (that long ago), or text such as '7d', '24h' or "
    "'2026-11-24 09:00'"
)
_MOMENT = f"seconds from now, a time of day, or {_INSTANT}"


def read_duration(text: str) -> float | None:
    """Return the seconds of ``90``, ``1.5``, ``10m``, ``1h30m``; None for other text.

    Examples:
        >>> read_duration("1h30m"), read_duration("1.5"), read_duration("soon")
        (5400.0, 1.5, None)
    """
    total, at = 0.0, 0
    for part in _PART.finditer(text):
        if part.start() != at or (not part[2] and part.group() != text):
            return None
        total += float(part[1]) * _SECONDS[part[2]]
        at = part.end()
    return total if at == len(text) and text else None


def read_instant(name: str, value: Any, zone: tzinfo, *, advice: str = "") -> float:
    """Return an instant as Unix seconds.

    Args:
        name: the option's, for the error.
        value: a datetime, a date or ISO text; a date alone is its midnight.
        zone: of what has none.
        advice: what to do instead, for the error.

    Raises:
        InvalidOption: if it is something else, or too far away.
    """
    found = _read_datetime(value, zone)
    if found is None:
        raise InvalidOption(option=name, value=value, expected=_INSTANT, advice=advice)
    return _check_range(name, value, found)


def read_last(name: str, value: Any, zone: tzinfo) -> float:
    """Return what `read_instant` does; a date alone is its last second."""
    day = value
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            day = date.fromisoformat(value.strip())
    if isinstance(day, date) and not isinstance(day, datetime):
        value = datetime.combine(day, time(23, 59, 59))
    return read_instant(name, value, zone)


def read_moment(name: str, value: Any, zone: tzinfo, now: float) -> float:
    """Return an instant to come as Unix seconds.

    Args:
        name: the option's, for the error.
        value: as for `read_instant`; or seconds or a timedelta from now; or a time of
            day, as an object or ISO text, for the next time that clocks show it.
        zone: of what has none.
        now: Unix seconds.

    Raises:
        InvalidOption: if it is something else, not to come, or too far away.
    """
    if isinstance(value, timedelta | int | float) and not isinstance(value, bool):
        seconds = check_duration(name, value)
        return _check_to_come(name, value, now + seconds, zone, now)
    found = _find_time_of_day(value, zone, now) or _read_datetime(value, zone)
    if found is None:
        raise InvalidOption(option=name, value=value, expected=_MOMENT)
    return _check_to_come(name, value, _check_range(name, value, found), zone, now)


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
    seconds: float | None = None
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    # A number alone may be a year, a date or seconds: it needs a unit.
    elif isinstance(value, str) and value.strip()[-1:].isalpha():
        seconds = read_duration(value.strip())
    if seconds is not None:
        return now - seconds if seconds >= 0 else None
    found = _read_datetime(value, None)
    return None if found is None else found.timestamp()


def _read_datetime(value: Any, zone: tzinfo | None) -> datetime | None:
    """Return a datetime; one without a zone is in `zone`, None being local time."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = datetime.fromisoformat(value.strip())
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if not isinstance(value, datetime):
        return None
    if value.tzinfo is not None:
        return value
    # A new one: pandas' own take a time without a zone for UTC.
    return datetime.combine(value.date(), value.time(), zone)


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


def _check_range(name: str, value: Any, found: datetime) -> float:
    with contextlib.suppress(OverflowError, ValueError):
        instant = found.timestamp()
        if abs(instant) <= LAST:
            return instant
    raise InvalidOption(option=name, value=value, expected="a year before 9999")


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
