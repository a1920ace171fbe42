"""The fakes for users' tests behave like what they replace."""

import asyncio
import doctest
import inspect

import pytest

from ipycron import testing
from ipycron.errors import StopTimeout, WorkerCrashed
from ipycron.scheduling import ports
from ipycron.scheduling.clock import SystemClock
from ipycron.scheduling.events import Event, ScheduledExecution
from ipycron.testing import (
    Every,
    FakeClock,
    FakeLauncher,
    FakeWorker,
    RecordedEvents,
    Script,
)
from ipycron.testing import clock as clock_module
from ipycron.testing import schedule as schedule_module


@pytest.mark.parametrize("module", [testing, clock_module, schedule_module])
def test_examples_run(module):
    """The documentation's examples are correct."""
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed


@pytest.mark.parametrize(
    ("port", "made"),
    [
        (ports.Clock, SystemClock),
        (ports.Clock, FakeClock),
        (ports.Launcher, FakeLauncher),
        (ports.Worker, FakeWorker),
        (ports.Schedule, Every),
        (ports.Timer, clock_module.FakeTimer),
    ],
)
def test_ports_are_served(port, made):
    """Fakes have each method of a port, with the same parameters."""
    for name, member in vars(port).items():
        if name.startswith("_"):
            continue
        own = getattr(made, name)
        if inspect.isfunction(member):
            assert list(inspect.signature(own).parameters) == list(
                inspect.signature(member).parameters
            )
            assert inspect.iscoroutinefunction(own) == inspect.iscoroutinefunction(
                member
            )


@pytest.fixture
def clock():
    """A clock at zero."""
    return FakeClock(0)


@pytest.fixture
def deaths():
    """The workers that died, with their errors."""
    return []


@pytest.fixture
def launch(clock, deaths):
    """Return a new fake worker with a script."""

    async def launch(*, is_shared=False, **script):
        launcher = FakeLauncher(clock, is_shared=is_shared, script=Script(**script))
        return await launcher.launch("t", lambda *death: deaths.append(death))

    return launch


def make_execution(name="r"):
    """Return an execution to run."""
    return ScheduledExecution(id=name, reason="invoked", date=0)


async def test_worker_runs_as_its_script_says(clock, launch):
    """After its seconds, the run returns its result or raises its error."""
    worker = await launch(run_seconds=3, result=42)
    run = worker.run(make_execution())
    await clock.advance(2)
    assert worker.is_busy
    await clock.advance(1)
    assert run.result().value == 42
    assert not worker.is_busy
    failing = await launch(error=ValueError("no"))
    assert (await failing.run(make_execution())).summary == "ValueError: no"


async def test_worker_ends_runs_when_told(launch):
    """The oldest by default, or the given one."""
    worker = await launch(is_shared=True, run_seconds=None)
    runs = [worker.run(make_execution(name)) for name in "abc"]
    worker.finish(1)
    worker.finish(3, execution_id="c")
    worker.fail(ValueError("no"))
    assert [run.result().summary for run in runs] == ["1", "ValueError: no", "3"]
    assert [execution.id for execution in worker.runs] == ["a", "b", "c"]


async def test_worker_fails_its_run_before_it_reports_its_death(launch, deaths):
    """As the port requires: first the run, then on_death, once."""
    worker = await launch(run_seconds=None)
    run = worker.run(make_execution())
    worker.die(signal_name="SIGSEGV")
    worker.die(exit_code=1)
    assert isinstance(run.exception(), WorkerCrashed)
    assert deaths == [(worker, run.exception())]
    assert worker.is_gone


async def test_worker_that_is_stopped_reports_no_death(launch, deaths):
    """A requested stop is not a death and may be repeated."""
    idle, busy = await launch(), await launch(run_seconds=None)
    run = busy.run(make_execution())
    for worker in (idle, busy, idle, busy):
        await worker.stop(grace=2)
        assert worker.is_gone
    assert run.exception().signal_name == "SIGTERM"
    assert deaths == []


async def test_stubborn_worker_is_killed_after_its_grace(clock, launch):
    """Two concurrent stops wait for the same end."""
    worker = await launch(run_seconds=None, is_stubborn=True)
    run = worker.run(make_execution())
    stops = [asyncio.ensure_future(worker.stop(grace=2)) for _ in range(2)]
    await clock.advance(1.9)
    assert not run.done()
    await clock.advance(0.1)
    assert run.exception().signal_name == "SIGKILL"
    assert all(stop.done() for stop in stops)


async def test_stubborn_worker_that_ends_by_itself_is_not_killed(clock, launch):
    """It may still end within the grace period."""
    worker = await launch(run_seconds=None, is_stubborn=True)
    run = worker.run(make_execution())
    stop = asyncio.ensure_future(worker.stop(grace=2))
    await clock.advance(1)
    worker.die(exit_code=3)
    await clock.advance(2)
    assert stop.done()
    assert run.exception().exit_code == 3


async def test_stubborn_shared_worker_cannot_be_ended(clock, launch):
    """A thread keeps running: the stop reports it, and the run may still end."""
    worker = await launch(is_shared=True, run_seconds=None, is_stubborn=True)
    run = worker.run(make_execution())
    stop = asyncio.ensure_future(worker.stop(grace=2))
    await clock.advance(2)
    assert isinstance(stop.exception(), StopTimeout)
    worker.finish()
    assert run.done()


async def test_end_of_a_cancelled_run_is_nothing(clock, launch):
    """A run whose future was cancelled neither returns nor dies."""
    worker = await launch(is_shared=True, run_seconds=3, dies=True)
    worker.run(make_execution()).cancel()
    await clock.advance(5)
    assert not worker.is_gone
    other = worker.run(make_execution("other"))
    other.cancel()
    worker.finish(execution_id="other")
    last = worker.run(make_execution("last"))
    last.cancel()
    worker.die()
    assert worker.is_gone


async def test_launch_takes_its_time_and_may_fail(clock):
    """A load takes time, hangs or raises; a cancelled one leaves nothing."""
    launcher = FakeLauncher(clock, script=Script(load_seconds=2))
    first = asyncio.ensure_future(launcher.launch("t", print))
    await clock.advance(1)
    assert launcher.loading == 1
    await clock.advance(1)
    assert launcher.alive == [first.result()]
    launcher.script.load_error = OSError("no")
    with pytest.raises(OSError, match="no"):
        await clock.pass_until(launcher.launch("t", print))
    launcher.script.load_seconds = None
    hung = asyncio.ensure_future(launcher.launch("t", print))
    await clock.advance(1000)
    hung.cancel()
    await clock.advance()
    assert launcher.loading == 0
    assert launcher.worker is first.result()


async def test_recorder_keeps_notices(world):
    """By task, by event, and empty again after a clear."""
    await world.start("a")
    await world.start("b")
    assert world.events.names("a") == ["task:started"]
    assert len(world.events.of("task:started")) == 2
    assert len(world.events.of(Event.TASK_STARTED, "task:stopped")) == 2
    world.events.clear()
    assert world.events.notices == []


def test_recorder_begins_empty():
    """There are no notices before the first event."""
    assert RecordedEvents().names() == []
