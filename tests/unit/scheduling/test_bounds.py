"""Schedules with a first and a last instant (C6).

The world stands at the hour and is due at every minute.
"""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipycron.scheduling.bounds import Bounded, bound
from ipycron.scheduling.plan import Outage
from ipycron.scheduling.policy import Policy
from ipycron.testing import Every

HOUR = datetime(1970, 1, 1, 1, tzinfo=UTC)


def at(seconds):
    """Return an instant in seconds since the hour."""
    return HOUR + timedelta(seconds=seconds)


instants = st.integers(0, 500)


@given(
    st.integers(1, 90), instants | st.none(), instants | st.none(), st.floats(0, 500)
)
def test_bounded_schedule_has_the_slots_in_between(every, first, last, after):
    """Both bounds are included."""
    slots = range(every, 2000, every)
    found = Bounded(Every(every), first, last).find_next(after)
    expected = [
        slot
        for slot in slots
        if slot > after
        and (first is None or slot >= first)
        and (last is None or slot <= last)
    ]
    assert found == next(iter(expected), None)


def test_bounds_between_two_seconds_are_those_of_the_slots_within():
    """Slots are whole seconds."""
    policy = Policy(start=at(60.5), end=at(179.5))
    bounded = bound(Every(1), policy)
    assert (bounded.first, bounded.last) == (3661, 3779)


async def test_slots_within_the_bounds_run_and_the_task_is_destroyed(world):
    """First and last slot included; the end has no event of its own."""
    await world.start(start=at(120), end=at(240))
    await world.clock.advance(230)
    assert world.status() == "idle"
    await world.clock.advance(10)
    assert world.slots("execution:started") == [120, 180, 240]
    assert world.events.names()[-2:] == ["task:stopped", "task:destroyed"]
    assert "execution:max_reached" not in world.events.names()
    assert world.status() == "destroyed"


async def test_task_lives_until_its_last_run_is_over(world):
    """Also a manual one, which may be called until then."""
    world.script.run_seconds = 30
    await world.start(end=at(60))
    await world.clock.advance(80)
    assert world.status() == "running"
    world.scheduler.execute_nowait("t")
    await world.clock.advance(15)
    assert world.status() == "running"
    await world.clock.advance(20)
    assert world.status() == "destroyed"


@pytest.mark.parametrize("no_overlap", [True, False])
async def test_task_ends_when_its_last_slot_is_skipped(world, no_overlap):
    """Because the run before it is not over."""
    world.script.run_seconds = 100
    await world.start(end=at(120), no_overlap=no_overlap)
    await world.clock.advance(150)
    assert world.status() == "running"
    await world.clock.advance(100)
    assert world.status() == "destroyed"
    assert world.slots("execution:overlap") == [120]


async def test_task_ends_when_its_last_slots_were_missed(world):
    """The machine was suspended past the end."""
    await world.start(end=at(120))
    world.clock.step(3000)
    await world.clock.advance(5)
    assert world.slots("execution:missed") == [60, 120]
    assert world.status() == "destroyed"


async def test_last_slots_are_caught_up_on_before_the_end(world):
    """The task lives until its backlog is empty."""
    world.script.run_seconds = 10
    await world.start(end=at(180), catch_up="all")
    world.clock.step(3000)
    await world.clock.advance(25)
    assert world.status() == "running"
    await world.clock.advance(15)
    assert world.slots("execution:started") == [60, 120, 180]
    assert world.status() == "destroyed"


async def test_task_ends_in_its_pause(world):
    """Its last slot was skipped."""
    await world.start(end=at(120))
    world.scheduler.pause("t")
    await world.clock.advance(125)
    assert world.slots("execution:skipped") == [60, 120]
    assert world.status() == "destroyed"


async def test_task_ends_when_its_last_slot_is_run_by_another_instance(world):
    """An election that is lost settles the slot, too."""

    class Elector:
        async def should_run(self, *_):
            return False

    world.elector = Elector()
    await world.start(end=at(60), distributed=True)
    await world.clock.advance(61)
    assert world.slots("execution:skipped") == [60]
    assert world.status() == "destroyed"


async def test_task_ends_when_its_last_slot_gets_no_worker(world):
    """It waits in vain, and is missed."""
    await world.start(end=at(60))
    await world.clock.advance(59)
    world.script.load_seconds = 4
    world.worker.die(exit_code=1)
    await world.clock.advance(10)
    assert world.slots("execution:missed") == [60]
    assert world.status() == "destroyed"


@pytest.mark.parametrize("is_shared", [True, False])
async def test_task_that_is_started_after_its_end_is_destroyed(world, is_shared):
    """The start itself succeeds."""
    if is_shared:
        world.share_workers()
    world.add(end=at(60))
    await world.clock.advance(100)
    if not (is_shared and world.scheduler.start_at_once("t")):
        await world.scheduler.start("t")
    await world.clock.advance(1)
    expected = ["task:started", "task:stopped", "task:destroyed"]
    assert world.events.names() == expected


async def test_stopped_task_is_kept_past_its_end(world):
    """A stop is not an end; nothing runs then."""
    await world.start(end=at(120))
    await world.scheduler.stop("t")
    await world.clock.advance(300)
    assert world.status() == "stopped"
    assert world.slots("execution:started") == []


async def test_bounds_hold_for_another_schedule(world):
    """The task keeps its options; a schedule without a slot left ends it."""
    await world.start(start=at(50), end=at(120))
    world.scheduler.reschedule("t", Every(40))
    await world.clock.advance(81)
    assert world.slots("execution:started") == [80]
    world.scheduler.reschedule("t", Every(7000))
    await world.clock.advance(1)
    assert world.status() == "destroyed"


async def test_outage_owes_nothing_outside_the_bounds(world):
    """Neither before the start nor after the end."""
    world.add(start=at(120), end=at(240), catch_up="all")
    await world.clock.advance(900)
    await world.scheduler.start("t", outage=Outage(since=3600, until=3900))
    await world.clock.advance(5)
    assert world.slots("execution:started") == [120, 180, 240]
    assert world.status() == "destroyed"


async def test_limit_and_end_in_the_same_slot_end_the_task_once(world):
    """The limit has its event."""
    await world.start(end=at(60), max_executions=1)
    await world.clock.advance(70)
    names = world.events.names()
    assert names.count("execution:max_reached") == 1
    assert names.count("task:destroyed") == 1


async def test_clock_that_is_set_back_puts_the_end_off(world):
    """While a run still keeps the task."""
    world.script.run_seconds = 50
    world.clock.step(86_400)
    await world.start(end=at(86_400 + 60))
    await world.clock.advance(70)
    world.clock.step(-86_400)
    await world.start("other")
    await world.clock.advance(130)
    assert world.status() == "running"
