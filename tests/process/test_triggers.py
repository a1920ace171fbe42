"""Triggers of tasks of every kind: inline, in workers, on an executor."""

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta

import pytest
from house import Record, drain
from polling import SECONDS, eventually

import ipycron
from ipycron import any_of, at, every
from ipycron.errors import CronSyntaxError, InvalidOption
from ipycron.scheduling.clock import SystemClock

pytestmark = pytest.mark.usefixtures("supervisor")


def soon(*seconds):
    """Return instants some seconds from now."""
    now = datetime.fromtimestamp(int(SystemClock().now()), UTC)
    return [now + timedelta(seconds=s) for s in seconds]


def start_soon(house, body, plan, *seconds):
    """Start a task some seconds before its slots; return the slots, it and its record.

    A busy machine may start it after the first of them, which is then none of its: it
    is started anew, with more time.

    Args:
        house: where it runs.
        body: its function.
        plan: returns its trigger, and its options, for these slots.
        seconds: from now to each of them.
    """
    for more in range(0, int(SECONDS), 4):
        slots = soon(*(more + s for s in seconds))
        trigger, options = plan(*slots)
        task = house.create(body, trigger, **options)
        record = Record(task)
        task.start().result(SECONDS)
        if SystemClock().now() < slots[0].timestamp() - 0.2:
            return slots, task, record
        task.destroy().result(SECONDS)
    raise AssertionError("no start within twenty seconds")


def test_interval_counts_from_the_start(house):
    """The first slot is one interval after it; `next_run` agrees."""
    task = house.create(lambda _: 42, every("2s"))
    record = Record(task)
    task.start().result(SECONDS)
    started_at = SystemClock().now()
    expected = task.next_run
    slots = [context.date for context in record.wait("execution:finished", 2)]
    task.destroy().result(SECONDS)
    assert slots[0] == expected
    assert 0 < slots[0].timestamp() - started_at <= 2
    assert slots[1] - slots[0] == timedelta(seconds=2)
    assert record.of("execution:started")[0].task.pattern == "@every 2s"


def test_task_ends_after_its_instants(house):
    """Each of them runs, then the task is destroyed."""
    instants, _, record = start_soon(
        house,
        lambda ctx: ctx.date.timestamp(),
        lambda *instants: (at(*instants), {}),
        2,
        3,
    )
    record.wait("task:destroyed")
    drain()
    ran = [context.execution.result for context in record.of("execution:finished")]
    assert ran == [instant.timestamp() for instant in instants]


def test_pause_between_runs_is_counted_from_their_ends(house):
    """Runs of more than a second, a second apart, never overlap."""

    def work(_):
        threading.Event().wait(1.2)

    task = house.start(work, every("1s", after_finish=True))
    record = Record(task)
    runs = [context.execution for context in record.wait("execution:finished", 3)]
    following = task.next_run
    task.destroy().result(SECONDS)
    for one, other in itertools.pairwise(runs):
        pause = other.date.timestamp() - one.finished_at.timestamp()
        assert 1 <= pause < 2
    assert following is None or following > runs[-1].finished_at
    assert "execution:overlap" not in record.names


def test_union_runs_each_instant_once(house):
    """Where two parts agree there is one slot."""
    instants, _, record = start_soon(
        house,
        lambda ctx: ctx.date.timestamp(),
        lambda first, second: (any_of(at(first), at(first, second)), {}),
        2,
        3,
    )
    record.wait("task:destroyed")
    drain()
    slots = [context.date for context in record.of("execution:finished")]
    assert slots == instants


def test_timedelta_and_datetime_are_triggers(house):
    """The shortest way to say an interval, and to say once."""
    task = house.create(lambda _: 42, timedelta(minutes=5))
    assert task.pattern == "@every 5m"
    (instant,) = soon(3600)
    task = house.create(lambda _: 42, instant)
    assert task.next_runs(3) == [instant]


def test_interval_on_an_executor(tmp_path):
    """As everywhere else."""
    log = tmp_path / "log"
    with ThreadPoolExecutor(1) as pool:
        task = ipycron.schedule(every("1s"), log.touch, executor=pool)
        eventually(log.exists)
        task.destroy().result(SECONDS)


def test_new_trigger_counts_from_when_it_is_given(house):
    """Text with the task's zone; the pattern and the words follow."""
    task = house.start(lambda _: 42, "0 0 1 1 *", timezone="Asia/Tokyo")
    record = Record(task)
    task.reschedule("@every 2s")
    assert (task.pattern, task.timezone) == ("@every 2s", "Asia/Tokyo")
    record.wait("execution:finished", 2)
    with pytest.raises(InvalidOption, match="an instant to come"):
        task.reschedule("@at 2020-01-01")
    with pytest.raises(CronSyntaxError, match="Try: @every 5m"):
        task.reschedule("@every 5 minutes")
    assert task.pattern == "@every 2s"
    task.destroy().result(SECONDS)


def test_start_anchors_an_interval():
    """The first slot is the start itself, as the start is no slot that has passed."""
    (start,) = soon(3600)
    task = ipycron.create_task(every("25m"), int, start=start)
    assert task.next_runs(2) == [start, start + timedelta(minutes=25)]
    task = ipycron.create_task(every("25m"), int, start=start, end=start)
    assert task.next_runs(2) == [start]


def test_interval_of_a_task_that_is_started_late_counts_from_its_start():
    """Not from its declaration."""
    task = ipycron.create_task(every("1h"), int)
    declared = task.next_run or task.next_runs(1)[0]
    threading.Event().wait(2)
    task.start().result(SECONDS)
    assert (task.next_run - declared).total_seconds() >= 1


@pytest.mark.parametrize(
    "given", ["@at 2020-01-01", at("2020-01-01"), date(2020, 1, 1)]
)
def test_instant_in_the_past_is_refused_when_the_task_is_declared(given):
    """Nothing is registered."""
    with pytest.raises(InvalidOption, match=r"^at: got '2020-01-01 00:00"):
        ipycron.schedule(given, int, name="late")
    assert "late" not in ipycron.get_tasks()


@pytest.mark.parametrize("given", [5, b"* * * * *", None, print, ["* * * * *"]])
def test_what_is_no_trigger_is_refused(given):
    """A function, above all: it would have to run where schedules are kept."""
    with pytest.raises(CronSyntaxError, match="expected text such as"):
        ipycron.schedule(given, int)


def test_excluded_slots_are_rows_and_run_nothing(house):
    """Events and rows with that reason; `next_runs` leaves them out."""
    (first, second, third), task, record = start_soon(
        house,
        lambda _: 42,
        lambda *slots: (at(*slots), {"exclude": (slots[1], slots[2])}),
        2,
        3,
        4,
    )
    assert task.next_runs(5) == [first, third]
    record.wait("task:destroyed")
    drain()
    (skipped,) = record.of("execution:skipped")
    assert (skipped.date, skipped.reason) == (second, "excluded")
    assert [c.date for c in record.of("execution:finished")] == [first, third]
    rows = {row.slot: str(row.outcome) for row in ipycron.history(task.name)}
    assert rows == {first: "finished", second: "excluded", third: "finished"}


def test_excluded_slot_runs_at_the_next_time(house):
    """Once, for the instant after the period."""

    def plan(first, _, third):
        return at(first), {"exclude": [(first, third)], "on_excluded": "next"}

    (_, _, third), _, record = start_soon(
        house, lambda ctx: ctx.date.timestamp(), plan, 2, 3, 4
    )
    record.wait("task:destroyed")
    drain()
    (run,) = record.of("execution:finished")
    assert run.date == third
