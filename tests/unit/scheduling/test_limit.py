"""The limit of scheduled runs (R5)."""

import asyncio

END = ["execution:max_reached", "task:stopped", "task:destroyed"]


async def test_task_is_destroyed_when_the_limit_is_reached(world):
    """After the last run, the limit is reported once and the task destroyed."""
    await world.start(max_executions=2)
    assert world.scheduler.get_runs_left("t") == 2
    await world.clock.advance(600)
    assert world.events.names()[1:] == [
        "execution:started",
        "execution:finished",
        "execution:started",
        "execution:finished",
        *END,
    ]
    left = [notice.runs_left for notice in world.events.notices]
    assert left == [2, 1, 1, 0, 0, 0, 0, 0]
    assert world.status() == "destroyed"


async def test_failed_runs_count(world):
    """A task that always fails ends at its limit (defect 8)."""
    world.script.error = ValueError()
    await world.start(max_executions=2)
    await world.clock.advance(600)
    assert world.slots("execution:failed") == [60, 120]
    assert world.events.names()[-3:] == END


async def test_overlapping_runs_never_exceed_the_limit(world):
    """A slow task with a limit of one runs only once (defect 8)."""
    world.script.run_seconds = 200
    await world.start(max_executions=1)
    await world.clock.advance(600)
    assert world.slots("execution:started") == [60]
    assert world.events.names()[1:] == ["execution:started", "execution:finished", *END]
    assert world.told()[-1] == (260, "task:destroyed")


async def test_limit_is_reported_when_the_last_of_several_overlapping_runs_ends(world):
    """The task ends once none of its runs is left, whichever ends first."""
    world.script.run_seconds = None
    await world.start(max_executions=2)
    await world.clock.advance(120)
    first, second = world.launcher.alive
    second.finish()
    await world.clock.advance(1)
    assert "execution:max_reached" not in world.events.names()
    assert world.status() == "running"
    first.finish()
    await world.clock.advance()
    assert world.events.names()[-4:] == ["execution:finished", *END]


async def test_manual_run_goes_on_when_the_limit_is_reached(world):
    """The task waits for its manual runs, too."""
    world.script.run_seconds = 30
    await world.start(max_executions=1)
    await world.clock.advance(80)
    call = asyncio.ensure_future(world.scheduler.execute("t"))
    await world.clock.advance(10)
    assert "execution:max_reached" not in world.events.names()
    await world.clock.advance(20)
    assert call.result().is_ok
    assert world.events.names()[-3:] == END


async def test_limit_survives_a_stop_and_a_start(world):
    """The count belongs to the task, not to the start."""
    await world.start(max_executions=2)
    await world.clock.advance(60)
    await world.scheduler.stop("t")
    await world.scheduler.start("t")
    await world.clock.advance(600)
    assert world.slots("execution:started") == [60, 120]
    assert world.events.names()[-3:] == END


async def test_task_is_destroyed_when_it_is_stopped_in_its_last_run(world):
    """Stopping a task that has no runs left destroys it."""
    world.script.run_seconds = None
    await world.start(max_executions=1)
    await world.clock.advance(60)
    stop = asyncio.ensure_future(world.scheduler.stop("t"))
    start = asyncio.ensure_future(world.scheduler.start("t"))
    await world.clock.advance(5)
    assert stop.done()
    assert start.exception() is not None
    assert world.events.names()[-4:] == ["execution:failed", *END]


async def test_restart_arms_nothing_when_a_manual_run_waits_and_no_run_is_left(world):
    """A manual run may follow the limit after a restart; no slot does."""
    world.script.run_seconds = None
    await world.start(max_executions=1)
    await world.clock.advance(60)
    stop = asyncio.ensure_future(world.scheduler.stop("t"))
    start = asyncio.ensure_future(world.scheduler.start("t"))
    await world.clock.advance()
    call = asyncio.ensure_future(world.scheduler.execute("t"))
    await world.clock.advance(200)
    assert stop.done()
    assert start.done()
    assert world.slots("execution:started") == [60, 60]
    world.worker.finish()
    await world.clock.advance()
    assert call.result().is_ok
    assert world.events.names()[-3:] == END


async def test_limit_counts_a_crash_and_ends_the_task_without_a_restart(world):
    """A last run that kills its worker is still the last run."""
    world.script.dies = True
    await world.start(max_executions=1)
    await world.clock.advance(600)
    assert world.events.names()[2:] == ["execution:failed", *END]
    assert len(world.launcher.workers) == 1
