"""An expression's six fields: what each accepts, and their values.

The value types of this package are named tuples: immutable, hashable and picklable like
the frozen dataclasses elsewhere in ipycron, but without the 10 ms that importing
`dataclasses` adds to the start of every supervisor.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

# A value of a day field: a number, or "L", "L-3", "15W", "LW", "5#3", "5L".
Token = int | str


class Fields(NamedTuple):
    """One expression, expanded: all values of each field, in ascending order.

    Weekdays are 0 (Sunday) to 6. Day tokens follow the numbers, upper case, with the
    weekday as a number: ``fri#2`` is ``"5#2"``.

    Attributes:
        second: 0 to 59; ``(0,)`` for an expression of five fields.
        minute: 0 to 59.
        hour: 0 to 23.
        day_of_month: 1 to 31, then ``"L"``, ``"L-3"``, ``"15W"``, ``"LW"``.
        month: 1 to 12.
        day_of_week: 0 to 6, then ``"5#3"``, ``"5L"``.
        starred: names of the fields whose text begins with ``*`` (or is ``?``). Two
            rules of crontab(5) depend on this: how the day fields combine, and what
            counts as an interval when the clock changes.
    """

    second: tuple[int, ...]
    minute: tuple[int, ...]
    hour: tuple[int, ...]
    day_of_month: tuple[Token, ...]
    month: tuple[int, ...]
    day_of_week: tuple[Token, ...]
    starred: frozenset[str]


class FieldSpec(NamedTuple):
    """What one field accepts.

    Attributes:
        name: the attribute of `Fields`.
        label: the name in messages.
        low: the smallest value.
        high: the largest value that ``*`` and ``a/step`` include.
        top: the largest value that may be written: 7 is another name for Sunday.
        names: lower-case words and their values.
        takes: the accepted values, as text for messages.
    """

    name: str
    label: str
    low: int
    high: int
    top: int
    names: Mapping[str, int]
    takes: str


def _make_names(words: str, low: int) -> Mapping[str, int]:
    """Number the words from `low`, by their full and their three-letter names."""
    names = {}
    for value, word in enumerate(words.split(), low):
        names[word] = names[word[:3]] = value
    return MappingProxyType(names)


_NONE: Mapping[str, int] = MappingProxyType({})
_MONTHS = _make_names(
    "january february march april may june july august september october november "
    "december",
    low=1,
)
_WEEKDAYS = _make_names(
    "sunday monday tuesday wednesday thursday friday saturday", low=0
)

SPECS = (
    FieldSpec("second", "second", 0, 59, 59, _NONE, "0 to 59"),
    FieldSpec("minute", "minute", 0, 59, 59, _NONE, "0 to 59"),
    FieldSpec("hour", "hour", 0, 23, 23, _NONE, "0 to 23"),
    FieldSpec(
        "day_of_month",
        "day of month",
        1,
        31,
        31,
        _NONE,
        "1 to 31, L (last day), L-3, 15W (nearest weekday), LW or ?",
    ),
    FieldSpec("month", "month", 1, 12, 12, _MONTHS, "1 to 12 or jan to dec"),
    FieldSpec(
        "day_of_week",
        "day of week",
        0,
        6,
        7,
        _WEEKDAYS,
        "0 to 7 (0 and 7 are Sunday) or sun to sat, fri#2 (second Friday), "
        "friL (last Friday) or ?",
    ),
)

# Source: crontab(5). @reboot and @every do not refer to the calendar.
NICKNAMES = MappingProxyType(
    {
        "@yearly": "0 0 1 1 *",
        "@annually": "0 0 1 1 *",
        "@monthly": "0 0 1 * *",
        "@weekly": "0 0 * * 0",
        "@daily": "0 0 * * *",
        "@midnight": "0 0 * * *",
        "@hourly": "0 * * * *",
    }
)
