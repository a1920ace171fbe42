"""A clock set back by hours, and runs that waited while asleep (C2, C3).

The world stands at the hour and is due at every minute; its dice give half a delay.
"""

import asyncio

import pytest

from ipycron.scheduling.events import Pause
from ipycron.scheduling.plan import Outage
from ipycron.scheduling.policy import CatchUp, Policy
from ipycron.scheduling.retry import Retry
from ipycron.testing import Every

HOUR = 3600
DAY = 86_400


async def test_next_slot_is_recomputed_when_the_clock_was_a_day_ahead(world):
    """Correcting a wrong clock does not silence a task for a day."""
    told = []
    world.scheduler._on_set_back = lambda seconds, _: told.append(seconds)
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
    world.scheduler._on_set_back = lambda seconds, _: told.append(seconds)
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


async def test_task_that_was_started_after_a_correction_misses_nothing(world):
    """The scheduler has had nothing to do for an hour, and notices only then."""
    await world.start(every=1800)
    await world.clock.advance(HOUR)
    await world.scheduler.stop("t")
    await world.clock.advance(2 * HOUR)
    world.clock.step(-5 * HOUR + 60)
    await world.scheduler.start("t")
    before = world.slots("execution:started")
    await world.clock.advance(HOUR)
    assert world.slots("execution:started") == [*before, -HOUR - 1800, -HOUR]
    assert world.slots("execution:missed") == []


@pytest.mark.parametrize("is_seen", [True, False])
async def test_recount_is_noted_for_the_history(world, is_seen):
    """When the clock is seen to be set back, or when the task is started."""
    notes = []
    world.note = notes.append
    world.clock.step(DAY)
    await world.start()
    await world.clock.advance(60)
    if not is_seen:
        await world.scheduler.stop("t")
    world.clock.step(-DAY)
    if is_seen:
        await world.clock.advance(1)
        assert notes == []
    else:
        await world.scheduler.start("t")
    await world.clock.advance(6)
    assert {(n.task_id, n.since - HOUR) for n in notes} == {("t", 60)}


async def test_stopped_task_is_recounted_when_it_is_started(world):
    """Until then none of its slots is to come."""
    notes = []
    world.note = lambda note: notes.append((note.task_id, note.since - HOUR))
    world.clock.step(DAY)
    await world.start()
    await world.start("other")
    await world.clock.advance(60)
    await world.scheduler.stop("t")
    world.clock.step(-DAY)
    await world.clock.advance(20)
    assert notes == [("other", 60)]
    await world.scheduler.start("t")
    assert notes[1:] == [("t", 80)]


async def test_run_that_waits_is_dropped_when_the_clock_was_ahead(world):
    """Its slot is to come: it does not run a day before."""
    world.clock.step(DAY)
    await world.start(every=HOUR, jitter=40)
    await world.clock.advance(HOUR + 5)
    world.clock.step(-DAY)
    await world.clock.advance(60)
    assert world.slots("execution:started") == []
    await world.clock.advance(HOUR)
    assert world.slots("execution:started") == [2 * HOUR]


async def test_slots_that_are_being_counted_end_at_a_recount(world):
    """The count of a long gap goes on for a moment after the correction."""
    await world.start(every=1, tolerance=1)
    await world.clock.advance(3)
    world.clock.step(10 * DAY)
    await world.clock.advance(1)
    world.clock.step(-10 * DAY + 900)
    await world.clock.advance(60)
    counts = [n for n in world.events.of("execution:missed") if n.missed_count > 1]
    assert [n.missed_since is not None and n.date - HOUR < 910 for n in counts] == [
        True
    ]


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


async def test_task_goes_on_after_an_outage_that_a_clock_ahead_has_told(world):
    """Its supervisor was lost before the correction was noticed."""
    notes = []
    world.note = notes.append
    outage = Outage(since=HOUR + DAY, until=HOUR + DAY + 5)
    world.add()
    await world.scheduler.start("t", outage=outage)
    await world.clock.advance(130)
    assert world.slots("execution:started") == [60, 120]
    assert world.slots("execution:missed") == []
    assert [note.since - HOUR for note in notes] == [0]


@pytest.mark.parametrize("catch_up", ["none", "all"])
@pytest.mark.parametrize("is_clean", [True, False])
async def test_slots_that_an_earlier_life_has_settled_do_not_run_again(
    world, is_clean, catch_up
):
    """The clock was set back a little while there was no process."""
    outage = Outage(since=HOUR + 120, until=HOUR, is_clean=is_clean)
    world.add(catch_up=catch_up)
    await world.scheduler.start("t", outage=outage)
    await world.clock.advance(250)
    assert world.slots("execution:started") == [180, 240]
    assert world.slots("execution:missed") == []


async def test_slots_since_a_correction_are_of_the_outage_that_follows(world):
    """The history is told once more of a correction that it may not know."""
    notes = []
    world.note = notes.append
    outage = Outage(since=HOUR - 130, until=HOUR, was_corrected=True)
    world.add()
    await world.scheduler.start("t", outage=outage)
    assert world.slots("execution:missed") == [-120, -60, 0]
    assert [note.since - HOUR for note in notes] == [-130]


async def test_pause_that_a_clock_ahead_began_has_begun(world):
    """All its slots are skipped, and a resume may have them run."""
    world.clock.step(DAY)
    await world.start(tolerance=1)
    world.scheduler.pause("t")
    await world.clock.advance(70)
    world.clock.step(-DAY)
    await world.clock.advance(120)
    assert world.slots("execution:skipped") == [DAY + 60, 120, 180]
    world.scheduler.resume("t", CatchUp("all"))
    await world.clock.advance(1)
    assert world.slots("execution:started") == [120, 180]


async def test_pause_of_a_lost_scheduler_has_begun_whatever_its_clock_said(world):
    """The same, when the next scheduler is told of the pause."""
    pause = Pause(since=HOUR + DAY)
    schedule, policy = Every(60), Policy(tolerance=1)
    world.scheduler.add("t", name="t", schedule=schedule, policy=policy, pause=pause)
    outage = Outage(since=HOUR + DAY, until=HOUR + DAY, pause=pause)
    await world.scheduler.start("t", outage=outage)
    await world.clock.advance(130)
    assert world.slots("execution:skipped") == [60, 120]
    world.scheduler.resume("t", CatchUp("all"))
    await world.clock.advance(1)
    assert world.slots("execution:started") == [60, 120]


async def test_resume_runs_no_slot_of_before_the_start(world):
    """The clock was set back to before it, by less than a correction."""
    await world.start()
    world.clock.step(-HOUR / 2)
    world.scheduler.pause("t")
    await world.clock.advance(130)
    world.scheduler.resume("t", CatchUp("all"))
    await world.clock.advance(1)
    assert world.events.of("execution:started") == []


async def test_missed_slots_of_a_life_before_end_at_a_correction(world):
    """The task was started while the clock was ahead; that is found out late."""
    world.clock.step(DAY)
    await world.start()
    world.clock.step(-DAY)
    await world.clock.advance(6)
    world.scheduler.report_missed("t", HOUR - 130)
    assert world.slots("execution:missed") == [-120, -60, 0]


@pytest.mark.parametrize("past_next", [False, True])
async def test_attempts_go_on_after_a_correction(world, past_next):
    """Until the next slot, which is now one by the right clock."""
    world.script.error = ValueError("no")
    world.clock.step(DAY)
    await world.start(
        every=100, retry=Retry(3, delay=40, jitter=0, past_next=past_next)
    )
    await world.clock.advance(100)  # the first attempt has failed
    world.clock.step(-DAY)
    world.script.error = None
    await world.clock.advance(45)
    finished = world.events.of("execution:finished")
    assert [(n.date - HOUR, n.execution.attempt) for n in finished] == [(DAY + 100, 2)]
    await world.clock.advance(60)
    assert world.slots("execution:finished") == [DAY + 100, 200]


async def test_queued_slot_is_dropped_when_the_clock_was_ahead(world):
    """It waits for the run in progress, which goes on; a call stays in the queue."""
    notes = []
    world.note = notes.append
    world.script.run_seconds = 500
    world.clock.step(DAY)
    await world.start(every=100, overlap="queue")
    await world.clock.advance(210)  # the second slot waits
    world.scheduler.execute_nowait("t", "call")
    world.clock.step(-DAY)
    await world.clock.advance(10)
    dropped = [n for n in notes if getattr(n, "is_dropped", False)]
    assert [n.execution.date - HOUR for n in dropped] == [DAY + 200]
    world.script.run_seconds = 1
    await world.clock.advance(400)  # the run in progress has ended
    runs = [n.execution.id for n in world.events.of("execution:started")]
    assert "call" in runs
    slots = world.slots("execution:started")
    assert slots[0] == DAY + 100
    assert DAY + 200 not in slots


async def test_slot_that_waits_for_a_place_is_dropped_when_the_clock_was_ahead(world):
    """And its place in the queue of the pool is free."""
    world.scheduler.set_pool("gpu", 1)
    world.script.run_seconds = 300
    world.clock.step(DAY)
    await world.start("first", every=100, pool="gpu", max_executions=1)
    await world.start("second", every=150, pool="gpu")
    await world.clock.advance(160)
    world.clock.step(-DAY)
    world.script.run_seconds = 1
    await world.clock.advance(400)
    seconds = [
        n.date - HOUR
        for n in world.events.of("execution:started")
        if n.task_id == "second"
    ]
    assert seconds
    assert max(seconds) < DAY
