"""Tasks whose triggers end, or wait for the end of a run (T1).

The world stands at the hour, 3600 s after 1970 began.
"""

from datetime import UTC, datetime

import pytest

from ipycron import at, every
from ipycron.scheduling.plan import Outage

START = 3600


def instants(*seconds):
    """Return the trigger of instants in seconds since the hour."""
    return at(*(datetime.fromtimestamp(START + s, UTC) for s in seconds))


def after_finish(seconds, start=START):
    """Return an interval between runs, begun at the hour."""
    return every(seconds, after_finish=True).begin(start)


async def test_task_ends_after_its_last_instant(world):
    """As after `end`: with its last run, without a further event."""
    world.script.run_seconds = 10
    await world.start(every=instants(60, 90))
    await world.clock.advance(95)
    assert world.status() == "running"
    await world.clock.advance(10)
    assert world.slots("execution:started") == [60, 90]
    assert world.events.names()[-2:] == ["task:stopped", "task:destroyed"]


async def test_task_whose_last_instant_is_missed_ends_all_the_same(world):
    """After a suspend, with a row for each."""
    await world.start(every=instants(60, 90))
    world.clock.step(600)
    await world.clock.advance(10)
    assert world.slots("execution:missed") == [60, 90]
    assert world.events.names()[-1] == "task:destroyed"


async def test_task_catches_up_on_its_last_instant_before_it_ends(world):
    """What is owed is run first."""
    await world.start(every=instants(60), catch_up="latest")
    world.clock.step(600)
    await world.clock.advance(10)
    assert world.slots("execution:started") == [60]
    assert world.events.names()[-1] == "task:destroyed"


async def test_next_slot_counts_from_the_end_of_the_run(world):
    """Runs of 25 s, a minute apart: no drift, no overlap."""
    world.script.run_seconds = 25
    await world.start(every=after_finish(60))
    await world.clock.advance(300)
    assert world.slots("execution:started") == [60, 145, 230]
    assert "execution:overlap" not in world.events.names()


async def test_next_slot_counts_from_a_failure_too(world):
    """However the run ends."""
    world.script.error = ValueError("no")
    world.script.run_seconds = 5
    await world.start(every=after_finish(60))
    await world.clock.advance(140)
    assert world.slots("execution:failed") == [60, 125]


async def test_next_slot_is_unknown_while_the_run_is_in_progress(world):
    """A run for ever has no successor."""
    world.script.run_seconds = None
    await world.start(every=after_finish(60))
    await world.clock.advance(6000)
    assert world.slots("execution:started") == [60]
    assert world.slots("execution:missed") == []
    world.worker.finish(world.worker.runs[0].id)
    await world.clock.advance(61)
    assert world.slots("execution:started") == [60, 6060]


async def test_missed_slot_is_one_however_long_the_gap(world):
    """The next one is counted from when that was noticed."""
    await world.start(every=after_finish(60))
    world.clock.step(1000)
    await world.clock.advance(10)
    (missed,) = world.events.of("execution:missed")
    noticed = missed.triggered_at - START
    assert (missed.date - START, missed.missed_count) == (60, 1)
    await world.clock.advance(70)
    (slot,) = world.slots("execution:started")
    assert noticed + 60 <= slot < noticed + 61


async def test_paused_slot_counts_as_a_run_that_took_no_time(world):
    """A pause does not end the counting."""
    await world.start(every=after_finish(60))
    world.scheduler.pause("t")
    await world.clock.advance(130)
    world.scheduler.resume("t")
    await world.clock.advance(60)
    assert world.slots("execution:skipped") == [60, 120]
    assert world.slots("execution:started") == [180]


async def test_call_does_not_move_the_next_slot(world):
    """It is a run beside the schedule."""
    world.script.run_seconds = 30
    await world.start(every=after_finish(60))
    await world.clock.advance(10)
    world.scheduler.execute_nowait("t")
    await world.clock.advance(60)
    assert world.slots("execution:started") == [10, 60]


async def test_slot_that_overlaps_a_call_counts_as_over(world):
    """With no_overlap it is skipped, and the next one counts from there."""
    world.script.run_seconds = 30
    await world.start(every=after_finish(60), no_overlap=True)
    await world.clock.advance(50)
    world.scheduler.execute_nowait("t")
    await world.clock.advance(75)
    assert world.slots("execution:overlap") == [60]
    assert world.slots("execution:started") == [50, 120]


async def test_start_counts_anew(world):
    """Nothing is owed from before a stop."""
    await world.start(every=after_finish(60))
    await world.clock.advance(30)
    await world.scheduler.stop("t")
    await world.clock.advance(300)
    await world.scheduler.start("t")
    await world.clock.advance(70)
    assert world.slots("execution:started") == [390]
    assert world.slots("execution:missed") == []


async def test_limit_ends_it(world):
    """`max_executions` counts as ever."""
    await world.start(every=after_finish(60), max_executions=2)
    await world.clock.advance(300)
    assert world.slots("execution:started") == [60, 120]
    assert world.events.names()[-1] == "task:destroyed"


async def test_bounds_hold(world):
    """The start counts like the end of a run; after the end nothing runs."""
    first = datetime.fromtimestamp(START + 100, UTC)
    last = datetime.fromtimestamp(START + 250, UTC)
    world.script.run_seconds = 5
    await world.start(every=after_finish(60), start=first, end=last)
    await world.clock.advance(400)
    assert world.slots("execution:started") == [160, 225]
    assert world.events.names()[-1] == "task:destroyed"


async def test_clock_set_back_counts_from_the_new_time(world):
    """Five hours back must not mean five hours without a run."""
    world.clock.step(6 * 3600)
    await world.start(every=after_finish(60, START + 6 * 3600))
    await world.clock.advance(30)
    world.clock.step(-5 * 3600)
    await world.clock.advance(75)
    assert len(world.slots("execution:started")) == 1


@pytest.mark.parametrize("seconds", [30, 90])
async def test_outage_owes_at_most_one_slot(world, seconds):
    """A supervisor that was lost: the anchor travels with the task."""
    world.add(every=after_finish(60))
    world.clock.step(seconds)
    outage = Outage(since=START, until=START + seconds)
    await world.scheduler.start("t", outage=outage)
    await world.clock.advance(65)
    missed = [60] if seconds > 60 else []
    assert world.slots("execution:missed") == missed
    assert world.slots("execution:started") == [60 if seconds < 60 else seconds + 60]


async def test_another_schedule_takes_over(world):
    """From an interval between runs to a grid, and back."""
    await world.start(every=after_finish(60))
    await world.clock.advance(30)
    world.scheduler.reschedule("t", every("40s").begin(START))
    await world.clock.advance(60)
    assert world.slots("execution:started") == [40, 80]
    world.scheduler.reschedule("t", after_finish(50, START + 90))
    await world.clock.advance(60)
    assert world.slots("execution:started") == [40, 80, 140]
