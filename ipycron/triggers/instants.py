"""Instants as users write them, and `at`, the trigger that fires at some of them."""

from __future__ import annotations

import contextlib
import math
from bisect import bisect_left, bisect_right
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Any

from ipycron.cron.timezone import get_key, resolve_timezone
from ipycron.cron.trigger import Trigger
from ipycron.errors import InvalidOption
from ipycron.triggers.words import check_locale

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import tzinfo

LAST = datetime(9999, 12, 1, tzinfo=UTC).timestamp()
"""The last instant that is accepted: a later one has no date in some time zones."""

INSTANT = "an instant: a datetime or ISO text, such as '2026-12-01 09:00'"
MOST = 1000
"""Instants of one `at`: all of them are in its text, its messages and its history."""
_SHOWN = 3


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
    found = read_datetime(value, zone)
    if found is None:
        raise InvalidOption(option=name, value=value, expected=INSTANT, advice=advice)
    return check_range(name, value, found)


def read_last(name: str, value: Any, zone: tzinfo) -> float:
    """Return what `read_instant` does; a date alone is its last second."""
    day = value
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            day = date.fromisoformat(value.strip())
    if isinstance(day, date) and not isinstance(day, datetime):
        value = datetime.combine(day, time(23, 59, 59))
    return read_instant(name, value, zone)


def read_datetime(value: Any, zone: tzinfo | None) -> datetime | None:
    """Return a datetime; None for what is no instant.

    One without a zone is in `zone`, None being local time.
    """
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


def check_range(name: str, value: Any, found: datetime) -> float:
    """Return a datetime as Unix seconds; raise if it is too far away."""
    with contextlib.suppress(OverflowError, ValueError):
        instant = found.timestamp()
        if abs(instant) <= LAST:
            return instant
    raise InvalidOption(option=name, value=value, expected="a year before 9999")


class Instants(Trigger):
    """The trigger that `at` returns. Immutable."""

    __slots__ = ("_given", "_instants", "_is_system_zone", "_timezone")

    def __init__(
        self, given: Iterable[Any], timezone: tzinfo | str | None = None
    ) -> None:
        self._given = tuple(given)
        if not 0 < len(self._given) <= MOST:
            raise InvalidOption(
                option="at",
                value=f"{len(self._given)} instants",
                expected=f"from 1 to {MOST:,}",
            )
        self._is_system_zone = timezone is None
        self._timezone = resolve_timezone(timezone)
        read = (read_instant("at", value, self._timezone) for value in self._given)
        self._instants = tuple(sorted({math.ceil(instant) for instant in read}))

    @classmethod
    def of(cls, instants: Iterable[int], timezone: tzinfo) -> Instants:
        """Return the trigger of these instants, Unix seconds."""
        return cls([datetime.fromtimestamp(i, timezone) for i in instants], timezone)

    @property
    def instants(self) -> tuple[int, ...]:
        """When it fires, Unix seconds, in ascending order."""
        return self._instants

    @property
    def text(self) -> str:
        """``@at`` and the instants."""
        return " ".join(("@at", *(self._show(i).isoformat() for i in self._instants)))

    @property
    def timezone(self) -> tzinfo:
        """The zone of the instants that were given without one."""
        return self._timezone

    @property
    def is_finite(self) -> bool:
        """True: its task ends after the last instant."""
        return True

    def find_next(self, after: float) -> int | None:
        """Return the first instant strictly after one; see `Trigger`."""
        place = bisect_right(self._instants, after)
        return self._instants[place] if place < len(self._instants) else None

    def find_previous(self, before: float) -> int | None:
        """Return the last instant strictly before one; see `Trigger`."""
        place = bisect_left(self._instants, before)
        return self._instants[place - 1] if place else None

    def check_fires(self, after: float) -> None:
        """Raise `InvalidOption` if none of its instants is to come."""
        if self.find_next(after) is None:
            now = datetime.fromtimestamp(after, self._timezone)
            raise InvalidOption(
                option="at",
                value=self._show(self._instants[-1]).isoformat(" "),
                expected=f"an instant to come: it is {now.isoformat(' ', 'seconds')}",
            )

    def describe(self, locale: str = "en") -> str:
        """Return it in words: ``At 2026-12-01 09:00``; in English, if need be."""
        check_locale(locale)
        shown = [self._show(instant) for instant in self._instants[:_SHOWN]]
        texts = [
            f"{instant:%Y-%m-%d %H:%M:%S}".removesuffix(":00") for instant in shown
        ]
        more = len(self._instants) - _SHOWN
        return f"At {', '.join(texts)}{f' and {more} more times' if more > 0 else ''}"

    def begin(
        self,
        start: float,  # noqa: ARG002 - it does not count from its start
        timezone: tzinfo | str | None = None,
    ) -> Instants:
        """Return it with what has no zone in the task's; see `Trigger`."""
        if timezone is None or not self._is_system_zone:
            return self
        return Instants(self._given, timezone)

    def _show(self, instant: int) -> datetime:
        return datetime.fromtimestamp(instant, self._timezone)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Instants):
            return NotImplemented
        zones = get_key(self._timezone), get_key(other._timezone)
        return self._instants == other._instants and zones[0] == zones[1]

    def __hash__(self) -> int:
        return hash(self._instants)


def at(
    instant: datetime | date | str,
    *more: datetime | date | str,
    timezone: tzinfo | str | None = None,
) -> Instants:
    """Return a trigger that fires at one or more instants, once each.

    Its task ends after the last of them, as after `max_executions`.

    Args:
        instant: a datetime, a date, which means its midnight, or ISO text. A fraction
            of a second is rounded up.
        *more: further ones, in any order.
        timezone: of what has none; by default the task's.

    Raises:
        InvalidOption: if one of them is no instant, or there are more than 1000.

    Examples:
        >>> at("2026-12-01 09:00", timezone="Europe/Berlin")
        <Instants '@at 2026-12-01T09:00:00+01:00' Europe/Berlin>
    """
    return Instants((instant, *more), timezone)
