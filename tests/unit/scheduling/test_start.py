"""Starting a task (A6)."""

import asyncio

import pytest

from ipycron.errors import StartRevoked, StartTimeout, TaskExists, UnknownTask
from ipycron.scheduling.aio import sleep


async def test_start_loads_and_arms(world):
    """A start returns once the job is loaded, and emits one event."""
    world.script.load_seconds = 2
    world.add()
    start = asyncio.ensure_future(world.scheduler.start("t"))
    await world.clock.advance(1)
    assert not start.done()
    assert world.status() == "stopped"
    await world.clock.advance(1)
    assert start.done()
    assert world.status() == "idle"
    assert world.told() == [(2, "task:started")]


async def test_start_arms_the_first_slot_after_it_when_called_at_a_slot(world):
    """A slot at the very instant of the start is not due."""
    await world.start()
    await world.clock.advance(60)
    assert world.slots("execution:started") == [60]


async def test_start_is_shared_when_called_twice(world):
    """Concurrent starts load one worker and return together."""
    world.script.load_seconds = 1
    world.add()
    starts = [asyncio.ensure_future(world.scheduler.start("t")) for _ in range(3)]
    await world.clock.advance(1)
    assert [start.result() for start in starts] == [None] * 3
    assert len(world.launcher.workers) == 1


async def test_start_goes_on_when_one_of_its_callers_is_cancelled(world):
    """One caller giving up does not affect the others."""
    world.script.load_seconds = 1
    world.add()
    first = asyncio.ensure_future(world.scheduler.start("t"))
    second = asyncio.ensure_future(world.scheduler.start("t"))
    await world.clock.advance()
    first.cancel()
    await world.clock.advance(1)
    assert first.cancelled()
    assert second.result() is None
    assert world.status() == "idle"


async def test_start_does_nothing_when_the_task_is_started(world):
    """Starting a started task changes nothing and emits nothing."""
    await world.start()
    await world.scheduler.start("t")
    assert world.events.names() == ["task:started"]
    assert len(world.launcher.workers) == 1


async def test_start_does_nothing_when_the_task_is_destroyed(world):
    """A destroyed task stays destroyed (A9)."""
    await world.start()
    await world.scheduler.destroy("t")
    await world.scheduler.start("t")
    assert world.status() == "destroyed"


async def test_start_raises_the_load_error_as_it_came(world):
    """The load's original error is raised, and the task is stopped."""
    world.script.load_error = ZeroDivisionError("division by zero")
    world.add()
    with pytest.raises(ZeroDivisionError):
        await world.scheduler.start("t")
    assert world.status() == "stopped"
    assert world.events.names() == []


async def test_start_works_when_an_earlier_one_failed(world):
    """A failed start leaves the task as it was."""
    world.script.load_error = ZeroDivisionError()
    world.add()
    with pytest.raises(ZeroDivisionError):
        await world.scheduler.start("t")
    world.script.load_error = None
    await world.scheduler.start("t")
    assert world.status() == "idle"


async def test_start_times_out_when_the_load_hangs(world):
    """A load gets start_timeout seconds; then it is cancelled."""
    world.script.load_seconds = None
    world.add(start_timeout=7)
    start = asyncio.ensure_future(world.scheduler.start("t"))
    await world.clock.advance(6.9)
    assert world.launcher.loading == 1
    await world.clock.advance(0.1)
    with pytest.raises(StartTimeout, match="'t' was not loaded within 7 s"):
        start.result()
    assert world.launcher.loading == 0
    assert world.status() == "stopped"


async def test_start_fails_when_the_load_is_cancelled_from_inside(world):
    """A load cancelled from within does not look like a cancelled caller."""
    world.script.load_error = asyncio.CancelledError()
    world.add()
    with pytest.raises(RuntimeError, match="cancelled from inside"):
        await world.scheduler.start("t")
    assert world.status() == "stopped"


async def test_start_is_revoked_when_a_stop_comes(world):
    """A stop during a start ends both and leaves nothing behind."""
    world.script.load_seconds = 3
    world.add()
    start = asyncio.ensure_future(world.scheduler.start("t"))
    await world.clock.advance(1)
    await world.scheduler.stop("t")
    with pytest.raises(StartRevoked, match="it was stopped while it started"):
        start.result()
    assert world.status() == "stopped"
    assert world.launcher.workers == []
    assert world.events.names() == []


async def test_start_is_revoked_when_a_stop_comes_before_its_first_step(world):
    """A start whose task has not run yet fails like any other revoked one."""
    world.add()
    starting = asyncio.ensure_future(world.scheduler.start("t"))
    await asyncio.sleep(0)  # the caller has its turn, the start itself has not
    await world.scheduler.stop("t")
    with pytest.raises(StartRevoked, match="it was stopped while it started"):
        await starting
    assert world.status() == "stopped"


async def test_start_is_revoked_when_it_clears_up_after_a_failure(world):
    """A stop while a failed start cleans up counts as a stop."""

    async def launch(task_id, on_death):
        try:
            await asyncio.Event().wait()
        finally:
            await sleep(world.clock, 1)

    world.launcher.launch = launch
    world.add(start_timeout=1)
    start = asyncio.ensure_future(world.scheduler.start("t"))
    await world.clock.advance(1.5)
    assert not start.done()
    stop = asyncio.ensure_future(world.scheduler.stop("t"))
    await world.clock.advance(0.5)
    assert stop.done()
    with pytest.raises(StartRevoked):
        start.result()
    assert world.status() == "stopped"


async def test_start_is_revoked_when_a_destroy_comes(world):
    """A destroy during a start destroys the task."""
    world.script.load_seconds = 3
    world.add()
    start = asyncio.ensure_future(world.scheduler.start("t"))
    await world.clock.advance(1)
    await world.scheduler.destroy("t")
    with pytest.raises(StartRevoked):
        start.result()
    assert world.events.names() == ["task:destroyed"]


async def test_start_is_not_lost_when_it_follows_a_stop_at_once(world):
    """Start, stop, start without waiting is a start."""
    world.script.load_seconds = 1
    world.add()
    first = asyncio.ensure_future(world.scheduler.start("t"))
    await world.clock.advance()
    stop = asyncio.ensure_future(world.scheduler.stop("t"))
    second = asyncio.ensure_future(world.scheduler.start("t"))
    await world.clock.advance(1)
    with pytest.raises(StartRevoked):
        first.result()
    assert stop.result() is None
    assert second.result() is None
    assert world.status() == "idle"


async def test_start_fails_when_the_worker_dies_as_soon_as_it_is_loaded(world):
    """A worker that dies before its first run is a failed start."""
    world.add()
    launch = world.launcher.launch

    async def launch_and_die(task_id, on_death):
        worker = await launch(task_id, on_death)
        worker.die(exit_code=1)
        return worker

    world.launcher.launch = launch_and_die
    with pytest.raises(RuntimeError, match="the worker exited with code 1"):
        await world.scheduler.start("t")
    assert world.status() == "stopped"


async def test_add_refuses_an_id_that_is_taken(world):
    """Two tasks with one id could not be told apart."""
    world.add()
    with pytest.raises(TaskExists):
        world.add()


async def test_add_takes_an_id_that_was_destroyed(world):
    """A replaced task may reuse its id."""
    world.add()
    await world.scheduler.destroy("t")
    await world.start()
    assert world.status() == "idle"


async def test_calls_are_refused_when_the_task_is_unknown(world):
    """An id that was never added is an error."""
    for call in (world.scheduler.start, world.scheduler.stop, world.scheduler.destroy):
        with pytest.raises(UnknownTask, match="no task is called 'x'"):
            await call("x")


async def test_revoked_starts_are_forgotten(world):
    """A task that is started and stopped all day does not grow."""
    world.script.load_seconds = 2
    world.add()
    for _ in range(5):
        start = asyncio.ensure_future(world.scheduler.start("t"))
        await world.clock.advance(1)
        await world.clock.pass_until(world.scheduler.stop("t"))
        with pytest.raises(StartRevoked):
            await start
    assert world.scheduler._lifecycles["t"]._revoked == ()


async def test_start_at_once_needs_no_turn_of_the_loop(world):
    """If the job is already loaded, the task is started when the call returns."""
    world.share_workers()
    world.add()
    assert world.scheduler.start_at_once("t")
    assert world.status() == "idle"
    assert world.events.names() == ["task:started"]
    await world.clock.advance(60)
    assert world.slots("execution:started") == [60]


async def test_start_at_once_leaves_to_start_what_must_wait(world):
    """A job to be loaded, or a start, stop or destroy in progress."""
    world.add()
    assert not world.scheduler.start_at_once("t")
    assert world.launcher.workers == []
    world.share_workers()
    world._scheduler = None
    world.script.run_seconds = 5
    world.add()
    assert world.scheduler.start_at_once("t")
    assert not world.scheduler.start_at_once("t")
    world.scheduler.execute_nowait("t")
    stop = asyncio.ensure_future(world.scheduler.stop("t"))
    await world.clock.advance()
    assert not world.scheduler.start_at_once("t")
    await world.clock.pass_until(stop)
    assert world.scheduler.start_at_once("t")
    await world.scheduler.destroy("t")
    assert not world.scheduler.start_at_once("t")


async def test_start_at_once_leaves_an_error_to_start(world):
    """A schedule's error is raised by `start`; no worker is left."""

    class Broken:
        def find_next(self, after):
            raise ValueError(after)

    world.share_workers()
    world.add(every=Broken())
    assert not world.scheduler.start_at_once("t")
    with pytest.raises(ValueError, match="3600"):
        await world.scheduler.start("t")
    assert world.launcher.alive == []
    assert world.status() == "stopped"
