"""Starting, running and keeping workers: time and memory, against the goals.

    python benchmarks/processes.py

Prints one line a figure and exits 1 where a goal is missed.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ipycron.process.payload import Payload
from ipycron.process.protocol import Preload
from ipycron.task.api import create_task, schedule, shutdown
from ipycron.task.registry import registry
from ipycron.task.source import Cell

if TYPE_CHECKING:
    from collections.abc import Callable

NEVER = "0 0 1 1 *"
STARTS = 30
EXECUTES = 500
FIRES = 10
TASK = """
import os, time
def task(ctx):
    return os.getpid(), time.time() - ctx.date.timestamp()
"""


def measure(call: Callable[[], object], times: int) -> list[float]:
    """Return the seconds of each call, sorted."""
    seconds = []
    for _ in range(times):
        begin = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begin)
    return sorted(seconds)


def get_quantile(values: list[float], share: float) -> float:
    """Return the value that `share` of the sorted values do not exceed."""
    return values[min(len(values) - 1, int(share * len(values)))]


def read_private_bytes(pid: int) -> int:
    """Return the memory that only this process holds, in bytes (Linux)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    private = [line.split() for line in lines if line.startswith("Private_")]
    return sum(int(words[1]) for words in private) * 1024


class Report:
    """The table; remembers whether a goal was missed."""

    def __init__(self) -> None:
        self.is_met = True

    def add(self, what: str, value: float, unit: str, goal: float | None) -> None:
        """Print one line."""
        verdict = ""
        if goal is not None:
            met = value <= goal
            self.is_met &= met
            verdict = f"goal ≤ {goal:g} {unit}: {'met' if met else 'MISSED'}"
        print(f"{what:<58}{value:>9.3f} {unit:<3}{verdict}", flush=True)


def start_one(path: Path) -> None:
    """Start a task, from the call to loaded."""
    create_task(NEVER, path).start().result(10)


def main() -> int:
    """Measure and print; return the exit code."""
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "job.py"
        path.write_text(TASK)
        begin = time.perf_counter()
        start_one(path)
        cold = time.perf_counter() - begin
        report.add("first task of a script, cold", cold * 1e3, "ms", 400)
        measure_files(report, path)
        measure_cells(report)
        measure_fires(report, path)
    shutdown()
    return 0 if report.is_met else 1


def measure_files(report: Report, path: Path) -> None:
    """File tasks: start, execute, idle memory."""
    starts = measure(lambda: start_one(path), STARTS)
    report.add("start a worker, p50", statistics.median(starts) * 1e3, "ms", 25)
    report.add("start a worker, p99", get_quantile(starts, 0.99) * 1e3, "ms", None)
    task = create_task(NEVER, path)
    task.start().result(10)
    pid, _ = task.execute().result(10)
    private = read_private_bytes(pid) / 1e6
    report.add("private memory of an idle file task", private, "MB", 3)
    executes = measure(lambda: task.execute().result(10), EXECUTES)
    report.add("execute, p50", statistics.median(executes) * 1e3, "ms", None)
    report.add("execute, p99", get_quantile(executes, 0.99) * 1e3, "ms", None)


def measure_cells(report: Report) -> None:
    """Cell tasks: first run, shell command, memory after a run."""
    registry.client.warm(Preload((), shell=True))
    cell = Cell(
        source=textwrap.dedent("import os\nos.getpid()"),
        filename="<cell bench>",
        payload=Payload(),
    )
    create_task(NEVER, cell).start().result(30)  # waits until the shell is warm
    task = create_task(NEVER, cell)
    task.start().result(10)
    begin = time.perf_counter()
    pid = task.execute().result(10)
    first = time.perf_counter() - begin
    report.add("first run of a cell", first * 1e3, "ms", 20)
    report.add(
        "private memory of a cell task after a run",
        read_private_bytes(pid) / 1e6,
        "MB",
        8,
    )


def measure_fires(report: Report, path: Path) -> None:
    """How late a fire is, from the slot to the job's first line; idle and not."""
    for count in (1, 20, 100):
        late = collect_lateness(path, count, lambda: time.sleep(FIRES))
        add_lateness(report, f"lateness of a fire, {count} tasks", late, None)
    for count in (1, 20):
        late = collect_lateness(path, count, hold_the_interpreter)
        what = f"the same while a cell holds the GIL, {count} tasks"
        add_lateness(report, what, late, 50)
        report.add(f"{what}, lost", count * (FIRES - 1) - len(late), "", 0)


def collect_lateness(
    path: Path, count: int, pass_time: Callable[[], None]
) -> list[float]:
    """Return the seconds of lateness of every fire while time passes, sorted."""
    tasks = [schedule("* * * * * *", path) for _ in range(count)]
    for task in tasks:
        task.start().result(60)
    late: list[float] = []
    for task in tasks:
        task.on("execution:finished", lambda c: late.append(c.execution.result[1]))
    pass_time()
    for task in tasks:
        task.destroy().result(60)
    time.sleep(0.5)  # listeners come a moment later
    return sorted(late)


def hold_the_interpreter() -> None:
    """Keep the GIL in C code, a second at a time, as a busy cell does."""
    end = time.monotonic() + FIRES
    while time.monotonic() < end:
        sum(range(60_000_000))


def add_lateness(
    report: Report, what: str, late: list[float], goal: float | None
) -> None:
    """Print the median and the tail."""
    report.add(f"{what}, p50", statistics.median(late) * 1e3, "ms", None)
    report.add(f"{what}, p99", get_quantile(late, 0.99) * 1e3, "ms", goal)


if __name__ == "__main__":
    sys.exit(main())
