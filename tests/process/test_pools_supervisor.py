"""Pools and the loss of the supervisor, which counts the runs of background tasks."""

import os
import signal
import threading
import time
from itertools import pairwise

from house import EVERY_SECOND, Record
from polling import SECONDS, eventually

import ipycron
from ipycron.client.registry import registry


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
