"""`any_of`: several triggers as one, also as text: ``0 9 * * * | @every 2h``."""

from __future__ import annotations

from datetime import date, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from ipycron.cron.timezone import resolve_timezone
from ipycron.cron.trigger import Trigger
from ipycron.errors import InvalidOption
from ipycron.triggers.interval import Interval
from ipycron.triggers.text import is_trigger, read_one, split_one

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime, tzinfo

SEPARATOR = "|"
MOST = 100
"""Parts of one `any_of`: each is searched for each slot."""


class AnyOf(Trigger):
    """The trigger that `any_of` returns. Immutable.

    Args:
        parts: what is combined; texts are read when it begins, since they are in its
            task's zone.
        timezone: the task's, once it begins.
    """

    __slots__ = ("_given", "_is_system_zone", "_parts", "_timezone")

    def __init__(
        self, parts: Iterable[Any], timezone: tzinfo | str | None = None
    ) -> None:
        self._given = tuple(parts)
        if not 0 < len(self._given) <= MOST:
            raise InvalidOption(
                option="any_of",
                value=f"{len(self._given)} triggers",
                expected=f"from 1 to {MOST}",
            )
        self._is_system_zone = timezone is None
        self._timezone = resolve_timezone(timezone)
        read = tuple(_read(part, timezone) for part in self._given)
        self._parts = tuple(p for part in read for p in _unfold(part))

    @property
    def parts(self) -> tuple[Trigger, ...]:
        """The triggers that it consists of; none of them is an `any_of`."""
        return self._parts

    @property
    def text(self) -> str:
        """The texts of the parts with ``|`` between them."""
        return " | ".join(part.text for part in self._parts)

    @property
    def timezone(self) -> tzinfo:
        """The zone that its instants are shown in; its parts may have others."""
        return self._timezone

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings of all parts."""
        return tuple(text for part in self._parts for text in part.warnings)

    @property
    def is_hashed(self) -> bool:
        """Whether one of the parts depends on the name of its task."""
        return any(part.is_hashed for part in self._parts)

    @property
    def hash_id(self) -> str | None:
        """The text that hashed values are derived from, or None."""
        return next((p.hash_id for p in self._parts if p.is_hashed), None)

    @property
    def is_finite(self) -> bool:
        """Whether all parts end."""
        return all(part.is_finite for part in self._parts)

    def find_next(self, after: float) -> int | None:
        """Return the first fire of any part; see `Trigger`."""
        found = (part.find_next(after) for part in self._parts)
        return min((slot for slot in found if slot is not None), default=None)

    def find_previous(self, before: float) -> int | None:
        """Return the last fire of any part; see `Trigger`."""
        found = (part.find_previous(before) for part in self._parts)
        return max((slot for slot in found if slot is not None), default=None)

    def check_fires(self, after: float) -> None:
        """Raise the error of a part that never fires, unless others are to come.

        Instants that have passed are a mistake only if nothing else is left.
        """
        has_future = self.find_next(after) is not None
        for part in self._parts:
            if not (has_future and part.is_finite):
                part.check_fires(after)

    def describe(self, locale: str = "en") -> str:
        """Return the words of all parts; see `Trigger`."""
        first, *others = (part.describe(locale) for part in self._parts)
        if not locale.lower().startswith("en"):
            return "; ".join((first, *others))
        lowered = (words[:1].lower() + words[1:] for words in others)
        return "; or ".join((first, *lowered))

    def begin(self, start: float, timezone: tzinfo | str | None = None) -> AnyOf:
        """Return it with all parts begun; see `Trigger`."""
        zone = timezone if self._is_system_zone else self._timezone
        parts = [
            (part if isinstance(part, Trigger) else _read(part, zone)).begin(
                start, zone
            )
            for part in self._given
        ]
        return AnyOf(parts, zone)

    def move(self, timezone: tzinfo | str | None) -> AnyOf:
        """Return it in a zone, unless it was given one."""
        is_moved = self._is_system_zone and timezone is not None
        return AnyOf(self._given, timezone) if is_moved else self

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AnyOf):
            return NotImplemented
        return self._parts == other._parts

    def __hash__(self) -> int:
        return hash(self._parts)


def any_of(
    *triggers: Trigger | str | timedelta | datetime,
    timezone: tzinfo | str | None = None,
) -> AnyOf:
    """Return a trigger that fires whenever one of several does.

    An instant at which several of them fire is one slot.

    Args:
        *triggers: triggers, or what `schedule` accepts in their place.
        timezone: the zone to show instants in, and that of texts; by default the
            task's.

    Raises:
        InvalidOption: if there is none, or more than a hundred, or one of them counts
            from the end of the last run.

    Examples:
        >>> any_of("0 9 * * mon-fri", "0 12 * * sat").text
        '0 9 * * mon-fri | 0 12 * * sat'
    """
    return AnyOf(triggers, timezone)


def _unfold(part: Trigger) -> tuple[Trigger, ...]:
    if isinstance(part, AnyOf):
        return part.parts
    if isinstance(part, Interval) and part.after_finish:
        raise InvalidOption(
            option="any_of",
            value=part.text,
            expected="triggers that do not wait for a run to end",
        )
    return (part,)


def _read(part: Any, timezone: tzinfo | str | None) -> Trigger:
    if not isinstance(part, Trigger | str | timedelta | date):
        is_list = isinstance(part, list | tuple | set | frozenset)
        raise InvalidOption(
            option="any_of",
            value=part,
            expected="triggers, or text for one",
            advice="Each is an argument of its own: any_of(a, b)." if is_list else "",
        )
    if isinstance(part, AnyOf):
        return part.move(timezone)
    return read_trigger(part, timezone)


def read_trigger(
    value: Any,
    timezone: tzinfo | str | None = None,
    *,
    day_or: bool = True,
    hash_id: str | None = None,
) -> Trigger:
    """Return the trigger that a value stands for.

    Args:
        value: a trigger; text; a timedelta for `every`; a datetime or a date for `at`.
        timezone: of what has none.
        day_or: see `CronExpression`.
        hash_id: see `CronExpression`.

    Raises:
        CronSyntaxError: if it is text that says nothing, or anything else.
        InvalidOption: if it is out of range.
    """
    read = partial(read_one, timezone=timezone, day_or=day_or, hash_id=hash_id)
    if isinstance(value, str) and SEPARATOR in value:
        return AnyOf([read(part.strip()) for part in value.split(SEPARATOR)], timezone)
    return read(value)


def split_trigger(words: Sequence[str]) -> tuple[str, tuple[str, ...]] | None:
    """Return the trigger that words begin with, and the words after it.

    Returns:
        None if they do not begin with a trigger.

    Examples:
        >>> split_trigger("every 90s | 0 9 * * mon report.py -v".split())
        ('every 90s | 0 9 * * mon', ('report.py', '-v'))
    """
    if words and SEPARATOR in words[0] and len(words[0]) > 1:  # in quotes
        parts = words[0].split(SEPARATOR)
        return (words[0], tuple(words[1:])) if all(map(is_trigger, parts)) else None
    texts: list[str] = []
    rest = tuple(words)
    while True:
        found = split_one(rest)
        if found is None:
            return None
        text, rest = found
        texts.append(text)
        if rest[:1] != (SEPARATOR,):
            return f" {SEPARATOR} ".join(texts), rest
        rest = rest[1:]
