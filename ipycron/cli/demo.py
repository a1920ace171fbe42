"""`ipycron demo`: three tasks on this machine's real load, watched for ten seconds."""

from __future__ import annotations

import logging
import os
import sqlite3
import tempfile
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from rich.console import Console
from rich.live import Live

from ipycron.api.functions import schedule, set_echo, shutdown
from ipycron.cli.foreground import REFRESH
from ipycron.cli.table import Watch
from ipycron.errors import TaskFileNotFound

if TYPE_CHECKING:
    from ipycron.api.task import Task

EVERY_SECOND = "* * * * * *"


def run_demo(seconds: float) -> int:
    """Run the demonstration; return 0 if samples were stored and no process is left."""
    console = Console()
    set_echo(False)  # the table shows the failure
    with tempfile.TemporaryDirectory(prefix="ipycron-demo-") as folder:
        database = Path(folder) / "system_load.sqlite"
        tasks = _schedule_all(database)
        console.print(
            f"Three tasks in worker processes, {seconds:g} seconds. "
            "This terminal only watches."
        )
        watch = Watch(tasks)
        with Live(watch, console=console, refresh_per_second=REFRESH):
            threading.Event().wait(seconds)
        shutdown()
        stored = _print_samples(console, database)
    left = _count_processes()
    console.print(f"Processes of ipycron that are left: {left}.")
    return 0 if stored and not left else 1


def _schedule_all(database: Path) -> list[Task]:
    folder = find_tasks()
    silent = logging.getLogger("ipycron.demo")  # failures are in the table
    silent.propagate = False
    silent.addHandler(logging.NullHandler())

    def start(expression: str, file: str, **options: Any) -> Task:
        name = file.replace("_", " ")
        path = folder / f"{file}.py"
        return schedule(expression, path, name=name, logger=silent, **options)

    return [
        start(EVERY_SECOND, "system_load", env={"SYSTEM_LOAD_DB": str(database)}),
        start("*/2 * * * * *", "burn_cpu"),
        start(EVERY_SECOND, "now_and_then"),
    ]


def find_tasks() -> Path:
    """Return the folder of the demonstration's task files.

    They are installed beside this module; a clone has them in `notebooks/`.
    """
    installed, clone = Path(__file__).with_name("tasks"), Path(__file__).parents[2]
    for folder in (installed, clone / "notebooks" / "tasks"):
        if (folder / "system_load.py").is_file():
            return folder
    raise TaskFileNotFound(path="tasks/system_load.py", folder=str(installed.parent))


def _print_samples(console: Console, database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        count, first, last, cpu, memory = connection.execute(
            "SELECT count(*), min(at), max(at), avg(cpu), avg(memory) FROM load"
        ).fetchone()
    if count:
        console.print(
            f"The database holds {count} samples from {first} to {last}: "
            f"cpu {cpu:.1f} %, memory {memory:.1f} % on average."
        )
    else:
        console.print("The database holds no samples.")
    return int(count)


def _count_processes() -> int:
    return len(psutil.Process(os.getpid()).children(recursive=True))
