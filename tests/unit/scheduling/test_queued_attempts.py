"""Attempts that are due while their pool is full: queued, as other runs are (O2, Y)."""

import asyncio

import pytest

from ipycron.errors import Snooze
from ipycron.scheduling.retry import Retry

SOON = {"delay": 5, "backoff": 1, "jitter": 0}
SLOT = 600


async def fill(world, *, every=SLOT, holds=None, **options):
    """Have the first attempt of `t` fail at its slot, and `h` take the place.

    The next attempt is due five seconds after the slot. The run of `h` takes `holds`
    seconds from the slot on, or does not end.
    """
    world.scheduler.set_pool("gpu", 1)
    world.script.error = OSError("no")
    options = {"retry": Retry(3, **SOON), **options}
    await world.start("t", every=every, pool="gpu", **options)
    await world.start("h", every=7200, pool="gpu")
    await world.clock.advance(SLOT)
    world.script.error, world.script.run_seconds = None, holds
    world.scheduler.execute_nowait("h", "holder")
    await world.clock.advance()
    world.script.run_seconds = 0


def free(world):
    """End the run that holds the place."""
    holder = next(w for w in world.launcher.workers if w.task_id == "h")
    holder.finish(execution_id="holder")


def tell(world, task_id="t"):
    """Return a task's events of runs: seconds since the slot, name, status."""
    return [
        (n.triggered_at - 3600 - SLOT, n.event.partition(":")[2], str(n.status))
        for n in world.events.notices
        if n.task_id == task_id and n.execution is not None
    ]


@pytest.mark.parametrize("is_shared", [False, True])
async def test_due_attempt_is_queued_until_there_is_a_place(world, is_shared):
    """Its run starts once; that it goes on is told, too."""
    if is_shared:
        world.share_workers()
    await fill(world, holds=30)
    assert world.status() == "running"  # between two attempts
    await world.clock.advance(5)
    assert world.status() == "idle"
    assert world.scheduler.get_executions("t") == ()
    (queued,) = [n for n in world.events.of("execution:queued") if n.task_id == "t"]
    assert (queued.execution.id, queued.execution.attempt) == ("r1", 2)
    assert queued.execution.started_at == 3600 + SLOT
    assert world.attempts == []
    world.script.run_seconds = 4
    await world.clock.advance(25)
    (began,) = world.attempts
    assert (began.task_id, began.status, began.execution.id) == ("t", "running", "r1")
    assert began.execution.attempt_started_at == 3600 + SLOT + 30
    assert world.status() == "running"
    await world.clock.advance(4)
    assert tell(world) == [
        (0, "started", "running"),
        (0, "retry", "running"),
        (5, "queued", "idle"),
        (34, "finished", "idle"),
    ]


async def test_attempt_that_finds_a_place_is_not_queued(world):
    """Nothing is told of it: it begins when it was said to."""
    await fill(world, holds=4)
    await world.clock.advance(5)
    assert [name for _, name, _ in tell(world)] == ["started", "retry", "finished"]
    assert world.attempts == []


async def test_attempt_may_wait_again_and_again(world):
    """Each time it is told, and each time it goes on."""
    await fill(world, holds=10)
    world.script.error = OSError("no")
    await world.clock.advance(10)
    world.script.error, world.script.run_seconds = None, 10
    world.scheduler.execute_nowait("h")
    await world.clock.advance()
    world.script.run_seconds = 0
    await world.clock.advance(20)
    assert [name for _, name, _ in tell(world)] == [
        "started", "retry", "queued", "retry", "queued", "finished",
    ]  # fmt: skip
    assert [began.execution.attempt for began in world.attempts] == [2, 3]
    assert world.status() == "idle"


@pytest.mark.parametrize(
    ("what", "why", "status"),
    [
        ("stop", "the stop of the task", "stopped"),
        ("destroy", "the destruction of the task", "destroyed"),
        ("pause", "the pause of the task", "idle"),
    ],
)
async def test_queued_attempt_ends_with_its_task(world, what, why, status):
    """Its run has failed as its last attempt did, and nobody is held up."""
    await fill(world)
    await world.clock.advance(6)
    end = getattr(world.scheduler, what)("t")
    if end is not None:
        await end
    assert [told[:2] for told in tell(world)[-2:]] == [(5, "queued"), (6, "failed")]
    (failed,) = world.events.of("execution:failed")
    assert failed.execution.attempt == 1
    assert failed.outcome.summary == "OSError: no"
    assert failed.outcome.remark == f"no further attempt: ended by {why}"
    assert world.status() == status
    free(world)
    await world.clock.advance(1)
    pool = world.scheduler.pools.get("gpu")
    assert (pool.held, pool.waiting) == (0, 0)
    assert world.attempts == []


async def test_stop_in_the_moment_of_the_grant_passes_the_place_on(world):
    """The attempt holds it by then, and has not begun."""
    await fill(world)
    await world.clock.advance(6)
    free(world)
    await world.scheduler.stop("t")
    await world.clock.advance(1)
    assert world.attempts == []
    assert world.scheduler.pools.get("gpu").held == 0


async def test_shutdown_ends_a_queued_attempt(world):
    """It is waited for by nobody."""
    await fill(world)
    await world.clock.advance(6)
    await world.clock.pass_until(world.scheduler.shutdown(0))
    assert tell(world)[-1][:2] == (6, "failed")


async def test_next_slot_ends_a_queued_attempt(world):
    """No attempt goes beyond it: the slot's own run is next in the line."""
    await fill(world, holds=SLOT + 20)
    await world.clock.advance(SLOT)
    assert tell(world)[-3:] == [
        (5, "queued", "idle"),
        (SLOT, "failed", "idle"),
        (SLOT, "queued", "idle"),
    ]
    (failed,) = world.events.of("execution:failed")
    assert failed.outcome.remark.endswith("ended by the next slot of the task")
    await world.clock.advance(20)
    assert [name for _, name, _ in tell(world)[-2:]] == ["started", "finished"]
    assert world.attempts == []


async def test_attempt_that_may_pass_the_slot_waits_on(world):
    """It has been in the line for longer than the slot's run."""
    await fill(world, holds=SLOT + 20, retry=Retry(3, **SOON, past_next=True))
    await world.clock.advance(SLOT + 20)
    assert [began.execution.id for began in world.attempts] == ["r1"]
    ends = world.events.of("execution:finished")
    assert [n.execution.id for n in ends] == ["holder", "r1", "r2"]


async def test_queued_attempt_is_replaced_by_a_newer_run(world):
    """As one between two attempts is."""
    await fill(world, holds=20, overlap="replace")
    await world.clock.advance(6)
    world.scheduler.execute_nowait("t", "newer")
    await world.clock.advance()
    (failed,) = world.events.of("execution:failed")
    assert (failed.execution.id, failed.outcome.manner) == ("r1", "replaced")
    await world.clock.advance(20)
    ends = world.events.of("execution:finished")
    assert [n.execution.id for n in ends] == ["holder", "newer"]
    assert world.attempts == []
    assert world.status() == "idle"


async def test_higher_priority_of_an_attempt_comes_first(world):
    """And among equal ones whoever asked first, an attempt or a run."""
    await fill(world, holds=30, priority=1)
    for name, priority in (("low", 0), ("equal", 1)):
        await world.start(name, every=7200, pool="gpu", priority=priority)
        world.scheduler.execute_nowait(name, name)
    await world.clock.advance(6)
    world.scheduler.execute_nowait("equal", "later")
    await world.clock.advance(30)
    ends = world.events.of("execution:finished")
    assert [n.execution.id for n in ends] == ["holder", "equal", "r1", "later", "low"]


@pytest.mark.parametrize("limit", [2, None])
async def test_larger_pool_lets_a_queued_attempt_in(world, limit):
    """At once, as it does others."""
    await fill(world)
    await world.clock.advance(6)
    world.scheduler.set_pool("gpu", limit)
    await world.clock.advance()
    assert tell(world)[-1] == (6, "finished", "idle")
    free(world)
    await world.clock.advance()
    assert world.scheduler.pools.get("gpu").held == 0


async def test_deadline_ends_a_queued_attempt(world):
    """At the deadline, not when there is a place: it would be ended at once then."""
    await fill(world, holds=60, retry=Retry(3, **SOON, deadline=20))
    await world.clock.advance(60)
    assert tell(world)[-1] == (20, "failed", "idle")
    (failed,) = world.events.of("execution:failed")
    assert failed.outcome.summary == "OSError: no"
    assert failed.outcome.remark == "no further attempt: ended by its deadline"
    pool = world.scheduler.pools.get("gpu")
    assert (pool.held, pool.waiting) == (0, 0)
    assert world.attempts == []


async def test_deadline_ends_an_attempt_that_waits_for_a_worker(world):
    """It has its place by then; the worker that comes too late is not used."""
    retry = Retry(3, **SOON, deadline=20)
    await fill(world, holds=10, retry=retry, start_timeout=60)
    world.script.load_seconds = 30
    next(w for w in world.launcher.workers if w.task_id == "t").die(signal_name="HUP")
    await world.clock.advance(60)
    assert tell(world)[-1] == (20, "failed", "idle")
    assert world.scheduler.pools.get("gpu").held == 0
    assert world.attempts == []


async def test_timeout_does_not_count_the_wait(world):
    """It is for each attempt, from its beginning on."""
    await fill(world, holds=50, timeout=10)
    world.script.run_seconds = 8
    await world.clock.advance(60)
    assert tell(world)[-1] == (58, "finished", "idle")


async def test_snoozed_run_that_is_due_is_queued(world):
    """It is the same attempt."""
    await world.start("h", every=7200, pool="gpu")
    world.scheduler.set_pool("gpu", 1)
    world.script.error = Snooze(5)
    await world.start("t", every=SLOT, pool="gpu")
    await world.clock.advance(SLOT)
    world.script.error, world.script.run_seconds = None, 30
    world.scheduler.execute_nowait("h")
    await world.clock.advance(30)
    assert tell(world)[-1] == (5, "queued", "idle")
    (began,) = world.attempts
    assert began.execution.attempt == 1


async def test_last_run_of_a_limit_waits_for_its_attempt(world):
    """The task is destroyed after it, not while it waits."""
    await fill(world, holds=30, max_executions=1)
    await world.clock.advance(29)
    assert world.status() == "idle"
    await world.clock.advance(2)
    assert tell(world)[-1][:2] == (30, "finished")
    assert world.status() == "destroyed"


async def test_stop_of_a_task_waits_for_no_queued_attempt_but_for_runs(world):
    """Its other run is in progress, and has its time."""
    await fill(world, stop_timeout=100)
    await world.clock.advance(6)
    world.scheduler.set_pool("gpu", 2)
    await world.clock.advance()
    world.script.run_seconds = 20
    world.scheduler.execute_nowait("t", "other")
    await world.clock.advance(1)
    stop = asyncio.ensure_future(world.scheduler.stop("t"))
    await world.clock.advance(1)
    assert not stop.done()
    await world.clock.advance(20)
    await stop
    assert tell(world)[-1][:2] == (26, "finished")


async def test_receiver_that_fails_stops_no_schedule(world):
    """As with events."""
    await fill(world, holds=10)
    world.attempts = None  # there is nothing to append to
    await world.clock.advance(10)
    assert tell(world)[-1] == (10, "finished", "idle")
