"""`every`: intervals of elapsed time."""

from __future__ import annotations

import math
from datetime import datetime
from numbers import Real
from typing import TYPE_CHECKING, Any

from ipycron.cron.timezone import get_key, resolve_timezone
from ipycron.cron.trigger import Trigger
from ipycron.cron.walk import HORIZON
from ipycron.cron.zone import FIRST_INSTANT, LAST_INSTANT
from ipycron.errors import InvalidOption, show_value
from ipycron.triggers.durations import (
    guess_duration,
    measure,
    say_duration,
    write_duration,
)
from ipycron.triggers.instants import read_instant
from ipycron.triggers.words import check_locale

if TYPE_CHECKING:
    from datetime import date, timedelta, tzinfo

_EXPECTED = "whole seconds from 1 to a hundred years, such as '90s', '5m' or '1h30m'"
_PARTS = {"weeks": 604_800, "days": 86_400, "hours": 3600, "minutes": 60, "seconds": 1}


class Interval(Trigger):
    """The trigger that `every` returns. Immutable.

    Args:
        seconds: the interval, checked.
        anchor: what it counts from; None until it begins.
        after_finish: whether it counts from the end of the last run instead. The
            anchor is that end then, and there is one slot only, the next.
        timezone: of an anchor that has none.
    """

    __slots__ = (
        "_after_finish",
        "_anchor",
        "_given",
        "_is_system_zone",
        "_seconds",
        "_timezone",
    )

    def __init__(
        self,
        seconds: int,
        *,
        anchor: Any = None,
        after_finish: bool = False,
        timezone: tzinfo | str | None = None,
    ) -> None:
        self._seconds = seconds
        self._given = anchor
        self._after_finish = after_finish
        self._is_system_zone = timezone is None
        self._timezone = resolve_timezone(timezone)
        self._anchor: float | None = None
        if anchor is not None:
            self._anchor = math.floor(read_instant("anchor", anchor, self._timezone))

    @property
    def seconds(self) -> int:
        """The interval."""
        return self._seconds

    @property
    def anchor(self) -> float | None:
        """What it counts from, Unix seconds; None if it has not begun."""
        return self._anchor

    @property
    def after_finish(self) -> bool:
        """Whether it counts from the end of the last run."""
        return self._after_finish

    @property
    def is_floating(self) -> bool:
        """Whether it counts from its task's start: no anchor was given."""
        return self._given is None

    @property
    def text(self) -> str:
        """``@every`` and the interval, with an anchor that was given."""
        text = f"@every {write_duration(self._seconds)}"
        if self._after_finish:
            return f"{text} after finish"
        return text if self._given is None else f"{text} from {self._show_anchor()}"

    @property
    def timezone(self) -> tzinfo:
        """The zone that its instants are shown in."""
        return self._timezone

    def find_next(self, after: float) -> int | None:
        """Return the first fire strictly after an instant; see `Trigger`.

        If it has not begun, it counts from that instant.
        """
        seconds, anchor = self._seconds, self._anchor
        if anchor is None:
            slot = math.floor(after) + seconds
        elif self._after_finish:
            slot = math.ceil(anchor + seconds)
            if slot <= after:
                return None
        else:
            base = int(anchor)
            slot = base + ((math.floor(after) - base) // seconds + 1) * seconds
        return slot if slot <= LAST_INSTANT else None

    def find_previous(self, before: float) -> int | None:
        """Return the last fire strictly before an instant; see `Trigger`."""
        seconds, anchor = self._seconds, self._anchor
        if anchor is None:
            slot = math.ceil(before) - seconds
        elif self._after_finish:
            slot = math.ceil(anchor + seconds)
            if slot >= before:
                return None
        else:
            base = int(anchor)
            slot = base + ((math.ceil(before) - base - 1) // seconds) * seconds
        return slot if slot >= FIRST_INSTANT else None

    def check_fires(self, after: float) -> None:
        """Return: it always fires again."""

    def describe(self, locale: str = "en") -> str:
        """Return it in words: ``Every 90 seconds``; in English, if need be."""
        check_locale(locale)
        words = say_duration(self._seconds)
        if self._after_finish:
            count = words if words[0].isdigit() else f"1 {words}"
            return f"{count} after the end of each run"
        text = f"Every {words}"
        if self._given is None:
            return text
        return f"{text}, counted from {self._show_anchor().replace('T', ' ')}"

    def begin(self, start: float, timezone: tzinfo | str | None = None) -> Interval:
        """Return it with an anchor; see `Trigger`."""
        zone = timezone if self._is_system_zone else self._timezone
        begun = Interval(
            self._seconds,
            anchor=self._given,
            after_finish=self._after_finish,
            timezone=zone,
        )
        if self._given is None:
            begun._anchor = start if self._after_finish else math.floor(start)
        return begun

    def count_from(self, end: float) -> Interval:
        """Return it with the end of the last run, Unix seconds, as its anchor."""
        return self.make(
            self._seconds,
            end,
            after_finish=True,
            is_floating=True,
            timezone=self._timezone,
        )

    @classmethod
    def make(
        cls,
        seconds: int,
        anchor: float | None,
        *,
        after_finish: bool,
        is_floating: bool,
        timezone: tzinfo,
    ) -> Interval:
        """Return an interval as another process describes it."""
        given = None
        if not is_floating and anchor is not None:
            given = datetime.fromtimestamp(anchor, timezone)
        made = cls(seconds, anchor=given, after_finish=after_finish, timezone=timezone)
        made._anchor = anchor
        return made

    def _show_anchor(self) -> str:
        assert self._anchor is not None
        anchor = datetime.fromtimestamp(self._anchor, self._timezone)
        return anchor.isoformat()

    def _identity(self) -> tuple[object, ...]:
        key = get_key(self._timezone)
        return self._seconds, self._anchor, self._given is None, self._after_finish, key

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Interval):
            return NotImplemented
        return self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash((self._seconds, self._anchor, self._after_finish))


def every(
    interval: str | float | timedelta | None = None,
    *,
    weeks: float = 0,
    days: float = 0,
    hours: float = 0,
    minutes: float = 0,
    seconds: float = 0,
    anchor: datetime | date | str | None = None,
    after_finish: bool = False,
    timezone: tzinfo | str | None = None,
) -> Interval:
    """Return a trigger that fires at a fixed interval.

    It counts elapsed time, through every change of the clock: 24 hours are 86,400
    seconds also on the day on which summer time begins. For a time of day, every day,
    write a cron expression.

    Args:
        interval: text such as ``"90s"``, ``"5m"`` or ``"1h30m"``, seconds, or a
            timedelta; or say it by the following, which are added up.
        weeks: of seven days.
        days: of 24 hours.
        hours: of 60 minutes.
        minutes: of 60 seconds.
        seconds: whole, all in all.
        anchor: an instant that it counts from, in both directions: a datetime or ISO
            text. By default it counts from the task's start, and its first slot is one
            interval later.
        after_finish: count from the end of the last run of the schedule, so that
            pauses between runs are equally long. Slots that did not run count as runs
            that took no time.
        timezone: of an anchor without one; by default the task's.

    Raises:
        InvalidOption: if the interval is not in whole seconds, from 1 to a hundred
            years, or the anchor is no instant.

    Examples:
        >>> every("90s").describe(), every(hours=1, minutes=30).text
        ('Every 90 seconds', '@every 1h30m')
    """
    parts: dict[str, Any] = {
        "weeks": weeks,
        "days": days,
        "hours": hours,
        "minutes": minutes,
        "seconds": seconds,
    }
    given = {
        name: value
        for name, value in parts.items()
        if not (isinstance(value, Real) and value == 0)
    }
    if interval is not None and given:
        raise InvalidOption(
            option=next(iter(given)),
            value=next(iter(given.values())),
            expected=f"none beside the interval {show_value(interval)}",
        )
    if not isinstance(after_finish, bool):
        raise InvalidOption(
            option="after_finish", value=after_finish, expected="True or False"
        )
    if after_finish and anchor is not None:
        raise InvalidOption(
            option="anchor",
            value=anchor,
            expected="none with after_finish, which counts from the end of each run",
        )
    total = _add_up(interval, given)
    return Interval(total, anchor=anchor, after_finish=after_finish, timezone=timezone)


def _add_up(interval: Any, given: dict[str, Any]) -> int:
    """Return the interval in whole seconds."""
    if interval is not None:
        return check_interval(interval)
    if not given:
        return _check(0, 0)
    total = 0.0
    for name, value in given.items():
        measured = measure(value) if isinstance(value, Real) else None
        if measured is None:
            raise InvalidOption(option=name, value=value, expected="a number")
        total += measured * _PARTS[name]
    shown = ", ".join(
        f"{name}={show_value(value, 40)}" for name, value in given.items()
    )
    return _check(total, shown)


def check_interval(value: Any) -> int:
    """Return an interval in whole seconds; raise `InvalidOption` for any other."""
    seconds = measure(value)
    if seconds is None:
        guess = guess_duration(value) if isinstance(value, str) else ""
        advice = f"Did you mean {guess!r}?" if guess else ""
        raise InvalidOption(
            option="every", value=value, expected=_EXPECTED, advice=advice
        )
    return _check(seconds, value)


def _check(seconds: float, shown: Any) -> int:
    if not (1 <= seconds <= HORIZON) or seconds != int(seconds):
        raise InvalidOption(option="every", value=shown, expected=_EXPECTED)
    return int(seconds)
