"""`CronExpression`: when a schedule fires, as instants in a time zone.

Clock changes are handled by one rule for each kind of schedule, following Debian's
cron. In *interval* schedules, an instant fires if its local time matches: a repeated
hour fires again, a skipped one does not. In *fixed-time* schedules, a local time fires
at the first instant at which the zone's clock shows it or has passed it: in a repeated
hour, that is its first occurrence; in a skipped hour, the end of the gap. `Span.fresh`
says from where on local times are new.
"""

from __future__ import annotations

import math
import sys
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ipycron.cron.parser import find_wide_steps
from ipycron.cron.timezone import get_key, resolve_timezone
from ipycron.cron.validation import parse
from ipycron.cron.walk import HORIZON, Walk
from ipycron.cron.zone import (
    EPOCH,
    FIRST_INSTANT,
    LAST_INSTANT,
    LONGEST_SHIFT,
    find_zone,
)
from ipycron.errors import InvalidOption

if TYPE_CHECKING:
    from datetime import tzinfo

    from ipycron.cron.fields import Fields


class CronExpression:
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
        "_is_fixed",
        "_is_system_zone",
        "_text",
        "_timezone",
        "_walk",
        "_zone",
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
    def timezone(self) -> tzinfo:
        """The time zone in which the fields are interpreted."""
        return self._timezone

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

    def next(self, after: datetime) -> datetime | None:
        """Return the first fire strictly after an instant.

        Returns:
            An instant in whole seconds, in the expression's zone, or None if nothing
            fires within 100 years. In a repeated hour its `fold` tells the two
            occurrences apart. Python never considers such a time equal to a time in
            another zone (PEP 495), so compare their `timestamp()`.

        Raises:
            InvalidOption: if `after` is not a datetime with a time zone.
        """
        first = _floor(after, "after") + 1
        instant = self._find_first(first, first + HORIZON)
        return (
            None if instant is None else datetime.fromtimestamp(instant, self._timezone)
        )

    def previous(self, before: datetime) -> datetime | None:
        """Return the last fire strictly before an instant; see `next`."""
        last = _floor(before, "before")
        if not before.microsecond:
            last -= 1
        return self._to_datetime(self._find_last(last, last - HORIZON))

    def upcoming(self, count: int, after: datetime) -> list[datetime]:
        """Return the first `count` fires after an instant, fewer if there are no more.

        Examples:
            >>> from datetime import datetime, UTC
            >>> noon = datetime(2026, 11, 27, 12, tzinfo=UTC)
            >>> [f"{t:%H:%M}" for t in CronExpression("*/20 * * * *").upcoming(2, noon)]
            ['12:20', '12:40']
        """
        instant = _floor(after, "after")
        found: list[datetime] = []
        while len(found) < count:
            following = self.find_next(instant)
            if following is None:
                break
            found.append(datetime.fromtimestamp(following, self._timezone))
            instant = following
        return found

    def matches(self, instant: datetime) -> bool:
        """Return whether `instant` is one that `next` would return."""
        second = _floor(instant, "instant")
        return not instant.microsecond and self._find_first(second, second) is not None

    def find_next(self, after: float) -> int | None:
        """Return the first fire strictly after an instant, both in Unix seconds."""
        first = math.floor(after) + 1
        return self._find_first(first, first + HORIZON)

    def find_previous(self, before: float) -> int | None:
        """Return the last fire strictly before an instant, both in Unix seconds."""
        last = math.ceil(before) - 1
        return self._find_last(last, last - HORIZON)

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

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._text!r} {self._timezone}>"

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

    def _to_datetime(self, instant: int | None) -> datetime | None:
        """Return an instant as a datetime in the expression's zone."""
        if instant is None:
            return None
        return datetime.fromtimestamp(instant, self._timezone)

    def _find_first(self, instant: int, last: int) -> int | None:
        """Return the first fire from `instant` to `last`."""
        walk = self._walk
        zone = self._zone
        if instant < FIRST_INSTANT or last > LAST_INSTANT:
            instant, last = max(instant, FIRST_INSTANT), min(last, LAST_INSTANT)
        while instant <= last:
            start, end, offset, fresh = zone.recent
            if not start <= instant < end:
                start, end, offset, fresh = zone.find_span(instant)
            local = instant + offset
            if (local < fresh or instant == start) and self._is_fixed:
                local = fresh  # includes skipped local times, excludes repeated ones
            found = walk.find_next(local, end - 1 + offset)
            if found is not None:
                fire = found - offset
                if fire < start:  # noqa: PLR1730 - `max` would cost a tenth of a search
                    fire = start  # skipped: right after the gap
                return fire if fire <= last else None
            if end > last:
                return None
            # No later span begins below this local time, and nothing before `found`
            # matches: skip the spans in between.
            found = walk.find_next(end + offset - LONGEST_SHIFT, last + LONGEST_SHIFT)
            if found is None:
                return None
            instant = max(end, found - offset - LONGEST_SHIFT)
        return None

    def _find_last(self, instant: int, first: int) -> int | None:
        """Return the last fire from `first` to `instant`: `_find_first` mirrored."""
        instant, first = min(instant, LAST_INSTANT), max(first, FIRST_INSTANT)
        walk = self._walk
        while instant >= first:
            start, _, offset, fresh = self._zone.find_span(instant)
            least = fresh if self._is_fixed else start + offset
            found = walk.find_previous(instant + offset, least)
            if found is not None:
                fire = max(found - offset, start)
                return fire if fire >= first else None
            if start <= first:
                return None
            found = walk.find_previous(
                start + offset + LONGEST_SHIFT, first - LONGEST_SHIFT
            )
            if found is None:
                return None
            instant = min(start - 1, found - offset + LONGEST_SHIFT)
        return None


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


def _floor(instant: datetime, option: str) -> int:
    """Return the whole Unix seconds of an instant, exactly."""
    try:
        elapsed = instant - EPOCH
    except Exception:  # noqa: BLE001 - naive, or its zone is foreign code that fails
        raise InvalidOption(
            option=option,
            value=instant,
            expected="a datetime with a time zone",
            advice="For example datetime.now(UTC).",
        ) from None
    return elapsed.days * 86_400 + elapsed.seconds
