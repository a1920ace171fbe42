"""A night of a notebook: its kernel is killed over and over, and the books balance."""

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from datetime import datetime
from itertools import cycle, islice

import pytest
from kernel import Kernel
from lengths import choose
from polling import eventually, pause
from watching import find_marked

KILLS = choose(2, 50)
VICTIMS = ["kernel", "supervisor", "kernel"]
"""Who is killed first; the kernel is in any case."""
SEED = 5

EXTENSION = "%load_ext ipycron\nbase = 40\n"
CELLS = {
    "night": "%%cron * * * * * * --name night --quiet {options}\nbase + 2",
    "inline": "%%cron * * * * * * --name inline --inline --quiet {options}\nbase + 2",
    "slow": "%%cron */2 * * * * * --name slow --quiet --no-overlap {options}\n"
    "import time\ntime.sleep(0.7)\nprint('slept')",
}
STEPS = {"night": 1, "inline": 1, "slow": 2}

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.timeout(1800)]


class Night:
    """One notebook, whose kernel is started again whenever it has been killed.

    Attributes:
        victims: how often each was killed.
    """

    def __init__(self, folder, catch_up):
        (folder / "tmp").mkdir()
        self._folder = folder
        self._options = f"--catch-up {catch_up}"
        self._environment = {
            "IPYCRON_HISTORY": str(folder / "history.sqlite"),
            "IPYTHONDIR": str(folder / "ipython"),
            "TMPDIR": str(folder / "tmp"),
        }
        self.victims = Counter()

    def live(self, seconds, victim):
        """Run the cells in a new kernel, then kill it, in the middle of anything."""
        self.victims[victim] += 1
        kernel = Kernel(self._folder, **self._environment)
        try:
            kernel.run(EXTENSION)
            for name, cell in CELLS.items():
                said = kernel.run(cell.format(options=self._options))
                assert not said.strip(), (name, said)
            pause(seconds)
            if victim == "nobody":
                eventually(self.has_run, "each task has run", 60)
            # First the supervisor; the kernel is told, or dies as it is told.
            if victim == "supervisor":
                for pid, command in kernel.find_others().items():
                    if command == "supervisor":
                        os.kill(pid, signal.SIGKILL)
            if victim == "nobody":
                kernel.shut_down()
            else:
                kernel.kill()
            eventually(
                lambda: not find_marked(kernel.mark), lambda: self.explain(kernel)
            )
        finally:
            kernel.close()

    def has_run(self):
        """Return whether each task has finished a run."""
        rows = self.read()
        done = {row["task_name"] for row in rows if row["outcome"] == "finished"}
        return done == set(CELLS)

    @staticmethod
    def explain(kernel):
        """Say which processes are left."""
        return f"the processes of a killed kernel end: {find_marked(kernel.mark)}"

    def read(self):
        """Return all rows, oldest first."""
        done = subprocess.run(
            [sys.executable, "-m", "ipycron", "history", "--json", "-n", "1000000"],
            env={**os.environ, **self._environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return [json.loads(line) for line in done.stdout.splitlines()][::-1]


def list_slots(rows, step):
    """Return the slots that rows stand for, in Unix seconds, each as often as told."""
    slots = []
    for row in rows:
        newest = int(datetime.fromisoformat(row["slot"]).timestamp())
        told = row["missed_count"] or 1
        slots += range(newest - (told - 1) * step, newest + 1, step)
    return slots


@pytest.mark.parametrize(
    "catch_up",
    [
        "all",
        *(pytest.param(mode, marks=pytest.mark.full) for mode in ("latest", "none")),
    ],
)
def test_books_of_a_kernel_balance(tmp_path, catch_up, record_property):
    """Each slot from the first to the last has one row; no run or process is left."""
    night, dice = Night(tmp_path, catch_up), random.Random(SEED)
    for victim in islice(cycle(VICTIMS), KILLS):
        night.live(dice.uniform(0.0, 3.0), victim)
    night.live(0, "nobody")
    rows = night.read()
    outcomes = Counter(row["outcome"] for row in rows)
    assert not {"running", "queued"} & set(outcomes)
    for name, step in STEPS.items():
        own = [row for row in rows if row["task_name"] == name]
        slots = list_slots(own, step)
        first, last = min(slots), max(slots)
        doubled = sorted({s - first for s in slots if slots.count(s) > 1})
        absent = sorted(set(range(first, last + 1, step)) - set(slots))
        assert (name, doubled, absent) == (name, [], [])
    figures = {"kills": dict(night.victims), "rows": dict(outcomes)}
    record_property("night", figures)
    print(figures)  # noqa: T201 - with -s
