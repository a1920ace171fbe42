"""Slots that fell into a gap and are run afterwards (C1, C2).

The world stands at the hour and is due at every minute.
"""

import asyncio

import pytest

from ipycron.errors import InvalidOption
from ipycron.scheduling.aio import sleep
from ipycron.scheduling.plan import Outage
from ipycron.scheduling.policy import CatchUp, Policy
from ipycron.testing import Every


def runs(world, *reasons):
    """Return reason and slot of the runs so far, in seconds since the hour."""
    started = world.events.of("execution:started")
    return [
        (n.execution.reason, n.execution.date - 3600)
        for n in started
        if not reasons or n.execution.reason in reasons
    ]


async def suspend(world, seconds):
    """Let the machine sleep, and wake it; the timers notice within five seconds."""
    world.clock.step(seconds)
    await world.clock.advance(5)


async def test_newest_slot_runs_after_a_suspend(world):
    """With its slot as date and its own reason; the others are missed."""
    await world.start(catch_up="latest")
    await world.clock.advance(30)
    await suspend(world, 280)
    assert world.slots("execution:missed") == [60, 120, 180, 240]
    assert runs(world) == [("catch_up", 300)]
    await world.clock.advance(60)
    assert runs(world) == [("catch_up", 300), ("scheduled", 360)]


async def test_slot_on_time_is_the_newest_after_a_suspend(world):
    """One run a gap: a slot that is within its tolerance is not run beside another."""
    await world.start(catch_up="latest", tolerance=10)
    await world.clock.advance(30)
    await suspend(world, 271)
    assert runs(world) == [("scheduled", 300)]
    assert world.slots("execution:missed") == [60, 120, 180, 240]


async def test_all_slots_run_one_after_another_oldest_first(world):
    """The next begins when the one before has ended."""
    world.script.run_seconds = 2
    await world.start(catch_up="all")
    await world.clock.advance(30)
    await suspend(world, 208)
    await world.clock.advance(8)
    assert runs(world) == [("catch_up", slot) for slot in (60, 120, 180, 240)]
    began = [at for at, event in world.told() if event == "execution:started"]
    assert began == [243, 245, 247, 249]
    assert world.events.of("execution:missed") == []


async def test_schedule_goes_on_beside_those_that_catch_up(world):
    """A slot that is due overlaps with the run that catches up, and runs."""
    world.script.run_seconds = 50
    await world.start(catch_up="all")
    await world.clock.advance(30)
    await suspend(world, 130)
    await world.clock.advance(100)
    assert runs(world) == [
        ("catch_up", 60),
        ("scheduled", 180),
        ("catch_up", 120),
        ("scheduled", 240),
    ]
    assert world.slots("execution:overlap") == [180, 240]


async def test_run_that_catches_up_waits_when_no_overlap_is_allowed(world):
    """Skipping it would lose it; a slot that is due beside it is skipped as ever."""
    world.script.run_seconds = 20
    await world.start(catch_up="all", no_overlap=True, tolerance=10)
    await world.clock.advance(30)
    await suspend(world, 152)  # three seconds after the slot at 180
    await world.clock.advance(70)
    assert runs(world) == [("scheduled", 180), ("catch_up", 60), ("catch_up", 120)]
    assert world.slots("execution:overlap") == [240]
    assert world.events.of("execution:missed") == []


async def test_only_the_window_and_the_limit_are_caught_up_on(world):
    """Older ones are missed, and so are the newest, as one count."""
    await world.start(catch_up=CatchUp("all", window=600, limit=3))
    await world.clock.advance(30)
    await suspend(world, 1200)
    assert runs(world) == [("catch_up", slot) for slot in (660, 720, 780)]
    missed = world.events.of("execution:missed")
    assert [n.date - 3600 for n in missed[:-1]] == list(range(60, 660, 60))
    last = missed[-1]
    assert (last.date - 3600, last.missed_count) == (1200, 7)
    assert last.missed_since - 3600 == 780


@pytest.mark.parametrize("catch_up", ["latest", "all"])
async def test_slots_older_than_the_window_are_missed(world, catch_up):
    """A task that is due once a week does not run days later."""
    await world.start(every=86_400, catch_up=CatchUp(catch_up, window=3600))
    world.clock.step(86_400 + 2 * 3600)
    await world.clock.advance(5)
    assert runs(world) == []
    assert world.slots("execution:missed") == [86_400 - 3600]


async def test_gap_of_a_month_is_settled_in_bulk(world):
    """Its oldest are missed one by one, then counted; its last day runs."""
    await world.start(catch_up="all")
    await suspend(world, 30 * 86_400)
    await world.clock.advance(5)
    counts = [n.missed_count for n in world.events.of("execution:missed")]
    assert counts[:100] == [1] * 100
    assert len(counts) == 102
    assert len(runs(world, "catch_up")) == 100
    assert sum(counts) + 100 == 30 * 1440


@pytest.mark.parametrize(
    ("end", "last"),
    [
        (lambda world: world.scheduler.stop("t"), "task:stopped"),
        (lambda world: world.scheduler.destroy("t"), "task:destroyed"),
        (lambda world: world.scheduler.shutdown(0), "task:destroyed"),
    ],
    ids=["stop", "destroy", "shutdown"],
)
async def test_rest_is_missed_when_the_task_ends(world, end, last):
    """Each of them, before the end is reported."""
    world.script.run_seconds = 2
    await world.start(catch_up="all")
    await world.clock.advance(30)
    await suspend(world, 208)
    await world.clock.pass_until(end(world))
    assert runs(world)[0] == ("catch_up", 60)
    assert len(runs(world)) == 1
    assert world.slots("execution:missed") == [120, 180, 240]
    assert world.events.names()[-1] == last


async def test_rest_is_missed_when_the_task_fails(world):
    """Its workers keep dying."""
    world.script.dies = True
    await world.start(catch_up="all", max_restarts=1)
    await world.clock.advance(30)
    await suspend(world, 208)
    await world.clock.advance(30)
    assert world.events.of("task:failed")
    settled = {slot for _, slot in runs(world)} | set(world.slots("execution:missed"))
    assert settled == {60, 120, 180, 240}


async def test_pending_run_is_missed_when_the_task_stops(world):
    """It waits for a worker: unlike a slot that is due, it is not dropped silently."""
    await world.start(catch_up="latest")
    await world.clock.advance(30)
    world.script.load_seconds = 4
    world.worker.die(exit_code=1)
    await suspend(world, 100)
    world.script.load_seconds = None
    await world.scheduler.stop("t", force=True)
    settled = [slot for _, slot in runs(world)] + world.slots("execution:missed")
    assert sorted(settled) == [60, 120]


async def test_another_schedule_owes_nothing(world):
    """What the schedule before has left is missed."""
    world.script.run_seconds = 2
    await world.start(catch_up="all")
    await world.clock.advance(30)
    await suspend(world, 208)
    world.scheduler.reschedule("t", Every(600))
    assert world.slots("execution:missed") == [120, 180, 240]
    await world.clock.advance(10)
    assert runs(world) == [("catch_up", 60)]


async def test_runs_that_catch_up_count_towards_the_limit(world):
    """What is left when the limit is reached is missed."""
    await world.start(catch_up="all", max_executions=2)
    await world.clock.advance(30)
    await suspend(world, 208)
    assert runs(world) == [("catch_up", 60), ("catch_up", 120)]
    assert world.slots("execution:missed") == [180, 240]
    assert world.status() == "destroyed"


async def test_slot_that_leaves_the_window_before_its_turn_is_missed(world):
    """The window is judged again when the turn comes (C2)."""
    world.script.run_seconds = 100
    await world.start(catch_up=CatchUp("all", window=200))
    await world.clock.advance(30)
    await suspend(world, 160)
    await world.clock.advance(250)
    assert runs(world, "catch_up")[:2] == [("catch_up", 60), ("catch_up", 120)]
    assert 180 in world.slots("execution:missed")


async def test_newer_gap_supersedes_what_waits(world):
    """With "latest", one run catches up on two gaps of which the first still waits."""
    world.script.run_seconds = 1000
    await world.start(catch_up="latest", no_overlap=True)
    await world.clock.advance(60)  # a run that goes on for long
    await suspend(world, 150)
    await suspend(world, 150)
    await world.clock.advance(1000)
    caught = runs(world, "catch_up")
    assert caught[0] == ("catch_up", 360)
    missed = world.slots("execution:missed")
    assert missed == sorted(missed) == [120, 180, 240, 300]


@pytest.mark.parametrize(
    ("catch_up", "ran", "missed"),
    [
        ("none", [], [60]),
        ("latest", [("catch_up", 60)], []),
        ("all", [("catch_up", 60)], []),
    ],
)
async def test_slot_without_a_worker_in_time_is_caught_up_on(
    world, catch_up, ran, missed
):
    """A worker that takes long to replace is a gap, too."""
    await world.start(catch_up=catch_up)
    await world.clock.advance(59.5)
    world.script.load_seconds = 4
    world.worker.die(exit_code=1)
    await world.clock.advance(10)
    assert runs(world) == ran
    assert world.slots("execution:missed") == missed


@pytest.mark.parametrize(
    ("catch_up", "ran", "missed"),
    [
        ("none", [], [60, 120, 180]),
        ("latest", [("catch_up", 180)], [60, 120]),
        ("all", [("catch_up", 60), ("catch_up", 120), ("catch_up", 180)], []),
    ],
)
async def test_delayed_run_that_slept_is_judged_again(world, catch_up, ran, missed):
    """Its slot belongs to the gap; nothing that catches up is delayed again (C2)."""
    await world.start(catch_up=catch_up, jitter=40)
    await world.clock.advance(65)  # half of it is left
    await suspend(world, 118)
    await world.clock.advance(5)
    assert sorted(runs(world)) == ran
    assert sorted(world.slots("execution:missed")) == missed


async def test_future_slots_are_forgotten_when_the_clock_was_wrong(world):
    """They are counted anew from the new time, and are not reported twice (C3)."""
    world.script.run_seconds = 2
    await world.start(catch_up="all")
    await world.clock.advance(30)
    await suspend(world, 4 * 3600)
    world.clock.step(-4 * 3600)
    await world.clock.advance(5)
    before = len(runs(world))
    await world.clock.advance(70)
    caught = runs(world, "catch_up")
    assert len(caught) == before
    assert runs(world, "scheduled")[0] == ("scheduled", 60)
    missed = world.events.of("execution:missed")
    told = {n.date for n in missed if n.missed_count == 1}
    assert told & {n.date for n in world.events.of("execution:started")} == set()


class Elector:
    """Refuses some slots, after a second."""

    def __init__(self, clock, refused):
        self.clock = clock
        self.refused = refused
        self.asked = []

    async def should_run(self, _task_id, key, lease):
        """Answer."""
        self.asked.append((key, lease))
        await sleep(self.clock, 1)
        return key not in self.refused

    async def on_complete(self, _task_id, _key):
        """Do nothing."""


async def test_each_slot_is_elected_by_its_own_key(world):
    """The queue goes on after a refusal; a claim lasts as long as the window."""
    keys = [f"t:1970-01-01T01:0{minute}:00+00:00" for minute in (1, 2, 3)]
    world.elector = Elector(world.clock, keys[1:2])
    await world.start(
        distributed=True, distributed_lease=30, catch_up=CatchUp("all", window=3600)
    )
    await world.clock.advance(30)
    await suspend(world, 155)
    await world.clock.advance(5)
    assert world.elector.asked == [(key, 3629) for key in keys]
    assert runs(world) == [("catch_up", 60), ("catch_up", 180)]
    assert world.slots("execution:skipped") == [120]


async def test_run_that_fails_does_not_end_the_queue(world):
    """Each slot is run once, whatever comes of it."""
    world.script.error = ValueError("no")
    await world.start(catch_up="all")
    await world.clock.advance(30)
    await suspend(world, 208)
    assert len(world.events.of("execution:failed")) == 4


async def test_worker_that_stands_by_is_withdrawn_for_a_run_that_catches_up(world):
    """Shortly before the next slot: both run, each once."""
    world.script.stands_by = True
    await world.start(catch_up="latest")
    await world.clock.advance(119.96)
    world.clock.step(60)
    await world.clock.advance(65)
    slots = [slot for _, slot in runs(world)] + world.slots("execution:missed")
    assert sorted(slots) == [60, 120, 180, 240]


async def test_inline_tasks_catch_up_as_well(world):
    """A worker that may run several at once runs them one after another, too."""
    world.share_workers()
    world.script.run_seconds = 2
    await world.start(catch_up="all")
    await world.clock.advance(30)
    await suspend(world, 148)
    await world.clock.advance(4)
    began = [at for at, event in world.told() if event == "execution:started"]
    assert began == [183, 185, 187]


@pytest.mark.parametrize(
    ("catch_up", "is_clean", "ran", "missed"),
    [
        ("none", False, [], [60, 120, 180, 240]),
        ("none", True, [], []),
        ("latest", False, [("catch_up", 240)], [60, 120, 180]),
        ("latest", True, [("catch_up", 240)], [60, 120, 180]),
        ("all", False, [("catch_up", s) for s in (60, 120, 180, 240)], []),
        ("all", True, [("catch_up", s) for s in (60, 120, 180, 240)], []),
    ],
)
async def test_earlier_life_leaves_slots(world, catch_up, is_clean, ran, missed):
    """Owed to a task that catches up; else missed, after an unclean end only."""
    world.add(catch_up=catch_up)
    await world.clock.advance(290)
    outage = Outage(since=3600, until=3600 + 30, is_clean=is_clean)
    await world.scheduler.start("t", outage=outage)
    await world.clock.advance(5)
    assert world.events.names()[0] == "task:started"
    assert runs(world) == ran
    assert world.slots("execution:missed") == missed
    await world.clock.advance(10)
    assert runs(world) == [*ran, ("scheduled", 300)]


async def test_slot_that_may_have_run_is_not_run_again(world):
    """Its scheduler was lost right after it; it is missed, those before it are owed."""
    world.add(catch_up="all")
    await world.clock.advance(290)
    outage = Outage(since=3600, until=3600 + 180.3)
    await world.scheduler.start("t", outage=outage)
    await world.clock.advance(5)
    assert runs(world) == [("catch_up", slot) for slot in (60, 120, 240)]
    assert world.slots("execution:missed") == [180]


async def test_slots_settled_in_between_are_not_caught_up_on(world):
    """Of a queue that its scheduler did not survive, the rest is run."""
    world.add(catch_up="all")
    await world.clock.advance(400)
    outage = Outage(since=3660, until=3990, settled=((3779, 3840), (3899, 3900)))
    await world.scheduler.start("t", outage=outage)
    await world.clock.advance(5)
    assert runs(world) == [("catch_up", slot) for slot in (120, 360)]


async def test_receiver_may_stop_the_task_when_a_slot_is_missed(world):
    """What is owed is then missed, and nothing runs."""
    await world.start(catch_up="latest")

    def receive(notice):
        events(notice)
        if notice.event == "execution:missed" and not stops:
            stops.append(asyncio.ensure_future(world.scheduler.stop("t")))
            world.scheduler._lifecycles["t"]._begin_stop()

    events, stops = world.events, []
    object.__setattr__(world.scheduler._services, "emit", receive)
    await world.clock.advance(30)
    await suspend(world, 208)
    assert runs(world) == []
    assert sorted(world.slots("execution:missed")) == [60, 120, 180, 240]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: CatchUp("newest"),
            "mode: got 'newest', expected 'none', 'latest' or 'all'.",
        ),
        (
            lambda: CatchUp("all", window=0),
            "window: got 0, expected seconds > 0 (int, float or timedelta).",
        ),
        (
            lambda: CatchUp("all", limit=0),
            "limit: got 0, expected a whole number from 1 to 10000.",
        ),
        (
            lambda: CatchUp("all", limit=10_001),
            "limit: got 10001, expected a whole number from 1 to 10000.",
        ),
    ],
)
def test_wrong_knob_is_refused(make, text):
    """The error names what was wrong and what is expected."""
    with pytest.raises(InvalidOption) as caught:
        make()
    assert str(caught.value) == text


def test_claim_outlasts_the_window():
    """An instance that slept for hours must find that its slot has been run."""
    policy = Policy(distributed=True, catch_up=CatchUp("latest", window=7200))
    assert policy.claim_lease >= 7200 + policy.distributed_lease - 1


async def test_each_run_has_its_own_worker_where_workers_serve_one(world):
    """A script's worker ends with its run; the queue goes on with the next one."""
    world.script.is_single_use = True
    world.script.run_seconds, world.script.load_seconds = 2, 1
    world.add(catch_up="all")
    await world.clock.pass_until(world.scheduler.start("t"))
    await world.clock.advance(30)
    await suspend(world, 208)
    await world.clock.advance(20)
    assert runs(world) == [("catch_up", slot) for slot in (60, 120, 180, 240)]
    finished = world.events.of("execution:finished")
    assert len({n.execution.pid for n in finished}) == 4
