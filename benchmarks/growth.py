"""A worker's memory over 300 runs that leave garbage: cycles, tracebacks, frames.

    python benchmarks/growth.py

What a worker takes after its last run, beyond what it took after its second one.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from figures import NEVER
from section import Section, exit_with

from ipycron.api.functions import create_task, shutdown
from ipycron.client.jobs import Cell
from ipycron.process.wire.payload import Payload

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipycron import Task

ALLOWED = 1.1, 5e6
"""Times what it was, and bytes."""
SCRIPT = "data = bytearray(8 << 20)\ndef use():\n    return len(data)\nuse()\n"
CELL = "def f():\n    big = bytearray(8 << 20)\n    1 / 0\nf()"


def fail() -> Callable[[], bytearray]:
    """Fail with a large local variable that a closure holds."""
    big = bytearray(8 << 20)

    def inner() -> bytearray:
        return big

    raise ValueError(inner)


def leave_cycle() -> None:
    """Leave a large object that refers to itself."""
    big: list[Any] = [bytearray(8 << 20)]
    big.append(big)


def measure() -> int:
    """Return the bytes of all processes below this one, at rest.

    A script's run has its own: one goes, and the next one comes.
    """
    time.sleep(0.3)
    return sum(p.memory_info().rss for p in psutil.Process().children(recursive=True))


def find_growth(task: Task, runs: int) -> float:
    """Return by how much more than allowed the worker has grown, in MB."""
    task.start().result(30)
    for _ in range(2):
        task.execute().exception(30)
    before = measure()
    for _ in range(runs):
        task.execute().exception(30)
    after = measure()
    task.destroy().result(30)
    times, plus = ALLOWED
    return max(0.0, (after - before * times - plus) / 1e6)


def main(section: Section) -> None:
    """Measure and print."""
    runs = section.pick(300, 50)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "job.py"
        path.write_text(SCRIPT)
        cell = Cell(source=CELL, filename="<cell>", payload=Payload())
        tasks = {
            "a script": create_task(NEVER, path),
            "a function that leaves a cycle": create_task(
                NEVER, leave_cycle, background=True
            ),
            "a function that fails": create_task(NEVER, fail, background=True),
            "a cell that fails": create_task(NEVER, cell, start_timeout=30),
        }
        worst = max(find_growth(task, runs) for task in tasks.values())
        shutdown()
    section.add(
        f"{runs} runs of {', '.join(tasks)}, 8 MB each: the worst growth beyond "
        "10 % + 5 MB",
        "MB",
        worst,
        most=0.0,
    )


if __name__ == "__main__":
    exit_with(main, __doc__, history=True)
