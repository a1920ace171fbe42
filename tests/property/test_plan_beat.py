"""plan_beat settles each slot exactly once, whatever the clock does (R1, R2)."""

from bisect import bisect_right

from hypothesis import given
from hypothesis import strategies as st

from ipycron.scheduling.plan import MISSED_CAP, count_slots, plan_beat
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
