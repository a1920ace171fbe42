"""The random delay before a run (R4). The world's random source returns half of it."""

import asyncio

import pytest

from ipycron.errors import OverlapError


async def test_run_starts_after_its_delay(world):
    """The started event is emitted when the code starts, not at the slot."""
    await world.start(jitter=20)
    await world.clock.advance(69)
    assert world.events.names() == ["task:started"]
    assert world.status() == "idle"
    await world.clock.advance(1)
    assert world.told()[1] == (70, "execution:started")
    assert world.slots("execution:started") == [60]


async def test_slot_overlaps_when_the_one_before_is_delayed(world):
    """A run in its random delay is a pending run."""
    await world.start(jitter=150, no_overlap=True)
    await world.clock.advance(135)
    assert world.told()[1:] == [
        (120, "execution:overlap"),
        (135, "execution:started"),
        (135, "execution:finished"),
    ]


async def test_manual_run_is_refused_when_no_overlap_and_a_run_is_delayed(world):
    """A pending run may begin at any moment, so it counts."""
    await world.start(jitter=20, no_overlap=True)
    await world.clock.advance(65)
    with pytest.raises(OverlapError):
        await world.scheduler.execute("t")


async def test_manual_run_is_not_delayed(world):
    """A manual run starts at once."""
    await world.start(jitter=20)
    assert (await world.scheduler.execute("t")).is_ok


async def test_delayed_run_is_dropped_when_the_task_stops(world):
    """A stop does not wait for a delay, and emits nothing (defect 9)."""
    await world.start(jitter=20)
    await world.clock.advance(65)
    await world.scheduler.stop("t")
    assert world.told()[1:] == [(65, "task:stopped")]
    await world.clock.advance(60)
    assert world.told()[1:] == [(65, "task:stopped")]


async def test_delayed_runs_are_within_the_limit(world):
    """Pending runs count for max_executions before they start (defect 8)."""
    await world.start(jitter=250, max_executions=1)
    await world.clock.advance(400)
    assert world.slots("execution:started") == [60]
    assert world.slots("execution:overlap") == [120, 180]
    assert world.status() == "destroyed"


async def test_delayed_run_waits_when_the_worker_has_died(world):
    """The tolerance counts from the moment the run needs a worker."""
    await world.start(jitter=20)
    await world.clock.advance(69.95)
    world.worker.die(exit_code=1)
    await world.clock.advance(1)
    assert world.events.names()[1:3] == ["task:restarted", "execution:started"]
    assert world.events.notices[1].triggered_at == pytest.approx(3670.05)


async def test_shutdown_does_not_wait_for_a_delayed_run(world):
    """A task in its random delay is not busy (defect 9)."""
    await world.start(jitter=20)
    await world.clock.advance(65)
    down = asyncio.ensure_future(world.scheduler.shutdown(100))
    await world.clock.advance()
    assert down.done()
