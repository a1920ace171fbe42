"""Runs that a caller requests: `execute`, and the completion that it returns."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import pytest
from house import INLINE, Record, drain
from polling import SECONDS, eventually

from ipycron.errors import (
    ExecutionStopped,
    OverlapError,
    TaskNotStarted,
    WaitTimeout,
)

pytestmark = pytest.mark.usefixtures("supervisor")


def fail(ctx):
    """The simplest failing job."""
    raise LookupError("no such thing", 7)


def test_execute_returns_the_result_and_reports_the_run_once(house):
    """The completion has the job's result; started and finished come once."""
    task = house.start(lambda _: {"rows": [1, 2, 3]})
    record = Record(task)
    assert task.execute().result(SECONDS) == {"rows": [1, 2, 3]}
    record.expect("execution:started", "execution:finished")


def test_execute_raises_what_the_job_raised(house):
    """The completion raises the job's error; the run is reported as failed."""
    task = house.start(fail)
    record = Record(task)
    with pytest.raises(LookupError) as caught:
        task.execute().result(SECONDS)
    assert caught.value.args == ("no such thing", 7)
    record.expect("execution:started", "execution:failed")
    assert record.contexts[1].error.args == ("no such thing", 7)


def test_execute_waits_for_the_start_when_it_follows_at_once(house):
    """The first example of the documentation works: schedule, then execute."""
    task = house.schedule(lambda _: 42)
    assert task.execute().result(SECONDS) == 42


def test_execute_is_refused_when_the_task_is_stopped(house):
    """The error says that the task is not started, and what to do."""
    task = house.create(lambda _: 42)
    with pytest.raises(TaskNotStarted, match=r"Call start\(\)"):
        task.execute().result(SECONDS)
    task.start().result(SECONDS)
    task.stop().result(SECONDS)
    with pytest.raises(TaskNotStarted):
        task.execute().result(SECONDS)


def test_each_caller_gets_its_own_run_when_several_execute_at_once(house):
    """Ten calls are ten runs; each completion has its own run's result."""
    task = house.start(lambda ctx: ctx.execution.id)
    record = Record(task)
    results = [task.execute() for _ in range(10)]
    ids = [completion.result(SECONDS) for completion in results]
    assert len(set(ids)) == 10
    drain()
    for run_id in ids:
        (end,) = (
            context
            for context in record.of("execution:finished")
            if context.execution.id == run_id
        )
        assert end.execution.result == run_id


def test_manual_run_is_seen_while_it_runs(house):
    """Status, is_busy and running include manual runs."""
    gate = house.gate()

    def wait(ctx):
        yield from gate.pass_through()

    task = house.start(wait)
    assert not task.is_busy
    run = task.execute()
    (execution,) = eventually(lambda: task.running)
    assert (task.status, task.is_busy) == ("running", True)
    assert execution.reason == "invoked"
    assert execution.is_ok is None
    assert (execution.pid is None) == (not house.is_background)
    gate.open()
    run.result(SECONDS)
    assert (task.status, task.is_busy, task.running) == ("idle", False, ())


def test_last_run_describes_a_success(house):
    """`last_run` has instants, duration and result."""
    before = datetime.now(UTC) - timedelta(milliseconds=1)  # noqa: TID251 - the test's
    task = house.start(lambda _: 42)
    assert task.last_run is None
    task.execute().result(SECONDS)
    run = task.last_run
    assert (run.result, run.error, run.is_ok, run.reason) == (42, None, True, "invoked")
    assert before <= run.date <= run.started_at <= run.finished_at
    assert run.duration == (run.finished_at - run.started_at).total_seconds()


def test_last_run_describes_a_failure(house):
    """After a failure `last_run` has the error and traceback, and no result."""
    task = house.start(fail)
    task.execute().exception(SECONDS)
    run = task.last_run
    assert isinstance(run.error, LookupError)
    assert (run.result, run.is_ok) == (None, False)
    assert run.summary == "LookupError: ('no such thing', 7)"
    assert 'raise LookupError("no such thing", 7)' in run.traceback_text


def test_manual_runs_do_not_count_towards_the_limit(house):
    """`max_executions` limits the schedule, not manual runs."""
    task = house.start(lambda _: 42, max_executions=1)
    for _ in range(3):
        assert task.execute().result(SECONDS) == 42
    assert task.runs_left == 1
    assert task.status == "idle"


def test_execute_names_the_run_it_would_overlap_when_no_overlap_is_set(house):
    """With `no_overlap` a second run is refused, and the first one is named."""
    gate = house.gate()

    def wait(ctx):
        yield from gate.pass_through()
        return 42

    task = house.start(wait, no_overlap=True)
    first = task.execute()
    (execution,) = eventually(lambda: task.running)
    with pytest.raises(OverlapError, match=execution.id) as caught:
        task.execute().result(SECONDS)
    assert caught.value.execution_id == execution.id
    gate.open()
    assert first.result(SECONDS) == 42
    assert task.execute().result(SECONDS) == 42


def test_runs_overlap_by_default(house):
    """Two manual runs take place in parallel; in workers, in two processes."""
    gate = house.gate()

    def wait(ctx):
        yield from gate.pass_through()
        return getattr(ctx.execution, "pid", None)

    task = house.start(wait)
    runs = [task.execute(), task.execute()]
    eventually(lambda: len(task.running) == 2, "both are in progress")
    gate.open()
    pids = [run.result(SECONDS) for run in runs]
    assert (len(set(pids)) == 2) == house.is_background


def test_run_continues_when_its_wait_has_timed_out(house):
    """`execute_timeout` ends the wait, not the run."""
    gate = house.gate()

    def wait(ctx):
        yield from gate.pass_through()
        return "late"

    task = house.start(wait, execute_timeout=0.05)
    record = Record(task)
    with pytest.raises(WaitTimeout, match=r"no result within 0\.05 s"):
        task.execute().result(SECONDS)
    eventually(lambda: task.is_busy, "it is told that the run has begun")
    gate.open()
    record.wait("execution:finished")
    assert task.last_run.result == "late"


def test_completion_settles_when_the_task_is_stopped_or_destroyed(house):
    """A caller that waits for a run gets an error when it is ended."""
    gate = house.gate()

    def wait(ctx):
        yield from gate.pass_through()

    task = house.start(wait)
    run = task.execute()
    eventually(lambda: task.running)
    if house.kind == INLINE:
        gate.open()  # nothing else ends a thread
        task.destroy().result(SECONDS)
        assert run.result(SECONDS) is None
    else:
        task.destroy(force=True).result(SECONDS)
        with pytest.raises(ExecutionStopped):
            run.result(SECONDS)


def test_completion_may_be_asked_often_and_by_anybody(house):
    """Result and error can be read by every thread, and by `await`."""
    task = house.start(lambda _: [1])
    run = task.execute()
    answers = []

    async def wait():
        return await run

    threads = [
        threading.Thread(target=lambda: answers.append(run.result(SECONDS))),
        threading.Thread(target=lambda: answers.append(asyncio.run(wait()))),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [[1], [1]]
    assert run.result() == [1]
    assert run.exception() is None
    assert run.done()


def test_failure_is_awaited_as_an_exception(house):
    """`await task.execute()` raises the job's error where it is awaited."""
    task = house.start(fail)

    async def wait():
        with pytest.raises(LookupError):
            await task.execute()

    asyncio.run(wait())


def test_run_goes_on_when_the_waiting_is_cancelled(house):
    """Cancelling an `await` ends only this wait."""
    gate = house.gate()

    def wait(ctx):
        yield from gate.pass_through()
        return "whole"

    task = house.start(wait)
    run = task.execute()

    async def give_up():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.ensure_future(_await(run)), 0.02)

    asyncio.run(give_up())
    with pytest.raises(TimeoutError):
        run.result(0.01)
    gate.open()
    assert run.result(SECONDS) == "whole"


async def _await(completion):
    return await completion


def test_callbacks_are_called_when_the_run_ends_or_has_ended(house):
    """A callback added early or late is called once, with the completion."""
    task = house.start(lambda _: 42)
    run = task.execute()
    called = []
    run.add_done_callback(called.append)
    run.result(SECONDS)
    run.add_done_callback(called.append)
    eventually(lambda: called == [run, run])
