"""Which slots a wake-up must settle: a pure function of slot, time and schedule.

A wake-up may be late (a suspend, a busy loop, a clock step), and then several slots
are due. Each is settled exactly once: it runs, it is missed, or it is part of a `Gap`
that is counted later. The cost of one plan is bounded, however late the wake-up is:
about a hundred steps forward and thirty steps of a binary search.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from ipycron.scheduling.events import (
    Pause,  # noqa: TC001 - msgspec reads the annotations
)

if TYPE_CHECKING:
    from ipycron.scheduling.ports import Schedule

# Missed slots that are reported one by one; the rest are reported as a count (R2).
MISSED_CAP = 100

# If the clock is set back by more than this many seconds, it was wrong before, and the
# next slot is computed from the new time. If it is set back by less, slots that have
# already passed are not run again (C3).
# Source: Debian's cron.
CORRECTION = 3 * 3600.0

# Half a microsecond. Unix seconds as a float are exact to a quarter of a microsecond:
# a slot that is late by exactly `tolerance` must not be missed because of rounding.
_ROUNDING = 5e-7

# A tolerance with which no slot runs.
_NOT_AT_ALL = -1.0


class Outage(msgspec.Struct, frozen=True, kw_only=True):
    """A period in which a started task had no scheduler. Unix seconds.

    Attributes:
        since: every slot up to here is known to be settled.
        until: when the scheduler was lost. It may have run a slot before that without
            reporting it, so nothing up to here runs again.
        settled: slots in between that are already settled: while one slot waits for
            its random delay or its election, later slots may be settled.
        pause: the pause that the task was in at its end, or that ended in it.
    """

    since: float
    until: float
    settled: tuple[int, ...] = ()
    pause: Pause | None = None


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """The missed slots strictly between two instants, not yet counted."""

    after: int
    before: int


class Beat(msgspec.Struct, frozen=True, kw_only=True):
    """What one wake-up must do.

    Attributes:
        missed: slots to report one by one, oldest first, at most `MISSED_CAP`.
        gap: the missed slots beyond those, or None.
        due: the slot to run now, or None.
        next_slot: the first slot that is not settled, or None if the schedule has
            ended.
    """

    missed: tuple[int, ...] = ()
    gap: Gap | None = None
    due: int | None = None
    next_slot: int | None

    @property
    def newest(self) -> int | None:
        """The newest slot that this wake-up settles, or None."""
        if self.due is not None:
            return self.due
        if self.gap is not None:
            return self.gap.before - 1
        return self.missed[-1] if self.missed else None


def plan_beat(slot: int, now: float, *, tolerance: float, schedule: Schedule) -> Beat:
    """Return what a task whose next slot is `slot` must do at `now`.

    The newest slot that `now` has reached runs if it is at most `tolerance`
    seconds late, to the microsecond. Every older slot is missed, since a newer one
    superseded it. A slot after `now` remains the next slot: if the clock steps back,
    the task waits, and no slot is settled twice or early.

    Source: node-cron 4.6.0, plan-beat, whose tolerance is up to a second too wide.
    """
    if now < slot:
        return Beat(next_slot=slot)
    following = find_following(schedule, slot, now)
    if following is None or following > now:
        # The usual case: one slot, one search.
        if is_within(now - slot, tolerance):
            return Beat(due=slot, next_slot=following)
        return Beat(missed=(slot,), next_slot=following)
    return _plan_backlog(slot, now, tolerance=tolerance, schedule=schedule)


def plan_outage(outage: Outage, schedule: Schedule) -> Beat:
    """Return what to do after an outage: all slots up to its end are missed."""
    owed = _Unsettled(schedule, outage.settled) if outage.settled else schedule
    first = owed.find_next(outage.since)
    if first is None or first > outage.until:
        return Beat(next_slot=first)
    return plan_beat(first, outage.until, tolerance=_NOT_AT_ALL, schedule=owed)


def plan_pause(slot: int, last: float, schedule: Schedule) -> Beat:
    """Return what to do about the slots from `slot` to `last`: all are skipped."""
    return plan_beat(slot, last, tolerance=_NOT_AT_ALL, schedule=schedule)


def split_outage(outage: Outage) -> list[tuple[Outage, bool]]:
    """Divide an outage where its pause begins and ends.

    Returns:
        The parts, oldest first, at least one, each with whether its slots were in the
        pause.
    """
    pause = outage.pause
    if pause is None:
        return [(outage, False)]
    ends = (min(outage.until, pause.since), pause.find_last(outage.until))
    parts, since = [], outage.since
    for end, is_paused in zip((*ends, outage.until), (False, True, False), strict=True):
        if end > since:
            part = Outage(since=since, until=end, settled=outage.settled)
            parts.append((part, is_paused))
            since = end
    return parts or [(outage, False)]


class _Unsettled:
    """A schedule without the slots that are settled."""

    def __init__(self, schedule: Schedule, settled: tuple[int, ...]) -> None:
        self._schedule = schedule
        self._settled = frozenset(settled)

    def find_next(self, after: float) -> int | None:
        """Return the next slot that is not settled; see `Schedule`."""
        slot = self._schedule.find_next(after)
        while slot in self._settled:
            slot = self._schedule.find_next(slot)
        return slot


def find_start(now: float, passed: float | None) -> float:
    """Return the instant after which to look for the next slot.

    Args:
        now: the wall clock's time.
        passed: an earlier reading of the clock, or the newest settled slot; None if
            there is none. It may be after `now` if the clock was set back.
    """
    if passed is None or passed > now + CORRECTION:
        return now
    return max(now, passed)


def is_within(lateness: float, tolerance: float) -> bool:
    """Return whether a slot that is `lateness` seconds late may still run."""
    return lateness <= tolerance + _ROUNDING


def is_only(slot: int, now: float, *, tolerance: float) -> bool:
    """Return whether a slot is due and may run, and no later slot can be due yet."""
    return slot <= now < slot + 1 and is_within(now - slot, tolerance)


def find_following(schedule: Schedule, slot: int, now: float) -> int | None:
    """Return the slot after `slot`, even if the schedule is faulty.

    A schedule that does not advance is asked again, from `now`; if it still does not
    advance, it counts as ended. Otherwise the same slot would run for ever.
    """
    following = schedule.find_next(slot)
    if following is None or following > slot:
        return following
    base = max(slot, now)
    following = schedule.find_next(base)
    return following if following is not None and following > base else None


def count_slots(schedule: Schedule, gap: Gap, *, limit: int) -> tuple[int, int, bool]:
    """Count the slots of a gap, at most `limit` of them.

    Returns:
        The number of slots, the last slot counted (`gap.after` if there is none),
        and whether the whole gap has been counted.
    """
    last = gap.after
    for count in range(limit):
        slot = schedule.find_next(last)
        if slot is None or not last < slot < gap.before:
            return count, last, True
        last = slot
    return limit, last, False


def _plan_backlog(
    slot: int, now: float, *, tolerance: float, schedule: Schedule
) -> Beat:
    """Plan a wake-up at which more than one slot is due."""
    walked = [slot]
    following = find_following(schedule, slot, now)
    while following is not None and following <= now and len(walked) <= MISSED_CAP:
        walked.append(following)
        following = find_following(schedule, following, now)
    newest = walked[-1]
    if following is not None and following <= now:
        newest = _find_newest(following, now, schedule)
        following = find_following(schedule, newest, now)
    is_due = is_within(now - newest, tolerance)
    before = newest if is_due else newest + 1
    missed = tuple(slot for slot in walked if slot < before)[:MISSED_CAP]
    return Beat(
        missed=missed,
        gap=_find_gap(missed[-1], before, schedule),
        due=newest if is_due else None,
        next_slot=following,
    )


def _find_gap(after: int, before: int, schedule: Schedule) -> Gap | None:
    """Return the gap between two instants, or None if it contains no slot."""
    first = schedule.find_next(after)
    if first is None or not after < first < before:
        return None
    return Gap(after=after, before=before)


def _find_newest(slot: int, now: float, schedule: Schedule) -> int:
    """Return the newest slot at or before `now`, given that `slot` is one.

    A schedule only searches forwards, so this is a binary search: 22 calls for a
    month, where stepping through ``* * * * * *`` would take 2.6 million.
    """
    low, high = slot, math.floor(now)
    while low < high:
        middle = (low + high) // 2
        found = schedule.find_next(middle)
        if found is not None and middle < found <= now:
            low = found
        else:
            high = middle
    return low
