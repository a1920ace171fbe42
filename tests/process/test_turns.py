"""Slots that are due while a run is in progress, with real processes (O1)."""

import os
import signal
import time

import pytest
from house import ASYNC, EVERY_SECOND, INLINE, NEVER, Record
from polling import SECONDS, eventually

import ipycron
from ipycron.errors import ExecutionReplaced, InvalidOption, SelfWait

pytestmark = pytest.mark.usefixtures("supervisor")


def test_runs_of_a_queue_never_overlap(house):
    """The slots that wait meanwhile are superseded, but for the newest."""
    gate, log = house.gate(), house.log()

    def wait(ctx):
        log.write("in")
        yield from gate.pass_through()
        log.write("out")

    task = house.start(wait, EVERY_SECOND, overlap="queue", name=f"queue {house.kind}")
    record = Record(task)
    skips = record.wait("execution:skipped", 2)
    assert [skip.reason for skip in skips[:2]] == ["superseded"] * 2
    (queued,) = eventually(lambda: task.queued, "a slot waits")
    assert queued.started_at is None
    assert "queued" in repr(queued)
    assert len(task.running) == 1
    gate.open()
    record.wait("execution:finished", 2)
    task.stop().result(SECONDS)
    assert task.queued == ()
    words = log.read()
    assert words == ["in", "out"] * (len(words) // 2)
    outcomes = [row.outcome for row in ipycron.history(task.name)]
    assert "superseded" in outcomes
    slots = [row.slot for row in ipycron.history(task.name)]
    assert len(slots) == len(set(slots))


def test_calls_are_queued_while_their_task_starts(house):
    """They are seen to wait, until the first of them is over."""
    gate = house.gate()

    def wait(ctx):
        yield from gate.pass_through()

    task = house.create(wait, overlap="queue")
    task.start()
    calls = [task.execute() for _ in range(3)]
    eventually(lambda: task.running, "the first one runs")
    eventually(lambda: len(task.queued) == 2, "the others wait")
    gate.open()
    for call in calls:
        call.result(SECONDS)
    assert task.queued == ()


def test_calls_of_a_queue_wait_for_their_turn(house):
    """Each caller gets the result of a run of its own."""
    log = house.log()

    def note(ctx):
        log.write("in")
        log.write("out")
        return ctx.execution.id

    task = house.start(note, overlap="queue")
    calls = [task.execute() for _ in range(5)]
    assert len({call.result(SECONDS) for call in calls}) == 5
    assert log.read() == ["in", "out"] * 5


def test_replaced_process_is_gone_before_the_next_one_runs(workers):
    """Also one that ignores SIGTERM: it is killed."""
    log = workers.log()

    def ignore(ctx):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        log.write(str(os.getpid()))
        while True:
            signal.pause()

    task = workers.start(ignore, overlap="replace", name=f"replace {workers.kind}")
    record = Record(task)
    first = task.execute()
    record.wait("execution:started")
    pid = int(eventually(log.read, "it runs")[0])
    task.execute()
    assert type(first.exception(SECONDS)) is ExecutionReplaced
    record.wait("execution:started", 2)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    (replaced,) = task.history
    assert (replaced.outcome, task.history.replaced) == ("replaced", 1)
    rows = ipycron.history(task.name, outcome="replaced")
    assert [row.id for row in rows] == [replaced.id]
    task.stop(force=True).result(SECONDS)


def test_slots_replace_a_script_that_does_not_end(write):
    """Each slot gets a process of its own; none of them ends by itself."""
    path = write("import time\nprint('begun', flush=True)\ntime.sleep(3600)\n")
    task = ipycron.create_task(EVERY_SECOND, path, overlap="replace", retry=3)
    record = Record(task)
    task.start().result(SECONDS)
    ends = record.wait("execution:failed", 3)
    assert {type(end.error) for end in ends} == {ExecutionReplaced}
    assert record.count("execution:retry") == 0
    task.stop(force=True).result(SECONDS)


@pytest.mark.parametrize("house", [ASYNC], indirect=True)
def test_coroutine_is_replaced_by_its_cancellation(house):
    """On its own loop; there, too, only one of them runs."""
    gate, log = house.gate(), house.log()

    def wait(ctx):
        log.write("in")
        yield from gate.pass_through()

    task = house.start(wait, overlap="replace")
    record = Record(task)
    first = task.execute()
    record.wait("execution:started")
    second = task.execute()
    assert type(first.exception(SECONDS)) is ExecutionReplaced
    gate.open()
    second.result(SECONDS)


def test_thread_cannot_be_replaced():
    """It is refused when it is declared, with what to do."""
    with pytest.raises(InvalidOption, match="a thread cannot be killed"):
        ipycron.create_task(NEVER, time.monotonic, overlap="replace")


def test_contradiction_is_refused():
    """Both options are about the same."""
    with pytest.raises(InvalidOption, match="'skip' with no_overlap"):
        ipycron.create_task(NEVER, time.monotonic, overlap="queue", no_overlap=True)
    task = ipycron.create_task(NEVER, time.monotonic, overlap="skip", no_overlap=True)
    task.destroy().result(SECONDS)


@pytest.mark.parametrize("house", [INLINE, ASYNC], indirect=True)
def test_run_that_waits_for_a_run_behind_it_is_refused(house):
    """It would wait for ever."""
    found = []

    def call_itself(ctx):
        try:
            found[0].execute().result(SECONDS)
        except SelfWait as error:
            return str(error)

    task = house.start(call_itself, overlap="queue")
    found.append(task)
    assert "would wait for its end" in task.execute().result(SECONDS)
