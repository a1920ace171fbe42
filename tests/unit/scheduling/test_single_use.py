"""Workers that exit after their first run, like those of scripts."""

import asyncio

import pytest

from ipycron.errors import OverlapError
from ipycron.testing.schedule import Every


@pytest.fixture
def world(world):
    """A world in which each run needs its own worker."""
    world.script.is_single_use = True
    return world


def count_runs(world):
    """Return how many runs each worker has had."""
    return [len(worker.runs) for worker in world.launcher.workers]


async def test_next_worker_is_loaded_when_a_run_has_ended(world):
    """It is ready before the next slot, without an event."""
    await world.start()
    await world.clock.advance(60)
    assert count_runs(world) == [1, 0]
    assert len(world.launcher.alive) == 1
    await world.clock.advance(120)
    assert count_runs(world) == [1, 1, 1, 0]
    assert world.events.names().count("execution:finished") == 3
    assert "task:restarted" not in world.events.names()


async def test_next_worker_stands_by(world):
    """Each run begins by its own worker's clock."""
    world.script.stands_by = True
    await world.start()
    await world.clock.advance(180)
    assert [worker.begun for worker in world.launcher.workers] == [
        *(["r1"], ["r2"], ["r3"]),
        [],
    ]


async def test_call_waits_for_the_next_worker(world):
    """Two consecutive calls use two workers; neither is lost."""
    await world.start()
    for _ in range(2):
        call = asyncio.ensure_future(world.scheduler.execute("t"))
        await world.clock.advance(1)
        assert call.result().is_ok
    world.script.load_seconds = 2.0
    await world.scheduler.execute("t")
    call = asyncio.ensure_future(world.scheduler.execute("t"))
    await world.clock.advance(1)
    assert not call.done()
    await world.clock.advance(1)
    assert call.result().is_ok
    assert count_runs(world) == [1, 1, 1, 1]


async def test_runs_overlap_as_they_always_do(world):
    """A slot during a run gets its own worker, or is skipped."""
    world.script.run_seconds = 90
    await world.start(no_overlap=True)
    await world.clock.advance(60)
    with pytest.raises(OverlapError):
        await world.scheduler.execute("t")
    await world.clock.advance(100)
    assert world.slots("execution:overlap") == [120]
    assert world.slots("execution:finished") == [60]
    assert len(world.launcher.alive) == 1


async def test_file_that_cannot_be_loaded_fails_the_runs_and_not_the_task(world):
    """A file may be half written at one run; the task recovers by itself."""
    await world.start(max_restarts=0)
    world.script.load_error = SyntaxError("half")
    await world.clock.advance(60 * 3)
    assert world.slots("execution:finished") == [60]
    assert world.slots("execution:failed") == [120, 180]
    assert world.status() == "idle"
    world.script.load_error = None
    world.script.stands_by = True
    await world.clock.advance(60 * 2)
    assert world.slots("execution:finished") == [60, 240, 300]
    assert world.launcher.workers[-2].begun, "it stands by again"
    assert "task:restarted" not in world.events.names()


async def test_death_in_a_run_is_a_death(world):
    """Backoff, a restart event, and failure after too many in a row."""
    world.script.dies = True
    await world.start(max_restarts=1)
    await world.clock.advance(61)
    assert world.events.names()[-2:] == ["execution:failed", "task:restarted"]
    await world.clock.advance(60)
    assert world.events.names()[-1] == "task:failed"
    assert world.launcher.alive == []


async def test_last_run_needs_no_further_worker(world):
    """`max_executions` ends the task; no worker is loaded in vain."""
    await world.start(max_executions=2)
    await world.clock.advance(180)
    assert count_runs(world) == [1, 1]
    assert world.events.names()[-1] == "task:destroyed"


@pytest.mark.parametrize("seconds", [0.0, None])
async def test_stop_while_the_next_worker_is_loaded_leaves_nothing(world, seconds):
    """The load in progress is cancelled; a new start begins afresh."""
    await world.start()
    world.script.load_seconds = seconds
    await world.scheduler.execute("t")
    stop = asyncio.ensure_future(world.scheduler.stop("t"))
    await world.clock.advance(10)
    assert stop.done()
    assert world.launcher.alive == []
    assert world.launcher.loading == 0
    world.script.load_seconds = 0.0
    await world.scheduler.start("t")
    await world.clock.advance(60)
    assert world.events.names()[-1] == "execution:finished"


async def test_no_worker_is_held_for_a_slot_that_is_far_away(world):
    """The job is loaded at the start, to be checked, and again shortly before it."""
    await world.start(every=3600)
    assert len(world.launcher.workers) == 1
    await world.clock.advance(1)
    assert not world.launcher.alive
    await world.clock.advance(3580)
    assert not world.launcher.alive
    await world.clock.advance(10)
    assert len(world.launcher.alive) == 1
    await world.clock.advance(10)
    assert world.events.names().count("execution:finished") == 1
    await world.clock.advance(1)
    assert not world.launcher.alive
    await world.clock.advance(3600)
    assert world.events.names().count("execution:finished") == 2


async def test_worker_is_held_for_a_slot_that_is_near(world):
    """Loading it again and again would cost more than it saves."""
    await world.start(every=60)
    await world.clock.advance(1)
    assert len(world.launcher.workers) == 1
    assert len(world.launcher.alive) == 1


async def test_call_wakes_a_task_that_rests(world):
    """Its worker is loaded for the call; then there is none again."""
    await world.start(every=3600)
    await world.clock.advance(1)
    call = asyncio.ensure_future(world.scheduler.execute("t"))
    await world.clock.advance(1)
    assert call.result().is_ok
    await world.clock.advance(1)
    assert not world.launcher.alive


async def test_task_that_rests_follows_another_schedule(world):
    """A slot that is nearer now is run on time, one that is further away later."""
    await world.start(every=3600)
    await world.clock.advance(1)
    world.scheduler.reschedule("t", Every(30))
    await world.clock.advance(29)
    assert world.events.names().count("execution:finished") == 1
    world.scheduler.reschedule("t", Every(7200))
    await world.clock.advance(3569)
    assert world.events.names().count("execution:finished") == 1
    await world.clock.advance(1)
    assert world.events.names().count("execution:finished") == 2


async def test_task_that_rests_is_stopped_and_started(world):
    """Nothing of its rest is left."""
    await world.start(every=3600)
    await world.clock.advance(1)
    await world.scheduler.stop("t")
    await world.clock.advance(4000)
    assert len(world.launcher.workers) == 1
    await world.scheduler.start("t")
    await world.clock.advance(3600)
    assert world.events.names().count("execution:finished") == 1
