"""What the service costs (K9)."""

from __future__ import annotations

from pathlib import Path

import pytest
from kept_service import PATIENCE, declare_file
from lengths import choose
from polling import eventually, pause

MANY = choose(100, 1000)
"""Kept scripts; their limit is that of a thousand."""
SECONDS = choose(5, 30)
pytestmark = pytest.mark.timeout(choose(120, 900))


def measure_memory(family):
    """Return the memory of processes, each shared page counted once, in MB."""
    return sum(process.memory_full_info().pss for process in family) / 2**20


def measure_cpu(process):
    """Return the CPU time of a process, in seconds, to the microsecond."""
    threads = Path(f"/proc/{process.pid}/task").iterdir()
    times = [int((t / "schedstat").read_text().split()[0]) for t in threads]
    return sum(times) / 1e9


@pytest.mark.alone
def test_idle_service_costs_next_to_nothing(service, slots, record_property):
    """Under 45 MB and a thousandth of a core, with a client and a nightly task."""
    service.start()
    client = service.attach()
    client.declare(declare_file(slots.job, "nightly", "0 3 * * *"))
    top = service.find_family()[0]
    pause(2)  # the rows of the start are written
    before = measure_cpu(top)
    pause(SECONDS)
    used = (measure_cpu(top) - before) / SECONDS
    memory = top.memory_info().rss / 2**20
    record_property("megabytes", round(memory, 1))
    record_property("core", f"{used:.3%}")
    assert memory < 45
    assert used < 0.001


@pytest.mark.alone
def test_nightly_scripts_hold_no_process(service, tmp_path, record_property):
    """A thousand of them take less than 150 MB in all, the service included."""
    job = tmp_path / "job.py"
    job.write_text("print('night')\n")
    service.start()
    client = service.attach()
    for number in range(MANY):
        client.declare(declare_file(job, f"task-{number}", "0 3 * * *"))
    # Service, supervisor, zygote: no worker.
    eventually(lambda: len(service.find_family()) == 3, service.find_family, PATIENCE)
    memory = measure_memory(service.find_family())
    record_property("megabytes", round(memory, 1))
    assert memory < 150
