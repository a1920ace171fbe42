"""Excluded slots: each is reported when its time has come, and runs nothing (T2).

The world stands at the hour, 1970-01-01 01:00 UTC, a Thursday; due every minute.
"""

from datetime import UTC, datetime

import pytest

from ipycron import CronExpression, at, every
from ipycron.scheduling.plan import Outage
from ipycron.triggers.exclude import read_exclusions

START = 3600
MINUTELY = CronExpression("* * * * *", UTC)


def exclude(text):
    """Return exclusions as a policy has them."""
    return read_exclusions(text, UTC, now=START)


def skipped(world):
    """Return the excluded slots that were reported, with their counts."""
    notices = world.events.of("execution:skipped")
    assert {notice.reason for notice in notices} <= {"excluded", "paused"}
    return [
        (n.date - START, n.missed_count or 1) for n in notices if n.reason == "excluded"
    ]


async def test_excluded_slots_are_reported_in_time_and_others_run(world):
    """Each slot has its event, in order."""
    await world.start(every=MINUTELY, exclude=exclude("01:02-01:04"))
    await world.clock.advance(150)
    assert skipped(world) == [(120, 1)]
    await world.clock.advance(150)
    assert skipped(world) == [(120, 1), (180, 1)]
    assert world.slots("execution:started") == [60, 240, 300]
    assert world.slots("execution:missed") == []


async def test_moved_slot_runs_once_after_the_period(world):
    """Beside the reports of those that did not."""
    await world.start(
        every=MINUTELY, exclude=exclude("01:01:30-01:03:30"), on_excluded="next"
    )
    await world.clock.advance(245)
    assert skipped(world) == [(120, 1), (180, 1)]
    assert world.slots("execution:started") == [60, 210, 240]


async def test_gap_is_split_into_missed_and_excluded_slots(world):
    """After a suspend; none is counted twice or left out."""
    await world.start(every=MINUTELY, exclude=exclude("01:02-01:04"))
    world.clock.step(330)
    await world.clock.advance(10)
    assert skipped(world) == [(120, 1), (180, 1)]
    assert world.slots("execution:missed") == [60, 240, 300]


async def test_long_gap_of_excluded_slots_is_counted(world):
    """As missed slots are."""
    every_second = CronExpression("* * * * * *", UTC)
    await world.start(every=every_second, exclude=exclude("01:00-03:00"))
    world.clock.step(3600)
    await world.clock.advance(10)
    found = skipped(world)
    assert sum(count for _, count in found) == found[-1][0]
    assert len(found) < 120
    assert world.slots("execution:missed") == []


async def test_catching_up_leaves_excluded_slots_out(world):
    """They are not owed."""
    await world.start(
        every=MINUTELY, exclude=exclude("01:02-01:04"), catch_up="all", tolerance=0
    )
    world.clock.step(250)
    await world.clock.advance(10)
    assert world.slots("execution:started") == [60, 240]
    assert skipped(world) == [(120, 1), (180, 1)]


async def test_stopped_task_has_no_excluded_slots(world):
    """What was due by then is reported."""
    await world.start(every=MINUTELY, exclude=exclude("01:02-01:10"))
    await world.clock.advance(130)
    await world.scheduler.stop("t")
    await world.clock.advance(130)
    assert skipped(world) == [(120, 1)]
    await world.scheduler.start("t")
    await world.clock.advance(60)
    assert skipped(world) == [(120, 1), (300, 1)]


async def test_paused_task_reports_both(world):
    """An excluded slot stays one, the others are paused."""
    await world.start(every=MINUTELY, exclude=exclude("01:02-01:03"))
    world.scheduler.pause("t")
    await world.clock.advance(190)
    reasons = [(n.date - START, n.reason) for n in world.events.of("execution:skipped")]
    assert sorted(reasons) == [(60, "paused"), (120, "excluded"), (180, "paused")]


async def test_task_ends_after_an_excluded_last_instant(world):
    """Its report is not lost."""
    trigger = at(
        *(datetime.fromtimestamp(START + s, UTC) for s in (60, 120)), timezone=UTC
    )
    await world.start(every=trigger, exclude=exclude("01:02-01:03"))
    await world.clock.advance(90)
    assert world.status() == "idle"
    await world.clock.advance(60)
    assert skipped(world) == [(120, 1)]
    assert world.events.names()[-1] == "task:destroyed"


async def test_interval_between_runs_counts_from_an_excluded_slot(world):
    """As from any that did not run."""
    trigger = every(60, after_finish=True, timezone=UTC).begin(START)
    await world.start(every=trigger, exclude=exclude("01:01-01:03"))
    await world.clock.advance(250)
    assert skipped(world) == [(60, 1), (120, 1)]
    assert world.slots("execution:started") == [180, 240]


async def test_excluded_slot_far_ahead_is_reported(world):
    """The search ends after a week, and goes on then, and after another one."""
    daily = CronExpression("0 9 * * *", UTC)
    await world.start(every=daily, exclude=exclude("1970-01-16"))
    await world.clock.advance(16 * 86_400)
    (slot,) = skipped(world)
    assert slot == (15 * 86_400 + 8 * 3600, 1)
    assert len(world.slots("execution:started")) == 15


async def test_clock_set_back_counts_anew(world):
    """Also what is excluded."""
    world.clock.step(6 * 3600)
    await world.start(every=MINUTELY, exclude=exclude("mon-sun"))
    await world.clock.advance(130)
    world.clock.step(-4 * 3600)
    before = len(skipped(world))
    await world.clock.advance(125)
    assert len(skipped(world)) - before >= 2


@pytest.mark.parametrize("is_clean", [True, False])
async def test_outage_has_excluded_slots_unless_its_end_was_clean(world, is_clean):
    """As with missed ones."""
    world.add(every=MINUTELY, exclude=exclude("01:02-01:04"))
    world.clock.step(330)
    outage = Outage(since=START, until=START + 300, is_clean=is_clean)
    await world.scheduler.start("t", outage=outage)
    await world.clock.advance(1)
    assert skipped(world) == ([] if is_clean else [(120, 1), (180, 1)])


async def test_another_schedule_has_other_excluded_slots(world):
    """From then on."""
    await world.start(every=MINUTELY, exclude=exclude("01:01-01:30"))
    await world.clock.advance(70)
    world.scheduler.reschedule("t", CronExpression("*/5 * * * *", UTC))
    await world.clock.advance(300)
    assert skipped(world) == [(60, 1), (300, 1)]


async def test_history_can_recount_excluded_slots(world):
    """They have come by a clock that was ahead, and most of them are to come again."""
    notes = []
    world.note = notes.append
    await world.start(every=MINUTELY, exclude=exclude("01:00-23:00"))
    world.clock.step(20 * 3600)
    await world.clock.advance(10)
    world.clock.step(-20 * 3600 + 600)
    await world.clock.advance(10)
    (recounted,) = notes
    assert recounted.excluded.find_next(recounted.since - 61) is not None
    (counted,) = [n for n in world.events.of("execution:skipped") if n.missed_since]
    assert counted.missed_since - START == 6000
