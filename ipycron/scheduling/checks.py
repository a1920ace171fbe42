"""How options are declared and checked, in every layer."""

from __future__ import annotations

import math
from dataclasses import field, fields
from datetime import timedelta
from enum import Enum
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from ipycron.errors import InvalidOption

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_WHOLE = 2**63 - 1
"""The largest integer that a message can hold."""


class OptionKind(Enum):
    """How an option is parsed from text; the value is its placeholder in the help."""

    FLAG = "flag"
    TEXT = "TEXT"
    NUMBER = "N"
    FACTOR = "X"
    DURATION = "TIME"
    NAMES = "NAMES"
    TEXTS = "TEXT [...]"  # may be given more than once
    PAIR = "KEY=VALUE"
    OBJECT = "VARIABLE"


def option(
    default: Any,
    check: Callable[[str, Any], Any],
    help: str,  # noqa: A002
    *,
    kind: OptionKind,
) -> Any:
    """Declare an option of an options dataclass.

    Args:
        default: the value if none is given; it is not checked.
        check: takes the option's name and a value; returns the value to keep or
            raises `InvalidOption`.
        help: one line for people, without the default.
        kind: how the option is parsed from a magic's line.
    """
    return field(default=default, metadata={"check": check, "help": help, "kind": kind})


def check_options(cls: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Return `given` with every value checked by its declaration in `cls`."""
    checks = {f.name: f.metadata["check"] for f in fields(cls)}
    return {name: checks[name](name, value) for name, value in given.items()}


def check_flag(name: str, value: Any) -> bool:
    """Accept True or False only."""
    if not isinstance(value, bool):
        raise InvalidOption(option=name, value=value, expected="True or False")
    return value


def check_text(name: str, value: Any) -> str | None:
    """Accept non-empty text that can be encoded as UTF-8, or None."""
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip():
        raise InvalidOption(option=name, value=value, expected="non-empty text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidOption(
            option=name, value=value, expected="text without lone surrogates"
        ) from None
    return value


def check_count(name: str, value: Any) -> int:
    """Accept a whole number of at least 0."""
    return check_whole(name, value, 0, "a whole number ≥ 0")


def check_limit(name: str, value: Any) -> int | None:
    """Accept a whole number of at least 1, or None for no limit."""
    if value is None:
        return None
    return check_whole(name, value, 1, "a whole number ≥ 1, or None")


def check_whole(name: str, value: Any, least: int, expected: str) -> int:
    """Accept a whole number of at least `least` that a message can hold."""
    whole = int(value) if is_number(value) and isinstance(value, Integral) else None
    if whole is None or whole < least:
        raise InvalidOption(option=name, value=value, expected=expected)
    if whole > MAX_WHOLE:
        raise InvalidOption(option=name, value=value, expected="a number below 2**63")
    return whole


def check_duration(name: str, value: Any) -> float:
    """Accept seconds ≥ 0 as int, float or timedelta; return a float."""
    seconds = to_seconds(value)
    if seconds is None or seconds < 0:
        raise InvalidOption(
            option=name, value=value, expected="seconds ≥ 0 (int, float or timedelta)"
        )
    return seconds


def check_deadline(name: str, value: Any) -> float:
    """Accept seconds above 0 as int, float or timedelta; return a float."""
    seconds = to_seconds(value)
    if seconds is None or seconds <= 0:
        raise InvalidOption(
            option=name, value=value, expected="seconds > 0 (int, float or timedelta)"
        )
    return seconds


def check_optional_deadline(name: str, value: Any) -> float | None:
    """Accept what `check_deadline` accepts, or None for no limit."""
    return None if value is None else check_deadline(name, value)


def is_number(value: Any) -> bool:
    """Return whether a value is a real number: also one of NumPy's, but no bool."""
    return isinstance(value, Real) and not isinstance(value, bool)


def to_seconds(value: Any) -> float | None:
    """Return finite seconds, or None if `value` is not a duration."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if not is_number(value):
        return None
    try:
        seconds = float(value)
    except OverflowError:
        return None
    return seconds if math.isfinite(seconds) else None
