"""Kept tasks: the first one, attaching to the service, and what it costs while idle.

    python benchmarks/kept.py

Who attaches is a fresh interpreter that has imported ipycron: alone, or after what a
kernel loads, or it has also run tasks of its own before. Each first task has a service
of its own to start, in a new folder.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from figures import NEVER, get_quantile
from section import Section, exit_with

from ipycron.process.service.paths import VARIABLE, find_places, read_holder

if TYPE_CHECKING:
    from collections.abc import Iterator

TASKS = 10
"""Tasks that are kept while a kernel attaches."""
KEEP = f"""
import sys, time
import ipycron
begin = time.perf_counter()
for number in range(int(sys.argv[2])):
    ipycron.schedule({NEVER!r}, sys.argv[1], name=f"task-{{number}}", keep=True)
    if not number:
        print(time.perf_counter() - begin)
"""
ATTACH = """
begin = time.perf_counter()
tasks = ipycron.get_tasks()
print(time.perf_counter() - begin)
assert len([task for task in tasks.values() if task.is_kept]) == int(sys.argv[1])
"""
COLD = f"""
import sys, time
import ipycron
{ATTACH}"""
"""In an interpreter that has used nothing of ipycron: nearly all of it is imports."""
KERNEL = f"""
import sys, time
import ipykernel.ipkernel, ipykernel.kernelapp
import ipycron
{ATTACH}"""
"""With what every kernel has loaded, asyncio among it, before it imports ipycron."""
WARM = f"""
import sys, time
import ipycron
# Without `unref`, the program would not end: tasks that are started keep it alive.
for background in (False, True):
    task = ipycron.schedule(
        {NEVER!r}, lambda: None, background=background, unref=True
    )
    task.execute().result(60)
{ATTACH}"""
"""In one that has run tasks of its own, as a kernel has by the time someone looks."""


@contextmanager
def use_service() -> Iterator[Path]:
    """Have the programs use a service of their own; end it afterwards."""
    # A socket's path is short.
    with tempfile.TemporaryDirectory(prefix="ipycron-", dir="/tmp") as folder:
        os.environ[VARIABLE] = f"{folder}/service"
        job = Path(folder) / "job.py"
        job.write_text("print('night')\n")
        try:
            yield job
        finally:
            run("-m", "ipycron", "service", "stop")
            del os.environ[VARIABLE]


def run(*words: str) -> str:
    """Run Python; return what it has printed."""
    done = subprocess.run(
        [sys.executable, *words], stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


def measure_idle(seconds: int) -> tuple[float, float]:
    """Return the service's memory, in MB, and its part of a core, in percent."""
    holder = read_holder(find_places())
    assert holder is not None
    service = psutil.Process(holder.pid)
    time.sleep(2)  # the rows of the start are written
    before = read_cpu(holder.pid)
    time.sleep(seconds)
    used = (read_cpu(holder.pid) - before) / seconds
    return service.memory_info().rss / 2**20, 100 * used


def read_cpu(pid: int) -> float:
    """Return the processor time of a process, in seconds, to the microsecond."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((t / "schedstat").read_text().split()[0]) for t in threads) / 1e9


def main(section: Section) -> None:
    """Measure and print."""
    first = []
    for _ in range(section.pick(9, 3)):
        with use_service() as job:
            first.append(float(run("-c", KEEP, str(job), "1")))
    section.add(
        "first task that is kept, with its service: p50",
        "ms",
        1000 * get_quantile(first, 0.5),
        most=1000,
    )
    with use_service() as job:
        run("-c", KEEP, str(job), str(TASKS))
        for name, code in (
            ("in a fresh interpreter", COLD),
            ("with a kernel's modules", KERNEL),
            ("where ipycron is in use", WARM),
        ):
            times = section.pick(25, 5)
            attached = [float(run("-c", code, str(TASKS))) for _ in range(times)]
            section.add(
                f"attaching to a service of {TASKS} tasks, {name}: p50",
                "ms",
                1000 * get_quantile(attached, 0.5),
                most=50,
            )
        memory, part = measure_idle(section.pick(30, 5))
        section.add("idle service: memory", "MB", memory, most=45)
        section.add("idle service: of a core", "%", part, most=0.1)


if __name__ == "__main__":
    exit_with(main, __doc__)
