"""Triggers that say local times: a search in local time, carried through a time zone.

Clock changes are handled by one rule for each kind of schedule, following Debian's
cron. In *interval* schedules, an instant fires if its local time matches: a repeated
hour fires again, a skipped one does not. In *fixed-time* schedules, a local time fires
at the first instant at which the zone's clock shows it or has passed it: in a repeated
hour, that is its first occurrence; in a skipped hour, the end of the gap. `Span.fresh`
says from where on local times are new.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

from ipycron.cron.trigger import Trigger, floor_instant
from ipycron.cron.walk import HORIZON
from ipycron.cron.zone import FIRST_INSTANT, LAST_INSTANT, LONGEST_SHIFT

if TYPE_CHECKING:
    from datetime import datetime, tzinfo

    from ipycron.cron.zone import Zone


class LocalWalk(Protocol):
    """Local seconds, counted like Unix seconds, as if local time were UTC."""

    def find_next(self, local: int, last: int) -> int | None:
        """Return the first of them from `local` to `last`, or None."""

    def find_previous(self, local: int, first: int) -> int | None:
        """Return the last of them from `first` to `local`, or None."""


class LocalTrigger(Trigger):
    """A trigger that fires at local times of its zone."""

    __slots__ = ("_is_fixed", "_timezone", "_walk", "_zone")

    _is_fixed: bool
    _timezone: tzinfo
    _walk: LocalWalk
    _zone: Zone

    @property
    def timezone(self) -> tzinfo:
        """The time zone in which the local times are read."""
        return self._timezone

    def matches(self, instant: datetime) -> bool:
        """Return whether `instant` is one that `next` would return."""
        second = floor_instant(instant, "instant")
        return not instant.microsecond and self._find_first(second, second) is not None

    def find_next(self, after: float) -> int | None:
        """Return the first fire strictly after an instant, both in Unix seconds."""
        first = math.floor(after) + 1
        return self._find_first(first, first + HORIZON)

    def find_previous(self, before: float) -> int | None:
        """Return the last fire strictly before an instant, both in Unix seconds."""
        last = math.ceil(before) - 1
        return self._find_last(last, last - HORIZON)

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
