"""Shutting down (A10, node-cron defects 2 and 9)."""

import asyncio


async def test_shutdown_returns_when_there_is_no_task(world):
    """Without tasks there is nothing to wait for."""
    await world.scheduler.shutdown(5)
    await world.scheduler.shutdown(5)


async def test_shutdown_may_be_called_twice_at_once(world):
    """Both return once everything is gone, and each task ends once."""
    await world.start("a")
    world.add("b")
    await asyncio.gather(world.scheduler.shutdown(5), world.scheduler.shutdown(5))
    assert world.events.names().count("task:destroyed") == 2


async def test_shutdown_destroys_stopped_and_started_tasks(world):
    """Idle tasks end at once; their workers are gone when it returns."""
    await world.start("a")
    world.add("b")
    await world.scheduler.shutdown(5)
    assert world.events.names("a")[1:] == ["task:stopped", "task:destroyed"]
    assert world.events.names("b") == ["task:destroyed"]
    assert world.launcher.alive == []


async def test_shutdown_waits_for_scheduled_and_manual_runs(world):
    """Both kinds may end by themselves within the time (defect 9)."""
    world.script.run_seconds = 8
    await world.start("a")
    await world.start("b", stop_timeout=1)
    await world.clock.advance(55)
    call = asyncio.ensure_future(world.scheduler.execute("b"))
    await world.clock.advance(5)
    down = asyncio.ensure_future(world.scheduler.shutdown(20))
    await world.clock.advance(7.9)
    assert not down.done()
    await world.clock.advance(0.1)
    assert down.done()
    assert call.result().is_ok
    assert "execution:failed" not in world.events.names()


async def test_shutdown_ends_runs_when_the_time_is_over(world):
    """Remaining runs are ended, killed if necessary (defect 9)."""
    world.script.run_seconds = None
    world.script.is_stubborn = True
    await world.start("a", stop_timeout=100)
    await world.start("b", stop_timeout=1)
    await world.clock.advance(60)
    down = asyncio.ensure_future(world.scheduler.shutdown(5))
    await world.clock.advance(6.9)
    assert not down.done()
    await world.clock.advance(0.1)
    assert down.done()
    assert world.launcher.alive == []
    assert world.slots("execution:failed") == [60, 60]


async def test_shutdown_hurries_a_stop_that_is_under_way(world):
    """An earlier stop gets no more time than the shutdown."""
    world.script.run_seconds = None
    await world.start(stop_timeout=100)
    await world.clock.advance(60)
    stop = asyncio.ensure_future(world.scheduler.stop("t"))
    await world.clock.advance(1)
    down = asyncio.ensure_future(world.scheduler.shutdown(5))
    await world.clock.advance(5)
    assert stop.done()
    assert down.done()


async def test_shutdown_ends_starts_that_are_under_way(world):
    """A task being loaded is destroyed, and its load leaves nothing behind."""
    world.script.load_seconds = None
    world.add()
    start = asyncio.ensure_future(world.scheduler.start("t"))
    await world.clock.advance(1)
    down = asyncio.ensure_future(world.scheduler.shutdown(5))
    await world.clock.advance()
    assert down.done()
    assert start.exception() is not None
    assert world.launcher.loading == 0


async def test_shutdown_returns_when_a_thread_cannot_be_ended(world):
    """A thread that cannot be ended is waited for only for its grace period."""
    world.share_workers()
    world.script.run_seconds = None
    world.script.is_stubborn = True
    await world.start()
    await world.clock.advance(60)
    down = asyncio.ensure_future(world.scheduler.shutdown(5))
    await world.clock.advance(7)
    assert down.done()
    assert world.status() == "destroyed"


async def test_many_tasks_are_destroyed_while_others_start(world):
    """Concurrent starts and ends leave each task in the right state (defect 2)."""
    world.script.load_seconds = 0.2
    names = [str(number) for number in range(40)]
    for name in names:
        world.add(name)
    starts = [asyncio.ensure_future(world.scheduler.start(n)) for n in names[:30]]
    await world.clock.advance(0.1)
    ends = [asyncio.ensure_future(world.scheduler.destroy(n)) for n in names[:20]]
    starts += [asyncio.ensure_future(world.scheduler.start(n)) for n in names[30:]]
    await world.clock.advance(0.3)
    assert all(end.done() for end in ends)
    for start in starts:
        start.exception()
    assert {world.status(n) for n in names[:20]} == {"destroyed"}
    assert {world.status(n) for n in names[20:]} == {"idle"}
