"""`CronExpression`: when a schedule fires, as instants in a time zone."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ipycron.cron.local import LocalTrigger
from ipycron.cron.parser import find_wide_steps
from ipycron.cron.timezone import get_key, resolve_timezone
from ipycron.cron.validation import parse
from ipycron.cron.walk import Walk
from ipycron.cron.zone import find_zone
from ipycron.errors import InvalidOption

if TYPE_CHECKING:
    from datetime import tzinfo
    from typing import Self

    from ipycron.cron.fields import Fields


class CronExpression(LocalTrigger):
    """A cron expression in a time zone: when something is due. Immutable.

    Expressions are equal if their text (apart from white space), zone, `day_or` and
    `hash_id` are equal. All methods are pure and thread-safe.

    Args:
        text: five fields, six with seconds first, or a nickname.
        timezone: an IANA name or a tzinfo. None means the system's zone, as it was when
            this process first read it.
        day_or: how two restricted day fields combine: either may match (True, as in
            cron), or both must (False, as in node-cron).
        hash_id: the text that the values of ``H`` fields are derived from, such as a
            task's name.

    Raises:
        CronSyntaxError: if the text is not an expression.
        UnknownTimezone: if the zone's name is unknown.
        InvalidOption: if another argument has the wrong type.

    Examples:
        >>> from datetime import datetime
        >>> from zoneinfo import ZoneInfo
        >>> nine = CronExpression("0 9 * * mon-fri", "Europe/Berlin")
        >>> nine
        <CronExpression '0 9 * * mon-fri' Europe/Berlin>
        >>> friday = datetime(2026, 11, 27, 12, tzinfo=ZoneInfo("Europe/Berlin"))
        >>> str(nine.next(friday))
        '2026-11-30 09:00:00+01:00'
    """

    __slots__ = (
        "_day_or",
        "_fields",
        "_hash_id",
        "_is_system_zone",
        "_text",
    )

    def __init__(
        self,
        text: str,
        timezone: tzinfo | str | None = None,
        *,
        day_or: bool = True,
        hash_id: str | None = None,
    ) -> None:
        _check_options(day_or=day_or, hash_id=hash_id)
        self._fields = parse(text, hash_id=hash_id)
        self._text = sys.intern(" ".join(text.split()))  # a thousand tasks share one
        self._day_or = day_or
        self._hash_id = hash_id
        self._set_up(timezone)

    def _set_up(self, timezone: tzinfo | str | None) -> None:
        """Fill in what follows from the arguments."""
        self._is_system_zone = timezone is None
        self._timezone = resolve_timezone(timezone)
        self._zone = find_zone(self._timezone)
        self._walk = _share_walk(self._fields, day_or=self._day_or)
        # Source: Debian cron, E7: with a star in any of these, it is an interval.
        self._is_fixed = self._fields.starred.isdisjoint(("second", "minute", "hour"))

    @property
    def text(self) -> str:
        """The expression as it was written, with single spaces."""
        return self._text

    @property
    def day_or(self) -> bool:
        """Whether matching one of two restricted day fields is enough."""
        return self._day_or

    @property
    def hash_id(self) -> str | None:
        """The text that the values of ``H`` fields are derived from."""
        return self._hash_id

    @property
    def fields(self) -> Fields:
        """The expanded fields."""
        return self._fields

    @property
    def is_hashed(self) -> bool:
        """Whether there is an ``H`` field, whose values depend on `hash_id`."""
        return any(word[0] in "hH" for word in self._text.split())

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about parts that are valid but perhaps unintended, a sentence each.

        These are steps wider than the range they step through, such as ``*/90`` for
        minutes: cron starts over in each hour, so only minute 0 remains.
        """
        return tuple(
            f"{spec.label}: the step of {item!r} is wider than its {size} "
            f"value{'s' * (size > 1)}, so only the first of them is left"
            for spec, item, size in find_wide_steps(self._text)
        )

    def begin(
        self,
        start: float,  # noqa: ARG002 - it does not count from its start
        timezone: tzinfo | str | None = None,  # noqa: ARG002 - it has one
    ) -> Self:
        """Return this expression; see `Trigger.begin`."""
        return self

    def check_fires(self, after: float) -> None:
        """Check that the expression fires within 100 years.

        Args:
            after: the current time, in Unix seconds.

        Raises:
            CronSyntaxError: if it never fires: its dates do not exist, its two day
                fields never match together, or the clock always skips its time.
        """
        if self.find_next(after) is None:
            from ipycron.cron.diagnosis import explain_never  # noqa: PLC0415 - rare

            raise explain_never(
                self._text,
                self._fields,
                clock=str(self._timezone),
                day_or=self._day_or,
            )

    def describe(self, locale: str = "en") -> str:
        """Return the schedule in words.

        Args:
            locale: a language such as ``"de"``, or a locale such as ``"en_US"``, which
                uses 12-hour times. If a translation lacks the words for a schedule, its
                fields are listed instead.

        Raises:
            InvalidOption: if there is no translation for it.
        """
        from ipycron.cron.describe import describe  # noqa: PLC0415 - loads gettext

        return describe(self._fields, day_or=self._day_or, locale=locale)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CronExpression):
            return NotImplemented
        return self._identity() == other._identity()

    def __hash__(self) -> int:
        # Without the zone: dateutil's zones are unhashable.
        return hash((self._text, self._day_or, self._hash_id))

    def __getstate__(self) -> tuple[Any, ...]:
        # The system's zone is the same in all processes of one machine. The values of H
        # fields are sent, so that the receiver need not load croniter, whose version
        # there might yield different values.
        timezone = None if self._is_system_zone else get_key(self._timezone)
        drawn = None if self._hash_id is None else self._fields
        return self._text, timezone, self._day_or, self._hash_id, drawn

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._text, timezone, self._day_or, self._hash_id, drawn = state
        self._fields = parse(self._text) if drawn is None else drawn
        if isinstance(timezone, tuple):
            from ipycron.cron.zone_rules import load_rules  # noqa: PLC0415 - rare

            timezone = load_rules(timezone)
        self._set_up(timezone)

    def _identity(self) -> tuple[object, ...]:
        """Return what makes two expressions equal."""
        return self._text, get_key(self._timezone), self._day_or, self._hash_id


@lru_cache(maxsize=1024)
def _share_walk(fields: Fields, *, day_or: bool) -> Walk:
    """Return the shared `Walk` of a schedule: it is the same in every zone."""
    return Walk(fields, day_or=day_or)


def _check_options(*, day_or: bool, hash_id: str | None) -> None:
    """Refuse options of a wrong type."""
    if not isinstance(day_or, bool):
        raise InvalidOption(option="day_or", value=day_or, expected="True or False")
    if hash_id is not None and not isinstance(hash_id, str):
        raise InvalidOption(option="hash_id", value=hash_id, expected="text or None")
