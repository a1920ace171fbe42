"""Which slots of a task are known to be settled while no scheduler reports."""

from functools import partial

import pytest
from msgspec.structs import replace

from ipycron.client import recovery as resumption
from ipycron.client.recovery import Resumptions, Settled
from ipycron.errors import SupervisorLost
from ipycron.process.wire.protocol import Noticed
from ipycron.scheduling.clock import SystemClock
from ipycron.scheduling.events import Event, ScheduledExecution, Status
from ipycron.scheduling.plan import Outage


class Minutes:
    """A schedule with a slot every 60 seconds."""

    def find_next(self, after):
        """Return the next whole minute."""
        return int(after // 60 + 1) * 60


@pytest.mark.parametrize(
    ("slots", "floor", "beyond"),
    [
        ([], 30, []),
        ([60], 60, []),
        ([60, 120, 180], 180, []),
        ([120], 30, [(119, 120)]),
        ([120, 180, 300], 30, [(119, 180), (299, 300)]),
        ([120, 180, 300, 60], 180, [(299, 300)]),
        ([300, 120, 180, 180], 30, [(119, 120), (179, 180), (299, 300)]),
        ([300, 120, 180, 60], 180, [(299, 300)]),
        ([120, 60, 60, 0], 120, []),
    ],
)
def test_floor_rises_over_settled_slots_only(slots, floor, beyond):
    """Whatever the order; slots that still wait are remembered."""
    settled = Settled(30)
    for slot in slots:
        settled.add(slot, Minutes())
    assert (settled.floor, settled.beyond) == (floor, beyond)


def test_floor_rises_over_what_is_told_in_bulk():
    """A count of missed slots includes all slots from its beginning to its date."""
    settled = Settled(30)
    settled.add(600, Minutes())
    settled.add(180, Minutes())
    settled.add_span((60, 540), Minutes())
    assert (settled.floor, settled.beyond) == (30, [(60, 540), (599, 600)])
    settled.add(660, Minutes())
    settled.add(60, Minutes())
    assert (settled.floor, settled.beyond) == (660, [])


def test_memory_is_bounded_when_a_slot_waits_for_ever(monkeypatch):
    """The oldest waiting slots are given up."""
    monkeypatch.setattr(resumption, "MAX_BEYOND", 3)
    settled = Settled(30)
    for slot in (120, 240, 360, 480):
        settled.add(slot, Minutes())
    assert settled.floor == 120
    assert settled.beyond == [(239, 240), (359, 360), (479, 480)]


def make_notice(event, date, execution=None):
    """Return an event as the supervisor sends it."""
    return Noticed(
        event=event,
        task_id="it",
        status=Status.IDLE,
        date=date,
        triggered_at=date,
        execution=execution,
        is_ok=None,
        summary="",
        reason=None,
        missed_count=None,
        missed_since=None,
        manner="plain",
        runs_left=None,
    )


def test_slots_of_an_outage_are_settled_when_they_are_reported():
    """Not by the start before that: its supervisor may be lost again."""
    follow = partial(Resumptions.follow, schedule=Minutes(), skips_overlap=False)
    known, lost = Resumptions(), SupervisorLost(reason="killed")
    follow(known, make_notice(Event.TASK_STARTED, 30))
    follow(known, make_notice(Event.EXECUTION_MISSED, 60))
    known.begin(["it"], lost)
    assert follow(known, make_notice(Event.TASK_STARTED, 200)) is lost
    known.begin(["it"], lost)
    assert known.get_outage("it").since == 60
    follow(known, make_notice(Event.TASK_STARTED, 400))
    for slot in range(120, 301, 60):
        follow(known, make_notice(Event.EXECUTION_MISSED, slot))
    known.begin(["it"], lost)
    assert known.get_outage("it").since == 300


@pytest.mark.parametrize(
    ("reason", "since"),
    [("scheduled", 60), ("catch_up", 60), ("invoked", 30), ("backfill", 30)],
)
def test_only_the_schedule_s_own_runs_settle_their_slots(reason, since):
    """A backfill of a slot says nothing about what the schedule did with it."""
    known = Resumptions()
    follow = partial(known.follow, schedule=Minutes(), skips_overlap=False)
    follow(make_notice(Event.TASK_STARTED, 30))
    run = ScheduledExecution(id="r", reason=reason, date=60)
    follow(make_notice(Event.EXECUTION_STARTED, 60, run))
    known.begin(["it"], SupervisorLost(reason="killed"))
    assert known.get_outage("it").since == since


def test_slots_of_an_earlier_life_are_settled_when_they_are_reported():
    """The supervisor of the first start may be lost before that."""
    known, lost = Resumptions(), SupervisorLost(reason="killed")
    follow = partial(known.follow, schedule=Minutes(), skips_overlap=False)
    earlier = Outage(since=30, until=200, settled=((119, 180),))
    follow(make_notice(Event.TASK_STARTED, 400), inherited=earlier)
    follow(make_notice(Event.EXECUTION_MISSED, 60))
    known.begin(["it"], lost)
    outage = known.get_outage("it")
    assert (outage.since, outage.settled) == (180, ())


def test_slots_of_a_clock_that_was_ahead_are_not_settled():
    """What the right clock has settled since then stays settled."""
    settled = Settled(30, [(59, 120), (239, 9000), (9059, 9060)])
    settled.recount(300, 310)
    assert (settled.floor, settled.beyond) == (30, [(59, 120), (239, 300)])
    settled = Settled(9000, [(9059, 9060)])
    settled.recount(300, 310)
    assert (settled.floor, settled.beyond) == (300, [])
    settled = Settled(305, [(307, 308)])
    settled.recount(300, 310)
    assert (settled.floor, settled.beyond) == (305, [(307, 308)])


def test_outage_after_a_correction_begins_at_it():
    """The next supervisor tells the history, which the lost one may not have done."""
    now = SystemClock().now()
    known, lost = Resumptions(), SupervisorLost(reason="killed")
    follow = partial(known.follow, schedule=Minutes(), skips_overlap=False)
    follow(make_notice(Event.TASK_STARTED, now + 86_400))
    known.recount(now - 1)
    known.begin(["it"], lost)
    outage = known.get_outage("it")
    assert (outage.since, outage.was_corrected) == (now - 1, True)


def test_correction_is_followed_when_nobody_has_told_of_it():
    """It came with the loss, or while there was no supervisor."""
    now = SystemClock().now()
    known, lost = Resumptions(), SupervisorLost(reason="killed")
    follow = partial(known.follow, schedule=Minutes(), skips_overlap=False)
    follow(make_notice(Event.TASK_STARTED, now + 86_400))
    known.begin(["it"], lost)
    assert not known.get_outage("it").was_corrected
    assert follow(make_notice(Event.TASK_STARTED, now)) is lost
    known.begin(["it"], lost)
    assert known.get_outage("it").since == now


def test_excluded_slots_settle_none_between_them():
    """A count of excluded slots says nothing of those that run."""
    known = Resumptions()
    follow = partial(known.follow, schedule=Minutes(), skips_overlap=False)
    follow(make_notice(Event.TASK_STARTED, 30))
    notice = make_notice(Event.EXECUTION_SKIPPED, 600)
    counted = replace(notice, reason="excluded", missed_count=3, missed_since=60)
    follow(counted)
    known.begin(["it"], SupervisorLost(reason="killed"))
    outage = known.get_outage("it")
    assert (outage.since, outage.settled) == (30, ((599, 600),))
