"""Pools with real processes and threads (O2)."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from house import NEVER
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
