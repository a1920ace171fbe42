"""Triggers that count from something, after the loss of a supervisor."""

import os
import signal

from house import Record
from polling import SECONDS

from ipycron import every
from ipycron.client.registry import registry


def test_interval_goes_on_with_a_new_supervisor(workers):
    """The anchor travels with the task: the slots stay on the same grid."""
    task = workers.start(lambda _: 42, every("2s"))
    record = Record(task)
    (before,) = record.wait("execution:finished", 1)
    os.kill(registry.client.supervisor_pid, signal.SIGKILL)
    record.wait("task:restarted")
    after = record.wait("execution:finished", 2)[-1]
    task.destroy().result(SECONDS)
    assert (after.date - before.date).total_seconds() % 2 == 0


def test_pause_between_runs_goes_on_with_a_new_supervisor(workers):
    """The end of the last run travels with the task."""
    task = workers.start(lambda _: 42, every("3s", after_finish=True))
    record = Record(task)
    (before,) = record.wait("execution:finished", 1)
    os.kill(registry.client.supervisor_pid, signal.SIGKILL)
    record.wait("task:restarted")
    after = record.wait("execution:finished", 2)[-1]
    task.destroy().result(SECONDS)
    pause = after.date.timestamp() - before.execution.finished_at.timestamp()
    assert pause >= 3
