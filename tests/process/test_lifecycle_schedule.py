"""Scheduled runs: slots, limits, overlaps, delays, timeouts."""

import gc
import itertools
import weakref
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from house import BOTH, EVERY_SECOND, INLINE, Record, drain
from polling import SECONDS, eventually

import ipycron
from ipycron.errors import ExecutionTimeout, InvalidOption

pytestmark = pytest.mark.usefixtures("supervisor")

on_both = pytest.mark.parametrize("house", BOTH, indirect=True)


SETTLED = ("execution:started", "execution:missed")


def test_every_slot_runs_once_and_not_early(house, sleeper):
    """Three seconds are three runs: one per slot, none early."""
    task = house.start(lambda _: 42, EVERY_SECOND)
    record = Record(task)
    record.wait("execution:finished", 3)
    task.destroy().result(SECONDS)
    drain()
    sleeper.check_missed(record)
    starts = record.of("execution:started")
    slots = [c.date for c in record.contexts if c.event in SETTLED]
    assert all(later - slot == timedelta(seconds=1) for slot, later in pairs(slots))
    for context in starts:
        execution = context.execution
        assert execution.reason == "scheduled"
        assert execution.date == context.date
        assert context.date.microsecond == 0
        assert timedelta(0) <= execution.started_at - context.date
        assert execution.started_at <= execution.finished_at


def pairs(items):
    """Return each item with the next one."""
    return itertools.pairwise(items)


@on_both
def test_failing_runs_do_not_stop_the_schedule(house):
    """A job that always raises fails at every slot, with its own error."""

    def fail(ctx):
        raise ValueError(ctx.execution.id)

    task = house.start(fail, EVERY_SECOND)
    record = Record(task)
    for context in record.wait("execution:failed", 2):
        assert isinstance(context.error, ValueError)
        assert context.error.args == (context.execution.id,)
        assert context.execution.error.args == context.error.args
    assert task.status in ("idle", "running")
    task.destroy().result(SECONDS)


def test_next_run_is_there_while_the_task_is_started(house):
    """The next slot is known from start to stop, in the schedule's zone."""
    zone = ZoneInfo("Pacific/Chatham")
    task = house.create(lambda _: 42, "30 4 * * *", timezone="Pacific/Chatham")
    assert (task.next_run, task.seconds_to_next) == (None, None)
    assert task.pattern == "30 4 * * *"
    assert task.timezone == "Pacific/Chatham"
    task.start().result(SECONDS)
    following = task.next_run
    assert following.tzinfo is zone
    assert (following.hour, following.minute, following.second) == (4, 30, 0)
    assert 0 < task.seconds_to_next <= 90_000  # a day has 25 hours when clocks go back
    assert task.matches(following)
    assert not task.matches(following + timedelta(seconds=1))
    task.stop().result(SECONDS)
    assert task.next_run is None
    assert task.next_runs(2)[0] == following
    assert task.next_runs(2)[1] > following
    assert task.next_runs(0) == []


def test_task_is_destroyed_when_its_limit_is_reached(house):
    """After two runs the limit is reported, and the task is gone."""
    task = house.create(lambda _: 42, EVERY_SECOND, max_executions=2)
    record = Record(task)
    assert task.runs_left == 2
    task.start().result(SECONDS)
    record.wait("execution:finished")
    begun = record.count("execution:started")
    left = task.runs_left  # the second run may begin at any time
    drain()
    assert 2 - record.count("execution:started") <= left <= 2 - begun
    record.wait("task:destroyed")
    drain()
    assert [name for name in record.names if name != "execution:missed"] == [
        "task:started",
        "execution:started",
        "execution:finished",
        "execution:started",
        "execution:finished",
        "execution:max_reached",
        "task:stopped",
        "task:destroyed",
    ]
    assert (task.runs_left, task.status) == (0, "destroyed")
    assert task.id not in ipycron.get_tasks()


@on_both
def test_overlap_is_reported_and_both_run_by_default(house):
    """A slot during a run reports the overlap, and runs in parallel."""
    gate = house.gate()

    def wait(ctx):
        yield from gate.pass_through()

    task = house.create(wait, EVERY_SECOND)
    record = Record(task)
    task.start().result(SECONDS)
    record.wait("execution:overlap")
    eventually(lambda: len(task.running) >= 2, "two runs are in progress")
    stop = task.stop()
    gate.open()
    stop.result(SECONDS)
    drain()
    (overlap, *_) = record.of("execution:overlap")
    assert overlap.execution is None
    second = record.of("execution:started")[1]
    assert second.date == overlap.date
    assert record.names.count("execution:finished") == len(
        record.of("execution:started")
    )


@on_both
def test_overlapping_slot_is_skipped_when_no_overlap_is_set(house):
    """With `no_overlap` a slot during a run is reported, but does not run."""
    gate = house.gate()

    def wait(ctx):
        yield from gate.pass_through()

    task = house.create(wait, EVERY_SECOND, no_overlap=True)
    record = Record(task)
    task.start().result(SECONDS)
    record.wait("execution:overlap", 2)
    assert record.names.count("execution:started") == 1
    gate.open()
    record.wait("execution:started", 2)
    task.destroy().result(SECONDS)


@on_both
def test_manual_run_counts_for_overlap_also_after_stop_and_start(house):
    """`no_overlap` survives stop and start, and includes manual runs."""
    gate = house.gate()

    def wait(ctx):
        yield from gate.pass_through()

    task = house.start(wait, EVERY_SECOND, no_overlap=True)
    task.stop(force=True).result(SECONDS)
    record = Record(task)
    task.start()
    run = task.execute()  # with the start, and so before its first slot
    record.wait("execution:overlap", 2)
    reasons = [c.execution.reason for c in record.of("execution:started")]
    assert reasons == ["invoked"]
    gate.open()
    run.result(SECONDS)


def test_long_run_is_ended_when_it_exceeds_its_timeout(house):
    """`timeout` ends a run with an error, and the schedule continues."""
    gate = house.gate()

    def wait(ctx):
        yield from gate.pass_through()
        return "done"

    if house.kind == INLINE:
        with pytest.raises(InvalidOption, match="a thread cannot be killed"):
            house.create(wait, timeout=0.2)
        return
    task = house.start(wait, timeout=1)
    record = Record(task)
    with pytest.raises(ExecutionTimeout, match="longer than 1 s"):
        task.execute().result(SECONDS)
    gate.open()
    # A machine that stands still for a second has another run end like the first.
    eventually(lambda: task.execute().exception(SECONDS) is None, "a run in time")
    assert task.last_run.result == "done"
    drain()
    assert record.names[:2] == ["execution:started", "execution:failed"]
    assert record.names[-2:] == ["execution:started", "execution:finished"]


@on_both
def test_run_starts_when_its_random_delay_is_over(house):
    """`jitter` delays the code and its started event."""
    task = house.start(lambda _: 42, EVERY_SECOND, jitter=0.9)
    record = Record(task)
    contexts = record.wait("execution:started", 3)
    delays = [context.execution.started_at - context.date for context in contexts]
    # It may begin late by the tolerance, before and after the delay.
    assert all(timedelta(0) <= delay < timedelta(seconds=3) for delay in delays)
    assert max(delays) > timedelta(milliseconds=20)
    task.destroy().result(SECONDS)


MONTHS = 1e7
"""Seconds: a random delay of up to an hour may well be over within two."""


@on_both
def test_stop_drops_a_run_in_its_random_delay(house):
    """A run that has not begun is dropped by a stop, without an event."""
    task = house.start(lambda _: 42, EVERY_SECOND, jitter=MONTHS)
    record = Record(task)
    record.wait("execution:overlap")  # a slot has come while one was waiting
    task.stop().result(SECONDS)
    drain()
    assert {*record.names[:-1]} - {"execution:missed"} == {"execution:overlap"}
    assert record.names[-1] == "task:stopped"


def test_expression_object_keeps_its_own_rules(house):
    """A `CronExpression` brings its zone and its rule for the two day fields."""
    expression = ipycron.CronExpression("0 0 13 * 5", "Asia/Tokyo", day_or=False)
    task = house.start(lambda ctx: ctx.task.timezone, expression)
    assert task.execute().result(SECONDS) == "Asia/Tokyo"
    following = task.next_run
    assert (following.day, following.weekday()) == (13, 4)


class Always:
    """A coordinator that elects this instance."""

    def should_run(self, key, lease):  # noqa: ARG002
        """Return whether this instance runs the slot."""
        return True

    def on_complete(self, key):
        """Do nothing."""


class Large:
    """What a job may return."""


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"jitter": 0.01},
        {"no_overlap": True},
        {"tolerance": 2, "max_executions": 50},
        {"distributed": True, "name": "shared", "run_coordinator": Always()},
    ],
    ids="-".join,
)
def test_result_is_released_when_a_later_run_has_ended(options):
    """At once, not when the garbage collector comes: it may be large."""
    alive = []

    def job():
        large = Large()
        alive.append(weakref.ref(large))
        return large

    task = ipycron.schedule(EVERY_SECOND, job, **options)
    gc.disable()
    try:
        eventually(lambda: len(alive) >= 3, "three runs")
        eventually(lambda: alive[0]() is None, "the first result is released")
    finally:
        gc.enable()
        task.destroy().result(SECONDS)
