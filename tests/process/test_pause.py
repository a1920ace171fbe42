"""Paused tasks of every kind, in real processes, and the loss of these (C4)."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from house import BOTH_FIRST, EVERY_SECOND, NEVER, Record, drain
from polling import SECONDS, eventually

import ipycron
from ipycron.errors import InvalidOption

pytestmark = pytest.mark.usefixtures("supervisor")


def answer(ctx):
    """The simplest job."""
    return 42


def find_missed_in_pause(record):
    """Return the missed slots of a pause; a busy machine misses some of others."""
    skips = [context.date for context in record.of("execution:skipped")]
    missed = [context.date for context in record.of("execution:missed")]
    return [date for date in missed if skips[0] <= date <= skips[-1]]


@BOTH_FIRST
def test_paused_task_skips_its_slots_and_runs_when_called(house):
    """The task stays loaded: the same worker runs before, in and after the pause."""
    task = house.start(lambda ctx: ctx.execution.pid, EVERY_SECOND)
    record = Record(task)
    first = record.wait("execution:finished")[0].execution.result
    task.pause(note="no network").result(SECONDS)
    assert task.is_paused
    assert task.paused_until is None
    assert task.pause_note == "no network"
    assert task.next_run is None
    assert task.seconds_to_next is None
    assert task.status in ("idle", "running")
    drain()
    started = record.count("execution:started")
    for skip in record.wait("execution:skipped", 2):
        assert skip.reason == "paused"
        assert skip.execution is None
    assert record.count("execution:started") == started
    assert task.execute().result(SECONDS) == first
    task.resume().result(SECONDS)
    assert not task.is_paused
    assert task.pause_note == ""
    assert task.next_run is not None
    last = record.wait("execution:started", started + 2)[-1]
    assert record.count("task:paused") == record.count("task:resumed") == 1
    assert find_missed_in_pause(record) == []
    eventually(lambda: last.execution.finished_at, "the run ends")
    assert last.execution.result == first


@BOTH_FIRST
def test_pause_ends_by_itself_and_the_slot_at_its_end_runs(house):
    """What it says about the next run is true."""
    task = house.start(answer, EVERY_SECOND)
    record = Record(task)
    task.pause(4).result(SECONDS)
    until = task.paused_until
    assert until.microsecond == 0
    assert task.next_run == until
    assert repr(task).endswith(
        f"paused until {until:%Y-%m-%d %H:%M:%S}, "
        f"next {until:%Y-%m-%d %H:%M:%S} {task.timezone}>"
    )
    record.wait("task:resumed")

    def find_slot():
        ends = record.of("execution:started") + record.of("execution:missed")
        return next((c for c in ends if c.date == until), None)

    slot = eventually(find_slot, lambda: f"the slot {until} runs: {record.names}")
    if slot.event == "execution:missed":  # on a machine that was busy just then
        assert slot.triggered_at - until > timedelta(seconds=1)
    assert not task.is_paused
    skips = [c.date for c in record.of("execution:skipped")]
    assert skips
    assert all(date < until for date in skips)
    slots = [c.date for c in record.of("execution:started")]
    assert not [date for date in slots if skips[0] <= date < until]


@BOTH_FIRST
def test_pause_is_kept_while_a_task_is_stopped(house):
    """A stop says nothing about the slots of the next start."""
    task = house.create(answer, EVERY_SECOND)
    record = Record(task)
    task.pause(timedelta(hours=1), "maintenance").result(SECONDS)
    assert task.status == "stopped"
    assert task.next_run is None  # as of any stopped task
    task.start().result(SECONDS)
    record.wait("execution:skipped")
    task.stop().result(SECONDS)
    assert task.pause_note == "maintenance"
    assert task.is_paused
    task.start().result(SECONDS)
    record.wait("execution:skipped", record.count("execution:skipped") + 1)
    assert record.count("execution:started") == 0
    assert record.count("task:paused") == 1
    task.destroy().result(SECONDS)
    assert not task.is_paused
    assert record.count("task:resumed") == 0
    for end in (task.pause(), task.resume()):
        end.result(SECONDS)
    assert not task.is_paused


def test_pause_of_a_paused_task_changes_it(house):
    """Each change is an event, the same again is not."""
    task = house.start(answer)
    record = Record(task)
    task.pause("2999-03-01 09:00").result(SECONDS)
    first = task.paused_until
    assert f"{first:%Y-%m-%d %H:%M:%S}" == "2999-03-01 09:00:00"
    assert str(first.tzinfo) == task.timezone
    task.pause(first).result(SECONDS)
    task.pause(note="until I am back").result(SECONDS)
    assert task.paused_until is None
    assert task.pause_note == "until I am back"
    task.resume().result(SECONDS)
    task.resume().result(SECONDS)
    drain()
    assert record.names == ["task:paused", "task:paused", "task:resumed"]


def test_run_in_progress_continues_in_a_pause(house):
    """Its result is the caller's."""
    gate = house.gate()

    def wait(ctx):
        yield from gate.pass_through()

    task = house.start(wait)
    run = task.execute()
    eventually(lambda: task.running, "the run is in progress")
    task.pause().result(SECONDS)
    assert task.status == "running"
    gate.open()
    run.result(SECONDS)


def test_pause_is_awaited_like_the_other_controls(house):
    """On the user's own loop."""
    task = house.start(answer)

    async def main():
        await task.pause(5)
        assert task.is_paused
        await task.resume()
        assert not task.is_paused

    asyncio.run(main())


def test_pause_on_an_executor_skips_its_slots():
    """Tasks of an executor have the client's scheduler."""
    with ThreadPoolExecutor() as pool:
        task = ipycron.schedule(EVERY_SECOND, os.getpid, executor=pool)
        record = Record(task)
        task.start().result(SECONDS)
        task.pause().result(SECONDS)
        drain()
        started = record.count("execution:started")
        record.wait("execution:skipped", 2)
        assert record.count("execution:started") == started
        assert task.execute().result(SECONDS) == os.getpid()
        task.destroy().result(SECONDS)


@pytest.mark.parametrize("until", ["2020-01-01", "soon", -1, []])
def test_pause_refuses_what_it_does_not_understand(until):
    """At once, and nothing has changed."""
    task = ipycron.create_task(NEVER, int)
    with pytest.raises(InvalidOption, match="until: got"):
        task.pause(until)
    with pytest.raises(InvalidOption, match="note: got"):
        task.pause(note=5)
    assert not task.is_paused


def test_attributes_of_a_pause_point_to_the_methods():
    """They cannot be set."""
    task = ipycron.create_task(NEVER, int)
    with pytest.raises(AttributeError, match=r"Use pause\(\) or resume\(\)"):
        task.is_paused = True


@BOTH_FIRST
def test_resume_catches_up_on_what_the_pause_has_skipped(house):
    """In the scheduler of either kind, with the slot as the job's date."""
    task = house.start(lambda ctx: ctx.date.isoformat(), EVERY_SECOND)
    record = Record(task)
    task.pause().result(SECONDS)
    skips = [skip.date for skip in record.wait("execution:skipped", 3)]
    task.resume(catch_up="all").result(SECONDS)
    eventually(
        lambda: len([c for c in ends(record) if c.reason == "catch_up"]) >= 3,
        lambda: f"three runs that catch up: {record.texts}",
    )
    caught = [run for run in ends(record) if run.reason == "catch_up"][:3]
    assert [run.date for run in caught] == skips[:3]
    assert [run.result for run in caught] == [date.isoformat() for date in skips[:3]]
    rows = ipycron.history(task.name, limit=None)
    slots = [row.slot for row in rows]
    assert sorted(set(slots)) == sorted(slots), "each slot has one row"
    made_up = {row.slot for row in rows if row.trigger == "catch_up"}
    assert made_up >= {run.date for run in caught}


def ends(record):
    """Return the runs that have finished."""
    return [context.execution for context in record.of("execution:finished")]


def test_resume_refuses_what_is_no_way_to_catch_up():
    """At once."""
    task = ipycron.create_task(NEVER, int)
    with pytest.raises(InvalidOption, match="catch_up: got 'some'"):
        task.resume(catch_up="some")
