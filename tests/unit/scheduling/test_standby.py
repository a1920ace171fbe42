"""Workers that stand by for a slot, and what may happen before it (R1, A7, A8)."""

import asyncio
import math

import pytest

from ipycron.errors import OverlapError
from ipycron.scheduling.ports import Place

RUN = ["execution:started", "execution:finished"]


@pytest.fixture
def world(world):
    """A scheduler whose workers begin slots by their own clocks."""
    world.script.stands_by = True
    return world


async def test_run_is_the_one_that_the_worker_has_begun(world):
    """There is one run per slot, with the same id on both sides."""
    await world.start()
    await world.clock.advance(180)
    assert world.worker.begun == [run.id for run in world.worker.runs]
    assert len(world.worker.begun) == 3
    assert world.slots("execution:started") == [60, 120, 180]
    assert world.told()[1:3] == [(60, RUN[0]), (60, RUN[1])]


async def test_worker_gets_its_order_shortly_before_the_slot(world):
    """Not earlier: a call or a stop would have to withdraw the order."""
    await world.start()
    await world.clock.advance(59.9)
    assert world.ids == 0
    await world.clock.advance(0.09)
    assert world.ids == 1
    assert world.worker.begun == []


async def test_worker_gets_no_order_at_the_last_moment(world):
    """The order would arrive too late: the run is started the usual way."""
    await world.clock.advance(59.999)
    await world.start()
    await world.clock.advance()
    assert world.ids == 0
    await world.clock.advance(0.001)
    assert world.slots("execution:started") == [60]


async def test_begun_run_is_reported_when_the_worker_shows_it(world):
    """A late scheduler learns of the run by its output or its end."""
    await world.start()
    await world.clock.advance(59.99)
    world.worker.begin()
    world.worker.report_begun()
    await world.clock.advance()
    assert world.events.names()[1:] == RUN
    await world.clock.advance(60.01)
    assert world.slots("execution:started") == [60, 120]


async def test_stop_in_time_keeps_the_run_from_beginning(world):
    """Nothing begins after a stop."""
    await world.start()
    await world.clock.advance(59.99)
    await world.scheduler.stop("t")
    await world.clock.advance(120)
    assert world.launcher.workers[0].begun == []
    assert world.events.names() == ["task:started", "task:stopped"]


async def test_stop_that_comes_too_late_waits_for_the_run(world):
    """A run that has begun is reported and gets its time to end."""
    world.script.run_seconds = 2
    await world.start()
    await world.clock.advance(59.99)
    world.worker.begin()
    stop = asyncio.ensure_future(world.scheduler.stop("t"))
    await world.clock.advance(1)
    assert world.events.names() == ["task:started", "execution:started"]
    await world.clock.advance(1)
    assert stop.done()
    assert world.events.names()[1:] == [*RUN, "task:stopped"]


async def test_task_that_is_started_again_in_that_moment_runs_once(world):
    """The slot belongs to the new start."""
    await world.start()
    await world.clock.advance(59.99)
    await world.scheduler.stop("t")
    await world.scheduler.start("t")
    await world.clock.advance(1)
    assert world.slots("execution:started") == [60]


async def test_call_in_time_goes_first(world):
    """The call gets the worker; the slot then overlaps as usual."""
    await world.start()
    await world.clock.advance(59.99)
    world.scheduler.execute_nowait("t", "mine")
    await world.clock.advance(0.02)
    assert world.worker.begun == []
    assert world.worker.runs[0].id == "mine"
    assert world.events.names()[1:] == [*RUN, *RUN]


async def test_call_that_comes_too_late_overlaps(world):
    """The slot's run was first, though the scheduler had not noticed yet."""
    world.script.run_seconds = 2
    await world.start(no_overlap=True)
    await world.clock.advance(59.99)
    world.worker.begin()
    with pytest.raises(OverlapError, match=f"busy with run {world.worker.begun[0]}"):
        world.scheduler.execute_nowait("t")
    await world.clock.advance(3)
    assert world.slots("execution:started") == [60]


async def test_slot_is_missed_when_the_clock_jumps_over_it(world):
    """The worker has not begun and must not begin any more."""
    await world.start(tolerance=1)
    await world.clock.advance(59.99)
    world.clock.step(30)
    await world.clock.advance(6)
    assert world.slots("execution:missed") == [60]
    await world.clock.advance(1)
    assert world.worker.begun == []


async def test_slot_that_has_begun_is_not_missed_when_the_clock_jumps(world):
    """A scheduler that was suspended sees what its worker has done."""
    await world.start(tolerance=1)
    await world.clock.advance(59.99)
    world.worker.begin()
    world.clock.step(90)
    await world.clock.advance(6)
    assert world.slots("execution:started") == [60]
    assert world.slots("execution:missed") == [120]


async def test_slot_runs_once_when_the_clock_steps_back(world):
    """Neither at the time originally ordered nor twice."""
    await world.start()
    await world.clock.advance(59.99)
    world.clock.step(-30)
    await world.clock.advance(0.02)
    assert world.events.names() == ["task:started"]
    await world.clock.advance(30)
    assert world.slots("execution:started") == [60]
    assert len(world.worker.runs) == 1


async def test_death_before_the_slot_leaves_it_to_the_next_worker(world):
    """Nothing had begun, so the slot is not lost."""
    await world.start()
    await world.clock.advance(59.99)
    world.worker.die(exit_code=1)
    await world.clock.advance(0.5)
    assert world.slots("execution:started") == [60]
    assert "execution:failed" not in world.events.names()


async def test_death_after_it_has_begun_is_the_run_s_failure(world):
    """Reported as started and failed, though the scheduler was late."""
    await world.start()
    await world.clock.advance(59.99)
    world.worker.begin()
    world.worker.die(exit_code=1)
    await world.clock.advance(1)
    assert world.events.names()[1:3] == ["execution:started", "execution:failed"]
    assert world.slots("execution:started") == [60]


@pytest.mark.parametrize("policy", [{"distributed": True}, {"jitter": 5}])
async def test_no_worker_stands_by_where_the_slot_is_not_all(world, policy):
    """With an election or a random delay, the slot alone does not decide."""
    await world.start(**policy)
    await world.clock.advance(70)
    assert world.worker.begun == []


async def test_last_run_of_a_limit_is_one_that_has_begun(world):
    """It counts, and the task ends after it."""
    await world.start(max_executions=1)
    await world.clock.advance(59.99)
    world.worker.begin()
    world.worker.report_begun()
    await world.clock.advance(120)
    assert world.slots("execution:started") == [60]
    assert world.status() == "destroyed"


async def test_shutdown_waits_for_a_run_that_has_begun(world):
    """It may end like any other run."""
    world.script.run_seconds = 1
    await world.start()
    await world.clock.advance(59.99)
    world.worker.begin()
    await world.clock.pass_until(world.scheduler.shutdown(5))
    assert world.events.names()[1:] == [*RUN, "task:stopped", "task:destroyed"]


async def test_many_that_stand_by_are_left_alone_for_a_moment(world, monkeypatch):
    """The scheduler briefly leaves the cores to them, unless they are few."""
    rests = []
    monkeypatch.setattr(world.clock, "rest", rests.append)
    for number in range(40):
        await world.start(f"t{number}")
    await world.clock.advance(60)
    assert rests == [pytest.approx(0.004)]
    assert len(world.slots("execution:started")) == 40
    for number in range(30):
        await world.scheduler.destroy(f"t{number}")
    await world.clock.advance(60)
    assert len(rests) == 1


async def test_each_that_stands_by_knows_how_many_do(world):
    """And its own number, since they share the cores."""
    for number in range(40):
        await world.start(f"t{number}")
    for _ in range(2):
        await world.clock.advance(60)
        places = [worker.place for worker in world.launcher.workers]
        assert places == [Place(number, 40) for number in range(40)]


async def test_worker_of_a_crowd_gets_no_order_once_its_task_is_stopped(world):
    """All are counted before the orders are sent."""
    for number in range(60):
        await world.start(f"t{number}")
    await world.clock.advance(59.951)
    await world.scheduler.stop("t0")
    await world.clock.advance(0.02)
    first, *others = world.launcher.workers
    assert first.place is None
    assert len(others) == 59
    assert all(worker.place for worker in others)


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        (3660.5, 3660.5),
        (None, 3662),
        (3659.9, 3662),
        (3662.1, 3662),
        (math.inf, 3662),
        (math.nan, 3662),
    ],
)
async def test_run_ends_when_its_worker_says_unless_that_cannot_be(world, told, shown):
    """A crowd reports ends late; a job may send any time on its socket."""
    world.script.run_seconds = None
    await world.start()
    await world.clock.advance(62)
    world.worker.return_at(told)
    await world.clock.advance()
    (end,) = world.events.of("execution:finished")
    assert end.execution.started_at == 3660
    assert end.execution.finished_at == shown
    assert end.triggered_at == 3662
