"""Slots on time, late, and with clock steps (R1, R2)."""

import asyncio

import pytest

from ipycron.scheduling import timetable
from ipycron.scheduling.plan import Outage
from ipycron.scheduling.services import IdMaker
from ipycron.testing import Every


class Ends:
    """A schedule with a last slot."""

    def find_next(self, after):
        """Return minutes up to the third one."""
        slot = Every(60).find_next(after)
        return slot if slot <= 3600 + 180 else None


class Fixed:
    """A faulty schedule that does not advance, which must not cause a storm."""

    def __init__(self, slot):
        self.slot = slot

    def find_next(self, _after):
        """Always return the same slot."""
        return self.slot


async def test_slots_run_when_they_are_due(world):
    """Each slot runs at its instant, to the microsecond of fake time."""
    await world.start()
    await world.clock.advance(180)
    assert world.told() == [
        (0, "task:started"),
        (60, "execution:started"),
        (60, "execution:finished"),
        (120, "execution:started"),
        (120, "execution:finished"),
        (180, "execution:started"),
        (180, "execution:finished"),
    ]


async def test_notice_of_a_scheduled_run_names_its_slot(world):
    """Its date is the slot; it has the reason, the worker and the times."""
    world.script.run_seconds = 2
    await world.start()
    await world.clock.advance(62)
    started, finished = world.events.notices[1:]
    assert started.date == finished.date == 3660
    assert started.execution.reason == "scheduled"
    assert started.execution.started_at == 3660
    assert finished.execution.finished_at == 3662
    assert finished.execution.pid == 1000
    assert (started.status, finished.status) == ("running", "idle")


async def test_ids_of_runs_are_unique_by_default():
    """The scheduler's own ids never repeat."""
    makers = [IdMaker(), IdMaker()]
    assert len({make() for make in makers for _ in range(100)}) == 200


async def test_many_tasks_cost_one_wakeup_when_due_together(world):
    """One timer serves all tasks."""
    wakes = []
    for number in range(200):
        await world.start(str(number))
    wake = world.scheduler._services.timetable._call_due
    world.scheduler._services.timetable._call_due = lambda: wakes.append(wake())
    await world.clock.advance(60)
    assert len(world.events.of("execution:finished")) == 200
    # Eleven checks of the clock on the way, and one for the slot.
    assert len(wakes) == 12


async def test_next_slots_wait_for_the_jobs_when_many_are_due_together(world):
    """The jobs get the interpreter first; nothing is lost in the meantime."""
    many = 2 * timetable.MANY
    for number in range(many):
        await world.start(str(number), every=1)
    armed = world.scheduler._services.timetable._armed
    await world.clock.advance(1)
    assert len(world.events.of("execution:started")) == many
    assert len(armed) == 0
    await world.clock.advance(timetable.REST)
    assert len(armed) == many
    await world.clock.advance(10)
    assert len(world.events.of("execution:started")) == 11 * many
    assert world.events.of("execution:missed") == []


async def test_task_obeys_when_its_next_slot_is_not_armed_yet(world):
    """Stopped, restarted or destroyed right after many slots."""
    for number in range(2 * timetable.MANY):
        await world.start(str(number), every=1)
    await world.clock.advance(1)
    await world.scheduler.stop("0")
    await world.scheduler.stop("1")
    await world.scheduler.destroy("2")
    world.clock.step(5)
    await world.scheduler.start("1")
    await world.clock.advance(1)
    began = [(n.task_id, n.date - 3600) for n in world.events.of("execution:started")]
    assert [slot for task, slot in began if task in "02"] == [1, 1]
    # What was due while it was stopped is not its own.
    assert [slot for task, slot in began if task == "1"] == [1, 7]
    assert world.slots("execution:missed").count(2) == 2 * timetable.MANY - 3


async def test_idle_schedule_wakes_within_five_seconds_whatever_is_due(world):
    """Even if the next slot is in a year, since clocks can be set."""
    await world.start(every=86_400)
    world.clock.step(86_400 - 3600)
    await world.clock.advance(5)
    # Five seconds late is too late for a tolerance of one: reported, not run.
    assert world.slots("execution:missed") == [86_400 - 3600]


async def test_slot_runs_when_noticed_within_its_tolerance(world):
    """A suspend shorter than the tolerance only delays the run."""
    await world.start(tolerance=10)
    await world.clock.advance(58)
    world.clock.step(5)
    await world.clock.advance(5)
    assert world.events.names()[1:] == ["execution:started", "execution:finished"]


@pytest.mark.parametrize(
    ("late", "event"),
    [
        (0.0, "execution:started"),
        (0.999, "execution:started"),
        (1.0, "execution:started"),
        (1.001, "execution:missed"),
        (1.85, "execution:missed"),
        (1.999, "execution:missed"),
    ],
)
async def test_tolerance_is_exact(world, late, event):
    """A tolerance of one second is exactly one second (node-cron defect 14)."""
    await world.start()
    await world.clock.advance(59.5)
    world.clock.step(late)
    await world.clock.advance(0.5)
    assert world.events.names()[1] == event
    assert world.slots(event) == [60]


async def test_newest_slot_runs_when_several_are_owed(world):
    """After a jump, older slots are missed one by one, and the newest runs."""
    await world.start(tolerance=30)
    await world.clock.advance(5)
    world.clock.step(290)
    await world.clock.advance(5)
    assert world.slots("execution:missed") == [60, 120, 180, 240]
    assert world.slots("execution:started") == [300]
    counts = [n.missed_count for n in world.events.of("execution:missed")]
    assert counts == [1, 1, 1, 1]


async def test_missed_slots_are_counted_when_there_are_many(world):
    """A hundred are reported one by one, the rest as a count (R2)."""
    await world.start()
    await world.clock.advance(5)
    world.clock.step(3600 * 24)
    await world.clock.advance(6)
    missed = world.events.of("execution:missed")
    assert len(missed) == 101
    assert [n.date for n in missed[:100]] == [3660 + 60 * k for k in range(100)]
    assert missed[100].missed_count == 24 * 60 - 100
    assert missed[100].date == 3600 + 24 * 3600
    await world.clock.advance(60)
    assert len(world.events.of("execution:started")) == 1


async def test_days_of_seconds_are_counted_without_stalling_the_loop(world):
    """Very many slots are counted in small chunks; the newest runs first."""
    await world.start(every=1, tolerance=10)
    await world.clock.advance(4.5)
    world.clock.step(2 * 86_400)
    await world.clock.advance(0.6)
    # The runs go on at once; the count comes when it is done.
    assert len(world.events.of("execution:started")) == 5
    assert len(world.events.of("execution:missed")) == 100
    await world.clock.advance(1)
    assert len(world.events.of("execution:missed")) == 101
    now = int(world.clock.now())
    runs = len(world.events.of("execution:started"))
    missed = sum(n.missed_count for n in world.events.of("execution:missed"))
    assert runs + missed == now - 3600


async def test_stop_cuts_a_count_when_it_takes_too_long(world):
    """A stop waits for the count like for a run, then reports the part counted."""
    await world.start(every=1)
    await world.clock.advance(0.5)
    world.clock.step(30 * 86_400)
    await world.clock.advance(0.6)
    stop = asyncio.ensure_future(world.scheduler.stop("t", force=True))
    await world.clock.advance()
    assert stop.done()
    assert world.events.names()[-2:] == ["execution:missed", "task:stopped"]
    assert world.events.notices[-2].missed_count > 0
    assert world.scheduler._services.missed._timer is None


async def test_stop_waits_for_a_count(world):
    """A count that ends in time is reported in full before the stop."""
    await world.start(every=1)
    await world.clock.advance(0.5)
    world.clock.step(86_400)
    await world.clock.advance(1)
    await world.clock.pass_until(world.scheduler.stop("t"))
    missed = world.events.of("execution:missed")
    runs = len(world.events.of("execution:started"))
    assert runs + sum(n.missed_count for n in missed) == int(world.clock.now()) - 3600
    assert world.events.names()[-1] == "task:stopped"


async def test_no_slot_runs_twice_when_the_clock_steps_back(world):
    """The task waits until the clock has passed the slot again."""
    await world.start()
    await world.clock.advance(60)
    world.clock.step(-30)
    await world.clock.advance(89)
    assert world.slots("execution:started") == [60]
    await world.clock.advance(1)
    assert world.slots("execution:started") == [60, 120]


async def test_no_slot_runs_early_when_the_clock_steps_back_just_before(world):
    """The wall clock decides, not the timer."""
    await world.start()
    await world.clock.advance(58)
    world.clock.step(-2)
    await world.clock.advance(3)
    assert world.slots("execution:started") == []
    await world.clock.advance(1)
    assert world.told()[1] == (60, "execution:started")


async def test_task_is_idle_when_its_schedule_has_ended(world):
    """After the last slot nothing is due; manual runs still work."""
    await world.start(every=Ends())
    await world.clock.advance(600)
    assert world.slots("execution:started") == [60, 120, 180]
    assert world.status() == "idle"
    assert (await world.scheduler.execute("t")).is_ok


async def test_task_without_any_slot_is_idle(world):
    """A schedule that never fires arms nothing."""
    await world.start(every=Fixed(None))
    await world.clock.advance(600)
    assert world.events.names() == ["task:started"]


async def test_slot_runs_once_when_the_schedule_does_not_advance(world):
    """A faulty schedule ends instead of running one slot for ever."""
    await world.start(every=Fixed(3660))
    await world.clock.advance(600)
    assert world.slots("execution:started") == [60]


async def test_a_receiver_that_raises_breaks_nothing(world, caplog):
    """Exceptions of emit are logged; the schedule continues."""
    told = []

    def receive(notice):
        told.append(notice.event)
        raise ZeroDivisionError

    world.events = receive
    await world.start()
    await world.clock.advance(120)
    assert told.count("execution:finished") == 2
    assert "a receiver of execution:finished failed" in caplog.text


async def test_a_receiver_may_stop_the_task_at_once(world):
    """A stop in response to a notice takes effect before the slot that is due."""
    await world.start(tolerance=30)

    def receive(notice):
        events(notice)
        if notice.event == "execution:missed":
            life = world.scheduler._lifecycles["t"]
            if life._stopping is None:
                life._begin_stop()

    events = world.events
    object.__setattr__(world.scheduler._services, "emit", receive)
    await world.clock.advance(5)
    world.clock.step(290)
    await world.clock.advance(60)
    assert world.slots("execution:started") == []
    assert world.slots("execution:missed") == [60, 120, 180, 240]
    assert world.status() == "stopped"


class Broken:
    """A schedule that raises after some slots."""

    def __init__(self, slots):
        self.slots = slots

    def find_next(self, after):
        """Return a minute's slot, or raise."""
        slot = Every(60).find_next(after)
        if slot > 3600 + 60 * self.slots:
            raise ZeroDivisionError
        return slot


async def test_task_fails_when_its_schedule_raises(world):
    """A task that can never be due again fails; other tasks continue."""
    await world.start("broken", every=Broken(2))
    await world.start("good")
    await world.clock.advance(180)
    assert world.events.names("broken")[-2:] == ["execution:finished", "task:failed"]
    (failed,) = world.events.of("task:failed")
    assert failed.outcome.summary == "ZeroDivisionError"
    assert world.status("broken") == "stopped"
    assert world.events.names("good").count("execution:finished") == 3


async def test_start_fails_when_the_schedule_raises(world):
    """The worker that was loaded in vain is gone."""
    world.add(every=Broken(0))
    with pytest.raises(ZeroDivisionError):
        await world.scheduler.start("t")
    assert world.status() == "stopped"
    assert world.launcher.alive == []
    assert world.events.names() == []


@pytest.mark.parametrize(
    ("outage", "now", "missed", "ran"),
    [
        # Settled at 60, lost at 100, here again at 110: nothing was due.
        ((60, 100), 110, [], []),
        # The slot at 120 passed without a scheduler; it is too late.
        ((60, 100), 150, [120], []),
        # It is half a second late: it runs.
        ((60, 100), 120.5, [], [120]),
        # It was before the loss: perhaps it has run, so it never will.
        ((60, 120.2), 120.5, [120], []),
        # A newer one supersedes those before it.
        ((60, 130), 240.5, [120, 180], [240]),
    ],
)
async def test_slots_of_an_outage_are_settled_once(world, outage, now, missed, ran):
    """A task resumed after a loss settles each slot since the last settled one."""
    await world.clock.advance(now)
    world.add()
    since, until = (3600 + seconds for seconds in outage)
    await world.scheduler.start("t", outage=Outage(since=since, until=until))
    await world.clock.advance(0.1)
    assert str(world.events.notices[0].event) == "task:started"
    assert world.slots("execution:missed") == missed
    assert world.slots("execution:started") == ran
    assert world.status() == "idle"


async def test_slots_settled_beyond_one_that_waits_are_not_reported_again(world):
    """Later slots may be settled before one in its election or random delay."""
    await world.clock.advance(400)
    world.add()
    outage = Outage(since=3660, until=3999, settled=((3779, 3780), (3899, 3900)))
    await world.scheduler.start("t", outage=outage)
    assert world.slots("execution:missed") == [120, 240, 360]


async def test_long_outage_is_counted_in_bulk(world):
    """A month of slots without a scheduler is reported as a hundred and a count."""
    await world.clock.advance(30 * 86400 + 30)
    world.add()
    await world.scheduler.start("t", outage=Outage(since=3600, until=world.clock.now()))
    await world.clock.advance(60)
    counts = [n.missed_count for n in world.events.of("execution:missed")]
    assert counts[:100] == [1] * 100
    assert sum(counts) == 30 * 1440
    assert world.slots("execution:started") == [30 * 86400 + 60]


async def test_next_slots_are_looked_for_when_all_runs_have_begun(world):
    """Searching one task's next slot delays no other task's run."""
    begun_at_searches = []

    class Noting:
        def find_next(self, after):
            begun_at_searches.append(len(world.events.of("execution:started")))
            return Every(60).find_next(after)

    for name in ("a", "b", "c"):
        await world.start(name, every=Noting())
    begun_at_searches.clear()
    await world.clock.advance(60)
    assert begun_at_searches == [3, 3, 3]
    await world.clock.advance(60)
    assert begun_at_searches[3:] == [6, 6, 6]


async def test_no_slot_is_armed_when_a_receiver_has_stopped_the_task(world):
    """A stop in response to a run's start takes effect before the next slot."""
    await world.start()

    def receive(notice):
        events(notice)
        if notice.event == "execution:started":
            world.scheduler._lifecycles["t"]._begin_stop()

    events = world.events
    object.__setattr__(world.scheduler._services, "emit", receive)
    await world.clock.advance(300)
    assert world.slots("execution:started") == [60]
    assert world.scheduler._services.timetable._armed == {}
    assert world.status() == "stopped"
