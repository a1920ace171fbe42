"""Instants and durations as users write them."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from ipycron.errors import InvalidOption

if TYPE_CHECKING:
    from typing import TypeAlias

    Instant: TypeAlias = datetime | date | timedelta | str

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
_EXPECTED = (
    "a datetime, a date, a timedelta (so long ago), or text such as '7d', '24h' or "
    "'2026-11-24 09:00'"
)


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


def check_instant(option: str, value: Any, now: float) -> float | None:
    """Return an instant of the past as Unix seconds; None for None.

    Args:
        option: the option's name.
        value: a datetime (local time if it has no zone), a date (its midnight, local
            time), a timedelta (so long ago), or text: a duration with units (so long
            ago), a date or a datetime in ISO 8601.
        now: the present, Unix seconds.

    Raises:
        InvalidOption: if it is something else, or beyond the calendar.
    """
    if value is None:
        return None
    try:
        instant = _read_instant(value, now)
    except (ValueError, OverflowError, OSError):  # 30 February; the year 1
        instant = None
    if instant is None:
        raise InvalidOption(option=option, value=value, expected=_EXPECTED)
    return instant


def _read_instant(value: Any, now: float) -> float | None:
    if isinstance(value, timedelta):
        return now - value.total_seconds() if value >= timedelta() else None
    if isinstance(value, datetime):
        if value.tzinfo is None:
            # pandas' own datetimes take a time without a zone for UTC.
            value = datetime.combine(value.date(), value.time())
        return float(value.timestamp())
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day).astimezone().timestamp()
    if not isinstance(value, str):
        return None
    text = value.strip()
    # A number alone may be a year, a date or seconds: it needs a unit.
    seconds = read_duration(text) if text[-1:].isalpha() else None
    if seconds is not None:
        return now - seconds
    return datetime.fromisoformat(text).timestamp()
