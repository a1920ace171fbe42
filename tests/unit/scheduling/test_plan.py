"""What a wake-up must settle: tables for plan_beat (R1, R2)."""

import pytest

from ipycron.scheduling.plan import (
    MISSED_CAP,
    Beat,
    Gap,
    count_slots,
    find_following,
    is_only,
    is_within,
    plan_beat,
)
from ipycron.testing import Every

MINUTE = Every(60)


class Counting:
    """A schedule that counts its calls."""

    def __init__(self, seconds):
        self.every = Every(seconds)
        self.calls = 0

    def find_next(self, after):
        """Count the call, and answer like Every."""
        self.calls += 1
        return self.every.find_next(after)


@pytest.mark.parametrize(
    ("now", "tolerance", "beat"),
    [
        pytest.param(59.9, 1, Beat(next_slot=60), id="early"),
        pytest.param(0, 1, Beat(next_slot=60), id="clock set back"),
        pytest.param(60, 1, Beat(due=60, next_slot=120), id="on time"),
        pytest.param(61, 1, Beat(due=60, next_slot=120), id="late, within"),
        pytest.param(61.001, 1, Beat(missed=(60,), next_slot=120), id="late, beyond"),
        pytest.param(60, 0, Beat(due=60, next_slot=120), id="no tolerance, on time"),
        pytest.param(60.001, 0, Beat(missed=(60,), next_slot=120), id="none, late"),
        pytest.param(119, 59, Beat(due=60, next_slot=120), id="wide tolerance"),
        pytest.param(
            120, 60, Beat(missed=(60,), due=120, next_slot=180), id="superseded"
        ),
        pytest.param(
            245, 9, Beat(missed=(60, 120, 180), due=240, next_slot=300), id="behind"
        ),
        pytest.param(
            250, 9, Beat(missed=(60, 120, 180, 240), next_slot=300), id="too far behind"
        ),
        pytest.param(
            1e9,
            float("inf"),
            Beat(
                missed=tuple(range(60, 6001, 60)),
                gap=Gap(after=6000, before=999_999_960),
                due=999_999_960,
                next_slot=1_000_000_020,
            ),
            id="without any limit",
        ),
    ],
)
def test_plan_settles_what_is_owed(now, tolerance, beat):
    """Older slots are missed, the newest runs if it may, the next is returned."""
    assert plan_beat(60, now, tolerance=tolerance, schedule=MINUTE) == beat


@pytest.mark.parametrize("owed", [99, 100, 101, 102, 150])
def test_plan_reports_a_hundred_and_leaves_the_rest_in_a_gap(owed):
    """Up to the cap there is no gap; beyond it the gap holds exactly the rest."""
    beat = plan_beat(60, owed * 60 + 30, tolerance=1, schedule=MINUTE)
    assert len(beat.missed) == min(owed, MISSED_CAP)
    counted = 0
    if beat.gap is not None:
        counted, newest, is_done = count_slots(MINUTE, beat.gap, limit=1000)
        assert is_done
        assert newest == owed * 60
    assert len(beat.missed) + counted == owed
    assert beat.newest == owed * 60


def test_plan_of_a_month_of_seconds_is_cheap():
    """The newest of 2.6 million slots is found without stepping through them."""
    schedule = Counting(1)
    month = 30 * 86_400
    beat = plan_beat(1, month + 0.5, tolerance=1, schedule=schedule)
    assert beat.due == month
    assert beat.next_slot == month + 1
    assert beat.gap == Gap(after=MISSED_CAP, before=month)
    assert schedule.calls < 200


def test_plan_of_one_slot_asks_once():
    """The usual wake-up costs one search."""
    schedule = Counting(60)
    plan_beat(60, 60.001, tolerance=1, schedule=schedule)
    assert schedule.calls == 1


def test_tolerance_forgives_the_rounding_of_the_clock():
    """Unix seconds as a float may be off by a quarter of a microsecond."""
    slot = 1_764_000_000
    assert is_within((slot + 0.3) - slot, 0.3)
    assert is_within((slot + 0.1) - slot, 0.1)
    assert not is_within((slot + 0.301) - slot, 0.3)


class Stuck:
    """A schedule that always returns the same slot."""

    def __init__(self, slot):
        self.slot = slot

    def find_next(self, _after):
        """Return the slot."""
        return self.slot


@pytest.mark.parametrize(
    ("answer", "following"), [(59, None), (60, None), (61, 61), (None, None)]
)
def test_following_slot_is_later_or_none(answer, following):
    """A schedule that goes back or does not advance has ended."""
    assert find_following(Stuck(answer), 60, 60) == following


def test_following_slot_is_asked_from_now_when_the_schedule_stands_still():
    """A schedule that is stuck at one slot is tried again from now."""

    class Hole:
        def find_next(self, after):
            return 60 if after < 100 else 180

    assert find_following(Hole(), 60, 130) == 180


def test_plan_runs_a_slot_once_when_the_schedule_stands_still():
    """The slot runs, and there is no next slot."""
    beat = plan_beat(60, 60, tolerance=1, schedule=Stuck(60))
    assert beat == Beat(due=60, next_slot=None)


def test_plan_ends_when_the_schedule_does():
    """The last slot is settled, and there is no next slot."""
    beat = plan_beat(60, 90, tolerance=1, schedule=Stuck(None))
    assert beat == Beat(missed=(60,), next_slot=None)


def test_plan_ends_when_the_schedule_does_within_a_backlog():
    """A schedule that ended in the meantime is settled to its last slot."""

    class Ends:
        def find_next(self, after):
            slot = MINUTE.find_next(after)
            return slot if slot <= 9000 else None

    beat = plan_beat(60, 1e6, tolerance=1, schedule=Ends())
    assert beat.next_slot is None
    assert beat.newest == 9000
    assert count_slots(Ends(), beat.gap, limit=1000) == (50, 9000, True)


def test_count_stops_at_its_limit():
    """The rest can be counted from the last slot on."""
    gap = Gap(after=0, before=601)
    assert count_slots(MINUTE, gap, limit=4) == (4, 240, False)
    assert count_slots(MINUTE, Gap(after=240, before=601), limit=99) == (6, 600, True)


def test_count_of_an_empty_gap_is_nothing():
    """There is no slot, and the last one is the start of the gap."""
    assert count_slots(MINUTE, Gap(after=60, before=120), limit=9) == (0, 60, True)


def test_beat_without_any_slot_has_no_newest():
    """A wake-up that is early settles nothing."""
    assert Beat(next_slot=60).newest is None


@pytest.mark.parametrize(
    ("late", "tolerance", "expected"),
    [
        (-0.001, 1.0, False),  # not yet: the clock has stepped back
        (0.0, 0.0, True),
        (0.3, 0.3, True),
        (0.31, 0.3, False),  # it is missed
        (0.999, 30.0, True),
        (1.0, 30.0, False),  # a later slot may be due
    ],
)
def test_slot_is_the_only_one_when_it_is_due_and_not_late(late, tolerance, expected):
    """All other cases take the general path."""
    assert is_only(3600, 3600 + late, tolerance=tolerance) is expected
