"""Workers that die (R7)."""

import asyncio

import pytest

from ipycron.errors import WorkerCrashed


async def test_idle_worker_that_dies_is_replaced(world):
    """A new worker is loaded after the backoff; the restart has the reason."""
    await world.start()
    world.worker.die(exit_code=0)
    await world.clock.advance(0.05)
    assert world.status() == "idle"
    assert world.launcher.alive == []
    await world.clock.advance(0.05)
    (restarted,) = world.events.of("task:restarted")
    assert restarted.triggered_at == pytest.approx(3600.1)
    assert not restarted.outcome.is_ok
    assert isinstance(restarted.outcome.value, WorkerCrashed)
    assert "exited with code 0" in restarted.outcome.summary
    assert len(world.launcher.alive) == 1
    await world.clock.advance(60)
    assert world.events.names()[-1] == "execution:finished"


async def test_call_in_the_turn_of_an_idle_workers_death_waits_for_the_next(world):
    """The dead worker must not get the run, which would never end."""
    await world.start(no_overlap=True)
    dead = world.worker
    dead.die(signal_name="SIGKILL")
    called = world.scheduler.execute_nowait("t")
    await world.clock.advance(1)
    (finished,) = world.events.of("execution:finished")
    assert finished.execution.id == called
    assert world.worker is not dead
    assert world.status() == "idle"


@pytest.mark.parametrize(
    "end", [{"exit_code": 0}, {"exit_code": 3}, {"signal_name": "SIGTERM"}]
)
async def test_run_fails_when_its_worker_dies(world, end):
    """However the worker ends, its run fails and the task continues (defect 5)."""
    world.script.run_seconds = None
    await world.start()
    call = asyncio.ensure_future(world.scheduler.execute("t"))
    await world.clock.advance(1)
    world.worker.die(**end)
    await world.clock.advance(0.1)
    assert isinstance(call.result().value, WorkerCrashed)
    assert world.events.names()[-2:] == ["execution:failed", "task:restarted"]
    world.script.run_seconds = 1
    outcome = await world.clock.pass_until(world.scheduler.execute("t"))
    assert outcome.is_ok


async def test_backoff_doubles_and_is_bounded(world):
    """0.1 s, doubled each time, up to 30 s."""
    await world.start(max_restarts=12)
    world.script.load_error = OSError("no more processes")
    world.worker.die(exit_code=1)
    loads = []
    launch = world.launcher.launch

    async def note(task_id, on_death):
        loads.append(world.clock.now())
        return await launch(task_id, on_death)

    world.launcher.launch = note
    await world.clock.advance(1000)
    waits = [b - a for a, b in zip([3600, *loads], loads, strict=False)]
    assert waits == pytest.approx(
        [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30, 30]
    )


async def test_backoff_does_not_overflow_when_there_are_very_many_deaths(world):
    """Ten thousand restarts work like one."""
    await world.start(max_restarts=10_000)
    world.scheduler._lifecycles["t"]._workers._deaths = 5_000
    world.worker.die(exit_code=1)
    await world.clock.advance(30)
    assert world.events.names()[-1] == "task:restarted"


async def test_task_fails_when_there_are_too_many_deaths(world):
    """After max_restarts deaths in a row the task stops with an error."""
    world.script.dies = True
    await world.start(max_restarts=2)
    await world.clock.advance(600)
    assert world.events.names() == [
        "task:started",
        "execution:started",
        "execution:failed",
        "task:restarted",
        "execution:started",
        "execution:failed",
        "task:restarted",
        "execution:started",
        "execution:failed",
        "task:failed",
    ]
    failed = world.events.notices[-1]
    assert failed.status == "stopped"
    assert failed.outcome.summary.startswith("WorkerCrashed")
    assert world.status() == "stopped"
    assert world.launcher.alive == []


async def test_task_fails_at_the_first_death_when_restarts_are_off(world):
    """max_restarts=0 does what node-cron does."""
    await world.start(max_restarts=0)
    world.worker.die(signal_name="SIGKILL")
    await world.clock.advance()
    assert world.events.names() == ["task:started", "task:failed"]
    assert world.status() == "stopped"


async def test_failed_task_can_be_started_again(world):
    """A new start has all its restarts again."""
    await world.start(max_restarts=1)
    world.script.load_error = OSError()
    world.worker.die(exit_code=1)
    await world.clock.advance(10)
    assert world.events.names()[-1] == "task:failed"
    world.script.load_error = None
    await world.scheduler.start("t")
    world.worker.die(exit_code=1)
    await world.clock.advance(10)
    assert world.events.names()[-1] == "task:restarted"


async def test_deaths_are_counted_afresh_when_a_run_has_ended(world):
    """A worker that survives a run, even a failing one, resets the count."""
    world.script.error = ValueError()
    await world.start(max_restarts=1)
    for _ in range(5):
        world.worker.die(exit_code=1)
        await world.clock.advance(60)
    assert world.events.names().count("task:restarted") == 5
    assert "task:failed" not in world.events.names()


async def test_slot_waits_when_no_worker_is_loaded(world):
    """A slot during the backoff runs as soon as the new worker is loaded."""
    await world.start()
    await world.clock.advance(59.95)
    world.worker.die(exit_code=1)
    await world.clock.advance(1)
    assert world.events.names()[1:] == [
        "task:restarted",
        "execution:started",
        "execution:finished",
    ]
    assert world.slots("execution:started") == [60]


async def test_slot_is_missed_when_no_worker_comes_within_its_tolerance(world):
    """Waiting for a worker makes a slot late like any other delay."""
    await world.start(tolerance=3, no_overlap=True)
    world.script.load_seconds = 4
    await world.clock.advance(59.5)
    world.worker.die(exit_code=1)
    await world.clock.advance(10)
    assert world.told()[1] == (63, "execution:missed")
    assert world.slots("execution:missed") == [60]
    assert world.events.names()[2:] == ["task:restarted"]


async def test_slots_overlap_when_one_waits_for_a_worker(world):
    """A slot that waits for a worker is a pending run."""
    await world.start(every=1, tolerance=5, no_overlap=True)
    world.script.load_seconds = 2
    await world.clock.advance(0.5)
    world.worker.die(exit_code=1)
    await world.clock.advance(2.3)
    assert world.slots("execution:overlap") == [2]
    assert world.slots("execution:started") == [1]


async def test_slots_that_wait_run_side_by_side_when_overlap_is_allowed(world):
    """The first gets the new worker, the second one its own."""
    world.script.run_seconds = 10
    await world.start(every=1, tolerance=5)
    world.script.load_seconds = 2
    await world.clock.advance(0.5)
    world.worker.die(exit_code=1)
    await world.clock.advance(2.3)
    assert world.slots("execution:started") == [1]
    await world.clock.advance(2)
    assert world.slots("execution:started") == [1, 2]


async def test_manual_run_waits_when_no_worker_is_loaded(world):
    """A call during the backoff waits for the new worker, however long."""
    await world.start()
    world.script.load_seconds = 4
    world.worker.die(exit_code=1)
    call = asyncio.ensure_future(world.scheduler.execute("t"))
    await world.clock.advance(4.2)
    assert call.result().is_ok


async def test_waiting_runs_end_when_the_task_fails(world):
    """The slot is missed, the call fails with the reason; nothing hangs."""
    await world.start(tolerance=100, max_restarts=1, every=3601)
    world.script.load_error = OSError("no more processes")
    await world.clock.advance(0.95)
    world.worker.die(exit_code=1)
    call = asyncio.ensure_future(world.scheduler.execute("t"))
    await world.clock.advance(1)
    assert call.result().summary == "OSError: no more processes"
    assert world.slots("execution:missed") == [1]
    assert world.events.names()[-1] == "task:failed"


async def test_overlap_worker_that_dies_is_not_replaced(world):
    """Its run fails; the main worker is still there."""
    world.script.run_seconds = None
    await world.start(max_restarts=0)
    await world.clock.advance(120)
    world.launcher.workers[1].die(signal_name="SIGSEGV")
    await world.clock.advance(1)
    assert world.slots("execution:failed") == [120]
    assert len(world.launcher.workers) == 2
    assert world.status() == "running"


async def test_restart_is_given_up_when_the_task_stops(world):
    """A stop during the backoff or the new load leaves nothing behind."""
    await world.start()
    world.worker.die(exit_code=1)
    await world.clock.advance(0.05)
    await world.scheduler.stop("t")
    await world.clock.advance(10)
    assert len(world.launcher.workers) == 1
    await world.scheduler.start("t")
    world.script.load_seconds = None
    world.worker.die(exit_code=1)
    await world.clock.advance(1)
    assert world.launcher.loading == 1
    await world.scheduler.stop("t")
    assert world.launcher.loading == 0


async def test_death_while_stopping_is_the_end_of_the_run(world):
    """Nothing is restarted, and the crash is reported as such."""
    world.script.run_seconds = None
    await world.start()
    await world.clock.advance(60)
    stop = asyncio.ensure_future(world.scheduler.stop("t"))
    await world.clock.advance(1)
    world.worker.die(signal_name="SIGSEGV")
    await world.clock.advance(1)
    assert stop.done()
    assert world.told()[-2:] == [(61, "execution:failed"), (61, "task:stopped")]
    assert "SIGSEGV" in world.events.notices[-2].outcome.summary
    assert len(world.launcher.workers) == 1


async def test_other_runs_have_time_to_end_when_the_task_fails(world):
    """Overlapping runs end as in a stop; then the failure is reported."""
    world.script.run_seconds = None
    await world.start(max_restarts=0, every=1)
    await world.clock.advance(2)
    main, other = world.launcher.workers
    main.die(exit_code=1)
    await world.clock.advance(1)
    assert world.status() == "running"
    other.finish()
    await world.clock.advance()
    assert world.events.names()[-2:] == ["execution:finished", "task:failed"]


async def test_failed_task_is_destroyed_when_that_was_requested(world):
    """A destroy during the cleanup after a failure takes effect."""
    world.script.run_seconds = None
    await world.start(max_restarts=0)
    await world.clock.advance(120)
    world.launcher.workers[0].die(exit_code=1)
    await world.clock.advance(1)
    destroy = asyncio.ensure_future(world.scheduler.destroy("t"))
    await world.clock.advance(5)
    assert destroy.done()
    assert world.events.names()[-2:] == ["task:failed", "task:destroyed"]


async def test_failed_run_of_a_shared_worker_is_not_a_death(world):
    """A future that fails is a failed run; the inline worker stays."""
    world.share_workers()
    await world.start()

    def run(execution):
        future = asyncio.get_running_loop().create_future()
        future.set_exception(WorkerCrashed(name="t"))
        return future

    world.worker.run = run
    assert not (await world.scheduler.execute("t")).is_ok
    assert world.launcher.workers == world.launcher.alive


async def test_run_that_is_cancelled_by_others_has_failed(world):
    """A cancelled future ends its run like a failure."""
    world.share_workers()
    world.script.run_seconds = None
    await world.start()
    call = asyncio.ensure_future(world.scheduler.execute("t"))
    await world.clock.advance(1)
    next(iter(world.worker._busy.values())).cancel()
    await world.clock.advance()
    assert call.result().summary.startswith("ExecutionStopped")


async def test_run_fails_when_its_worker_refuses_it(world):
    """A worker whose `run` raises is lost and replaced."""
    await world.start()

    def refuse(_execution):
        raise BrokenPipeError("gone")

    world.worker.run = refuse
    outcome = await world.scheduler.execute("t")
    assert outcome.summary == "BrokenPipeError: gone"
    await world.clock.advance(60)
    assert world.events.names()[3:] == [
        "task:restarted",
        "execution:started",
        "execution:finished",
    ]
    assert len(world.launcher.workers) == 2


async def test_run_fails_when_a_shared_worker_refuses_it(world):
    """Running out of threads fails one run only."""
    world.share_workers()
    await world.start()
    run, world.worker.run = world.worker.run, None
    assert (await world.scheduler.execute("t")).summary.startswith("TypeError")
    world.worker.run = run
    assert (await world.scheduler.execute("t")).is_ok
