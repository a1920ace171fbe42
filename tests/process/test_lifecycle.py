"""A task's life cycle, the same for all four kinds: start, stop, destroy."""

import pytest
from house import INLINE, Record, drain
from polling import SECONDS, eventually

import ipycron
from ipycron.errors import ExecutionStopped, StartError, StopTimeout, TaskDestroyed

pytestmark = pytest.mark.usefixtures("supervisor")


def answer(ctx):
    """The simplest job."""
    return 42


def test_status_follows_the_life_of_a_task(house):
    """Stopped, idle, running, idle, stopped, destroyed, in this order."""
    gate = house.gate()

    def wait(ctx):
        yield from gate.pass_through()

    task = house.create(wait)
    seen = [task.status]
    task.start().result(SECONDS)
    seen.append(task.status)
    run = task.execute()
    eventually(lambda: task.running, "the run is in progress")
    seen.append(task.status)
    gate.open()
    run.result(SECONDS)
    seen.append(task.status)
    task.stop().result(SECONDS)
    seen.append(task.status)
    task.destroy().result(SECONDS)
    seen.append(task.status)
    assert seen == ["stopped", "idle", "running", "idle", "stopped", "destroyed"]


def test_each_event_comes_once_and_in_order_when_a_task_lives_twice(house):
    """Every step is reported once, in the order in which it happened."""
    task = house.create(answer)
    record = Record(task)
    task.start().result(SECONDS)
    task.execute().result(SECONDS)
    task.stop().result(SECONDS)
    task.start().result(SECONDS)
    task.stop().result(SECONDS)
    task.destroy().result(SECONDS)
    record.expect(
        "task:started",
        "execution:started",
        "execution:finished",
        "task:stopped",
        "task:started",
        "task:stopped",
        "task:destroyed",
    )


def test_start_is_shared_when_it_is_asked_for_three_times(house):
    """Two concurrent starts, and one when started, load one worker."""
    task = house.create(lambda ctx: ctx.execution.pid)
    record = Record(task)
    starts = [task.start(), task.start()]
    for start in starts:
        start.result(SECONDS)
    pid = task.execute().result(SECONDS)
    task.start().result(SECONDS)
    assert task.execute().result(SECONDS) == pid
    drain()
    assert record.names.count("task:started") == 1


def test_task_runs_again_when_it_is_started_after_a_stop(house):
    """A stop is not final: after the next start the task runs as before."""
    task = house.start(answer)
    task.stop().result(SECONDS)
    assert task.next_run is None
    task.start().result(SECONDS)
    assert task.execute().result(SECONDS) == 42
    assert task.next_run is not None


def test_stop_is_harmless_when_the_task_is_stopped(house):
    """Stopping a stopped task changes nothing and emits nothing."""
    task = house.create(answer)
    record = Record(task)
    task.stop().result(SECONDS)
    record.expect()
    assert task.status == "stopped"


def test_latest_request_counts_when_stop_follows_start_at_once(house):
    """A stop during the start leaves the task stopped, with nothing running."""
    task = house.create(answer)
    start, stop = task.start(), task.stop()
    stop.result(SECONDS)
    assert start.exception(SECONDS) is None or isinstance(start.exception(), StartError)
    assert task.status == "stopped"
    task.start().result(SECONDS)
    assert task.execute().result(SECONDS) == 42


def test_start_is_not_lost_when_it_comes_during_a_stop(house):
    """A start while a stop waits for a run takes effect after the stop."""
    gate = house.gate()

    def wait(ctx):
        yield from gate.pass_through()
        return 42

    task = house.start(wait)
    record = Record(task)
    run = task.execute()
    record.wait("execution:started")
    stop, start = task.stop(), task.start()
    assert not stop.done()
    gate.open()
    # A coroutine is cancelled by a stop only after stop_timeout: it may end well.
    assert run.result(SECONDS) == 42
    stop.result(SECONDS)
    start.result(SECONDS)
    assert task.status == "idle"
    assert task.execute().result(SECONDS) == 42
    drain()
    assert record.names[:4] == [
        "execution:started",
        "execution:finished",
        "task:stopped",
        "task:started",
    ]


def test_run_ends_well_when_it_ends_within_the_stop_timeout(house):
    """A stop lets the run in progress finish; then the task is stopped."""
    gate = house.gate()

    def wait(ctx):
        yield from gate.pass_through()
        return "whole"

    task = house.start(wait)
    record = Record(task)
    run = task.execute()
    record.wait("execution:started")
    stop = task.stop()
    gate.open()
    assert run.result(SECONDS) == "whole"
    stop.result(SECONDS)
    record.expect("execution:started", "execution:finished", "task:stopped")


@pytest.mark.parametrize("how", ["force", "stop_timeout"])
def test_run_is_ended_when_the_stop_does_not_wait_longer(house, how):
    """A forced stop, or one that has timed out, ends the run with an error."""
    gate = house.gate()

    def wait(ctx):
        yield from gate.pass_through()

    task = house.start(wait, stop_timeout=0.1)
    record = Record(task)
    run = task.execute()
    record.wait("execution:started")
    stop = task.stop(force=how == "force")
    error = stop.exception(SECONDS)
    if house.kind == INLINE:
        # A thread cannot be killed; the stop says so, and its result is ignored.
        assert isinstance(error, StopTimeout)
        gate.open()
    else:
        assert error is None
    with pytest.raises(ExecutionStopped):
        run.result(SECONDS)
    assert task.status == "stopped"
    record.expect("execution:started", "execution:failed", "task:stopped")


def test_destroy_is_final_and_may_be_repeated(house):
    """A destroyed task is not in the registry, and nothing revives it."""
    task = house.start(answer)
    record = Record(task)
    destroys = [task.destroy(), task.destroy()]
    for destroy in destroys:
        destroy.result(SECONDS)
    task.destroy().result(SECONDS)
    task.start().result(SECONDS)
    task.stop().result(SECONDS)
    assert task.status == "destroyed"
    assert task.next_run is None
    assert task.id not in ipycron.get_tasks()
    with pytest.raises(TaskDestroyed, match="is destroyed"):
        task.execute().result(SECONDS)
    record.expect("task:stopped", "task:destroyed")


def test_task_can_be_destroyed_when_it_never_started(house):
    """A task that was only created is destroyed without a stop."""
    task = house.create(answer)
    record = Record(task)
    task.destroy().result(SECONDS)
    assert task.status == "destroyed"
    record.expect("task:destroyed")


def test_events_of_a_stopped_task_have_a_context(house):
    """Events of a task without a worker have a complete context, too."""
    task = house.create(answer)
    record = Record(task)
    task.destroy().result(SECONDS)
    drain()
    (context,) = record.contexts
    assert context.task is task
    assert context.date.tzinfo is task.expression.timezone
    assert context.execution is None


def test_latest_request_counts_when_fifty_come_at_once(house):
    """All controls come to an end, and the last one counts."""
    task = house.create(answer)
    completions = [task.stop() if turn % 3 == 1 else task.start() for turn in range(51)]
    for completion in completions:
        error = completion.exception(SECONDS)
        assert error is None or isinstance(error, StartError)
    assert task.status == "idle"
    assert task.execute().result(SECONDS) == 42
