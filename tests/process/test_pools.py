"""Pools with real processes and threads (O2)."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from house import NEVER, Record
from polling import SECONDS, eventually

import ipycron
from ipycron.client.registry import registry
from ipycron.errors import InvalidOption

pytestmark = pytest.mark.usefixtures("supervisor")


@pytest.fixture(autouse=True)
def forget_pools():
    """Leave the pools of each test without a limit."""
    yield
    for name in list(registry.client.pools):
        ipycron.set_pool(name, None)
    registry.client.pools = {}


def test_runs_of_several_tasks_are_limited_together(house):
    """Each waits for its place, and is seen to wait."""
    gate, log = house.gate(), house.log()

    def occupy(ctx):
        log.write("in")
        yield from gate.pass_through()
        log.write("out")

    ipycron.set_pool("gpu", 1)
    tasks = [house.start(occupy, pool="gpu", name=f"{n} {house.kind}") for n in "abc"]
    calls = [task.execute() for task in tasks]
    eventually(lambda: len(tasks[2].queued) == 1, "the last one waits")
    eventually(log.read, "the first one runs")
    assert [len(task.running) for task in tasks] == [1, 0, 0]
    assert repr(tasks[2]).startswith(f"<Task 'c {house.kind}' idle, 1 queued, next ")
    gate.open()
    for call in calls:
        call.result(SECONDS)
    assert log.read() == ["in", "out"] * 3
    assert [task.queued for task in tasks] == [()] * 3


def test_waiting_run_is_queued_in_the_history(house):
    """Its row is open, and is closed like any other."""
    gate = house.gate()

    def occupy(ctx):
        yield from gate.pass_through()

    ipycron.set_pool("gpu", 1)
    names = [f"{n} rows {house.kind}" for n in "ab"]
    one, other = (house.start(occupy, pool="gpu", name=name) for name in names)
    calls = one.execute(), other.execute()
    eventually(lambda: other.queued, "it waits")
    (row,) = eventually(lambda: ipycron.history(names[1]), "it has a row")
    assert row.outcome == "queued"
    gate.open()
    for call in calls:
        call.result(SECONDS)
    (row,) = ipycron.history(names[1])
    assert row.outcome == "finished"


@pytest.fixture
def waiting(house):
    """A task whose second attempt is due while another task has the only place."""
    first, gate, last = (house.gate(name) for name in ("first", "gate", "last"))

    def fetch(ctx):
        print("attempt", ctx.attempt)  # noqa: T201 - what is recorded
        if ctx.attempt == 1:
            yield from first.pass_through()
            raise LookupError("no")
        yield from last.pass_through()
        return ctx.attempt

    def occupy(ctx):
        yield from gate.pass_through()

    ipycron.set_pool("due", 1)
    retry = ipycron.Retry(2, delay=0.01, jitter=0)
    task = house.start(fetch, pool="due", retry=retry, name=f"due {house.kind}")
    holder = house.start(occupy, pool="due", name=f"holds {house.kind}")
    record = Record(task)
    call = task.execute()
    eventually(lambda: task.running, "it runs")
    held = holder.execute()
    eventually(lambda: holder.queued, "who has the place next waits")
    first.open()
    eventually(lambda: task.queued and task.queued[0].attempt == 2, "it waits")
    yield task, call, record, gate, last
    gate.open()
    last.open()
    held.result(SECONDS)


def test_attempt_that_waits_for_a_place_is_seen_as_queued(waiting):
    """Everywhere: attributes, tables, pools, rows; then it goes on."""
    task, call, record, gate, last = waiting
    (run,) = task.queued
    assert (task.status, task.running) == ("idle", ())
    assert (run.is_queued, run.is_ok, run.summary) == (True, None, "LookupError: no")
    assert "idle, 1 queued, next" in repr(task)
    (line,) = [x for x in repr(ipycron.get_tasks()).splitlines() if task.name in x]
    assert "idle, 1 queued" in line
    pool = ipycron.get_pools()["due"]
    assert (pool.running, pool.queued) == (1, 1)
    assert eventually(lambda: ipycron.history(task.name, outcome="queued"), "a row")
    gate.open()
    eventually(lambda: task.running == (run,), "it goes on")
    assert (task.status, task.queued, run.is_queued) == ("running", (), False)
    eventually(lambda: "attempt 2" in run.output.stdout, "its code runs")
    assert eventually(lambda: ipycron.history(task.name, outcome="running"), "a row")
    last.open()
    assert call.result(SECONDS) == 2
    record.wait("execution:finished")
    names = [name for name in record.names if name.startswith("execution:")]
    while names[0] == "execution:queued":  # inline runs ask another process
        names.pop(0)
    assert names == [
        f"execution:{x}" for x in ("started", "retry", "queued", "finished")
    ]
    (row,) = ipycron.history(task.name)
    assert (row.outcome, row.attempts) == ("finished", 2)
    assert run.output.stdout == "attempt 1\nattempt 2\n"


@pytest.mark.parametrize("what", ["stop", "destroy", "pause"])
def test_end_of_a_task_ends_the_attempt_that_waits(waiting, what):
    """The caller gets the error of the attempt before; the place is left to others."""
    task, call, record, _, _ = waiting
    getattr(task, what)().result(SECONDS)
    assert isinstance(call.exception(SECONDS), LookupError)
    record.wait("execution:failed")
    assert (task.queued, task.running) == ((), ())
    (run,) = task.history
    assert (run.outcome, run.attempt) == ("failed", 1)
    assert run.remark.startswith("no further attempt: ended by the ")


def test_place_is_freed_when_the_process_is_gone(workers):
    """A job that ignores SIGTERM holds its place until it is killed."""
    log = workers.log()

    def ignore(ctx):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        log.write(str(os.getpid()))
        while True:
            signal.pause()

    def look(ctx):
        return os.path.exists(f"/proc/{log.read()[0]}")  # noqa: PTH110 - no file

    ipycron.set_pool("gpu", 1)
    first = workers.start(ignore, pool="gpu", timeout=3)
    second = workers.start(look, pool="gpu")
    call = first.execute()
    eventually(log.read, "it runs")
    assert second.execute().result(SECONDS) is False
    assert call.exception(SECONDS) is not None


def test_place_of_a_script_is_freed_when_its_process_is_gone(write):
    """Not at the end of its code: its memory is still there then."""
    path = write(
        """
        import os, pathlib
        pids = pathlib.Path(__file__).with_suffix(".pids")
        known = pids.read_text().split() if pids.exists() else []
        print(any(pathlib.Path(f"/proc/{pid}").exists() for pid in known))
        pids.write_text(" ".join([*known, str(os.getpid())]))
        """
    )
    ipycron.set_pool("gpu", 1)
    tasks = [ipycron.create_task(NEVER, path, pool="gpu") for _ in range(3)]
    for task in tasks:
        task.start().result(SECONDS)
    for call in [task.execute() for task in tasks for _ in range(2)]:
        call.result(SECONDS)
    said = [run.output.stdout for task in tasks for run in task.history]
    assert said == ["False\n"] * 6


def _hold():
    time.sleep(0.2)  # noqa: TID251 - a run of some length


def test_tasks_without_a_pool_are_limited_together(workers):
    """By the pool None."""
    ipycron.set_pool(None, 1)
    gate = workers.gate()

    def occupy(ctx):
        yield from gate.pass_through()

    one, other = workers.start(occupy), workers.start(occupy)
    calls = one.execute(), other.execute()
    eventually(lambda: other.queued, "it waits")
    ipycron.set_pool(None, None)
    eventually(lambda: other.running, "it runs")
    gate.open()
    for call in calls:
        call.result(SECONDS)


def test_run_on_an_executor_takes_a_place():
    """Until its code has ended there."""
    ipycron.set_pool("gpu", 1)
    with ThreadPoolExecutor(4) as pool:
        options = {"executor": pool, "pool": "gpu"}
        tasks = [ipycron.create_task(NEVER, _hold, **options) for _ in range(3)]
        for task in tasks:
            task.start().result(SECONDS)
        for call in [task.execute() for task in tasks]:
            call.result(SECONDS)
        runs = sorted((t.last_run for t in tasks), key=lambda run: run.started_at)
        for one, other in pairwise(runs):
            assert one.finished_at <= other.started_at
        for task in tasks:
            task.destroy().result(SECONDS)


@pytest.mark.parametrize("limit", [0, -1, 1.5, "2", True])
def test_limit_that_is_none_is_refused(limit):
    """A pool in which nothing runs would be a way to pause, which has its own."""
    with pytest.raises(InvalidOption, match="a whole number ≥ 1, or None"):
        ipycron.set_pool("gpu", limit)


@pytest.mark.parametrize("name", ["", 5, b"gpu"])
def test_name_of_a_pool_is_text(name):
    """Or None."""
    with pytest.raises(InvalidOption, match="name: got"):
        ipycron.set_pool(name, 1)


def test_pool_that_is_not_there_is_refused():
    """A typing mistake would lift the limit without a word."""
    ipycron.set_pool("gpus", 1)
    with pytest.raises(InvalidOption, match="Did you mean 'gpus'") as caught:
        ipycron.create_task(NEVER, _hold, pool="gpu")
    assert "set_pool('gpu', limit)" in str(caught.value)
    ipycron.set_pool("gpu", None)  # it is there, and without a limit
    ipycron.create_task(NEVER, _hold, pool="gpu")


def test_tasks_of_all_kinds_share_a_pool(tmp_path):
    """One run at a time, wherever it is."""
    ipycron.set_pool("gpu", 1)
    with ThreadPoolExecutor(4) as threads:
        kinds = ({}, {"background": True}, {"executor": threads}, {"background": True})
        tasks = [
            ipycron.create_task(NEVER, _hold, pool="gpu", **kind) for kind in kinds
        ]
        for task in tasks:
            task.start().result(SECONDS)
        for call in [task.execute() for task in tasks for _ in range(2)]:
            call.result(SECONDS)
        runs = [run for task in tasks for run in task.history]
        runs.sort(key=lambda run: run.started_at)
        assert len(runs) == 8
        for one, other in pairwise(runs):
            assert one.finished_at <= other.started_at
        for task in tasks:
            task.destroy().result(SECONDS)
