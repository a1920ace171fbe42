"""A scheduler on fake time, and coroutine tests that must leave nothing behind."""

import asyncio
import inspect

import pytest

from ipycron.scheduling.policy import Policy
from ipycron.scheduling.scheduler import Scheduler
from ipycron.testing import Every, FakeClock, FakeLauncher, RecordedEvents, Script

# The world's random delay, as a fraction of the longest.
HALF = 0.5


class World:
    """A scheduler whose surroundings are all fake; the time is the full hour."""

    def __init__(self):
        self.clock = FakeClock(3600)
        self.events = RecordedEvents()
        self.script = Script()
        self.launcher = FakeLauncher(self.clock, script=self.script)
        self.elector = None
        self.attempts = []
        self.beginnings = None
        self.ids = 0
        self._scheduler = None

    @property
    def scheduler(self):
        """The scheduler, created on first use."""
        if self._scheduler is None:
            self._scheduler = Scheduler(
                clock=self.clock,
                launcher=self.launcher,
                emit=self.events,
                note=self.note,
                note_attempt=self.note_attempt,
                elector=self.elector,
                beginnings=self.beginnings,
                uniform=lambda low, high: low + HALF * (high - low),
                new_id=self.make_id,
            )
        return self._scheduler

    @property
    def worker(self):
        """The newest worker."""
        return self.launcher.worker

    def note(self, pending):
        """Record a run that waits, if anything is recorded."""
        recorder = getattr(self.events, "recorder", None)
        if recorder is not None:
            recorder.note_pending(pending)

    def note_attempt(self, began):
        """Keep a queued attempt that has begun, and record it likewise."""
        self.attempts.append(began)
        recorder = getattr(self.events, "recorder", None)
        if recorder is not None:
            recorder.note_attempt(began)

    def make_id(self):
        """Return r1, r2 and so on."""
        self.ids += 1
        return f"r{self.ids}"

    def share_workers(self):
        """Let workers run several executions at once, like inline jobs."""
        self.launcher = FakeLauncher(self.clock, script=self.script, is_shared=True)

    def add(self, task_id="t", *, every=60, **policy):
        """Add a task, due every minute by default."""
        schedule = Every(every) if isinstance(every, int) else every
        self.scheduler.add(
            task_id, name=task_id, schedule=schedule, policy=Policy(**policy)
        )

    async def start(self, task_id="t", **options):
        """Add and start a task."""
        self.add(task_id, **options)
        await self.scheduler.start(task_id)

    def status(self, task_id="t"):
        """Return a task's status as a string."""
        return str(self.scheduler.get_status(task_id))

    def told(self, since=3600):
        """Return the notices so far: seconds since the hour, event."""
        return [(n.triggered_at - since, str(n.event)) for n in self.events.notices]

    def slots(self, event):
        """Return the slots of an event's notices, in seconds since the hour."""
        return [notice.date - 3600 for notice in self.events.of(event)]

    async def close(self):
        """Shut everything down."""
        if self._scheduler is not None:
            await self.clock.pass_until(self._scheduler.shutdown(0))


@pytest.fixture
def world():
    """A scheduler on fake time."""
    return World()


async def _play(test, arguments):
    """Run a coroutine test, then check what it left behind."""
    complaints = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    await test(**arguments)
    world = arguments.get("world")
    if world is not None:
        await world.close()
        await world.clock.advance()
        assert world.launcher.alive == []
        assert world.launcher.loading == 0
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert left == set()
    assert complaints == []


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Run each coroutine test of this folder on its own loop."""
    test = pyfuncitem.obj
    if not inspect.iscoroutinefunction(test):
        return None
    names = inspect.signature(test).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    asyncio.run(_play(test, arguments))
    return True
