"""Pools: at most so many runs of several tasks at once (O2)."""

import asyncio

import pytest

from ipycron.errors import InvalidOption, QueueFull
from ipycron.scheduling.policy import CatchUp, check_priority
from ipycron.scheduling.pools import MAX_WAITING, Pool
from ipycron.scheduling.retry import Retry


def starts(world):
    """Return the tasks of the runs that started, and when they did."""
    started = world.events.of("execution:started")
    return [(n.task_id, n.triggered_at - 3600) for n in started]


async def start_three(world, **options):
    """Start the tasks a, b and c in the pool "gpu", due every minute."""
    for name in "abc":
        await world.start(name, pool="gpu", **options)


@pytest.mark.parametrize("is_shared", [False, True])
async def test_runs_beyond_the_limit_wait_for_a_place(world, is_shared):
    """In the order in which they were due; waiting for a place is no lateness."""
    if is_shared:
        world.share_workers()
    world.script.run_seconds = 10
    world.scheduler.set_pool("gpu", 2)
    await start_three(world, every=600)
    await world.clock.advance(625)
    assert starts(world) == [("a", 600), ("b", 600), ("c", 610)]
    (queued,) = world.events.of("execution:queued")
    assert queued.task_id == "c"
    assert world.events.of("execution:missed") == []
    assert world.events.of("execution:overlap") == []


async def test_higher_priority_comes_first(world):
    """And among equal ones whoever asked first."""
    world.script.run_seconds = 1
    world.scheduler.set_pool("gpu", 1)
    for number, priority in enumerate([0, 0, 5, -1, 5, 0]):
        await world.start(f"t{number}", pool="gpu", priority=priority, every=600)
    await world.clock.advance(610)
    assert [name for name, _ in starts(world)] == ["t0", "t2", "t4", "t1", "t5", "t3"]


async def test_other_pools_are_not_affected(world):
    """Nor are tasks without one."""
    world.script.run_seconds = None
    world.scheduler.set_pool("gpu", 1)
    world.scheduler.set_pool("disk", 1)
    for name, pool in (("a", "gpu"), ("b", "disk"), ("c", None)):
        await world.start(name, pool=pool)
    await world.clock.advance(60)
    assert [name for name, _ in starts(world)] == ["a", "b", "c"]


async def test_tasks_without_a_pool_have_one_in_common(world):
    """The pool None."""
    world.script.run_seconds = None
    world.scheduler.set_pool(None, 1)
    await world.start("a")
    await world.start("b")
    await world.start("c", pool="gpu")
    await world.clock.advance(60)
    assert [name for name, _ in starts(world)] == ["a", "c"]


async def test_calls_count_and_wait_as_well(world):
    """Whoever calls waits for the place, too."""
    world.script.run_seconds = 10
    world.scheduler.set_pool("gpu", 1)
    await start_three(world, every=3600)
    calls = [asyncio.ensure_future(world.scheduler.execute(name)) for name in "abc"]
    await world.clock.advance(15)
    assert [call.done() for call in calls] == [True, False, False]
    await world.clock.advance(15)
    assert [(await call).is_ok for call in calls] == [True] * 3


async def test_place_is_freed_by_the_end_of_the_process(world):
    """A run that ignores SIGTERM holds its place until it is killed."""
    world.script.run_seconds, world.script.is_stubborn = None, True
    world.scheduler.set_pool("gpu", 1)
    await start_three(world, every=600, timeout=10)
    await world.clock.advance(613)
    assert starts(world) == [("a", 600), ("b", 612)]


async def test_place_of_a_single_use_worker_is_freed_when_it_is_gone(world):
    """Its memory is free only then, not at the end of its run."""
    world.script.is_single_use = True
    world.script.run_seconds = 10
    world.scheduler.set_pool("gpu", 1)
    await start_three(world, every=600)
    await world.clock.advance(595)  # loaded again shortly before its slot
    first = world.launcher.workers[3]
    gate = asyncio.get_running_loop().create_future()
    stop = first.stop

    async def stop_late(*, grace):
        await gate
        await stop(grace=grace)

    first.stop = stop_late
    await world.clock.advance(25)
    assert starts(world) == [("a", 600)]
    gate.set_result(None)
    await world.clock.advance()
    assert starts(world) == [("a", 600), ("b", 620)]


async def test_place_of_code_that_cannot_be_ended_is_kept(world):
    """Its run is reported as over, and its code goes on."""
    world.share_workers()
    world.script.run_seconds, world.script.is_stubborn = None, True
    world.scheduler.set_pool("gpu", 1)
    await start_three(world, every=600, timeout=10)
    await world.clock.advance(700)
    assert starts(world) == [("a", 600)]
    world.launcher.workers[0].finish()
    await world.clock.advance()
    assert [name for name, _ in starts(world)] == ["a", "b"]


async def test_place_is_free_between_two_attempts(world):
    """Whoever waits is let in; the attempt joins the line again."""
    world.script.run_seconds, world.script.error = 1, OSError("no")
    world.scheduler.set_pool("gpu", 1)
    retry = Retry(1, delay=5, jitter=0)
    await start_three(world, every=600, retry=retry)
    await world.clock.advance(620)
    told = world.events.of("execution:started", "execution:retry", "execution:failed")
    assert [(n.task_id, str(n.event)[10:], n.triggered_at - 4200) for n in told] == [
        ("a", "started", 0), ("a", "retry", 1), ("b", "started", 1), ("b", "retry", 2),
        ("c", "started", 2), ("c", "retry", 3), ("a", "failed", 7), ("b", "failed", 8),
        ("c", "failed", 9),
    ]  # fmt: skip


async def test_limit_that_is_set_later_counts_what_runs(world):
    """Runs in progress continue, even more than that."""
    world.script.run_seconds = 30
    await start_three(world, every=600)
    await world.start("d", pool="gpu", every=3600)
    await world.clock.advance(600.5)
    world.scheduler.set_pool("gpu", 2)
    world.scheduler.execute_nowait("d")
    await world.clock.advance(28)
    assert [name for name, _ in starts(world)] == ["a", "b", "c"]
    await world.clock.advance(2)
    assert starts(world)[-1] == ("d", 630)


async def test_raised_limit_lets_more_in(world):
    """At once; no limit lets all in."""
    world.script.run_seconds = None
    world.scheduler.set_pool("gpu", 1)
    await start_three(world)
    await world.clock.advance(60)
    world.scheduler.set_pool("gpu", 2)
    await world.clock.advance(1)
    assert [name for name, _ in starts(world)] == ["a", "b"]
    world.scheduler.set_pool("gpu", None)
    await world.clock.advance(1)
    assert [name for name, _ in starts(world)] == ["a", "b", "c"]


async def test_lowered_limit_ends_nothing(world):
    """Places are given again once there are fewer runs than that."""
    world.script.run_seconds = None
    world.scheduler.set_pool("gpu", 3)
    await start_three(world, every=600)
    await world.clock.advance(600)
    world.scheduler.set_pool("gpu", 1)
    await world.start("d", pool="gpu", every=3600)
    world.scheduler.execute_nowait("d")
    await world.clock.advance(5)
    for worker in world.launcher.workers[:2]:
        worker.finish()
        await world.clock.advance()
        assert len(starts(world)) == 3
    world.launcher.workers[2].finish()
    await world.clock.advance()
    assert starts(world)[-1][0] == "d"


@pytest.mark.parametrize("what", ["stop", "destroy", "pause"])
async def test_whoever_leaves_the_line_holds_up_nobody(world, what):
    """The next one gets the place."""
    world.script.run_seconds = 10
    world.scheduler.set_pool("gpu", 1)
    await start_three(world, every=600)
    await world.clock.advance(605)
    end = getattr(world.scheduler, what)("b")
    if end is not None:
        await end
    await world.clock.advance(20)
    assert starts(world) == [("a", 600), ("c", 610)]


async def test_stop_in_the_moment_of_the_grant_passes_the_place_on(world):
    """The place is held by then, and nobody has begun."""
    world.scheduler.set_pool("gpu", 1)
    world.script.run_seconds = None
    await start_three(world, every=600)
    await world.clock.advance(600)
    world.launcher.workers[0].finish()
    stop = asyncio.ensure_future(world.scheduler.stop("b", force=True))
    await world.clock.advance()
    await stop
    assert [name for name, _ in starts(world)][-1] == "c"


@pytest.mark.parametrize("window", [None, 3600])
async def test_slot_that_waited_through_a_suspend_is_judged_again(world, window):
    """Missed, or caught up on (C2)."""
    world.script.run_seconds = 10
    world.scheduler.set_pool("gpu", 1)
    catch_up = "none" if window is None else CatchUp("latest", window=window)
    await world.start("a", pool="gpu", every=600)
    await world.start("b", pool="gpu", every=600, catch_up=catch_up)
    await world.clock.advance(605)
    world.clock.step(60)
    await world.clock.advance(15)
    missed = [n.task_id for n in world.events.of("execution:missed")]
    ran = [
        (n.task_id, n.execution.reason) for n in world.events.of("execution:started")
    ]
    if window is None:
        assert (missed, ran) == (["b"], [("a", "scheduled")])
    else:
        assert (missed, ran) == ([], [("a", "scheduled"), ("b", "catch_up")])
    world.script.run_seconds = 0
    await world.clock.advance(600)  # the place of the late run was freed


async def test_line_that_is_full_misses_slots_and_refuses_calls(world):
    """In one line; whoever waits keeps waiting."""
    world.script.run_seconds = None
    world.scheduler.set_pool("gpu", 1)
    await world.start("a", pool="gpu", every=1)
    await world.clock.advance(MAX_WAITING + 3)
    assert len(world.events.of("execution:missed")) == 2
    with pytest.raises(QueueFull, match="waiting for a place in the pool 'gpu'"):
        world.scheduler.execute_nowait("a")


async def test_standby_and_direct_calls_go_through_the_pool(world):
    """A worker that begins by itself would not ask for a place."""
    world.script.stands_by = True
    await world.start("a", pool="gpu", every=600)
    await world.clock.advance(599.97)
    assert world.worker.place is not None
    world.scheduler.set_pool("gpu", 1)  # the order is withdrawn
    await world.start("b", pool="gpu", every=600)
    world.script.run_seconds = 5
    await world.clock.advance(0.03)
    assert starts(world) == [("a", 600)]
    assert world.launcher.workers[0].begun == []
    await world.clock.advance(5)
    assert starts(world)[-1] == ("b", 605)
    assert not world.launcher.workers[0].call("c1")


async def test_direct_call_in_progress_counts(world):
    """It was begun before there was a limit."""
    world.script.run_seconds = None
    await world.start("a", pool="gpu", every=3600)
    world.scheduler.execute_nowait("a")
    await world.clock.advance()
    world.worker.finish()
    await world.clock.advance()
    assert world.worker.call("c1")
    world.scheduler.set_pool("gpu", 1)
    await world.start("b", pool="gpu", every=3600)
    world.scheduler.execute_nowait("b", "x")
    await world.clock.advance()
    assert [n.execution.id for n in world.events.of("execution:started")][-1] == "c1"
    world.launcher.workers[0].finish()
    await world.clock.advance()
    assert [n.execution.id for n in world.events.of("execution:started")][-1] == "x"


async def test_crowd_that_comes_and_goes_leaves_nothing_behind():
    """The line forgets those who have left it."""
    pool = Pool()
    pool.limit = 1
    first = pool.ask(0, print)
    for _ in range(1000):
        pool.ask(0, print).release()
    assert len(pool._line) < 100
    last = pool.ask(0, print)
    first.release()
    assert last.is_held
    last.release()
    last.release()
    assert (pool.held, pool.waiting) == (0, 0)


@pytest.mark.parametrize("value", [1.5, "1", None, True, 10**7, -(10**7)])
def test_priority_is_a_whole_number(value):
    """Positive or negative, and not absurd."""
    with pytest.raises(InvalidOption, match="a whole number from -1000000"):
        check_priority("priority", value)
