"""Pools and the loss of the supervisor, which counts the runs of background tasks."""

import os
import signal
import time
from itertools import pairwise

from house import EVERY_SECOND, Record
from polling import SECONDS

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
