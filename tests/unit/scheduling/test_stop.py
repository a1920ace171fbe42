"""Stopping a task (A7, R8)."""

import asyncio

import pytest

from ipycron.errors import ExecutionStopped, StartError, StopTimeout


async def test_stop_ends_the_worker_when_idle(world):
    """An idle task stops at once, and its worker is then gone."""
    await world.start()
    await world.scheduler.stop("t")
    assert world.launcher.alive == []
    assert world.status() == "stopped"
    assert world.events.names() == ["task:started", "task:stopped"]


async def test_stop_disarms_when_called(world):
    """No slot runs or is missed while a task is stopped."""
    await world.start()
    await world.scheduler.stop("t")
    await world.clock.advance(600)
    assert world.events.names() == ["task:started", "task:stopped"]


async def test_stop_does_nothing_when_stopped(world):
    """Nothing changes, so nothing is emitted."""
    world.add()
    await world.scheduler.stop("t")
    await world.start("u")
    await world.scheduler.stop("u")
    await world.scheduler.stop("u")
    assert world.events.names() == ["task:started", "task:stopped"]


async def test_stop_lets_a_run_end_when_it_does_within_the_timeout(world):
    """The run finishes first, then the task is stopped."""
    world.script.run_seconds = 3
    await world.start()
    await world.clock.advance(60)
    stop = asyncio.ensure_future(world.scheduler.stop("t"))
    await world.clock.advance(2)
    assert not stop.done()
    assert world.status() == "running"
    await world.clock.advance(1)
    assert stop.done()
    assert world.told()[1:] == [
        (60, "execution:started"),
        (63, "execution:finished"),
        (63, "task:stopped"),
    ]
    assert world.launcher.alive == []


async def test_stop_ends_a_run_when_it_takes_longer_than_the_timeout(world):
    """After stop_timeout the worker is terminated; the run fails as stopped."""
    world.script.run_seconds = None
    await world.start(stop_timeout=4)
    await world.clock.advance(60)
    stop = asyncio.ensure_future(world.scheduler.stop("t"))
    await world.clock.advance(4)
    assert stop.done()
    failed = world.events.notices[-2]
    assert failed.event == "execution:failed"
    assert failed.triggered_at == 3600 + 64
    assert isinstance(failed.outcome.value, ExecutionStopped)
    assert failed.outcome.summary.startswith("ExecutionStopped: task 't'")
    assert world.events.names()[-1] == "task:stopped"


async def test_stop_kills_a_run_when_it_ignores_the_signal(world):
    """A stubborn worker gets two seconds; the stop waits until it is gone."""
    world.script.run_seconds = None
    world.script.is_stubborn = True
    await world.start(stop_timeout=4)
    await world.clock.advance(60)
    stop = asyncio.ensure_future(world.scheduler.stop("t"))
    await world.clock.advance(5.9)
    assert not stop.done()
    await world.clock.advance(0.1)
    assert stop.done()
    assert world.told()[-2:] == [(66, "execution:failed"), (66, "task:stopped")]


async def test_stop_keeps_the_result_when_a_run_returns_in_its_grace(world):
    """A job that returns on the signal has finished normally."""
    world.script.run_seconds = 5
    world.script.is_stubborn = True
    await world.start(stop_timeout=4)
    await world.clock.advance(60)
    stop = asyncio.ensure_future(world.scheduler.stop("t"))
    await world.clock.advance(10)
    assert stop.done()
    assert world.told()[-2:] == [(65, "execution:finished"), (66, "task:stopped")]


async def test_stop_does_not_wait_when_forced(world):
    """With force the run is ended at once."""
    world.script.run_seconds = None
    await world.start(stop_timeout=4)
    await world.clock.advance(60)
    await world.scheduler.stop("t", force=True)
    assert world.told()[-2:] == [(60, "execution:failed"), (60, "task:stopped")]


async def test_stop_hurries_when_a_second_one_forces(world):
    """A forced stop ends the patience of the stop in progress."""
    world.script.run_seconds = None
    await world.start(stop_timeout=400)
    await world.clock.advance(60)
    first = asyncio.ensure_future(world.scheduler.stop("t"))
    await world.clock.advance(1)
    await world.scheduler.stop("t", force=True)
    await world.clock.advance()
    assert first.done()
    assert world.events.names().count("task:stopped") == 1


async def test_stop_is_shared_when_called_twice(world):
    """Concurrent stops return together and emit one event."""
    world.script.run_seconds = 3
    await world.start()
    await world.clock.advance(60)
    stops = [asyncio.ensure_future(world.scheduler.stop("t")) for _ in range(3)]
    await world.clock.advance()
    stops[0].cancel()
    await world.clock.advance(3)
    assert stops[0].cancelled()
    assert [stop.result() for stop in stops[1:]] == [None, None]
    assert world.events.names().count("task:stopped") == 1


async def test_stop_ends_overlap_workers_too(world):
    """Every worker of the task is gone when the stop returns."""
    world.script.run_seconds = None
    await world.start()
    await world.clock.advance(180)
    assert len(world.launcher.alive) == 3
    stop = asyncio.ensure_future(world.scheduler.stop("t"))
    await world.clock.advance(5)
    assert stop.done()
    assert world.launcher.alive == []
    assert world.events.names()[-4:] == ["execution:failed"] * 3 + ["task:stopped"]


async def test_stop_then_start_works_when_a_run_was_in_progress(world):
    """A start during a stop waits for it and is not lost (node-cron defect 3)."""
    world.script.run_seconds = 3
    await world.start()
    await world.clock.advance(60)
    stop = asyncio.ensure_future(world.scheduler.stop("t"))
    start = asyncio.ensure_future(world.scheduler.start("t"))
    await world.clock.advance(2)
    assert not stop.done()
    assert not start.done()
    await world.clock.advance(1)
    assert stop.done()
    assert start.done()
    assert world.status() == "idle"
    await world.clock.advance(120)
    assert world.slots("execution:started") == [60, 120, 180]


async def test_start_stop_cycle_leaves_nothing_when_a_run_refuses_to_end(world):
    """After a stop that had to kill, the next cycle starts afresh (defect 4)."""
    world.script.run_seconds = None
    world.script.is_stubborn = True
    await world.start()
    call = asyncio.ensure_future(world.scheduler.execute("t"))
    await world.clock.advance(1)
    stop = asyncio.ensure_future(world.scheduler.stop("t"))
    await world.clock.advance(7)
    assert stop.done()
    assert not call.result().is_ok
    assert world.launcher.alive == []
    await world.scheduler.start("t")
    assert world.scheduler.get_executions("t") == ()
    assert len(world.launcher.alive) == 1
    await world.scheduler.stop("t")
    assert world.launcher.alive == []
    assert world.status() == "stopped"


async def test_start_is_revoked_when_it_waits_for_a_stop_and_another_comes(world):
    """The latest request wins: stop, start, stop is a stop."""
    world.script.run_seconds = 3
    await world.start()
    await world.clock.advance(60)
    first = asyncio.ensure_future(world.scheduler.stop("t"))
    await world.clock.advance(1)
    start = asyncio.ensure_future(world.scheduler.start("t"))
    await world.clock.advance(1)
    last = asyncio.ensure_future(world.scheduler.stop("t"))
    await world.clock.advance(1)
    assert first.done()
    assert last.done()
    with pytest.raises(StartError):
        start.result()
    assert world.status() == "stopped"
    assert len(world.launcher.workers) == 1


async def test_stop_raises_when_a_thread_cannot_be_ended(world):
    """The task is stopped, its run failed, its result ignored; the stop raises."""
    world.share_workers()
    world.script.run_seconds = None
    world.script.is_stubborn = True
    await world.start()
    await world.clock.advance(60)
    stop = asyncio.ensure_future(world.scheduler.stop("t"))
    await world.clock.advance(7)
    with pytest.raises(StopTimeout):
        stop.result()
    assert world.told()[-2:] == [(67, "execution:failed"), (67, "task:stopped")]
    world.worker.finish()
    await world.clock.advance(1)
    assert world.events.names().count("execution:finished") == 0
    assert world.status() == "stopped"


async def test_slot_is_not_repeated_when_the_clock_steps_back_between_stop_and_start(
    world,
):
    """A slot runs once, even if the clock reaches it again after a restart."""
    await world.start()
    await world.clock.advance(60)
    await world.scheduler.stop("t")
    world.clock.step(-0.5)
    await world.scheduler.start("t")
    await world.clock.advance(61)
    assert world.slots("execution:started") == [60, 120]


async def test_slots_run_when_the_clock_was_set_back_before_a_start(world):
    """Slots that were never settled are due, whatever the clock showed before."""
    await world.start()
    await world.scheduler.stop("t")
    world.clock.step(-600)
    await world.scheduler.start("t")
    await world.clock.advance(60)
    assert world.slots("execution:started") == [-540]


async def test_destroy_stops_first(world):
    """A started task is stopped, then destroyed (A9)."""
    await world.start()
    await world.scheduler.destroy("t")
    assert world.events.names() == ["task:started", "task:stopped", "task:destroyed"]
    assert world.status() == "destroyed"
    assert world.launcher.alive == []


async def test_destroy_emits_no_other_event_when_stopped(world):
    """A stopped task is destroyed without another stop."""
    world.add()
    await world.scheduler.destroy("t")
    assert world.events.names() == ["task:destroyed"]


async def test_destroy_may_be_repeated(world):
    """Destroying twice, even concurrently, destroys once."""
    world.script.run_seconds = 3
    await world.start()
    await world.clock.advance(60)
    calls = [asyncio.ensure_future(world.scheduler.destroy("t")) for _ in range(2)]
    await world.clock.advance(3)
    assert all(call.done() for call in calls)
    await world.scheduler.destroy("t")
    await world.scheduler.stop("t")
    assert world.events.names().count("task:destroyed") == 1


async def test_destroy_wins_when_a_stop_is_under_way(world):
    """A destroy makes the stop in progress final."""
    world.script.run_seconds = 3
    await world.start()
    await world.clock.advance(60)
    stop = asyncio.ensure_future(world.scheduler.stop("t"))
    await world.clock.advance(1)
    destroy = asyncio.ensure_future(world.scheduler.destroy("t"))
    start = asyncio.ensure_future(world.scheduler.start("t"))
    await world.clock.advance(2)
    assert stop.done()
    assert destroy.done()
    assert start.result() is None
    assert world.status() == "destroyed"
    assert world.events.names()[-2:] == ["task:stopped", "task:destroyed"]


async def test_destroy_does_not_wait_when_forced(world):
    """With force the run is ended at once."""
    world.script.run_seconds = None
    await world.start()
    await world.clock.advance(60)
    await world.scheduler.destroy("t", force=True)
    assert world.told()[-1] == (60, "task:destroyed")


async def test_destroyed_names_are_forgotten_when_there_are_many(world):
    """A session that declares tasks all day does not grow without bound."""
    for number in range(1100):
        world.add(str(number))
        await world.scheduler.destroy(str(number))
    assert len(world.scheduler._destroyed_names) == 1024


async def test_stop_settles_the_slots_that_were_due(world):
    """A stop right after a suspend reports what the suspend has cost."""
    await world.start(tolerance=5)
    world.clock.step(200)
    await world.scheduler.stop("t")
    assert world.slots("execution:missed") == [60, 120, 180]
    assert world.events.names()[-1] == "task:stopped"


async def test_stop_drops_the_slot_of_this_very_moment(world):
    """It is not late, so it is not missed; like a run that waits, it has no event."""
    await world.start(tolerance=5)
    world.clock.step(63)
    await world.scheduler.stop("t")
    assert world.events.names() == ["task:started", "task:stopped"]
    await world.scheduler.start("t")
    await world.clock.advance(60)
    assert world.slots("execution:started") == [120]
