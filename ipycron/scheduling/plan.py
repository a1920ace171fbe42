"""Which slots a wake-up must settle: a pure function of slot, time and schedule.

A wake-up may be late (a suspend, a busy loop, a clock step), and then several slots
are due. Each is settled exactly once: it runs, it is missed, or it is part of a `Gap`
that is counted later; or it is owed: it runs although it is too late, where the task
catches up on gaps. The cost of one plan is bounded, however late the wake-up is:
about a hundred steps forward, the slots owed and thirty steps of a binary search.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import TYPE_CHECKING

import msgspec

from ipycron.scheduling.events import (
    Pause,  # noqa: TC001 - msgspec reads the annotations
)
from ipycron.scheduling.policy import CatchUp  # noqa: TC001 - as above

if TYPE_CHECKING:
    from collections.abc import Iterable

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

# Seconds before its loss within which a scheduler may have begun a run that nobody
# heard of. At most one slot is that recent.
_UNREPORTED = 1

Span = tuple[int, int]
"""All slots after the first instant, up to the second one."""


class Outage(msgspec.Struct, frozen=True, kw_only=True):
    """A period in which a task had no scheduler, up to its start. Unix seconds.

    Either its scheduler was lost while the task was started; or the task was declared
    in an earlier life, a process that has ended, and is declared again.

    Without catching up, the slots of the outage are missed; after a clean end of the
    earlier life they were not scheduled, and nothing is reported. With it, they are
    owed in both cases (C1).

    Attributes:
        since: every slot up to here is known to be settled.
        until: when the scheduler was lost, or the latest instant at which it may have
            been alive. It may have run a slot before that without reporting it: no
            slot up to here runs as if it were on time, and the slot of the last
            second, if there is one, is not caught up on, but missed.
        catch_up: what to do about its slots, if not what the task's policy says.
        settled: slots in between that are already settled, in ascending order: while
            one slot waits for its random delay, its election or its turn, later ones
            may be settled.
        is_clean: whether the earlier life was ended on purpose, by a shutdown.
        pause: the pause that the task was in at its end, or that ended in it.
        was_corrected: whether the clock was set back shortly before, so that the lost
            scheduler may not have got to tell the history (C3).
    """

    since: float
    until: float
    settled: tuple[Span, ...] = ()
    is_clean: bool = False
    pause: Pause | None = None
    was_corrected: bool = False
    catch_up: CatchUp | None = None


class Recounted(msgspec.Struct, frozen=True, kw_only=True):
    """The slots of a task are counted anew (C3); no event, for the history only.

    Attributes:
        task_id: the task's id.
        since: the slots after this instant are still to come, whatever has become of
            them by a clock that was ahead.
        schedule: to count, in a row that stands for many slots, those that are not;
            None if it is not known.
        excluded: to count the excluded ones; None if there are none.
    """

    task_id: str
    since: float
    schedule: Schedule | None
    excluded: Schedule | None = None


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """The missed slots strictly between two instants, not yet counted.

    `settled` are those between that do not count: see `Outage`.
    """

    after: int
    before: int
    settled: tuple[Span, ...] = ()


class Beat(msgspec.Struct, frozen=True, kw_only=True):
    """What one wake-up must do.

    Attributes:
        missed: slots to report one by one, oldest first, at most `MISSED_CAP`.
        gap: the missed slots beyond those, or None.
        owed: slots to catch up on, oldest first; all later than the missed ones.
        rest: missed slots later than the owed ones, of which there are too many; or
            None.
        due: the slot to run now, or None; the newest of all.
        next_slot: the first slot that is not settled, or None if the schedule has
            ended.
    """

    missed: tuple[int, ...] = ()
    gap: Gap | None = None
    owed: tuple[int, ...] = ()
    rest: Gap | None = None
    due: int | None = None
    next_slot: int | None

    @property
    def newest(self) -> int | None:
        """The newest slot that this wake-up settles, or None.

        If it is of a gap, an instant after it and before any other slot.
        """
        gaps = [gap.before - 1 for gap in (self.gap, self.rest) if gap is not None]
        due = () if self.due is None else (self.due,)
        return max((*self.missed[-1:], *gaps, *self.owed[-1:], *due), default=None)


def plan_beat(
    slot: int,
    now: float,
    *,
    tolerance: float,
    schedule: Schedule,
    catch_up: CatchUp | None = None,
) -> Beat:
    """Return what a task whose next slot is `slot` must do at `now`.

    The newest slot that `now` has reached runs if it is at most `tolerance`
    seconds late, to the microsecond. Every older slot is missed, since a newer one
    superseded it. A slot after `now` remains the next slot: if the clock steps back,
    the task waits, and no slot is settled twice or early.

    With `catch_up`, the newest slot is owed if it is too late to be due, or all slots
    are that are not due: those of the window, up to the limit (C1).

    Source: node-cron 4.6.0, plan-beat, whose tolerance is up to a second too wide.
    """
    if catch_up is not None and catch_up.mode != "none":
        return _plan_catch_up(slot, now, tolerance, schedule, catch_up)
    if now < slot:
        return Beat(next_slot=slot)
    following = find_following(schedule, slot, now)
    if following is None or following > now:
        # The usual case: one slot, one search.
        if is_within(now - slot, tolerance):
            return Beat(due=slot, next_slot=following)
        return Beat(missed=(slot,), next_slot=following)
    return _plan_backlog(slot, now, tolerance=tolerance, schedule=schedule)


def plan_outage(
    outage: Outage,
    schedule: Schedule,
    *,
    now: float | None = None,
    tolerance: float = _NOT_AT_ALL,
    catch_up: CatchUp | None = None,
) -> Beat:
    """Return what to do after an outage, at `now`, by default its end.

    By default all slots up to its end are missed. See `plan_beat`; the slots of a pause
    are left to `plan_pause_of`.
    """
    now = outage.until if now is None else now
    catches_up = catch_up is not None and catch_up.mode != "none"
    if outage.is_clean and not catches_up:
        return Beat(next_slot=schedule.find_next(max(now, outage.since)))
    settled = outage.settled
    missed: tuple[int, ...] = ()
    pause = _find_pause(outage, now)
    if pause is not None:
        settled = merge_spans(*settled, pause)
    if catches_up:
        settled, missed = _separate_unreported(outage, settled, schedule)
    open_slots = Unsettled(schedule, settled)
    first = open_slots.find_next(outage.since)
    if first is None or first > now:
        return Beat(missed=missed, next_slot=first)
    due = _find_newest(first, now, open_slots)
    beat = plan_beat(
        first,
        now,
        tolerance=tolerance if due > outage.until else _NOT_AT_ALL,
        schedule=open_slots,
        catch_up=catch_up,
    )
    gaps = {
        name: msgspec.structs.replace(gap, settled=settled)
        for name in ("gap", "rest")
        if (gap := getattr(beat, name)) is not None
    }
    return msgspec.structs.replace(beat, missed=(*beat.missed, *missed), **gaps)


def plan_pause(slot: int, last: float, schedule: Schedule) -> Beat:
    """Return what to do about the slots from `slot` to `last`: all are skipped."""
    return plan_beat(slot, last, tolerance=_NOT_AT_ALL, schedule=schedule)


def find_owed(
    since: float, now: float, schedule: Schedule, catch_up: CatchUp
) -> tuple[tuple[int, ...], int | None]:
    """Return the slots after `since` to catch up on, whatever became of them before.

    Returns:
        The slots, oldest first; and the newest slot before them that is not caught up
        on, or None.
    """
    first = schedule.find_next(since)
    if first is None or first > now:
        return (), None
    beat = plan_beat(
        first, now, tolerance=_NOT_AT_ALL, schedule=schedule, catch_up=catch_up
    )
    if not beat.owed or beat.owed[0] == first:
        return beat.owed, None
    return beat.owed, _find_newest(first, beat.owed[0] - 1, schedule)


def plan_pause_of(outage: Outage, schedule: Schedule, *, now: float) -> Beat:
    """Return the slots of an outage that are skipped: the task was paused."""
    pause = _find_pause(outage, now)
    if pause is None or outage.is_clean:
        return Beat(next_slot=None)
    since, until = pause
    part = Outage(since=since, until=until, settled=outage.settled)
    return plan_outage(part, schedule)


def _find_pause(outage: Outage, now: float) -> Span | None:
    """Return the part of an outage, up to `now`, in which the task was paused."""
    pause = outage.pause
    if pause is None:
        return None
    since = math.floor(max(outage.since, pause.since))
    last = math.floor(pause.find_last(now))
    return (since, last) if since < last else None


def _separate_unreported(
    outage: Outage, settled: tuple[Span, ...], schedule: Schedule
) -> tuple[tuple[Span, ...], tuple[int, ...]]:
    """Return what counts as settled, and the slot that may have run unreported."""
    since = max(outage.until - _UNREPORTED, outage.since)
    slot = Unsettled(schedule, settled).find_next(since)
    if slot is None or slot > outage.until:
        return settled, ()
    return merge_spans(*settled, (slot - 1, slot)), (slot,)


def merge_spans(*spans: Span) -> tuple[Span, ...]:
    """Return spans that do not overlap, in ascending order."""
    merged: list[Span] = []
    for after, last in sorted(spans):
        if merged and after <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(last, merged[-1][1])
        else:
            merged.append((after, last))
    return tuple(merged)


class Unsettled:
    """A schedule without the slots that are settled: spans in ascending order."""

    __slots__ = ("_ends", "_schedule", "_settled")

    def __init__(self, schedule: Schedule, settled: tuple[Span, ...]) -> None:
        self._schedule = schedule
        self._settled = settled
        self._ends = [last for _, last in settled]

    def find_next(self, after: float) -> int | None:
        """Return the next slot that is not settled; see `Schedule`."""
        slot = self._schedule.find_next(after)
        while slot is not None:
            place = bisect_left(self._ends, slot)
            if place == len(self._ends) or slot <= self._settled[place][0]:
                break
            slot = self._schedule.find_next(self._ends[place])
        return slot


def find_start(now: float, passed: float | None) -> float:
    """Return the instant after which to look for the next slot.

    Args:
        now: the wall clock's time.
        passed: an earlier reading of the clock, or the newest settled slot; None if
            there is none. It may be after `now` if the clock was set back.
    """
    if passed is None or is_corrected(now, passed):
        return now
    return max(now, passed)


def is_corrected(now: float, passed: float | None) -> bool:
    """Return whether the clock was set back so far that it was wrong before (C3)."""
    return passed is not None and passed > now + CORRECTION


def correct_outage(outage: Outage, now: float) -> Outage:
    """Return what a clock that was ahead has told of an outage, now that it is right.

    The slots after `now` are still to come; what it was an outage of is not known.
    """
    if not is_corrected(now, max(outage.since, outage.until)):
        return outage
    return Outage(
        since=min(outage.since, now),
        until=min(outage.until, now),
        settled=cut_spans(outage.settled, now),
        is_clean=outage.is_clean,
        pause=outage.pause and correct_pause(outage.pause, now),
    )


def correct_pause(pause: Pause, now: float) -> Pause:
    """Return a pause that has begun by `now`, whenever a clock that was ahead said."""
    if pause.since <= now:
        return pause
    return msgspec.structs.replace(pause, since=now)


def cut_spans(spans: Iterable[Span], instant: float) -> tuple[Span, ...]:
    """Return the parts of spans up to an instant."""
    last = math.floor(instant)
    return tuple((after, min(end, last)) for after, end in spans if after < last)


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
    if gap.settled:
        schedule = Unsettled(schedule, gap.settled)
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


def _plan_catch_up(
    slot: int, now: float, tolerance: float, schedule: Schedule, catch_up: CatchUp
) -> Beat:
    """Plan the same wake-up, then turn missed slots into owed ones."""
    beat = plan_beat(slot, now, tolerance=tolerance, schedule=schedule)
    newest = beat.newest
    if newest is None:
        return beat
    oldest = math.ceil(now - catch_up.window - _ROUNDING)
    end = newest + 1 if beat.due is None else newest
    if catch_up.mode == "all":
        first = slot if slot >= oldest else schedule.find_next(oldest - 1)
        owed = _walk(first, end, schedule, limit=catch_up.limit)
    else:
        owed = (newest,) if oldest <= newest < end else ()
    if not owed:
        return beat
    missed = tuple(slot for slot in beat.missed if slot < owed[0])
    return Beat(
        missed=missed,
        gap=_find_gap(missed[-1], owed[0], schedule) if missed else None,
        owed=owed,
        rest=_find_gap(owed[-1], end, schedule),
        due=beat.due,
        next_slot=beat.next_slot,
    )


def _walk(
    first: int | None, end: int, schedule: Schedule, *, limit: int
) -> tuple[int, ...]:
    """Return the slots from `first` to before `end`, at most `limit` of them."""
    walked: list[int] = []
    while first is not None and first < end and len(walked) < limit:
        walked.append(first)
        first = find_following(schedule, first, first)
    return tuple(walked)


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
