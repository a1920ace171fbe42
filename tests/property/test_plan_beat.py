"""plan_beat settles each slot exactly once, whatever the clock does (R1, R2)."""

from bisect import bisect_right
from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from ipycron.scheduling.plan import (
    MISSED_CAP,
    Outage,
    count_slots,
    plan_beat,
    plan_outage,
)
from ipycron.scheduling.policy import CatchUp
from ipycron.testing import Every

MONTH = 30 * 86_400


class Listed:
    """A schedule of listed slots that counts its calls."""

    def __init__(self, slots):
        self.slots = sorted(set(slots))
        self.calls = 0

    def find_next(self, after):
        """Return the first listed slot after an instant, or None."""
        self.calls += 1
        place = bisect_right(self.slots, after)
        return self.slots[place] if place < len(self.slots) else None

    def between(self, after, until):
        """Return the slots after one instant and up to another."""
        return self.slots[
            bisect_right(self.slots, after) : bisect_right(self.slots, until)
        ]


# Slots in clusters, with holes: what cron lines, calendars and holidays look like.
slot_lists = st.lists(
    st.integers(1, 3000) | st.integers(50_000, 50_400), min_size=1, max_size=400
)
instants = st.floats(0, 60_000, allow_nan=False) | st.integers(0, 3100)
tolerances = st.floats(0, 100) | st.sampled_from([0.0, 1.0, 1e6])


@given(slot_lists, st.lists(instants, min_size=1, max_size=12), tolerances)
def test_each_slot_is_settled_exactly_once(slots, wakes, tolerance):
    """With wake-ups late, early and backwards: no slot twice, none early."""
    schedule = Listed(slots)
    next_slot = schedule.slots[0]
    settled = []
    for now in wakes:
        if next_slot is None:
            break
        beat = plan_beat(next_slot, now, tolerance=tolerance, schedule=schedule)
        settled += beat.missed
        if beat.gap is not None:
            settled += schedule.between(beat.gap.after, beat.gap.before - 1)
        if beat.due is not None:
            settled.append(beat.due)
            assert beat.due <= now
            assert now - beat.due <= tolerance + 1e-6
            assert schedule.between(beat.due, now) == []
        elif beat.newest is not None:
            assert now - beat.newest > tolerance
        next_slot = beat.next_slot
    assert settled == schedule.between(0, max(wakes))[: len(settled)]
    assert settled == [slot for slot in schedule.slots if slot <= max(wakes)]
    assert next_slot == schedule.find_next(max(wakes))


catch_ups = st.builds(
    CatchUp,
    st.sampled_from(["none", "latest", "all"]),
    window=st.floats(1, 60_000) | st.sampled_from([1.0, 100.0, 1e6]),
    limit=st.integers(1, 500),
)


def settle(beat, schedule):
    """Return all slots that a beat settles, in its order."""
    gap, rest = (
        [] if g is None else schedule.between(g.after, g.before - 1)
        for g in (beat.gap, beat.rest)
    )
    due = [] if beat.due is None else [beat.due]
    return [*beat.missed, *gap, *beat.owed, *rest, *due]


@given(slot_lists, st.lists(instants, min_size=1, max_size=12), tolerances, catch_ups)
def test_each_slot_of_a_gap_is_settled_exactly_once(slots, wakes, tolerance, catch_up):
    """It is missed, owed, due or part of a counted gap, and never two of these."""
    schedule = Listed(slots)
    next_slot, settled = schedule.slots[0], []
    for now in wakes:
        if next_slot is None:
            break
        plan = partial(plan_beat, next_slot, now, tolerance=tolerance)
        beat = plan(schedule=schedule, catch_up=catch_up)
        plain = plan(schedule=schedule)
        told = settle(beat, schedule)
        settled += told
        assert (beat.due, beat.next_slot) == (plain.due, plain.next_slot)
        assert told == settle(plain, schedule)
        assert beat.newest == plain.newest
        assert [s for s in beat.owed if now - s > catch_up.window + 1e-6] == []
        within = [s for s in told if now - s <= catch_up.window and s != beat.due]
        if catch_up.mode == "all":
            assert list(beat.owed) == within[: catch_up.limit]
        elif catch_up.mode == "latest" and beat.due is None:
            assert list(beat.owed) == within[-1:]
        else:
            assert beat.owed == ()
        next_slot = beat.next_slot
    assert settled == [slot for slot in schedule.slots if slot <= max(wakes)]


spans = st.lists(st.integers(0, 3100), max_size=8, unique=True).map(
    lambda ends: tuple(
        zip(*[iter(sorted(ends)[: len(ends) // 2 * 2])] * 2, strict=True)
    )
)


@given(
    slot_lists,
    st.tuples(instants, instants, instants).map(sorted),
    spans,
    st.tuples(st.booleans(), tolerances, catch_ups),
)
def test_each_slot_of_an_outage_is_settled_exactly_once(slots, times, settled, policy):
    """None that is settled already, none after it; none runs that may have run."""
    schedule = Listed(slots)
    since, until, now = times
    is_clean, tolerance, catch_up = policy
    outage = Outage(since=since, until=until, settled=settled, is_clean=is_clean)
    beat = plan_outage(
        outage, schedule, now=now, tolerance=tolerance, catch_up=catch_up
    )
    open_slots = [
        slot
        for slot in schedule.between(since, now)
        if not any(after < slot <= last for after, last in settled)
    ]
    told = settle(beat, Listed([*open_slots, -1]))
    if is_clean and catch_up.mode == "none":
        assert told == []
    else:
        assert sorted(told) == open_slots
    for gap in filter(None, (beat.gap, beat.rest)):
        count, _, is_done = count_slots(schedule, gap, limit=10_000)
        assert is_done
        told_of = Listed([*open_slots, -1]).between(gap.after, gap.before - 1)
        assert count == len([s for s in told_of if s not in beat.missed])
    doubtful = [s for s in open_slots if until - 1 < s <= until]
    assert not set(doubtful) & set(beat.owed)
    assert beat.due is None or beat.due > until


@given(slot_lists, instants, tolerances)
def test_reports_are_capped_and_gaps_hold_the_rest(slots, now, tolerance):
    """At most a hundred are reported one by one; a gap is never empty."""
    schedule = Listed(slots)
    beat = plan_beat(schedule.slots[0], now, tolerance=tolerance, schedule=schedule)
    assert len(beat.missed) <= MISSED_CAP
    if beat.gap is not None:
        assert len(beat.missed) == MISSED_CAP
        count, newest, is_done = count_slots(schedule, beat.gap, limit=10_000)
        assert is_done
        assert count == len(schedule.between(beat.gap.after, beat.gap.before - 1)) > 0
        assert newest <= now


@given(st.integers(1, 7200), st.floats(0, 12 * MONTH), tolerances)
def test_cost_is_bounded_however_late_the_wake_up_is(seconds, lateness, tolerance):
    """A year of slots costs about as much as a hundred."""
    asked = []

    class Asked:
        def find_next(self, after):
            asked.append(after)
            return Every(seconds).find_next(after)

    now = seconds + lateness
    beat = plan_beat(seconds, now, tolerance=tolerance, schedule=Asked())
    assert len(asked) <= MISSED_CAP + 32
    assert beat.newest == int(now / seconds) * seconds
    assert beat.next_slot == beat.newest + seconds


@given(slot_lists, st.integers(1, 50))
def test_counting_in_chunks_counts_the_same(slots, portion):
    """However small the chunks, the total and the newest slot are the gap's."""
    schedule = Listed(slots)
    whole = plan_beat(0, 60_000, tolerance=0, schedule=schedule).gap
    if whole is None:
        return
    expected = schedule.between(whole.after, whole.before - 1)
    total, newest, is_done = 0, whole.after, False
    while not is_done:
        gap = type(whole)(after=newest, before=whole.before)
        count, newest, is_done = count_slots(schedule, gap, limit=portion)
        total += count
    assert total == len(expected)
    assert newest == expected[-1]
