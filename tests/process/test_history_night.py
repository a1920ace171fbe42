"""A night in two minutes: processes are killed over and over, and the books balance."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
from datetime import datetime

import psutil
import pytest
from lengths import choose
from polling import eventually, pause
from side_by_side import run_side_by_side

PROGRAM = """
import sys, time
import ipycron

def work(ctx):
    print(ctx.date.timestamp())

catch_up, kind = sys.argv[1:]
options = {"catch_up": catch_up, "background": kind == "worker", "echo": False}
options["start_timeout"] = 60
task = ipycron.schedule("* * * * * *", work, name="night", **options)
while task.status == "stopped":  # on a busy machine, starts are longer than lives
    time.sleep(0.01)
print("ready", flush=True)
"""
LIVES = choose(2, 10)
SEED = 3

pytestmark = pytest.mark.timeout(180)


class Night:
    """One program, started again whenever it has been killed."""

    def __init__(self, folder, catch_up, kind):
        self._command = [sys.executable, str(folder / "night.py"), catch_up, kind]
        self._environment = {
            **os.environ,
            "IPYCRON_HISTORY": str(folder / "history.sqlite"),
        }
        (folder / "night.py").write_text(PROGRAM)
        self._victims = ["client", "both"]
        if kind == "worker":
            self._victims.append("supervisor")

    def pass_by(self):
        """Live through the whole night; return it."""
        dice = random.Random(SEED)
        for _ in range(LIVES):
            self.live(dice.uniform(1.2, 3.0), dice.choice(self._victims))
        self.live(2, "nobody")
        return self

    def live(self, seconds, victim):
        """Run the program, then kill what `victim` says; a clean end is "nobody"."""
        program = subprocess.Popen(
            self._command, env=self._environment, stdout=subprocess.PIPE, text=True
        )
        with program:
            assert program.stdout.readline() == "ready\n"
            pause(seconds)
            if victim in ("supervisor", "both"):
                for child in psutil.Process(program.pid).children():
                    with contextlib.suppress(psutil.NoSuchProcess):
                        child.kill()
            if victim == "supervisor":
                pause(2)  # another one goes on
            program.send_signal(
                signal.SIGTERM if victim in ("nobody", "supervisor") else signal.SIGKILL
            )

    def read(self):
        """Return all rows, oldest first; None while a run is open."""
        command = [sys.executable, "-m", "ipycron", "history", "night", "--json"]
        done = subprocess.run(
            [*command, "-n", "100000"],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        rows = [json.loads(line) for line in done.stdout.splitlines()][::-1]
        is_open = any(row["outcome"] in ("running", "queued") for row in rows)
        return None if is_open else rows


def list_slots(rows):
    """Return the slots that rows stand for, in Unix seconds, each as often as told."""
    slots = []
    for row in rows:
        newest = int(datetime.fromisoformat(row["slot"]).timestamp())
        slots += range(newest - (row["missed_count"] or 1) + 1, newest + 1)
    return slots


@pytest.fixture(scope="module")
def futures(request, tmp_path_factory):
    """The nights of all tests: each is over."""

    def pass_by(night):
        return Night(tmp_path_factory.mktemp("night"), *night).pass_by()

    return run_side_by_side(request, "night", pass_by)


@pytest.fixture
def night(request, futures):
    """One night."""
    return futures[request.param].result()


@pytest.mark.parametrize(
    "night",
    [
        pytest.param((catch_up, kind), id=f"{catch_up}-{kind}")
        for catch_up in ("none", "latest", "all")
        for kind in ("worker", "inline")
    ],
    indirect=True,
)
def test_books_of_a_night_balance(night):
    """Every second from the first slot to the last one has one row, and one only."""
    rows = eventually(night.read, "all runs are closed")
    slots = list_slots(rows)
    first, last = min(slots), max(slots)
    doubled = sorted({slot - first for slot in slots if slots.count(slot) > 1})
    absent = sorted(set(range(first, last + 1)) - set(slots))
    assert (doubled, absent) == ([], [])
