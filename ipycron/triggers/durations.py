"""Durations as users write them."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from numbers import Real
from typing import Any

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
_UNITS = ((86_400, "d", "day"), (3600, "h", "hour"), (60, "m", "minute"))
_LOOSE = re.compile(
    r"(\d+(?:\.\d+)?)\s*"
    r"(w|weeks?|d|days?|h|hrs?|hours?|m|mins?|minutes?|s|secs?|seconds?)\b",
    re.IGNORECASE,
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


def measure(value: Any) -> float | None:
    """Return the seconds of a number, a timedelta or text; None for anything else."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, str):
        return read_duration(value.strip())
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf


def guess_duration(text: str) -> str:
    """Return what ``5 minutes`` or ``1 hour 30 min`` is here: ``5m``; "" if unclear.

    Examples:
        >>> guess_duration("5 Minutes"), guess_duration("1 hour 30 mins")
        ('5m', '1h30m')
    """
    parts = _LOOSE.findall(text)
    rest = _LOOSE.sub("", text)
    if not parts or rest.replace("and", "").strip(" ,"):
        return ""
    return "".join(number + unit[0].lower() for number, unit in parts)


def write_duration(seconds: int) -> str:
    """Return what `read_duration` reads as so many seconds: ``1h30m``.

    Examples:
        >>> write_duration(90), write_duration(5400), write_duration(86400)
        ('90s', '1h30m', '1d')
    """
    if seconds % 60:
        return f"{seconds}s"
    written, rest = "", seconds
    for size, letter, _ in _UNITS:
        count, rest = divmod(rest, size)
        written += f"{count}{letter}" if count else ""
    return written


def say_duration(seconds: int) -> str:
    """Return so many seconds in words.

    Examples:
        >>> say_duration(90), say_duration(60), say_duration(90_000)
        ('90 seconds', 'minute', '1 day 1 hour')
    """
    if seconds % 60:
        return f"{seconds} seconds" if seconds > 1 else "second"
    said, rest = [], seconds
    for size, _, word in _UNITS:
        count, rest = divmod(rest, size)
        if count:
            said.append(f"{count} {word}{'s' * (count > 1)}")
    return " ".join(said).removeprefix("1 ") if len(said) == 1 else " ".join(said)
