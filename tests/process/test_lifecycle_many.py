"""Many tasks due at the same second: none is missed, none runs twice.

How late they are is measured by the benchmarks, on a machine of their own.
"""

from collections import Counter

import pytest
from house import EVERY_SECOND, Record, drain
from polling import SECONDS, eventually
from stalls import LONG

import ipycron

SLOTS = 3

pytestmark = pytest.mark.alone


@pytest.fixture
def record():
    """Every event of every task."""
    return Record(ipycron)


def check_books(record, tasks, sleeper):
    """Every task ran each of the same slots once, and nothing else happened."""
    eventually(
        lambda: len(record.of("execution:finished")) >= SLOTS * len(tasks),
        "all have run",
        seconds=20,
    )
    ipycron.shutdown(SECONDS)
    drain()
    sleeper.check_missed(record)
    assert not record.of("execution:overlap") or sleeper.end() > LONG
    runs = Counter((c.task.id, c.date) for c in record.of("execution:started"))
    assert set(runs.values()) == {1}
    ends = {c.execution.id for c in record.of("execution:finished")}
    assert len(ends) == sum(runs.values())


def test_no_slot_is_missed_when_five_hundred_tasks_are_due_together(record, sleeper):
    """Inline tasks share one scheduler, one timer and a few threads."""
    tasks = [ipycron.create_task(EVERY_SECOND, lambda: None) for _ in range(500)]
    for start in [task.start() for task in tasks]:
        start.result(SECONDS)
    check_books(record, tasks, sleeper)


def test_no_slot_is_missed_when_fifty_workers_are_due_together(record, write, sleeper):
    """Background tasks each wake a process, all of them in time."""
    path = write("def task(): pass")
    tasks = [ipycron.create_task(EVERY_SECOND, path) for _ in range(50)]
    for start in [task.start() for task in tasks]:
        start.result(20)
    check_books(record, tasks, sleeper)
