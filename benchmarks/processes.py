"""Starting, running and keeping workers: time and memory, beside node-cron.

    python benchmarks/processes.py

Prints one figure a line and exits 1 where a goal is missed.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from figures import NEVER, get_quantile, measure_calls, read_private_bytes
from IPython.core.interactiveshell import InteractiveShell
from peers import NODE_CRON, ask_node_cron
from section import VARIABLE, Section, exit_with, make_history

from ipycron.api.functions import create_task, shutdown
from ipycron.client.jobs import Cell
from ipycron.client.registry import registry
from ipycron.process.wire.payload import Payload
from ipycron.process.wire.protocol import Preload

if TYPE_CHECKING:
    from ipycron.api.task import Task

MANY = 100
FILE = "import os\ndef task(ctx):\n    return os.getpid()\n"
ANALYST = f"import numpy, pandas\n{FILE}"
COLD = """
import sys, time
begin = time.perf_counter()
import ipycron
imported = time.perf_counter() - begin
ipycron.create_task(sys.argv[1], sys.argv[2]).start().result(30)
print(imported, time.perf_counter() - begin)
ipycron.shutdown()
"""


def main(section: Section) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "job.py"
        path.write_text(FILE)
        analyst = Path(folder) / "analyst.py"
        analyst.write_text(ANALYST)
        measure_cold(section, path)
        start_loaded(path)
        measure_starts(section, path)
        measure_executes(section, path)
        measure_scripts(section, Path(folder) / "script.py")
        measure_many(section, path)
        measure_cells(section)
        measure_preloaded(section, analyst)
    shutdown()


def start_loaded(job: Any) -> Task:
    """Return a task that is loaded."""
    task = create_task(NEVER, job)
    task.start().result(60)
    return task


def measure_cold(section: Section, path: Path) -> None:
    """Measure a script that has nothing yet, with a history, as by default."""
    imports, firsts = [], []
    environ = {**os.environ, VARIABLE: str(make_history(path.parent))}
    for _ in range(section.pick(9, 3)):
        command = [sys.executable, "-c", COLD, NEVER, str(path)]
        words = subprocess.check_output(command, text=True, env=environ).split()
        imports.append(float(words[0]) * 1e3)
        firsts.append(float(words[1]) * 1e3)
    section.add("`import ipycron`", "ms", statistics.median(imports), most=20)
    what = "first task of a script, cold, import included"
    section.add(what, "ms", statistics.median(firsts), most=400)


def measure_starts(section: Section, path: Path) -> None:
    """One task after another, from the call to loaded."""
    times = section.pick(40, 10)
    ours = measure_calls(lambda: start_loaded(path), times)
    theirs = ask_node_cron("start", section.pick(12, 4))
    for share in (0.5, 0.99):
        section.add(
            f"start one background task, p{share * 100:g}",
            "ms",
            get_quantile(ours, share) * 1e3,
            peers={NODE_CRON: theirs and get_quantile(theirs["seconds"], share) * 1e3},
            **({"peer": NODE_CRON, "share": 1 / 20} if share == 0.5 else {}),
        )


def measure_executes(section: Section, path: Path) -> None:
    """Runs on call, in turns with node-cron's; memory of a task that has run."""
    task = start_loaded(path)
    execute = task.execute
    ours, theirs = [], []
    private = None
    for _ in range(section.pick(5, 2)):
        ours += measure_calls(lambda: execute().result(10), 300)
        answer = ask_node_cron("execute", 300)
        if answer is not None:
            theirs += answer["seconds"]
            private = answer["bytes"] / 1e6
    for share in (0.5, 0.99):
        peer = get_quantile(theirs, share) * 1e3 if theirs else None
        section.add(
            f"`execute()` round trip, p{share * 100:g}",
            "ms",
            get_quantile(ours, share) * 1e3,
            peers={NODE_CRON: peer},
            peer=NODE_CRON,
            share=1 / 3,
        )
    pids = [start_loaded(path).execute().result(10) for _ in range(5)]
    section.add(
        "private memory of an idle file task",
        "MB",
        statistics.median(read_private_bytes(pid) for pid in pids) / 1e6,
        peers={NODE_CRON: private},
        most=2,
    )


def measure_scripts(section: Section, path: Path) -> None:
    """A script's runs on call, one after the other: each waits for its process."""
    path.write_text("")
    task = start_loaded(path)
    times = measure_calls(lambda: task.execute().result(10), section.pick(100, 30))
    for share, most in ((0.5, 20), (0.99, 100)):
        section.add(
            f"`execute()` of a script, a process for each run, p{share * 100:g}",
            "ms",
            get_quantile(times, share) * 1e3,
            most=most,
        )


def measure_many(section: Section, path: Path) -> None:
    """Many tasks at once, until all are loaded."""

    def start_many() -> list[Task]:
        tasks = [create_task(NEVER, path) for _ in range(MANY)]
        for start in [task.start() for task in tasks]:
            start.result(120)
        return tasks

    seconds = []
    for _ in range(section.pick(3, 1)):
        begin = time.perf_counter()
        tasks = start_many()
        seconds.append(time.perf_counter() - begin)
        for end in [task.destroy() for task in tasks]:
            end.result(60)
    theirs = None if section.is_quick else ask_node_cron("fires", MANY, 0)
    section.add(
        f"start {MANY} at once, until all are loaded",
        "ms",
        statistics.median(seconds) * 1e3,
        peers={NODE_CRON: theirs and theirs["startAll"] * 1e3},
        peer=NODE_CRON,
        share=1 / 20,
    )


def make_cell(source: str) -> Cell:
    """Return a cell as `%%cron` makes it."""
    return Cell(source=source, filename="<cell bench>", payload=Payload())


def measure_cells(section: Section) -> None:
    """Cell tasks: first run, shell command, memory after a run."""
    registry.client.warm(Preload((), shell=True))
    start_loaded(make_cell("1"))  # waits until the zygote has its shell
    firsts, memory = [], []
    for _ in range(section.pick(7, 3)):
        task = start_loaded(make_cell("import os\nos.getpid()"))
        begin = time.perf_counter()
        pid = task.execute().result(10)
        firsts.append(time.perf_counter() - begin)
        memory.append(read_private_bytes(pid) / 1e6)
    what = "first run of a cell after its start"
    section.add(what, "ms", statistics.median(firsts) * 1e3, most=20)
    what = "private memory of a cell task after a run"
    section.add(what, "MB", statistics.median(memory), most=6)
    command = start_loaded(make_cell("!true"))
    command.execute().result(10)
    ours = measure_calls(lambda: command.execute().result(10), 20)
    shell = InteractiveShell.instance()
    theirs = measure_calls(lambda: shell.run_cell("!true"), 5)
    section.add(
        "`!true` in a cell, p50",
        "ms",
        statistics.median(ours) * 1e3,
        peers={"IPython": statistics.median(theirs) * 1e3},
        most=10,
    )


def measure_preloaded(section: Section, path: Path) -> None:
    """Private memory where numpy and pandas are in the zygote and the file's."""
    registry.client.warm(Preload(("numpy", "pandas")))
    start_loaded(path)  # waits until the zygote has them
    pids = [start_loaded(path).execute().result(10) for _ in range(5)]
    memory = statistics.median(read_private_bytes(pid) for pid in pids) / 1e6
    what = "private memory of a file task, numpy and pandas preloaded"
    section.add(what, "MB", memory, most=3)


if __name__ == "__main__":
    exit_with(main, __doc__)
