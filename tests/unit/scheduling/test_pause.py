"""Paused tasks: their slots are skipped, and everything else goes on (C4)."""

import asyncio

import pytest

from ipycron.scheduling.events import Pause
from ipycron.scheduling.plan import Outage, plan_outage, plan_pause_of
from ipycron.scheduling.policy import CatchUp, Policy
from ipycron.testing import Every

HOUR = 3600


def skipped(world):
    """Return the slots skipped as paused, in seconds since the hour."""
    notices = world.events.of("execution:skipped")
    assert {notice.reason for notice in notices} <= {"paused"}
    return world.slots("execution:skipped")


async def test_paused_task_skips_each_slot_and_stays_loaded(world):
    """Each slot is one event; the worker stays, and is the same after the resume."""
    await world.start()
    world.scheduler.pause("t", note="the API is down")
    await world.clock.advance(150)
    assert world.told()[1:] == [
        (0, "task:paused"),
        (60, "execution:skipped"),
        (120, "execution:skipped"),
    ]
    assert world.events.notices[1].pause == Pause(since=HOUR, note="the API is down")
    assert world.status() == "idle"
    world.scheduler.resume("t")
    await world.clock.advance(30)
    assert world.told()[4:6] == [(150, "task:resumed"), (180, "execution:started")]
    assert len(world.launcher.workers) == 1


async def test_pause_ends_at_until_and_the_slot_at_until_runs(world):
    """The resume is reported first, then the slot's run."""
    await world.start()
    world.scheduler.pause("t", until=HOUR + 120)
    await world.clock.advance(130)
    assert world.told()[2:5] == [
        (60, "execution:skipped"),
        (120, "task:resumed"),
        (120, "execution:started"),
    ]


async def test_pause_ends_between_slots_by_itself(world):
    """Whoever looks in between sees that it is over."""
    await world.start()
    world.scheduler.pause("t", until=HOUR + 90)
    await world.clock.advance(100)
    assert world.told()[2:] == [(60, "execution:skipped"), (90, "task:resumed")]


async def test_worker_stands_by_for_the_slot_at_until_only(world):
    """A paused slot begins nowhere; the one at `until` is as punctual as any."""
    world.script.stands_by = True
    await world.start()
    world.scheduler.pause("t", until=HOUR + 120)
    await world.clock.advance(121)
    assert len(world.worker.begun) == 1
    assert skipped(world) == [60]
    assert world.slots("execution:started") == [120]
    assert world.events.names()[3:5] == ["task:resumed", "execution:started"]


async def test_pause_withdraws_the_worker_that_stands_by(world):
    """The slot that it stood by for is skipped, and its run does not begin."""
    world.script.stands_by = True
    await world.start()
    await world.clock.advance(59.99)
    world.scheduler.pause("t")
    await world.clock.advance(1)
    assert world.worker.begun == []
    assert skipped(world) == [60]


async def test_run_that_a_worker_has_begun_goes_on(world):
    """The pause came after the slot: its run is reported, then the pause."""
    world.script.stands_by = True
    await world.start()
    await world.clock.advance(59.99)
    world.worker.begin()
    world.scheduler.pause("t")
    await world.clock.advance(61)
    assert world.slots("execution:finished") == [60]
    assert skipped(world) == [120]


async def test_run_in_progress_goes_on_and_is_no_overlap(world):
    """A paused slot is paused, whatever else would have kept it from running."""
    world.script.run_seconds = 70
    await world.start(no_overlap=True)
    await world.clock.advance(65)
    world.scheduler.pause("t")
    await world.clock.advance(70)
    assert world.slots("execution:finished") == [60]
    assert skipped(world) == [120]
    assert world.events.of("execution:overlap") == []


async def test_call_of_a_paused_task_runs(world):
    """The pause is the schedule's."""
    await world.start()
    world.scheduler.pause("t")
    outcome = await world.clock.pass_until(world.scheduler.execute("t"))
    assert outcome.is_ok


async def test_slot_in_its_random_delay_is_skipped(world):
    """Its code has not begun."""
    await world.start(jitter=20)
    await world.clock.advance(65)
    world.scheduler.pause("t")
    await world.clock.advance(30)
    assert skipped(world) == [60]
    assert world.slots("execution:started") == []


async def test_slot_that_waits_for_a_worker_is_skipped_and_a_call_is_not(world):
    """Only the schedule is paused."""
    world.script.run_seconds = 10
    await world.start()
    world.script.load_seconds = 3
    await world.clock.advance(52)
    running = asyncio.ensure_future(world.scheduler.execute("t"))
    await world.clock.advance(8.1)  # the slot's own worker is being loaded
    world.scheduler.pause("t")
    await world.clock.advance(20)
    assert (await running).is_ok
    assert skipped(world) == [60]
    assert world.slots("execution:started") == [52]


async def test_pause_releases_the_claim_of_a_slot_it_skips(world):
    """Another instance may run it."""
    voter = Voter()
    world.elector = voter
    await world.start(distributed=True, jitter=20)
    await world.clock.advance(65)
    world.scheduler.pause("t")
    await world.clock.advance(1)
    assert skipped(world) == [60]
    assert voter.completed == ["t:1970-01-01T01:01:00+00:00"]


class Voter:
    """Elects this instance, always."""

    def __init__(self):
        self.completed = []

    async def should_run(self, _task_id, _key, _lease):
        """Return True."""
        return True

    async def on_complete(self, _task_id, key):
        """Record the key."""
        self.completed.append(key)


async def test_pause_of_a_paused_task_changes_until_and_note(world):
    """One event a change, none for the same again; the pause began with the first."""
    await world.start()
    world.scheduler.pause("t", until=HOUR + 70, note="a")
    await world.clock.advance(30)
    world.scheduler.pause("t", until=HOUR + 70, note="a")
    world.scheduler.pause("t", note="b")
    await world.clock.advance(60)
    assert skipped(world) == [60]
    pauses = [notice.pause for notice in world.events.of("task:paused")]
    assert pauses == [
        Pause(since=HOUR, until=HOUR + 70, note="a"),
        Pause(since=HOUR, note="b"),
    ]
    assert world.events.of("task:resumed") == []


def started(world):
    """Return the slots and the reasons of the runs that have begun."""
    runs = [notice.execution for notice in world.events.of("execution:started")]
    return [(run.date - HOUR, run.reason) for run in runs]


async def test_resume_owes_nothing_unless_it_is_told_to(world):
    """Not even where the task catches up on gaps: the user wanted this one."""
    await world.start(catch_up="all")
    world.scheduler.pause("t")
    await world.clock.advance(150)
    world.scheduler.resume("t")
    await world.clock.advance(1)
    assert skipped(world) == [60, 120]
    assert started(world) == []


async def test_resume_catches_up_on_the_latest_slot_of_the_pause(world):
    """With its slot as date."""
    await world.start()
    world.scheduler.pause("t")
    await world.clock.advance(250)
    world.scheduler.resume("t", CatchUp("latest"))
    await world.clock.advance(60)
    assert skipped(world) == [60, 120, 180, 240]
    assert started(world) == [(240, "catch_up"), (300, "scheduled")]
    assert world.events.of("execution:missed") == []


async def test_resume_catches_up_on_all_slots_of_the_pause_in_turn(world):
    """Oldest first, within the window and the limit, beside the schedule."""
    world.script.run_seconds = 5
    await world.start()
    world.scheduler.pause("t")
    await world.clock.advance(290)
    world.scheduler.resume("t", CatchUp("all", window=180, limit=2))
    await world.clock.advance(12)
    assert started(world) == [
        (120, "catch_up"),
        (180, "catch_up"),
        (300, "scheduled"),
    ]
    starts = [n.triggered_at - HOUR for n in world.events.of("execution:started")]
    assert starts == [290, 295, 300]


async def test_resume_owes_nothing_for_slots_outside_the_pause(world):
    """Neither those before it, nor those of a stop in it."""
    await world.start()
    await world.clock.advance(70)
    world.scheduler.pause("t")
    await world.clock.advance(60)
    await world.scheduler.stop("t")
    await world.clock.advance(60)
    await world.scheduler.start("t")
    await world.clock.advance(60)
    world.scheduler.resume("t", CatchUp("all"))
    await world.clock.advance(1)
    assert skipped(world) == [120, 240]
    assert started(world) == [(60, "scheduled"), (240, "catch_up")]


@pytest.mark.parametrize("is_stopped", [True, False])
async def test_resume_without_a_pause_or_a_start_owes_nothing(world, is_stopped):
    """There is nothing to catch up on, or nobody to do it."""
    await world.start()
    if is_stopped:
        world.scheduler.pause("t")
        await world.clock.advance(70)
        await world.scheduler.stop("t")
    else:
        await world.clock.advance(70)
    count = len(started(world))
    world.scheduler.resume("t", CatchUp("all"))
    await world.clock.advance(1)
    assert len(started(world)) == count


async def test_pause_that_ends_by_itself_owes_nothing(world):
    """Also if the task is resumed with a catch-up after that."""
    await world.start()
    world.scheduler.pause("t", until=HOUR + 100)
    await world.clock.advance(110)
    world.scheduler.resume("t", CatchUp("all"))
    await world.clock.advance(1)
    assert started(world) == []


async def test_broken_schedule_fails_a_task_that_catches_up_on_its_pause(world):
    """As any time a schedule raises."""

    class Breaks:
        is_broken = False

        def find_next(self, after):
            if self.is_broken:
                raise ValueError("no")
            return Every(60).find_next(after)

    schedule = Breaks()
    await world.start(every=schedule)
    world.scheduler.pause("t")
    await world.clock.advance(70)
    schedule.is_broken = True
    world.scheduler.resume("t", CatchUp("all"))
    await world.clock.advance(1)
    assert "task:failed" in world.events.names()


async def test_resume_of_a_task_that_is_not_paused_does_nothing(world):
    """It may be repeated."""
    await world.start()
    world.scheduler.resume("t")
    world.scheduler.pause("t")
    world.scheduler.resume("t")
    world.scheduler.resume("t")
    assert world.events.names()[1:] == ["task:paused", "task:resumed"]


async def test_pause_survives_a_stop_and_a_start(world):
    """A stop ends the schedule, the user's pause is a word about its slots."""
    await world.start()
    world.scheduler.pause("t")
    await world.scheduler.stop("t")
    await world.scheduler.start("t")
    await world.clock.advance(60)
    assert skipped(world) == [60]


async def test_stopped_task_can_be_paused_and_its_pause_ends_by_itself(world):
    """Its first slot after the pause runs."""
    world.add()
    world.scheduler.pause("t", until=HOUR + 90)
    await world.scheduler.start("t")
    await world.clock.advance(65)
    await world.scheduler.stop("t")
    await world.clock.advance(30)
    assert world.told()[-1] == (90, "task:resumed")
    await world.scheduler.start("t")
    await world.clock.advance(30)
    assert world.slots("execution:started") == [120]


async def test_destroy_ends_the_pause_without_an_event(world):
    """Nothing of it is left, not even its timer."""
    await world.start()
    world.scheduler.pause("t", until=HOUR + 90)
    await world.scheduler.destroy("t")
    world.scheduler.pause("t")
    world.scheduler.resume("t")
    await world.clock.advance(120)
    assert world.events.names()[-1] == "task:destroyed"


async def test_reschedule_keeps_the_pause(world):
    """The slots of the new schedule are skipped."""
    await world.start()
    world.scheduler.pause("t")
    world.scheduler.reschedule("t", Every(20))
    await world.clock.advance(45)
    assert skipped(world) == [20, 40]


async def test_slots_of_a_pause_do_not_count_towards_the_limit(world):
    """They have not run."""
    await world.start(max_executions=1)
    world.scheduler.pause("t", until=HOUR + 120)
    await world.clock.advance(120)
    assert world.slots("execution:started") == [120]
    assert world.events.names()[-1] == "task:destroyed"


async def test_pause_is_divided_by_the_clock_after_a_suspend(world):
    """What passed in the pause is skipped, what passed after it is missed."""
    await world.start()
    world.scheduler.pause("t", until=HOUR + 180)
    world.clock.step(250)
    await world.clock.advance(6)
    assert world.events.names()[2:] == [
        "execution:skipped",
        "execution:skipped",
        "task:resumed",
        "execution:missed",
        "execution:missed",
    ]
    assert skipped(world) == [60, 120]
    assert world.slots("execution:missed") == [180, 240]


async def test_gap_after_a_pause_is_caught_up_on_and_the_pause_is_not(world):
    """Both in one suspend."""
    await world.start(catch_up="all")
    world.scheduler.pause("t", until=HOUR + 180)
    world.clock.step(250)
    await world.clock.advance(6)
    assert skipped(world) == [60, 120]
    assert started(world) == [(180, "catch_up"), (240, "catch_up")]
    assert world.events.of("execution:missed") == []


async def test_slots_that_were_due_before_the_pause_are_not_paused(world):
    """A row is never wrong: they were missed while the computer was asleep."""
    await world.start()
    world.clock.step(130)
    world.scheduler.pause("t")
    await world.clock.advance(60)
    assert world.slots("execution:missed") == [60, 120]
    assert skipped(world) == [180]


async def test_slots_that_were_due_before_the_resume_are_paused(world):
    """As above, the other way round."""
    await world.start()
    world.scheduler.pause("t")
    world.clock.step(130)
    world.scheduler.resume("t")
    await world.clock.advance(60)
    assert skipped(world) == [60, 120]
    assert world.events.of("execution:missed") == []
    assert world.slots("execution:started") == [180]


async def test_long_gap_in_a_pause_is_a_hundred_events_and_a_count(world):
    """A laptop that slept for a week, paused, with a task due every second."""
    await world.start(every=1)
    world.scheduler.pause("t")
    world.clock.step(7 * 86400)
    await world.clock.advance(30)
    counts = [n.missed_count or 1 for n in world.events.of("execution:skipped")]
    assert sum(counts) == 7 * 86400 + 30
    assert len(counts) < 150


async def test_stop_waits_for_the_count_of_a_long_gap(world):
    """No slot vanishes without an event."""
    await world.start(every=1)
    world.scheduler.pause("t")
    world.clock.step(7 * 86400)
    await world.clock.advance(5)
    await world.clock.pass_until(world.scheduler.stop("t"))
    assert world.events.names()[-1] == "task:stopped"
    counts = [n.missed_count or 1 for n in world.events.of("execution:skipped")]
    assert sum(counts) >= 1000


async def test_clock_set_back_leaves_the_pause_to_the_wall_clock(world):
    """The pause ends when the clock shows `until`."""
    await world.start()
    world.scheduler.pause("t", until=HOUR + 120)
    world.clock.step(-60)
    await world.clock.advance(170)
    assert world.events.of("task:resumed") == []
    await world.clock.advance(11)
    assert [n.date for n in world.events.of("task:resumed")] == [HOUR + 120]
    assert world.slots("execution:started") == [120]


async def test_broken_schedule_fails_a_paused_task(world):
    """It must not look idle."""

    class Broken:
        def find_next(self, after):
            if after > HOUR:
                raise ValueError("no")
            return HOUR + 60

    await world.start(every=Broken())
    world.scheduler.pause("t")
    await world.clock.advance(70)
    assert "task:failed" in world.events.names()


async def test_restored_pause_is_not_reported_again(world):
    """A new scheduler replaces a lost one."""
    pause = Pause(since=HOUR - 600, until=HOUR + 90)
    world.scheduler.add("t", name="t", schedule=Every(60), policy=Policy(), pause=pause)
    outage = Outage(since=HOUR - 300, until=HOUR - 1, pause=pause)
    await world.scheduler.start("t", outage=outage)
    await world.clock.advance(120)
    assert world.events.names()[:7] == ["task:started", *["execution:skipped"] * 6]
    assert skipped(world) == [-240, -180, -120, -60, 0, 60]
    assert world.slots("execution:started") == [120]


async def test_restored_pause_that_is_over_divides_the_outage(world):
    """Also if it ended before the job was loaded."""
    pause = Pause(since=HOUR - 190, until=HOUR - 60)
    world.script.load_seconds = 2
    world.scheduler.add("t", name="t", schedule=Every(60), policy=Policy(), pause=pause)
    outage = Outage(since=HOUR - 300, until=HOUR, pause=pause)
    await world.clock.pass_until(world.scheduler.start("t", outage=outage))
    assert world.slots("execution:missed") == [-240, -60, 0]
    assert skipped(world) == [-180, -120]
    assert len(world.events.of("task:resumed")) == 1


@pytest.mark.parametrize(
    ("since", "until"),
    [(0, None), (0, 10), (50, None), (30, None), (30, 35), (0, 35), (30, 60), (35, 30)],
)
@pytest.mark.parametrize("catch_up", ["none", "latest", "all"])
def test_each_slot_of_an_outage_is_skipped_or_not(since, until, catch_up):
    """Nothing of the pause is owed."""
    pause = Pause(since=since, until=until)
    outage = Outage(since=20, until=38, pause=pause)
    skipped = plan_pause_of(outage, Every(1), now=40)
    other = plan_outage(outage, Every(1), now=40, catch_up=CatchUp(catch_up))
    end = 41 if until is None else until
    in_pause = [slot for slot in range(21, 41) if since < slot < end]
    assert list(skipped.missed) == in_pause
    rest = sorted({*range(21, 41)} - {*in_pause})
    assert sorted([*other.missed, *other.owed]) == rest
