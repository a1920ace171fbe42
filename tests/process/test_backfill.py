"""Backfills of every kind of task, in real processes (C5)."""

import asyncio
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from house import BOTH_FIRST, EVERY_SECOND, NEVER, Record, drain
from polling import SECONDS, eventually

import ipycron
from ipycron.errors import (
    BackfillRefused,
    InvalidOption,
    SelfWait,
    TaskDestroyed,
    TaskNotStarted,
)
from ipycron.notebook.display.words import get_now
from ipycron.scheduling.clock import SystemClock

HOURLY = "0 * * * *"
DAY = datetime(2024, 3, 2, tzinfo=UTC)
SLOTS = [DAY + timedelta(hours=hour) for hour in range(4)]
PERIOD = (DAY, DAY + timedelta(hours=3))

pytestmark = pytest.mark.usefixtures("supervisor")


def tell_slot(ctx):
    """Return the slot, as the job sees it."""
    return ctx.date.isoformat(), ctx.execution.reason


def ends(record):
    """Return the runs of backfills that have ended."""
    runs = [
        context.execution
        for context in record.contexts
        if context.event in ("execution:finished", "execution:failed")
    ]
    return [run for run in runs if run.reason == "backfill"]


def test_slots_run_oldest_first_with_their_dates(house):
    """Both ends of the period are slots; it counts towards no limit."""
    task = house.start(tell_slot, HOURLY, timezone="UTC", max_executions=1)
    record = Record(task)
    backfill = task.backfill(*PERIOD, only="all")
    assert backfill.slots == tuple(SLOTS)
    assert backfill.wait(SECONDS)
    drain()
    assert [run.date for run in ends(record)] == SLOTS
    assert [run.result for run in ends(record)] == [
        (slot.isoformat(), "backfill") for slot in SLOTS
    ]
    assert backfill.is_over
    assert (backfill.ended, backfill.failed, backfill.left) == (4, 0, ())
    assert backfill.stopped_by == ""
    assert repr(backfill) == f"<Backfill of task {task.name!r}: 4 of 4 slots>"
    assert task.runs_left == 1


def test_runs_are_one_at_a_time(house):
    """The next one begins when the one before has ended."""
    gate = house.gate()

    def wait(ctx):
        yield from gate.pass_through()

    task = house.start(wait, HOURLY, timezone="UTC")
    record = Record(task)
    backfill = task.backfill(*PERIOD, only="all")
    record.wait("execution:started")
    drain()
    assert record.count("execution:started") == 1
    assert backfill.left == tuple(SLOTS)
    assert not backfill.wait(0.01)
    gate.open()
    assert backfill.wait(SECONDS)
    drain()
    names = [name for name in record.names if name.startswith("execution:")]
    assert names == ["execution:started", "execution:finished"] * 4


def test_failed_run_is_counted_and_the_next_one_follows(house, caplog):
    """It is logged: nobody waits for it."""

    def fail(ctx):
        if ctx.date.hour % 2:
            raise ValueError(f"no data for {ctx.date:%H}")

    task = house.start(fail, HOURLY, timezone="UTC", name="report")
    backfill = task.backfill(*PERIOD, only="all")
    assert backfill.wait(SECONDS)
    assert (backfill.ended, backfill.failed) == (4, 2)
    assert "4 of 4 slots, 2 failed>" in repr(backfill)
    drain()
    assert "task 'report': a run failed: ValueError: no data for 01" in caplog.text
    assert "never retrieved" not in caplog.text


@BOTH_FIRST
def test_backfill_is_beside_the_schedule(house):
    """Slots of the schedule run in the meantime."""
    gate = house.gate()

    def wait(ctx):
        if ctx.execution.reason == "backfill":
            yield from gate.pass_through()
        return ctx.execution.reason

    task = house.start(wait, EVERY_SECOND, timezone="UTC")
    record = Record(task)
    backfill = task.backfill(DAY, DAY + timedelta(seconds=1), only="all")
    eventually(
        lambda: [
            c
            for c in record.of("execution:finished")
            if c.execution.reason == "scheduled"
        ],
        "a run of the schedule beside the backfill",
    )
    assert backfill.ended == 0
    gate.open()
    assert backfill.wait(SECONDS)


def test_backfill_waits_for_other_runs_if_none_may_overlap(house):
    """A slot is not lost because a run is in progress."""
    gate = house.gate()

    def wait(ctx):
        if ctx.execution.reason == "invoked":
            yield from gate.pass_through()
        return ctx.execution.reason

    task = house.start(wait, HOURLY, timezone="UTC", no_overlap=True)
    record = Record(task)
    run = task.execute()
    record.wait("execution:started")
    backfill = task.backfill(*PERIOD, only="all")
    drain()
    assert not backfill.wait(0.1)
    assert record.count("execution:started") == 1
    gate.open()
    assert run.result(SECONDS) == "invoked"
    assert backfill.wait(SECONDS)
    assert (backfill.ended, backfill.failed) == (4, 0)


@pytest.mark.parametrize(
    ("act", "why"),
    [
        (lambda task, _: task.pause(), "the task was paused"),
        (lambda task, _: task.stop(), "the task was stopped"),
        (lambda task, _: task.destroy(), "the task was destroyed"),
        (lambda _, backfill: backfill.cancel(), "it was cancelled"),
    ],
)
def test_backfill_ends_early_after_the_run_in_progress(house, act, why):
    """What is left is not run, and the handle says so."""
    gate = house.gate()

    def wait(ctx):
        yield from gate.pass_through()

    task = house.start(wait, HOURLY, timezone="UTC", stop_timeout=SECONDS)
    record = Record(task)
    backfill = task.backfill(*PERIOD, only="all")
    record.wait("execution:started")
    act(task, backfill)
    drain()
    assert not backfill.wait(0.05)
    gate.open()
    assert backfill.wait(SECONDS)
    assert (backfill.ended, backfill.failed) == (1, 0)
    assert backfill.left == tuple(SLOTS[1:])
    # A stop may be known by the refusal of the next run.
    destroyed = "the task was stopped" if "destroyed" in why else why
    assert backfill.stopped_by in (why, destroyed)
    assert f"1 of 4 slots, ended: {backfill.stopped_by}>" in repr(backfill)
    drain()
    assert len(ends(record)) == 1


def test_cancelled_backfill_does_not_wait_for_other_runs(house):
    """Nothing of it is in progress."""
    gate = house.gate()

    def wait(ctx):
        yield from gate.pass_through()

    task = house.start(wait, HOURLY, timezone="UTC", no_overlap=True)
    record = Record(task)
    run = task.execute()
    record.wait("execution:started")
    backfill = task.backfill(*PERIOD, only="all")
    backfill.cancel()
    backfill.cancel()
    assert backfill.wait(SECONDS)
    assert backfill.stopped_by == "it was cancelled"
    assert backfill.ended == 0
    gate.open()
    run.result(SECONDS)


def test_paused_task_may_be_backfilled(house):
    """The pause is the schedule's; one that comes later ends the backfill."""
    task = house.start(tell_slot, HOURLY, timezone="UTC")
    task.pause().result(SECONDS)
    backfill = task.backfill(*PERIOD, only="all")
    assert backfill.wait(SECONDS)
    assert backfill.ended == 4


def test_backfill_is_awaited_like_a_completion(house):
    """It returns the handle."""
    task = house.start(tell_slot, HOURLY, timezone="UTC")

    async def main():
        done = await task.backfill(*PERIOD, only="all")
        return done.ended

    assert asyncio.run(main()) == 4


def test_one_backfill_of_a_task_at_a_time(house):
    """The second one is refused; after the first one it is not."""
    gate = house.gate()

    def wait(ctx):
        yield from gate.pass_through()

    task = house.start(wait, HOURLY, timezone="UTC")
    backfill = task.backfill(*PERIOD, only="all")
    with pytest.raises(BackfillRefused, match="another one is in progress"):
        task.backfill(*PERIOD, only="all")
    gate.open()
    assert backfill.wait(SECONDS)
    assert task.backfill(*PERIOD, only="all").wait(SECONDS)


def test_run_that_waits_for_the_backfill_it_holds_up_is_refused(tmp_path):
    """It would wait for its own end."""

    def wait():
        backfill = task.backfill(*PERIOD, only="all")
        try:
            backfill.wait()
        finally:
            backfill.cancel()

    task = ipycron.create_task(HOURLY, wait, timezone="UTC", no_overlap=True)
    task.start().result(SECONDS)
    with pytest.raises(SelfWait):
        task.execute().result(SECONDS)


def test_dry_run_lists_the_slots_and_runs_nothing():
    """Of a stopped task, too."""
    task = ipycron.create_task(HOURLY, int, timezone="Europe/Berlin")
    slots = task.backfill("2024-03-02", "2024-03-02 02:59", only="all", dry_run=True)
    assert [f"{slot:%H:%M %Z}" for slot in slots] == [
        *("00:00 CET", "01:00 CET", "02:00 CET")
    ]
    none = task.backfill(
        "2024-03-02 00:01", "2024-03-02 00:59", only="all", dry_run=True
    )
    assert none == []
    assert len(task.history) == 0


def test_hour_that_a_clock_shows_twice_is_two_slots():
    """Slots are the expression's, through every change of the clock."""
    task = ipycron.create_task(HOURLY, int, timezone="Europe/Berlin")
    day = date(2024, 10, 27)
    slots = task.backfill(day, "2024-10-27 04:00", only="all", dry_run=True)
    assert [f"{slot:%H%z}" for slot in slots] == [
        *("00+0200", "01+0200", "02+0200", "02+0100", "03+0100", "04+0100")
    ]


def test_slots_outside_the_bounds_of_the_schedule_are_none():
    """They have never been slots."""
    task = ipycron.create_task(HOURLY, int, timezone="UTC", start=SLOTS[2])
    assert task.backfill(*PERIOD, only="all", dry_run=True) == SLOTS[2:]


def test_date_as_the_end_is_the_whole_day():
    """As of a schedule's own bounds."""
    # Where the day does not end before this test does.
    now = datetime.fromtimestamp(SystemClock().now(), UTC)
    zone = "UTC" if 0 < now.hour < 23 else "Asia/Tokyo"
    task = ipycron.create_task(HOURLY, int, timezone=zone)
    slots = task.backfill("2024-03-01", date(2024, 3, 2), only="all", dry_run=True)
    assert len(slots) == 48
    today = now.astimezone(ZoneInfo(zone)).date()
    with pytest.raises(InvalidOption, match="an instant that has passed"):
        task.backfill("2024-03-01", today, only="all", dry_run=True)


def test_backfill_of_no_slots_is_over_at_once():
    """It does not wait for ever."""
    task = ipycron.create_task(NEVER, int)
    task.start().result(SECONDS)
    backfill = task.backfill("2024-03-02", "2024-03-03", only="all")
    assert backfill.wait(SECONDS)
    assert repr(backfill).endswith(": 0 of 0 slots>")


def test_history_decides_which_slots_are_missing_or_failed(house):
    """The newest row of a slot counts; slots without a row are missing."""
    midnight = datetime.combine(get_now().date(), time(), UTC) - timedelta(days=1)
    slots = [midnight + timedelta(hours=hour) for hour in range(4)]
    period = (slots[0], slots[-1])

    def fail(ctx):
        if ctx.date.hour == 1:
            raise ValueError("no")

    name = f"decided {house.kind}"
    task = house.start(fail, HOURLY, timezone="UTC", name=name)
    assert task.backfill(slots[0], slots[2], only="missing").wait(SECONDS)
    for only, hours in (("missing", [3]), ("failed", [1]), ("all", [0, 1, 2, 3])):
        found = task.backfill(*period, only=only, dry_run=True)
        assert found == [slots[hour] for hour in hours], only
    again = task.backfill(*period, only="failed")
    assert again.slots == (slots[1],)
    assert again.wait(SECONDS)
    task.destroy().result(SECONDS)

    # The next life of the name knows, too.
    task = house.start(tell_slot, HOURLY, timezone="UTC", name=name)
    assert task.backfill(*period, only="failed").wait(SECONDS)
    assert task.backfill(*period, only="failed", dry_run=True) == []
    assert task.backfill(*period, dry_run=True) == [slots[3]]


@BOTH_FIRST
def test_slots_of_a_pause_are_missing(house):
    """Their rows say that nothing ran; a catch-up in the meantime counts."""
    name = f"paused {house.kind}"
    task = house.start(tell_slot, EVERY_SECOND, timezone="UTC", name=name)
    record = Record(task)
    task.pause().result(SECONDS)
    record.wait("execution:skipped", 3)
    task.stop().result(SECONDS)
    drain()
    skips = [context.date for context in record.of("execution:skipped")]
    assert task.backfill(skips[0], skips[-1], dry_run=True) == skips
    task.start().result(SECONDS)
    assert task.backfill(skips[0], skips[-1]).wait(SECONDS)
    assert task.backfill(skips[0], skips[-1], dry_run=True) == []


def test_slots_that_the_history_may_have_forgotten_are_not_taken_for_missing():
    """They would all run again; the error says from when on it knows."""
    task = ipycron.create_task("0 9 * * *", int, timezone="UTC")
    text = r"reaches back to \d{4}-.* only, .* Begin there, or use only=\"all\""
    period = (date(2020, 3, 1), date(2020, 3, 3))
    with pytest.raises(BackfillRefused, match=text):
        task.backfill(*period, dry_run=True)
    assert task.backfill(*period, only="failed", dry_run=True) == []
    assert len(task.backfill(*period, only="all", dry_run=True)) == 3


def test_choice_by_the_history_needs_one():
    """The error says what does not."""
    task = ipycron.create_task(HOURLY, int, history=False)
    task.start().result(SECONDS)
    for options in ({}, {"only": "failed"}, {"dry_run": True}):
        with pytest.raises(BackfillRefused, match='only="all" does not'):
            task.backfill(*PERIOD, **options)
    assert task.backfill(*PERIOD, only="all").wait(SECONDS)


@pytest.mark.parametrize(
    ("start", "end", "text"),
    [
        (
            "2024-03-03",
            "2024-03-02",
            "end: got '2024-03-02', expected an instant after",
        ),
        ("2024-03-02", "2999-01-01", "expected an instant that has passed: it is 20"),
        ("soon", "2024-03-02", "start: got 'soon', expected an instant"),
        (60, 120, "start: got 60, expected an instant"),
        (None, None, "start: got None, expected an instant"),
    ],
)
def test_period_is_checked(start, end, text):
    """Before anything runs."""
    task = ipycron.create_task(HOURLY, int)
    with pytest.raises(InvalidOption, match=text):
        task.backfill(start, end, only="all", dry_run=True)


@pytest.mark.parametrize(
    ("hours", "count"), [(3, "10,801"), (24, "86,401"), (2400, "more than 100,000")]
)
def test_backfill_of_too_many_slots_is_refused_with_their_number(hours, count):
    """A year of seconds, by mistake; counting them does not take long either."""
    task = ipycron.create_task(EVERY_SECOND, int, timezone="UTC")
    text = f"at most 10,000 slots since start, there are {count}. Backfill shorter"
    with pytest.raises(InvalidOption, match=text):
        task.backfill(DAY, DAY + timedelta(hours=hours), only="all", dry_run=True)


def test_other_arguments_are_checked():
    """As options are."""
    task = ipycron.create_task(HOURLY, int)
    with pytest.raises(InvalidOption, match="only: got 'none', expected 'missing'"):
        task.backfill(*PERIOD, only="none", dry_run=True)
    with pytest.raises(InvalidOption, match="dry_run: got 'yes', expected True"):
        task.backfill(*PERIOD, only="all", dry_run="yes")


def test_task_that_cannot_run_cannot_be_backfilled(house):
    """As it cannot be executed."""
    task = house.create(tell_slot, HOURLY)
    with pytest.raises(TaskNotStarted, match=r"Call start\(\) before backfill\(\)"):
        task.backfill(*PERIOD, only="all")
    task.destroy().result(SECONDS)
    with pytest.raises(TaskDestroyed):
        task.backfill(*PERIOD, only="all")
