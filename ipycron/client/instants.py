"""Instants and moments to come as users write them, checked."""

from __future__ import annotations

import contextlib
import math
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from ipycron.errors import InvalidOption
from ipycron.scheduling.policy import check_duration

if TYPE_CHECKING:
    from datetime import tzinfo

LAST = datetime(9999, 12, 1, tzinfo=UTC).timestamp()
"""The last instant that is accepted: a later one has no date in some time zones."""

MAX_NOTE = 500
"""Characters in a note: it is shown in one line."""

_INSTANT = "an instant: a datetime or ISO text, such as '2026-12-01 09:00'"
_MOMENT = f"seconds from now, a time of day, or {_INSTANT}"


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


def _read_datetime(value: Any, zone: tzinfo) -> datetime | None:
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = datetime.fromisoformat(value.strip())
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo is not None else value.replace(tzinfo=zone)


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
