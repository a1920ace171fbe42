"""`rrule`: recurrence rules, as calendars have them."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ipycron.cron.local import LocalTrigger
from ipycron.cron.timezone import get_key, resolve_timezone
from ipycron.cron.walk import HORIZON
from ipycron.cron.zone import find_zone
from ipycron.errors import CronSyntaxError, InvalidOption, show_value
from ipycron.triggers.instants import read_instant
from ipycron.triggers.periods import Periods, from_local, to_local
from ipycron.triggers.recurrence import DAILY, parse_recurrence, read_moment
from ipycron.triggers.rule_words import say_rule
from ipycron.triggers.words import check_locale

if TYPE_CHECKING:
    from datetime import date, tzinfo

_START = re.compile(
    r"\s*DTSTART(?:;TZID=([^:;\s]+))?(?:;VALUE=[A-Z-]+)?:(\S+)\s+", re.IGNORECASE
)
_RULE = re.compile(r"\s*(?:RRULE:)?(\S+)\s*", re.IGNORECASE)
_OTHERS = re.compile(r"\b(EXDATE|RDATE)\b", re.IGNORECASE)
_WAYS = {
    "EXDATE": "exclude=, an option of the task",
    "RDATE": "any_of(rrule(…), at(…))",
}
"""What says here what other lines of a calendar say."""


class Rule(LocalTrigger):
    """The trigger that `rrule` returns. Immutable.

    Args:
        text: the rule, perhaps with its DTSTART.
        start: its DTSTART otherwise; None until it begins.
        timezone: that of local times.
    """

    __slots__ = (
        "_given",
        "_is_floating",
        "_is_system_zone",
        "_last",
        "_recurrence",
        "_rule",
        "_start",
    )

    def __init__(
        self, text: str, start: Any = None, timezone: tzinfo | str | None = None
    ) -> None:
        zone, given, self._rule = _split(text)
        if zone is not None and timezone is None:
            timezone = zone
        if given is not None and start is not None:
            raise InvalidOption(
                option="start", value=start, expected="none beside a DTSTART"
            )
        self._recurrence = parse_recurrence(self._rule)
        self._is_system_zone = timezone is None
        self._set_zone(resolve_timezone(timezone))
        self._given = start if given is None else _read_start(text, given)
        self._is_floating = self._given is None
        self._start: int | None = None
        self._last: int | None = None
        if self._given is not None:
            instant = math.ceil(read_instant("start", self._given, self._timezone))
            shown = datetime.fromtimestamp(instant, self._timezone)
            self._set_start(to_local(shown), is_bounded=True)

    def _set_zone(self, timezone: tzinfo) -> None:
        self._timezone = timezone
        self._zone = find_zone(timezone)
        # As cron's: what repeats within a day follows the clock through a repeated
        # hour; a time of day comes once a day.
        self._is_fixed = self._recurrence.frequency <= DAILY

    def _set_start(self, start: int, *, is_bounded: bool) -> None:
        self._start = start
        self._walk = Periods(self._recurrence, start, is_bounded=is_bounded)
        self._last = self._find_last_slot()

    def _find_last_slot(self) -> int | None:
        """Return the instant after which it is over, or None."""
        rule = self._recurrence
        if rule.until is not None:
            zone = UTC if rule.is_utc else self._timezone
            return math.floor(rule.until.replace(tzinfo=zone).timestamp())
        if rule.count is None:
            return None
        assert self._start is not None
        slot = int(from_local(self._start).replace(tzinfo=UTC).timestamp()) - 2 * 86_400
        for _ in range(rule.count):
            following = super().find_next(slot)
            if following is None:
                break
            slot = following
        return slot

    @property
    def start(self) -> int | None:
        """Its DTSTART in local seconds; None until it has begun."""
        return self._start

    @property
    def last(self) -> int | None:
        """The instant after which it is over, Unix seconds; None without an end."""
        return self._last

    @property
    def is_floating(self) -> bool:
        """Whether it counts from its task's start: it has no DTSTART."""
        return self._is_floating

    @property
    def rule(self) -> str:
        """The rule without its DTSTART."""
        return self._rule

    @property
    def text(self) -> str:
        """``RRULE:`` and the rule, after its DTSTART if it has one."""
        if self._is_floating or self._start is None:
            return f"RRULE:{self._rule}"
        # Not by `strftime`, which writes a year before 1000 with fewer digits.
        start = re.sub("[-:]", "", from_local(self._start).isoformat())
        return f"DTSTART:{start} RRULE:{self._rule}"

    @property
    def is_finite(self) -> bool:
        """Whether it has a COUNT or an UNTIL."""
        return self._recurrence.count is not None or self._recurrence.until is not None

    def find_next(self, after: float) -> int | None:
        """Return the first fire strictly after an instant; see `Trigger`.

        If it has not begun, it begins at that instant.
        """
        if self._start is None:
            return self.begin(after, self._timezone).find_next(after)
        if self._last is not None and after >= self._last:
            return None
        slot = super().find_next(after)
        is_over = slot is not None and self._last is not None and slot > self._last
        return None if is_over else slot

    def find_previous(self, before: float) -> int | None:
        """Return the last fire strictly before an instant; see `Trigger`."""
        if self._start is None:
            return self.begin(before, self._timezone).find_previous(before)
        if self._last is not None:
            before = min(before, self._last + 1)
        return super().find_previous(before)

    def matches(self, instant: datetime) -> bool:
        """Return whether `instant` is one that `next` would return."""
        return super(LocalTrigger, self).matches(instant)

    def check_fires(self, after: float) -> None:
        """Raise `CronSyntaxError` if it never fires after an instant."""
        if self.find_next(after) is not None:
            return
        is_open = self._start is None or not self.is_finite
        before = None if is_open else self.find_previous(after + 1)
        reason = "never fires: its dates do not exist"
        if before is not None and before > after - HORIZON:
            shown = datetime.fromtimestamp(before, self._timezone)
            reason = f"is over: its last fire was at {shown.isoformat(' ')}"
        raise CronSyntaxError(
            expression=self.text, message=f"RRULE: {self._rule!r:.200} {reason}."
        )

    def describe(self, locale: str = "en") -> str:
        """Return it in words; in English, if need be."""
        check_locale(locale)
        return say_rule(self._recurrence, self._start)

    def begin(self, start: float, timezone: tzinfo | str | None = None) -> Rule:
        """Return it with a DTSTART; see `Trigger`.

        By default that is the midnight of the day on which it begins. With a COUNT,
        which counts from the DTSTART, it is the first fire.
        """
        zone = timezone if self._is_system_zone else self._timezone
        begun = Rule(self._rule, self._given, zone)
        if not self._is_floating:
            return begun
        shown = datetime.fromtimestamp(math.floor(start), begun.timezone)
        midnight = to_local(shown) // 86_400 * 86_400
        if self._recurrence.count is None:
            begun._set_start(midnight, is_bounded=False)
            return begun
        begun._walk = Periods(self._recurrence, midnight, is_bounded=False)
        first = super(Rule, begun).find_next(math.ceil(start) - 1)
        if first is not None:
            shown = datetime.fromtimestamp(first, begun.timezone)
            midnight = to_local(shown)
        begun._set_start(midnight, is_bounded=True)
        return begun

    @classmethod
    def make(
        cls,
        text: str,
        start: int | None,
        last: int | None,
        *,
        is_floating: bool,
        timezone: tzinfo,
    ) -> Rule:
        """Return a rule as another process describes it."""
        made = cls(text, None, timezone)
        made._is_floating = is_floating
        made._start, made._last = start, last
        if start is not None:
            has_first = not is_floating or made._recurrence.count is not None
            made._walk = Periods(made._recurrence, start, is_bounded=has_first)
            made._given = None if is_floating else from_local(start)
        return made

    def _identity(self) -> tuple[object, ...]:
        key = get_key(self._timezone)
        return self._recurrence, self._start, self._is_floating, self._last, key

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Rule):
            return NotImplemented
        return self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash((self._rule, self._start))

    def __reduce__(self) -> tuple[Any, ...]:
        return _remake, (
            self._rule,
            self._start,
            self._last,
            self._is_floating,
            self._timezone,
        )


def _remake(
    rule: str,
    start: int | None,
    last: int | None,
    is_floating: bool,  # noqa: FBT001 - pickled
    timezone: tzinfo,
) -> Rule:
    return Rule.make(rule, start, last, is_floating=is_floating, timezone=timezone)


def rrule(
    text: str,
    start: datetime | date | str | None = None,
    timezone: tzinfo | str | None = None,
) -> Rule:
    """Return a trigger that fires by a recurrence rule of RFC 5545.

    Local times are those of its zone. As with cron expressions, a rule that repeats
    within a day follows the clock, through a repeated hour as well; a time of day comes
    once a day, and one that the clock skips comes right after the gap. COUNT counts
    the fires, UNTIL includes its instant; then the task ends.

    Args:
        text: ``"FREQ=MONTHLY;BYDAY=-1FR"``, also with ``RRULE:`` before it, and
            ``DTSTART:20261201T090000`` before that.
        start: the DTSTART: intervals count from it, and it says what the rule leaves
            open, such as the time of day. By default the midnight of the day on which
            the task starts.
        timezone: by default the task's.

    Raises:
        CronSyntaxError: if the text is not a rule; names the part.

    Examples:
        >>> payday = rrule("FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=9", timezone="UTC")
        >>> payday.describe()
        'Every month on the last Friday at 09:00'
    """
    return Rule(text, start, timezone)


def _split(text: str) -> tuple[str | None, str | None, str]:
    """Return the zone and the text of a DTSTART, if there is one, and the rule."""
    if not isinstance(text, str):
        raise CronSyntaxError(
            expression=show_value(text),
            message=f"RRULE: got {show_value(text, 80)}, expected text such as "
            "'FREQ=MONTHLY;BYDAY=-1FR'",
        )
    start = _START.match(text)
    rule = _RULE.fullmatch(text, 0 if start is None else start.end())
    if rule is None:
        others = _OTHERS.search(text)
        raise CronSyntaxError(
            expression=text,
            message=f"RRULE: got {text!r:.80}, expected one rule such as "
            "'FREQ=MONTHLY;BYDAY=-1FR', after a DTSTART if need be",
            suggestion=None if others is None else _WAYS[others[1].upper()],
        )
    zone, given = (None, None) if start is None else (start[1], start[2])
    return zone, given, rule[1].upper()


def _read_start(text: str, given: str) -> datetime:
    read = read_moment(given.upper())
    if read is None:
        raise CronSyntaxError(
            expression=text,
            message=f"DTSTART: got {given!r:.80}, expected 20261201T090000",
        )
    moment, is_utc = read
    if "T" not in given.upper():
        moment = moment.replace(hour=0, minute=0, second=0)
    return moment.replace(tzinfo=UTC) if is_utc else moment
