"""Triggers as text: ``@every 90s``, ``@at 2026-12-01``, ``RRULE:…``, or cron's."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from numbers import Real
from typing import TYPE_CHECKING, Any, NoReturn

from ipycron.cron import CronExpression, split_expression, validate
from ipycron.cron.trigger import Trigger
from ipycron.errors import CronSyntaxError, IpycronError, show_value
from ipycron.triggers.durations import guess_duration, read_duration
from ipycron.triggers.instants import Instants, read_datetime
from ipycron.triggers.interval import Interval, check_interval

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import tzinfo

_EVERY = ("@every", "every")
_AT = ("@at", "at")
KEYWORDS = frozenset((*_EVERY, *_AT))
"""The first words of triggers that are no cron expressions."""
_TIME = re.compile(r"\d\d?:\d\d\S*")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_RULE = re.compile(r"\s*(RRULE:|DTSTART[:;]|FREQ=)", re.IGNORECASE)
_JOINED = re.compile(r"@?every(\d\S*)", re.IGNORECASE)
_FORMS = "an interval: @every 90s [from INSTANT | after finish]"


def read_one(
    value: Any,
    timezone: tzinfo | str | None = None,
    *,
    day_or: bool = True,
    hash_id: str | None = None,
) -> Trigger:
    """Return the trigger that a value stands for: text, a timedelta, a datetime.

    Raises:
        CronSyntaxError: if it is text that says nothing, or anything else.
        InvalidOption: if it is out of range.
    """
    if isinstance(value, Trigger):
        return value
    if isinstance(value, timedelta):
        return Interval(check_interval(value), timezone=timezone)
    if isinstance(value, datetime | date):
        return Instants([value], timezone)
    if not isinstance(value, str):
        _refuse(value)
    return _read_text(value, timezone, day_or=day_or, hash_id=hash_id)


def _refuse(value: Any) -> NoReturn:
    """Raise for what is no trigger, with the one that is probably meant."""
    suggestion = None
    if isinstance(value, Real) and not isinstance(value, bool):
        suggestion = "every(seconds=…), for an interval"
    elif isinstance(value, list | tuple | set | frozenset):
        suggestion = "any_of(…), for several triggers"
    got = f"{show_value(value, 40)} ({type(value).__name__})"
    raise CronSyntaxError(
        expression=show_value(value),
        message=f"expression: got {got}, expected text such as '*/5 * * * *', or a "
        "trigger such as every('5m').",
        suggestion=suggestion,
    )


def _read_text(
    value: str, timezone: tzinfo | str | None, *, day_or: bool, hash_id: str | None
) -> Trigger:
    words = value.split()
    keyword = words[0].lower() if words else ""
    if keyword in _EVERY:
        return _read_every(value, words[1:], timezone)
    if keyword in _AT:
        return _read_at(value, words[1:], timezone)
    if _RULE.match(value):
        from ipycron.triggers.rule import Rule  # noqa: PLC0415 - few tasks have one

        return Rule(value, None, timezone)
    try:
        return CronExpression(value, timezone, day_or=day_or, hash_id=hash_id)
    except CronSyntaxError as error:
        meant = _guess(words)
        if not meant:
            raise
        raise CronSyntaxError(
            expression=value, message=error.message, suggestion=meant
        ) from None


def split_one(words: Sequence[str]) -> tuple[str, tuple[str, ...]] | None:
    """Return the trigger that words begin with, and the words after it, or None."""
    if not words:
        return None
    keyword = words[0].lower()
    if keyword in _EVERY:
        length = _measure_every(words)
        if words[1:2] and words[1].isdecimal() and guess_duration(" ".join(words[1:3])):
            return None  # `5 minutes` is not `5`
    elif keyword in _AT:
        length = 1 + sum(len(part) for part in _group_instants(words[1:]))
    elif _RULE.match(words[0]):
        length = 2 if words[0].upper().startswith("DTSTART") else 1
    elif any(words[0].lower().startswith(f"{word} ") for word in KEYWORDS):
        length = 1  # in quotes
    else:
        return split_expression(words)
    text = " ".join(words[:length])
    return (text, tuple(words[length:])) if is_trigger(text) else None


def is_trigger(text: str) -> bool:
    """Return whether a text is a trigger; never raises."""
    if validate(text):
        return True
    try:
        read_one(text, "UTC")
    except IpycronError:
        return False
    return True


def _measure_every(words: Sequence[str]) -> int:
    """Return how many of the words are the interval and what belongs to it."""
    rest = [word.lower() for word in words[2:]]
    if rest[:2] == ["after", "finish"]:
        return 4
    if rest[:1] == ["from"]:
        groups = _group_instants(words[3:])
        return 3 + (len(groups[0]) if groups else 0)
    return 2


def _group_instants(words: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the words that are instants: of one word each, or a date and a time."""
    groups: list[tuple[str, ...]] = []
    at = 0
    while at < len(words):
        pair = tuple(words[at : at + 2])
        is_pair = (
            len(pair) == 2  # noqa: PLR2004 - a pair
            and _DATE.fullmatch(pair[0]) is not None
            and _TIME.fullmatch(pair[1]) is not None
        )
        group = pair if is_pair else (words[at],)
        if _read_instant(group) is None:
            break
        groups.append(group)
        at += len(group)
    return groups


def _read_instant(words: Sequence[str]) -> datetime | None:
    return read_datetime(" ".join(words), UTC)  # whatever its zone


def _read_every(text: str, words: Sequence[str], zone: tzinfo | str | None) -> Interval:
    length = _measure_every(("", *words)) - 1
    tail = [word.lower() for word in words[1:length]]
    if not words or len(words) > length or tail == ["from"]:
        got = " ".join(words)
        rest = re.split(r"\b(?:from|after)\b", got, maxsplit=1, flags=re.IGNORECASE)[0]
        guess = guess_duration(rest)
        shown = repr(got) if got else "nothing"
        raise CronSyntaxError(
            expression=text,
            message=f"@every: got {shown}, expected {_FORMS}",
            suggestion=f"@every {guess}" if guess else None,
        )
    seconds = check_interval(words[0])
    if tail == ["after", "finish"]:
        return Interval(seconds, after_finish=True, timezone=zone)
    anchor = " ".join(words[2:length]) or None
    return Interval(seconds, anchor=anchor, timezone=zone)


def _read_at(text: str, words: Sequence[str], zone: tzinfo | str | None) -> Instants:
    groups = _group_instants(words)
    count = sum(map(len, groups))
    if count < len(words) or not words:
        got = repr(words[count]) if words else "nothing"
        raise CronSyntaxError(
            expression=text,
            message=f"@at: got {got}, expected instants in ISO format, with a date",
            suggestion="@at 2026-12-01T09:00",
        )
    return Instants([" ".join(group) for group in groups], zone)


def _guess(words: Sequence[str]) -> str:
    """Return what words that are no cron expression probably mean, or ""."""
    if not words:
        return ""
    text = " ".join(words)
    if _read_instant(words) is not None and _DATE.match(text):
        return f"@at {text.replace(' ', 'T')}"
    joined = _JOINED.fullmatch(text)
    if joined is not None and read_duration(joined[1]) is not None:
        return f"@every {joined[1]}"
    if len(words) == 1 and not text.isdecimal() and read_duration(text) is not None:
        return f"@every {text}"
    from difflib import get_close_matches  # noqa: PLC0415 - mistakes are rare

    near = get_close_matches(words[0].lower(), ["@every", "every"], 1, 0.7)
    if near and len(words) > 1:
        rest = " ".join(words[1:])
        return f"@every {guess_duration(rest) or rest}"
    guess = guess_duration(text)
    return f"@every {guess}" if guess else ""
