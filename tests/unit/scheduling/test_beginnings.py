"""A slot is noted before it begins: a kill right after that cannot hide it (K6)."""

import pytest

from ipycron.scheduling.plan import Outage
from ipycron.testing import RecordedEvents


class Noted:
    """Notes slots as seconds since the hour, and what the workers had begun by then."""

    def __init__(self, world):
        self.world = world
        self.slots = []
        self.withdrawn = []

    def add(self, _, run):
        """Note a slot that is about to begin."""
        workers = self.world.launcher.workers
        assert run.id not in [r.id for worker in workers for r in worker.runs]
        assert run.id not in [name for worker in workers for name in worker.begun]
        slot = run.date - 3600, run.reason
        if slot not in self.slots:  # again, where a worker did not stand by after all
            self.slots.append(slot)

    def withdraw(self, _, run):
        """Note a slot that does not begin after all."""
        self.withdrawn.append(run.date - 3600)


@pytest.fixture
def noted(world):
    """What the world's scheduler has noted."""
    world.beginnings = Noted(world)
    return world.beginnings


async def test_slot_is_noted_before_its_worker_is_told(world, noted):
    """Each of them."""
    await world.start()
    await world.clock.advance(180)
    assert noted.slots == [(60, "scheduled"), (120, "scheduled"), (180, "scheduled")]


async def test_slot_that_is_caught_up_on_is_noted_before_it_begins(world, noted):
    """Though it was due long ago; one that waits for its turn has not begun."""
    world.script.run_seconds = 5
    world.add(catch_up="all")
    await world.clock.advance(20)
    outage = Outage(since=3600 - 180, until=3600 - 180)
    await world.scheduler.start("t", outage=outage)
    await world.clock.advance(1)
    assert noted.slots == [(-120, "catch_up")]
    await world.clock.advance(20)
    assert noted.slots == [(-120, "catch_up"), (-60, "catch_up"), (0, "catch_up")]


async def test_call_is_no_slot(world, noted):
    """Nobody catches up on it."""
    await world.start()
    world.scheduler.execute_nowait("t", "call")
    await world.clock.advance(1)
    assert noted.slots == []


async def test_slot_is_noted_before_a_worker_stands_by_for_it(world, noted):
    """It begins by its own clock, whatever became of the scheduler."""
    world.script.stands_by = True
    await world.start()
    await world.clock.advance(59.99)
    assert noted.slots == [(60, "scheduled")]
    assert world.worker.begun == []
    assert noted.withdrawn == []


async def test_withdrawn_order_is_noted(world, noted):
    """The slot has not begun: after a restart it is made up for."""
    world.script.stands_by = True
    await world.start()
    await world.clock.advance(59.99)
    await world.scheduler.stop("t")
    assert noted.withdrawn == [60]


async def test_slots_that_wait_have_rows_before_newer_ones(world):
    """Of a task, the slots before its newest row count as settled."""
    order = []
    world.note = lambda pending: order.append(("waits", pending.execution.date - 3600))

    class Events(RecordedEvents):
        def __call__(self, notice):
            super().__call__(notice)
            if notice.event == "execution:started":
                order.append(("begins", notice.date - 3600))

    world.events = Events()
    world.add(catch_up="all", tolerance=30)
    await world.clock.advance(10)
    outage = Outage(since=3600 - 180, until=3600 - 180)
    await world.scheduler.start("t", outage=outage)
    assert order[:3] == [("waits", -120), ("waits", -60), ("begins", 0)]
