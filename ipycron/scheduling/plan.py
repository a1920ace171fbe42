"""Which slots a wake-up owes: a pure function of slot, time and schedule.

A wake-up may come late (a suspend, a busy loop, a clock step) and then owes many
slots. Each of them is settled exactly once: it runs, it is missed, or it lies in
a `Gap` that somebody counts later. The cost of one plan is bounded, however long
the wake-up was away: about a hundred steps forward and thirty by halving.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from ipycron.scheduling.ports import Schedule

# Missed slots that are reported one by one; the rest is reported as a number (R2).
MISSED_CAP = 100

# Seconds by which a clock that is set back has been corrected: slots are counted anew
# from the new time. By less, the slots that have passed are not run again (C3).
# Source: Debian's cron.
CORRECTION = 3 * 3600.0

# Half a microsecond. Unix seconds as a float are good to a quarter of one, so that
# a slot exactly `tolerance` late must not fail by the rounding of the clock.
_ROUNDING = 5e-7

# The tolerance by which no slot runs.
_NOT_AT_ALL = -1.0


class Silence(msgspec.Struct, frozen=True, kw_only=True):
    """Unix seconds between which a started task had no scheduler.

    Attributes:
        since: up to here every slot is known to be settled.
        until: when its scheduler was lost. It may have run a slot before that and
            not have reported: nothing up to here runs again.
        settled: slots in between that are settled all the same: a slot that waits,
            for a random delay or for an election, is overtaken by later ones.
    """

    since: float
    until: float
    settled: tuple[int, ...] = ()


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """The slots strictly between two instants: missed, not counted yet."""

    after: int
    before: int


class Beat(msgspec.Struct, frozen=True, kw_only=True):
    """What one wake-up owes.

    Attributes:
        missed: slots to report one by one, oldest first, at most `MISSED_CAP`.
        gap: the missed slots beyond those, or None.
        due: the slot to run now, or None.
        next_slot: the first slot that is not settled, or None where the schedule
            has ended.
    """

    missed: tuple[int, ...] = ()
    gap: Gap | None = None
    due: int | None = None
    next_slot: int | None

    @property
    def newest(self) -> int | None:
        """The newest slot that this beat settles, or None."""
        if self.due is not None:
            return self.due
        if self.gap is not None:
            return self.gap.before - 1
        return self.missed[-1] if self.missed else None


def plan_beat(slot: int, now: float, *, tolerance: float, schedule: Schedule) -> Beat:
    """Return what is owed at `now` by a task whose next slot is `slot`.

    The newest slot that `now` has reached runs if it is at most `tolerance`
    seconds late, to the microsecond; every older one is missed, since a newer one
    superseded it. A slot ahead of `now` stays where it is: a clock that steps back
    makes the task wait, and no slot is settled twice or early.

    Source: node-cron 4.6.0, plan-beat, whose tolerance is up to a second too wide.
    """
    if now < slot:
        return Beat(next_slot=slot)
    following = find_following(schedule, slot, now)
    if following is None or following > now:
        # The usual case, one search for one slot.
        if is_within(now - slot, tolerance):
            return Beat(due=slot, next_slot=following)
        return Beat(missed=(slot,), next_slot=following)
    return _plan_backlog(slot, now, tolerance=tolerance, schedule=schedule)


def plan_silence(silence: Silence, schedule: Schedule) -> Beat:
    """Return what is owed after a silence: all slots up to its end are missed."""
    owed = _Unsettled(schedule, silence.settled) if silence.settled else schedule
    first = owed.find_next(silence.since)
    if first is None or first > silence.until:
        return Beat(next_slot=first)
    return plan_beat(first, silence.until, tolerance=_NOT_AT_ALL, schedule=owed)


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
    """Return the instant after which the next slot lies.

    Args:
        now: the wall clock.
        passed: an instant that it has shown, or a slot that is settled, if any. It
            may be ahead of `now` where the clock was set back.
    """
    if passed is None or passed > now + CORRECTION:
        return now
    return max(now, passed)


def is_within(lateness: float, tolerance: float) -> bool:
    """Return whether a slot so many seconds late may still run."""
    return lateness <= tolerance + _ROUNDING


def is_only(slot: int, now: float, *, tolerance: float) -> bool:
    """Return whether a slot is due and may run, before any later slot can be due."""
    return slot <= now < slot + 1 and is_within(now - slot, tolerance)


def find_following(schedule: Schedule, slot: int, now: float) -> int | None:
    """Return the slot after `slot`, whatever the schedule answers.

    A schedule that fails to advance is asked once more from `now`; if that does
    not help either, it has ended. Otherwise one slot would run for ever.
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
        how many there are, the last one counted (`gap.after` where there is none),
        and whether the whole gap is counted.
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
    """Plan for a wake-up that owes more than one slot."""
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
    """Return the gap between two instants, or None if no slot lies in it."""
    first = schedule.find_next(after)
    if first is None or not after < first < before:
        return None
    return Gap(after=after, before=before)


def _find_newest(slot: int, now: float, schedule: Schedule) -> int:
    """Return the newest slot at or before `now`; `slot` is one of those.

    A schedule only looks forward, so this halves the time between: 22 questions
    for a month, where walking would take 2.6 million on ``* * * * * *``.
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
