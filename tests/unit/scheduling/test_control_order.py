"""Controls of one task, in many orders, at every turn of the event loop."""

import asyncio
import random

import pytest

from ipycron.errors import (
    ExecutionStopped,
    OverlapError,
    StartRevoked,
    TaskNotStarted,
)
from ipycron.testing import RecordedEvents

# More turns than the longest of a start and a stop needs.
MOST_TURNS = 12


async def pass_turns(count):
    """Let the event loop turn `count` times."""
    for _ in range(count):
        await asyncio.sleep(0)


class Restarting(RecordedEvents):
    """A receiver that asks for a start when it hears of the first stop."""

    def __init__(self, world):
        super().__init__()
        self.world = world
        self.start = None

    def __call__(self, notice):
        """Keep the notice; ask for the start."""
        super().__call__(notice)
        if notice.event == "task:stopped" and self.start is None:
            self.start = asyncio.ensure_future(self.world.scheduler.start("t"))


async def test_start_works_when_a_receiver_asks_for_it_at_the_stop(world):
    """The stop ends between the request of the start and the start's first step."""
    world.events = Restarting(world)
    await world.start()
    await world.scheduler.stop("t")
    await world.events.start
    assert world.status() == "idle"
    assert world.events.names() == ["task:started", "task:stopped", "task:started"]


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("is_shared", [False, True], ids=["own", "shared"])
async def test_latest_control_counts_at_every_turn_of_the_loop(world, seed, is_shared):
    """Each control ends, with no error but its own, and the last one counts."""
    rng = random.Random(seed)
    if is_shared:
        world.share_workers()
    for number in range(20):
        await play(world, rng, f"t{number}")
        await world.clock.advance()
        assert world.launcher.alive == []


async def play(world, rng, task_id):
    """Control a new task at random, then destroy it."""
    scheduler = world.scheduler
    world.add(task_id)
    controls = []

    def control(kind):
        work = asyncio.ensure_future(getattr(scheduler, kind)(task_id))
        controls.append((kind, work))

    for _ in range(rng.randint(2, 8)):
        kind = rng.choice(["start", "start", "start at once", "stop", "execute"])
        world.script.load_error = BROKEN if rng.random() < 0.2 else None
        world.script.run_seconds = rng.choice([0, 0, 1])
        if kind != "start at once":
            control(kind)
        elif not scheduler.start_at_once(task_id):
            control("start")
        await pass_turns(rng.randrange(MOST_TURNS))
    world.script.load_error = None
    last = rng.choice(["start", "stop"])
    control(last)
    await world.clock.pass_until(asyncio.wait({work for _, work in controls}))
    for kind, work in controls:
        error = work.exception()
        assert error is None or isinstance(error, EXPECTED[kind]), (kind, error)
    status = "stopped" if last == "stop" or controls[-1][1].exception() else "idle"
    assert world.status(task_id) == status
    await world.clock.pass_until(scheduler.destroy(task_id))
    assert world.status(task_id) == "destroyed"


BROKEN = ImportError("the job's module is half written")

EXPECTED = {
    "start": (StartRevoked, ImportError),
    "stop": (),
    "execute": (TaskNotStarted, ExecutionStopped, OverlapError),
}
