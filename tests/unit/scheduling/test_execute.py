"""Manual runs (A8)."""

import asyncio

import pytest

from ipycron.errors import (
    ExecutionStopped,
    OverlapError,
    TaskDestroyed,
    TaskNotStarted,
)


async def test_execute_returns_the_outcome_of_its_run(world):
    """The result of this very run is returned, and its events are emitted."""
    world.script.run_seconds = 2
    world.script.result = 42
    await world.start()
    outcome = await world.clock.pass_until(world.scheduler.execute("t", "mine"))
    assert outcome.is_ok
    assert outcome.value == 42
    started, finished = world.events.notices[1:]
    assert started.event == "execution:started"
    assert started.status == "running"
    assert started.date == 3600
    assert started.execution.id == "mine"
    assert started.execution.reason == "invoked"
    assert started.execution.pid == 1000
    assert started.execution.finished_at is None
    assert finished.event == "execution:finished"
    assert finished.status == "idle"
    assert finished.outcome == outcome
    assert finished.execution.started_at == 3600
    assert finished.execution.finished_at == 3602


async def test_execute_returns_a_failure_when_the_job_raises(world):
    """A job's error is an outcome, not an exception."""
    world.script.error = ValueError("no")
    await world.start()
    outcome = await world.clock.pass_until(world.scheduler.execute("t"))
    assert not outcome.is_ok
    assert outcome.summary == "ValueError: no"
    assert world.events.names()[-1] == "execution:failed"


async def test_execute_waits_when_a_start_is_under_way(world):
    """A call right after the start runs once the job is loaded (defect 7)."""
    world.script.load_seconds = 2
    world.add()
    start = asyncio.ensure_future(world.scheduler.start("t"))
    await world.clock.advance()
    call = asyncio.ensure_future(world.scheduler.execute("t"))
    await world.clock.advance(2)
    assert start.done()
    assert call.result().is_ok
    assert world.events.names() == [
        "task:started",
        "execution:started",
        "execution:finished",
    ]


async def test_execute_fails_when_the_start_it_waits_for_fails(world):
    """The start's error is the outcome."""
    world.script.load_seconds = 2
    world.script.load_error = ZeroDivisionError("no")
    world.add()
    start = asyncio.ensure_future(world.scheduler.start("t"))
    await world.clock.advance()
    call = asyncio.ensure_future(world.scheduler.execute("t"))
    await world.clock.advance(2)
    assert isinstance(start.exception(), ZeroDivisionError)
    assert call.result().value is start.exception()
    assert world.events.names() == ["execution:started", "execution:failed"]


async def test_execute_fails_when_a_stop_revokes_the_start_it_waits_for(world):
    """A stop ends the waiting call, too; it does not hang."""
    world.script.load_seconds = 2
    world.add()
    start = asyncio.ensure_future(world.scheduler.start("t"))
    await world.clock.advance()
    call = asyncio.ensure_future(world.scheduler.execute("t"))
    await world.clock.advance(1)
    await world.scheduler.stop("t")
    await world.clock.advance()
    assert isinstance(call.result().value, ExecutionStopped)
    assert "the run was queued and did not begin" in call.result().summary
    assert start.exception() is not None


async def test_execute_waits_for_the_next_start_when_called_during_a_stop(world):
    """A call after stop and start runs on the new worker."""
    world.script.run_seconds = 3
    await world.start()
    await world.clock.advance(60)
    stop = asyncio.ensure_future(world.scheduler.stop("t"))
    start = asyncio.ensure_future(world.scheduler.start("t"))
    await world.clock.advance()
    call = asyncio.ensure_future(world.scheduler.execute("t", "mine"))
    await world.clock.advance(6)
    assert stop.done()
    assert start.done()
    assert call.result().is_ok
    assert [run.id for run in world.worker.runs] == ["mine"]
    assert world.told()[1:] == [
        (60, "execution:started"),
        (63, "execution:finished"),
        (63, "task:stopped"),
        (63, "task:started"),
        (63, "execution:started"),
        (66, "execution:finished"),
    ]


async def test_execute_is_refused_when_stopped(world):
    """A stopped task has no worker that could run it."""
    world.add()
    with pytest.raises(TaskNotStarted):
        await world.scheduler.execute("t")
    await world.scheduler.start("t")
    await world.scheduler.stop("t")
    with pytest.raises(TaskNotStarted):
        await world.scheduler.execute("t")


async def test_execute_is_refused_when_stopping(world):
    """A stop that waits for a run accepts no new one."""
    world.script.run_seconds = 3
    await world.start()
    await world.clock.advance(60)
    stop = asyncio.ensure_future(world.scheduler.stop("t"))
    await world.clock.advance(1)
    with pytest.raises(TaskNotStarted):
        await world.scheduler.execute("t")
    await world.clock.advance(2)
    assert stop.done()


async def test_execute_is_refused_when_destroyed_or_about_to_be(world):
    """Also while the last run of a task being destroyed ends."""
    world.script.run_seconds = 3
    await world.start()
    await world.clock.advance(60)
    destroy = asyncio.ensure_future(world.scheduler.destroy("t"))
    await world.clock.advance(1)
    with pytest.raises(TaskDestroyed, match="'t' is destroyed"):
        await world.scheduler.execute("t")
    await world.clock.advance(2)
    assert destroy.done()
    with pytest.raises(TaskDestroyed, match="'t' is destroyed"):
        await world.scheduler.execute("t")


async def test_execute_is_refused_when_no_overlap_and_a_run_is_in_progress(world):
    """With no_overlap it is refused, and the run is named (defect 10)."""
    world.script.run_seconds = 3
    await world.start(no_overlap=True)
    await world.clock.advance(60)
    with pytest.raises(OverlapError, match="busy with run r1"):
        await world.scheduler.execute("t")
    await world.clock.advance(3)
    call = asyncio.ensure_future(world.scheduler.execute("t", "first"))
    await world.clock.advance(1)
    with pytest.raises(OverlapError, match="busy with run first"):
        await world.scheduler.execute("t")
    await world.clock.advance(2)
    assert call.result().is_ok


async def test_execute_gets_a_worker_of_its_own_when_the_main_one_is_busy(world):
    """Overlapping calls run in parallel; the extra worker is stopped after."""
    world.script.run_seconds = 3
    await world.start()
    calls = [asyncio.ensure_future(world.scheduler.execute("t")) for _ in range(3)]
    await world.clock.advance(1)
    assert len(world.launcher.alive) == 3
    assert len(world.scheduler.get_executions("t")) == 3
    await world.clock.advance(2)
    assert all(call.result().is_ok for call in calls)
    assert len(world.launcher.alive) == 1
    assert world.status() == "idle"


async def test_execute_fails_when_its_own_worker_cannot_be_loaded(world):
    """It fails only the run that needed the worker."""
    world.script.run_seconds = 3
    await world.start()
    first = asyncio.ensure_future(world.scheduler.execute("t"))
    await world.clock.advance()
    world.script.load_error = OSError("no more processes")
    second = asyncio.ensure_future(world.scheduler.execute("t"))
    await world.clock.advance(3)
    assert first.result().is_ok
    assert second.result().summary == "OSError: no more processes"
    assert world.status() == "idle"


async def test_execute_runs_on_when_its_caller_gives_up(world):
    """A cancelled caller does not stop the run (A8)."""
    world.script.run_seconds = 3
    await world.start()
    call = asyncio.ensure_future(world.scheduler.execute("t"))
    await world.clock.advance(1)
    call.cancel()
    await world.clock.advance(2)
    assert call.cancelled()
    assert world.events.names()[-1] == "execution:finished"


async def test_execute_does_not_count_towards_the_limit(world):
    """Manual runs do not count for max_executions."""
    await world.start(max_executions=1)
    for _ in range(3):
        await world.clock.pass_until(world.scheduler.execute("t"))
    assert world.scheduler.get_runs_left("t") == 1
    assert world.status() == "idle"


async def test_execute_nowait_returns_the_id_of_the_run(world):
    """It begins the run; a notice with this id reports its end."""
    world.script.run_seconds = 1
    await world.start()
    assert world.scheduler.execute_nowait("t") == "r1"
    assert world.status() == "running"
    await world.clock.advance(1)
    assert world.events.notices[-1].execution.id == "r1"
    assert world.events.names()[-1] == "execution:finished"


async def test_execute_nowait_raises_what_execute_does(world):
    """Refusals are raised by the call itself."""
    world.add()
    with pytest.raises(TaskNotStarted):
        world.scheduler.execute_nowait("t")


async def test_queries_answer_when_the_task_is_destroyed(world):
    """A destroyed task has a status and no runs."""
    world.add(max_executions=3)
    assert world.scheduler.get_runs_left("t") == 3
    assert world.scheduler.get_executions("t") == ()
    await world.scheduler.destroy("t")
    assert world.status() == "destroyed"
    assert world.scheduler.get_executions("t") == ()
    with pytest.raises(TaskDestroyed):
        world.scheduler.get_runs_left("t")


async def test_get_executions_returns_a_snapshot(world):
    """The caller may keep or change what is returned."""
    world.script.run_seconds = 3
    await world.start()
    await world.clock.advance(60)
    (execution,) = world.scheduler.get_executions("t")
    execution.id = "changed"
    assert world.scheduler.get_executions("t")[0].id == "r1"
