"""Runs that the client starts on a worker directly, past the scheduler (A8, R3, A7)."""

import asyncio

import pytest

from ipycron.errors import OverlapError, WorkerCrashed

RUN = ["execution:started", "execution:finished"]


@pytest.fixture
def world(world):
    """A scheduler whose runs never end by themselves."""
    world.script.run_seconds = None
    return world


async def start(world, **policy):
    """Start a task and end its first run: from then on its worker is offered."""
    await world.start(**policy)
    assert not world.worker.call("early"), "offered before it was ever called"
    world.scheduler.execute_nowait("t", "first")
    await world.clock.advance()
    world.worker.finish()
    await world.clock.advance(1)
    world.events.notices.clear()


async def test_short_run_leaves_no_trace(world):
    """A run that ends before the scheduler checks leaves no trace here."""
    await start(world)
    assert world.worker.call("c")
    assert not world.worker.call("d"), "one at a time"
    assert world.worker.answer()
    assert world.events.names() == []
    assert world.worker.call("d")
    assert world.worker.answer()


async def test_shown_run_is_reported_and_ended_like_any_other(world):
    """Its date is the time of the call."""
    await start(world)
    world.worker.call("c")
    await world.clock.advance(2)
    assert not world.worker.hold()
    assert world.status() == "running"
    (notice,) = world.events.notices
    assert notice.event == RUN[0]
    assert notice.execution.id == "c"
    assert notice.execution.reason == "invoked"
    assert notice.date == 3600 + 1
    world.worker.finish(5)
    await world.clock.advance()
    assert world.events.names() == RUN
    assert world.status() == "idle"
    assert world.worker.call("d"), "offered again"


async def test_slot_overlaps_an_unreported_run(world):
    """R3: the slot runs in parallel, on its own worker."""
    await start(world)
    world.worker.call("c")
    await world.clock.advance(59)
    assert world.events.names() == [RUN[0], "execution:overlap", RUN[0]]
    assert len(world.launcher.alive) == 2
    for worker in world.launcher.alive:
        worker.finish()
    await world.clock.advance()
    assert len(world.launcher.alive) == 1


@pytest.mark.parametrize("delay", [0, 20])
async def test_slot_is_skipped_where_nothing_may_overlap(world, delay):
    """R3 with `no_overlap`, whether or not the worker was to stand by."""
    await start(world, no_overlap=True, jitter=delay)
    world.worker.call("c")
    await world.clock.advance(59)
    assert world.events.names() == [RUN[0], "execution:overlap"]


async def test_call_by_the_scheduler_names_the_run(world):
    """A8: the `OverlapError` names the run in progress."""
    await start(world, no_overlap=True)
    world.worker.call("c")
    with pytest.raises(OverlapError, match="run c "):
        world.scheduler.execute_nowait("t", "d")


async def test_second_run_has_a_worker_of_its_own(world):
    """Both runs are in progress at the same time."""
    await start(world)
    world.worker.call("c")
    world.scheduler.execute_nowait("t", "d")
    await world.clock.advance()
    runs = [run.id for run in world.scheduler.get_executions("t")]
    assert runs == ["c", "d"]


async def test_nothing_begins_past_a_run(world):
    """While a run is in progress, the worker takes no calls."""
    await start(world)
    world.scheduler.execute_nowait("t", "d")
    await world.clock.advance()
    assert not world.worker.call("c")


async def test_nothing_begins_past_a_run_that_waits(world):
    """Nor while a slot's run is in its random delay and another run has ended."""
    await start(world, jitter=1000)
    await world.clock.advance(59)
    world.scheduler.execute_nowait("t", "d")
    await world.clock.advance()
    world.worker.finish()
    await world.clock.advance()
    assert not world.worker.call("c")
    await world.clock.advance(500)
    assert world.slots("execution:started")[-1] == 60


async def test_worker_that_stands_by_takes_no_calls(world):
    """A call would make it late for its slot."""
    world.script.stands_by = True
    await start(world)
    await world.clock.advance(58.99)
    assert not world.worker.call("c")
    await world.clock.advance(0.01)
    assert world.slots("execution:started") == [60]


async def test_worker_that_was_called_does_not_stand_by(world):
    """The slot then overlaps the called run."""
    world.script.stands_by = True
    await start(world)
    world.worker.call("c")
    await world.clock.advance(58.99)
    assert world.events.names() == [RUN[0]]
    assert world.worker.place is None


async def test_stop_waits_for_the_run(world):
    """A7: it gets `stop_timeout` seconds and ends before the task is stopped."""
    await start(world, stop_timeout=5)
    worker = world.worker
    worker.call("c")
    stop = asyncio.ensure_future(world.scheduler.stop("t"))
    await world.clock.advance(1)
    assert not stop.done()
    worker.finish()
    await world.clock.pass_until(stop)
    assert world.events.names() == [*RUN, "task:stopped"]
    assert not worker.call("d")


async def test_no_call_begins_once_a_stop_has(world):
    """The worker is about to end."""
    await start(world)
    worker = world.worker
    stop = asyncio.ensure_future(world.scheduler.stop("t"))
    await asyncio.sleep(0)
    assert not worker.call("c")
    await world.clock.pass_until(stop)


async def test_death_fails_the_run(world):
    """R7: a worker dies in a run that was never reported."""
    await start(world)
    world.worker.call("c")
    world.worker.die(signal_name="SIGKILL")
    await world.clock.advance(1)
    assert world.events.names() == [RUN[0], "execution:failed", "task:restarted"]
    failed = world.events.of("execution:failed")[0]
    assert failed.execution.id == "c"
    assert isinstance(failed.outcome.value, WorkerCrashed)


async def test_task_with_a_timeout_takes_no_calls(world):
    """R6: a direct run could not be ended by the timeout."""
    await start(world, timeout=10)
    assert not world.worker.call("c")


@pytest.mark.parametrize("delay", [0, 20])
async def test_worker_is_held_once_in_a_fire(world, monkeypatch, delay):
    """Whether it stands by for the slot or is taken at the slot."""
    await start(world, jitter=delay)
    held = []
    hold = world.worker.hold
    monkeypatch.setattr(world.worker, "hold", lambda: held.append(1) or hold())
    await world.clock.advance(59 + delay)
    assert world.events.names() == [RUN[0]]
    assert held == [1]
