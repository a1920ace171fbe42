"""Runs for slots of the past: beside the schedule, as calls are (C5)."""

import pytest

from ipycron.errors import OverlapError, TaskNotStarted

HOUR = 3600


async def test_run_has_the_slot_as_its_date_and_settles_nothing(world):
    """The schedule does not notice it."""
    await world.start(max_executions=1)
    world.scheduler.execute_nowait("t", slot=HOUR - 120)
    await world.clock.advance(60)
    runs = [notice.execution for notice in world.events.of("execution:started")]
    assert [(run.date - HOUR, run.reason) for run in runs] == [
        (-120, "backfill"),
        (60, "scheduled"),
    ]
    assert world.events.names()[-1] == "task:destroyed"


async def test_run_is_neither_late_nor_elected_nor_delayed(world):
    """It was asked for, as a call is."""
    await world.start(jitter=20, distributed=True, tolerance=0)
    world.scheduler.execute_nowait("t", slot=0)
    await world.clock.advance()
    assert world.slots("execution:finished") == [-HOUR]


async def test_run_overlaps_as_a_call_does(world):
    """It is refused where no run may overlap, for the client to ask again."""
    world.script.run_seconds = 5
    await world.start(no_overlap=True)
    world.scheduler.execute_nowait("t")
    with pytest.raises(OverlapError):
        world.scheduler.execute_nowait("t", slot=0)
    await world.clock.advance(5)
    world.scheduler.execute_nowait("t", slot=0)
    await world.clock.advance(5)
    assert world.slots("execution:finished") == [0, -HOUR]


async def test_slot_that_comes_during_the_run_is_an_overlap(world):
    """As during any run."""
    world.script.run_seconds = 20
    await world.start(no_overlap=True)
    await world.clock.advance(50)
    world.scheduler.execute_nowait("t", slot=0)
    await world.clock.advance(20)
    assert world.slots("execution:overlap") == [60]


async def test_run_of_a_paused_task_runs_and_one_that_waits_is_not_skipped(world):
    """A pause is the schedule's; the client ends a backfill, run by run."""
    world.script.load_seconds = 3
    await world.clock.pass_until(world.start())
    world.script.run_seconds = 5
    world.scheduler.execute_nowait("t")
    world.scheduler.execute_nowait("t", slot=0)  # loads a worker of its own
    world.scheduler.pause("t")
    await world.clock.advance(10)
    assert len(world.events.of("execution:finished")) == 2
    assert world.events.of("execution:skipped") == []


async def test_run_of_a_stopped_task_is_refused(world):
    """As a call is."""
    world.add()
    with pytest.raises(TaskNotStarted):
        world.scheduler.execute_nowait("t", slot=0)
