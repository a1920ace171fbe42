"""Pools and the loss of the supervisor, which counts the runs of background tasks."""

import os
import pathlib
import signal
import threading
import time
from itertools import pairwise

import pytest
from house import EVERY_SECOND, Record
from polling import SECONDS, eventually

import ipycron
from ipycron.client.registry import registry
from ipycron.errors import SupervisorLost


def _hold():
    time.sleep(0.2)  # noqa: TID251 - a run of some length


def test_next_supervisor_keeps_the_limits():
    """It is told before its first task."""
    ipycron.set_pool("gpu", 1)
    tasks = [
        ipycron.create_task(EVERY_SECOND, _hold, background=True, pool="gpu")
        for _ in range(2)
    ]
    records = [Record(task) for task in tasks]
    for task in tasks:
        task.start().result(SECONDS)
    os.kill(registry.client.supervisor_pid, signal.SIGKILL)
    for record in records:
        record.wait("task:restarted")
        record.wait("execution:started", record.count("execution:started") + 2)
    contexts = sorted(
        (c for record in records for c in record.of("execution:finished")[1:]),
        key=lambda context: context.execution.started_at,
    )
    for one, other in pairwise(contexts):
        assert one.execution.finished_at <= other.execution.started_at
    for task in tasks:
        task.destroy(force=True).result(SECONDS)


def test_inline_run_that_waits_for_a_place_gets_it_from_the_next_supervisor():
    """And places that inline runs hold are kept."""
    ipycron.set_pool("gpu", 1)
    gate = threading.Event()
    first = ipycron.create_task("@yearly", gate.wait, pool="gpu")
    second = ipycron.create_task("@yearly", int, pool="gpu")
    third = ipycron.create_task("@yearly", int, pool="gpu", background=True)
    for task in (first, second, third):
        task.start().result(SECONDS)
    calls = [task.execute() for task in (first, second)]
    eventually(lambda: first.running and second.queued, "one runs and one waits")
    record = Record(third)
    os.kill(registry.client.supervisor_pid, signal.SIGKILL)
    record.wait("task:restarted")
    calls.append(third.execute())
    eventually(lambda: third.queued, "the place is still held")
    assert second.queued
    gate.set()
    for call in calls:
        call.result(SECONDS)


def test_inline_runs_take_turns_where_no_supervisor_can_be_started(monkeypatch):
    """They are all that there is to limit."""
    monkeypatch.setattr("sys.executable", None)
    ipycron.set_pool("gpu", 1)
    tasks = [ipycron.create_task("@yearly", _hold, pool="gpu") for _ in range(3)]
    for task in tasks:
        task.start().result(SECONDS)
    for call in [task.execute() for task in tasks]:
        call.result(SECONDS)
    runs = sorted((task.last_run for task in tasks), key=lambda run: run.started_at)
    for one, other in pairwise(runs):
        assert one.finished_at <= other.started_at


def _fail(path):
    pathlib.Path(path).touch()
    while not pathlib.Path(f"{path}.open").exists():
        time.sleep(0.01)  # noqa: TID251 - for the test
    raise LookupError("no")


@pytest.mark.parametrize("background", [True, False])
def test_loss_of_the_supervisor_while_an_attempt_waits(background, tmp_path):
    """A worker's run ends with it, once; an inline one waits on for its place."""
    ipycron.set_pool("gpu", 1)
    gate, name = threading.Event(), f"lost {background}"
    holder = ipycron.create_task("@yearly", gate.wait, pool="gpu")
    task = ipycron.create_task(
        "@yearly",
        _fail,
        args=[str(tmp_path / "begun")],
        background=background,
        pool="gpu",
        retry=ipycron.Retry(1, delay=0.01, jitter=0),
        name=name,
    )
    record = Record(task)
    for each in (holder, task):
        each.start().result(SECONDS)
    call = task.execute()
    eventually((tmp_path / "begun").exists, "its first attempt runs")
    held = holder.execute()
    eventually(lambda: holder.queued, "who has the place next waits")
    (tmp_path / "begun.open").touch()
    eventually(lambda: task.queued and task.queued[0].attempt == 2, "it waits")
    os.kill(registry.client.supervisor_pid, signal.SIGKILL)
    if background:
        assert isinstance(call.exception(SECONDS), SupervisorLost)
        record.wait("task:restarted")
        assert (task.queued, task.running) == ((), ())
        (run,) = task.history
        assert run.attempt == 1
    gate.set()
    error = call.exception(SECONDS)
    held.result(SECONDS)
    assert isinstance(error, SupervisorLost if background else LookupError)
    record.wait("execution:failed")
    assert record.count("execution:started") == record.count("execution:failed") == 1
    (row,) = eventually(
        lambda: ipycron.history(name, outcome=["lost", "failed"]), "its row"
    )
    assert (row.outcome, row.attempts) == (("lost", 1) if background else ("failed", 2))
    for each in (holder, task):
        each.destroy(force=True).result(SECONDS)
