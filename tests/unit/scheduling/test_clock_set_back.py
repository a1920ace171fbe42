"""A clock set back by hours, and runs that waited while asleep (C2, C3).

The world stands at the hour and is due at every minute; its dice give half a delay.
"""

import asyncio

import pytest

HOUR = 3600
DAY = 86_400


async def test_next_slot_is_recomputed_when_the_clock_was_a_day_ahead(world):
    """Correcting a wrong clock does not silence a task for a day."""
    told = []
    world.scheduler._on_set_back = told.append
    world.clock.step(DAY)
    await world.start()
    await world.clock.advance(150)
    assert world.slots("execution:started") == [DAY + 60, DAY + 120]
    world.clock.step(-DAY)
    await world.clock.advance(30)  # to the third minute
    assert world.slots("execution:started")[2:] == [180]
    await world.clock.advance(120)
    assert world.slots("execution:started")[2:] == [180, 240, 300]
    assert told == [DAY]


async def test_next_slot_of_a_task_that_has_not_run_is_recomputed(world):
    """The next slot computed from a wrong clock is discarded."""
    world.clock.step(DAY)
    await world.start(every=6 * HOUR)
    world.clock.step(-DAY)
    await world.clock.advance(5 * HOUR)
    assert world.slots("execution:started") == [5 * HOUR]


async def test_slots_that_have_passed_are_not_run_again_within_three_hours(world):
    """A smaller step is an adjustment: the task waits for the clock."""
    told = []
    world.scheduler._on_set_back = told.append
    await world.start(every=1800)
    await world.clock.advance(2 * HOUR + 60)
    runs = world.slots("execution:started")
    world.clock.step(-2 * HOUR)
    await world.clock.advance(2 * HOUR)
    assert world.slots("execution:started") == runs
    await world.clock.advance(1800)
    assert world.slots("execution:started") == [*runs, 2 * HOUR + 1800]
    assert told == []


async def test_next_slot_is_recomputed_when_started_after_a_correction(world):
    """Slots that a stopped task ran in the wrong time do not count."""
    world.clock.step(DAY)
    await world.start()
    await world.clock.advance(60)
    await world.scheduler.stop("t")
    world.clock.step(-DAY)
    await world.scheduler.start("t")
    await world.clock.advance(60)
    assert world.slots("execution:started") == [DAY + 60, 120]


async def test_limit_stays_reached_after_a_correction(world):
    """A correction does not arm a task that has reached its limit."""
    world.script.run_seconds = None
    world.clock.step(DAY)
    await world.start(max_executions=1)
    await world.clock.advance(60)
    await world.start("other")
    world.clock.step(-DAY)
    await world.clock.advance(120)
    assert len(world.events.of("execution:started")) == 3


async def test_run_that_stands_by_is_taken_back_by_a_correction(world):
    """Its slot is now a day ahead."""
    world.script.stands_by = True
    world.clock.step(DAY)
    await world.start()
    await world.clock.advance(59.96)  # ordered to begin
    world.clock.step(-DAY)
    await world.clock.advance(70)
    assert world.slots("execution:started")[-2:] == [60, 120]


async def test_delayed_run_is_missed_when_the_computer_slept(world):
    """A run hours late is not merely delayed: it is reported as missed at once."""
    await world.start(jitter=40)
    await world.clock.advance(65)
    world.clock.step(5 * HOUR)
    await world.clock.advance(5)
    assert world.slots("execution:missed")[0] == 60
    await world.clock.advance(20)
    assert 60 not in world.slots("execution:started")


async def test_delayed_run_begins_by_the_wall_clock_after_a_short_sleep(world):
    """Its delay ended while asleep, less than the tolerance ago."""
    await world.start(every=HOUR, jitter=1200, tolerance=30)
    await world.clock.advance(HOUR + 60)
    world.clock.step(545)
    await world.clock.advance(5)
    assert world.slots("execution:started") == [HOUR]
    assert world.slots("execution:missed") == []


async def test_delayed_run_waits_no_longer_when_the_clock_is_set_back(world):
    """The monotonic clock ends a delay, too."""
    await world.start(jitter=40, every=HOUR)
    await world.clock.advance(HOUR + 5)
    world.clock.step(-900)
    await world.clock.advance(15)
    assert world.slots("execution:started") == [HOUR]


async def test_run_without_a_worker_is_missed_when_the_computer_slept(world):
    """The worker is back after the sleep, too late for the slot."""
    await world.start(tolerance=50, every=HOUR)
    world.script.load_seconds = 3
    await world.clock.advance(HOUR - 1)
    world.worker.die()
    await world.clock.advance(2)  # the slot waits for a worker
    world.clock.step(5 * HOUR)
    await world.clock.advance(10)
    assert HOUR in world.slots("execution:missed")
    assert HOUR not in world.slots("execution:started")


async def test_overlapping_run_is_missed_when_the_computer_slept(world):
    """It was waiting for its own worker."""
    world.script.run_seconds = None
    await world.start(every=HOUR)
    await world.clock.advance(HOUR)
    world.script.load_seconds = 3
    await world.clock.advance(HOUR + 1)
    world.clock.step(5 * HOUR)
    await world.clock.advance(10)
    assert world.slots("execution:started") == [HOUR]
    assert 2 * HOUR in world.slots("execution:missed")


class SlowFleet:
    """A slow coordinator."""

    def __init__(self, clock):
        self.clock, self.completed = clock, []

    async def should_run(self, *_):
        """Answer True after three seconds."""
        over = asyncio.get_running_loop().create_future()
        self.clock.call_later(3, lambda: over.set_result(True))
        return await over

    async def on_complete(self, _, key):
        """Record the key."""
        self.completed.append(key)


@pytest.mark.parametrize("sleep", [0, 5 * HOUR])
async def test_elected_run_is_missed_only_when_the_computer_slept(world, sleep):
    """A late answer within the tolerance counts; after a sleep it does not."""
    world.elector = SlowFleet(world.clock)
    await world.start(distributed=True, every=HOUR, tolerance=5)
    await world.clock.advance(HOUR + 1)
    world.clock.step(sleep)
    await world.clock.advance(2.5)
    assert world.slots("execution:started") == ([] if sleep else [HOUR])
    assert (HOUR in world.slots("execution:missed")) is bool(sleep)
    await world.clock.advance(1)
    assert len(world.elector.completed) == 1
