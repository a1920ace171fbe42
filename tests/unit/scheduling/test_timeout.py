"""Runs that take too long (R6)."""

import asyncio

import pytest

from ipycron.errors import ExecutionTimeout, OverlapError, StopTimeout


async def test_run_is_ended_when_it_takes_too_long(world):
    """The run fails with ExecutionTimeout, and a new worker takes over."""
    world.script.run_seconds = None
    await world.start(timeout=10)
    await world.clock.advance(70)
    failed = world.events.notices[-1]
    assert failed.event == "execution:failed"
    assert failed.triggered_at == 3670
    assert isinstance(failed.outcome.value, ExecutionTimeout)
    assert "took longer than 10 s" in failed.outcome.summary
    assert len(world.launcher.workers) == 2
    assert world.status() == "idle"
    world.script.run_seconds = 1
    await world.clock.advance(60)
    assert world.events.names()[-1] == "execution:finished"


async def test_run_is_killed_when_it_ignores_the_signal(world):
    """It gets two seconds, during which the run is still in progress."""
    world.script.run_seconds = None
    world.script.is_stubborn = True
    await world.start(timeout=10, no_overlap=True)
    await world.clock.advance(71.9)
    assert world.status() == "running"
    await world.clock.advance(0.1)
    assert world.told()[-1] == (72, "execution:failed")
    assert len(world.launcher.alive) == 1


async def test_run_has_failed_when_it_returns_in_its_grace(world):
    """It took too long, however it reacts to the signal."""
    world.script.run_seconds = 11
    world.script.is_stubborn = True
    await world.start(timeout=10)
    await world.clock.advance(80)
    failed = world.events.notices[-1]
    assert isinstance(failed.outcome.value, ExecutionTimeout)
    assert failed.triggered_at == 3671


async def test_run_is_left_alone_when_it_ends_in_time(world):
    """The timer of a finished run has no effect."""
    world.script.run_seconds = 5
    await world.start(timeout=10)
    await world.clock.advance(100)
    assert world.events.names()[1:] == ["execution:started", "execution:finished"]
    assert len(world.launcher.workers) == 1


async def test_manual_run_is_ended_when_it_takes_too_long(world):
    """The timeout applies to any run, and the caller gets the error."""
    world.script.run_seconds = None
    await world.start(timeout=10)
    outcome = await world.clock.pass_until(world.scheduler.execute("t"))
    assert isinstance(outcome.value, ExecutionTimeout)


async def test_timeouts_are_not_deaths(world):
    """Any number of them counts for no restart, and none emits one."""
    world.script.run_seconds = None
    await world.start(timeout=10, max_restarts=0)
    await world.clock.advance(300)
    assert world.slots("execution:failed") == [60, 120, 180, 240]
    assert "task:restarted" not in world.events.names()
    assert "task:failed" not in world.events.names()


async def test_slot_gets_a_worker_of_its_own_when_the_main_one_is_being_ended(world):
    """A slot does not wait for the end of a stubborn run."""
    world.script.run_seconds = None
    world.script.is_stubborn = True
    await world.start(timeout=59)
    await world.clock.advance(120)
    assert world.told()[-2:] == [
        (120, "execution:overlap"),
        (120, "execution:started"),
    ]
    await world.clock.advance(1)
    assert world.told()[-1] == (121, "execution:failed")
    assert len(world.launcher.alive) == 2


async def test_overlap_worker_is_not_replaced_when_its_run_takes_too_long(world):
    """The main worker is not affected."""
    world.script.run_seconds = None
    await world.start(timeout=100)
    await world.clock.advance(155)
    world.launcher.workers[0].finish()
    await world.clock.advance(65)
    assert world.slots("execution:failed") == [120]
    assert world.launcher.workers[1].is_gone
    assert len(world.launcher.workers) == 2


async def test_new_worker_that_fails_to_load_is_a_death(world):
    """A failed load after a timeout counts as a death (R7)."""
    world.script.run_seconds = None
    await world.start(timeout=10)
    await world.clock.advance(60)
    world.script.load_error = OSError("no more processes")
    await world.clock.advance(10.05)
    world.script.load_error = None
    await world.clock.advance(0.05)
    restarted = world.events.notices[-1]
    assert restarted.event == "task:restarted"
    assert restarted.outcome.summary == "OSError: no more processes"


async def test_one_run_of_a_shared_worker_is_ended_alone(world):
    """Only the inline run that takes too long is cancelled."""
    world.share_workers()
    world.script.run_seconds = None
    await world.start(timeout=10)
    world.scheduler.execute_nowait("t", "first")
    await world.clock.advance(5)
    second = asyncio.ensure_future(world.scheduler.execute("t", "second"))
    await world.clock.advance(5)
    failed = world.events.notices[-1]
    assert failed.execution.id == "first"
    assert isinstance(failed.outcome.value, ExecutionTimeout)
    world.worker.finish()
    await world.clock.advance()
    assert second.result().is_ok
    assert len(world.launcher.workers) == 1
    assert world.status() == "idle"


async def test_shared_run_is_given_up_when_it_ignores_its_cancellation(world):
    """After the grace period it has failed; a later result is ignored."""
    world.share_workers()
    world.script.run_seconds = None
    await world.start(timeout=10)
    ends = []

    class Stubborn(asyncio.Future):
        def cancel(self, _msg=None):
            ends.append(self)
            return False

    world.worker.run = lambda _: Stubborn()
    world.scheduler.execute_nowait("t")
    await world.clock.advance(11.9)
    assert world.status() == "running"
    await world.clock.advance(0.1)
    assert world.told()[-1] == (12, "execution:failed")
    ends[0].set_exception(ValueError())
    await world.clock.advance()
    assert world.events.names().count("execution:failed") == 1


async def test_timeout_and_stop_may_meet(world):
    """A stop during the end of a run ends with it, and replaces nothing."""
    world.script.run_seconds = None
    world.script.is_stubborn = True
    await world.start(timeout=10)
    await world.clock.advance(71)
    stop = asyncio.ensure_future(world.scheduler.stop("t"))
    await world.clock.advance(1)
    assert stop.done()
    failed = world.events.of("execution:failed")
    assert [type(n.outcome.value) for n in failed] == [ExecutionTimeout]
    assert len(world.launcher.workers) == 1


async def test_run_that_goes_on_counts_for_overlap(world):
    """A run that cannot be ended is reported as over but keeps its task busy."""
    world.share_workers()
    world.script.run_seconds = None
    world.script.is_stubborn = True
    await world.start(timeout=10, no_overlap=True)
    world.scheduler.execute_nowait("t", "first")
    await world.clock.advance(12)
    failed = world.events.notices[-1]
    assert isinstance(failed.outcome.value, ExecutionTimeout)
    assert not failed.outcome.value.is_ended
    assert "is no longer waited for" in failed.outcome.summary
    with pytest.raises(OverlapError, match="first"):
        await world.scheduler.execute("t")
    await world.clock.advance(48)
    assert world.events.names()[-1] == "execution:overlap"
    world.worker.finish()
    await world.clock.advance(60)
    assert world.events.names()[-1] == "execution:started"
    assert [n.execution.id for n in world.events.of("execution:failed")] == ["first"]


async def test_run_that_goes_on_counts_for_overlap_after_stop_and_start(world):
    """A thread that outlives the stop still counts as an overlap."""
    world.share_workers()
    world.script.run_seconds = None
    world.script.is_stubborn = True
    await world.start(no_overlap=True, stop_timeout=1)
    world.scheduler.execute_nowait("t", "first")
    thread = world.worker
    stop = asyncio.ensure_future(world.scheduler.stop("t"))
    await world.clock.advance(5)
    assert isinstance(stop.exception(), StopTimeout)
    await world.scheduler.start("t")
    with pytest.raises(OverlapError, match="first"):
        await world.scheduler.execute("t")
    thread.finish()
    await world.clock.advance()
    world.scheduler.execute_nowait("t", "second")
    assert world.status() == "running"
