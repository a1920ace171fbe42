"""A task that is declared again in another process, after the one before has ended."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime

import pytest
from house import NEVER
from polling import SECONDS, eventually, pause
from side_by_side import run_side_by_side

import ipycron
from ipycron.client.registry import registry
from ipycron.scheduling.clock import SystemClock

PROGRAM = """
import os, signal, sys, time
import ipycron

def work(ctx):
    print(ctx.date.timestamp(), ctx.execution.reason)

catch_up, kind, end, expression, tolerance, starts = sys.argv[1:]
task = ipycron.schedule(
    expression,
    work,
    name="night",
    background=kind == "worker",
    catch_up=catch_up,
    tolerance=float(tolerance),
    echo=False,
)
for _ in range(int(starts)):
    task.start()
runs = []
task.on("execution:finished", runs.append)
while not runs and expression.startswith("* * "):
    time.sleep(0.05)
time.sleep(3.2)
if end == "killed":
    time.sleep(0.4)  # the last row is written
    os.kill(os.getpid(), signal.SIGKILL)
elif end == "stopped":
    task.stop().result()
ipycron.shutdown()
"""

pytestmark = pytest.mark.timeout(180)


@dataclass(frozen=True)
class Life:
    """One run of the program: how it ends, and what it schedules."""

    end: str  # killed, stopped or ended
    expression: str = "* * * * * *"
    tolerance: float = 1
    starts: int = 0  # calls of `start` right after `schedule`


@dataclass(frozen=True)
class Plan:
    """The lives of one task, one after the other."""

    kind: str  # worker or inline
    catch_up: str
    lives: tuple[Life, ...]


def plan(*lives, catch_ups, full=()):
    """Give a test the nights of a worker and of an inline task, for each catch-up."""
    plans = [
        pytest.param(
            Plan(kind, catch_up, lives),
            marks=[pytest.mark.full] if catch_up in full else [],
            id=f"{kind}-{catch_up}",
        )
        for kind in ("worker", "inline")
        for catch_up in catch_ups
    ]
    return pytest.mark.parametrize("nights", plans, indirect=True)


class Nights:
    """Runs the program again and again, with one history."""

    def __init__(self, folder, plan):
        self.folder = folder
        self.plan = plan
        self.lives = []  # from when to when each was, in Unix seconds
        (folder / "night.py").write_text(PROGRAM)
        self.environment = {
            **os.environ,
            "IPYCRON_HISTORY": str(folder / "history.sqlite"),
        }

    def live(self):
        """Run the program for each life, and leave a gap of a slot after it."""
        for life in self.plan.lives:
            options = self.plan.catch_up, self.plan.kind, life.end, life.expression
            numbers = str(life.tolerance), str(life.starts)
            began = SystemClock().now()
            subprocess.run(
                [sys.executable, "night.py", *options, *numbers],
                cwd=self.folder,
                env=self.environment,
                timeout=60,
                check=False,
            )
            self.lives.append((began, SystemClock().now()))
            pause(1.1)
        return self

    def read(self):
        """Return the rows, oldest first."""
        command = [sys.executable, "-m", "ipycron", "history", "night", "--json"]
        done = subprocess.run(
            [*command, "-n", "10000"],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return [json.loads(line) for line in done.stdout.splitlines()][::-1]


@pytest.fixture(scope="module")
def futures(request, tmp_path_factory):
    """The nights of all tests of this file: each is over."""

    def live(plan):
        return Nights(tmp_path_factory.mktemp("nights"), plan).live()

    return run_side_by_side(request, "nights", live)


@pytest.fixture
def nights(request, futures):
    """One task's nights."""
    return futures[request.param].result()


def list_slots(rows):
    """Return the slots that rows stand for, in Unix seconds."""
    told = []
    for row in rows:
        slot = int(datetime.fromisoformat(row["slot"]).timestamp())
        told += range(slot - (row["missed_count"] or 1) + 1, slot + 1)
    return told


def check_books(rows):
    """Every second from the first slot to the last one has exactly one row."""
    told = list_slots(rows)
    assert sorted(told) == list(range(min(told), max(told) + 1))
    return {row["outcome"] for row in rows}


def find_between(nights, rows):
    """Return the rows with slots of no life: each gap has one such slot at least."""
    return [
        row
        for row in rows
        if not all(
            any(began <= slot <= ended for began, ended in nights.lives)
            for slot in list_slots([row])
        )
    ]


STRICT = 0.01
"""A tolerance that no slot of a gap is in, not even the newest."""


@plan(
    Life("killed", tolerance=STRICT),
    Life("killed", tolerance=STRICT),
    Life("ended", tolerance=STRICT),
    catch_ups=("none", "latest", "all"),
    full=("latest",),
)
def test_gap_after_a_kill_is_made_good_or_missed(nights):
    """Every slot of the gap has a row, and those that are owed have run."""
    rows = eventually(
        lambda: (rows := nights.read()) and not is_open(rows) and rows, "all is closed"
    )
    outcomes = check_books(rows)
    caught_up = [row for row in rows if row["trigger"] == "catch_up"]
    if nights.plan.catch_up == "none":
        assert "missed" in outcomes
        assert caught_up == []
    else:
        assert caught_up
        assert all(row["outcome"] == "finished" for row in caught_up)
        assert all("catch_up" in row["output"] for row in caught_up)


def is_open(rows):
    """Return whether a run is not closed yet."""
    return any(row["outcome"] in ("running", "queued") for row in rows)


@plan(Life("ended"), Life("ended"), catch_ups=("none",))
def test_gap_after_a_clean_end_is_no_gap(nights):
    """Without catching up, what was shut down was not scheduled."""
    rows = nights.read()
    assert find_between(nights, rows) == []
    # On a busy machine slots of a life are missed, too.
    assert {row["outcome"] for row in rows} <= {"finished", "missed"}


@plan(
    Life("ended", tolerance=STRICT),
    Life("ended", tolerance=STRICT),
    catch_ups=("all",),
)
def test_gap_after_a_clean_end_is_made_good(nights):
    """With it, the slots are owed all the same."""
    rows = nights.read()
    # What waits for its turn at the end of a life is missed, on a busy machine.
    assert check_books(rows) <= {"finished", "missed"}
    owed = find_between(nights, rows)
    assert {(row["outcome"], row["trigger"]) for row in owed} == {
        ("finished", "catch_up")
    }


@plan(
    Life("killed", tolerance=STRICT),
    Life("ended", tolerance=STRICT, starts=2),
    catch_ups=("all",),
)
def test_gap_is_made_good_when_the_task_is_started_more_than_once(nights):
    """The first start looks for the gap; the others do not overtake it."""
    rows = nights.read()
    assert check_books(rows) <= {"finished", "missed", "lost"}
    assert any(row["trigger"] == "catch_up" for row in rows)


@plan(
    Life("stopped"),
    Life("killed"),
    Life("ended", expression="*/1 * * * * *"),
    catch_ups=("none", "all"),
    full=("none",),
)
def test_nothing_is_owed_after_a_stop_or_with_another_schedule(nights):
    """The user has ended it; another schedule is another task."""
    assert find_between(nights, nights.read()) == []


def test_run_is_recorded_when_its_supervisor_dies_at_once(write):
    """Its row was in memory only; the client knows of it and writes it."""
    path = write("def task(ctx):\n    return 42\n")
    task = ipycron.create_task(NEVER, path, name="quick")
    task.start().result(SECONDS)
    task.execute().result(SECONDS)
    os.kill(registry.client.supervisor_pid, signal.SIGKILL)
    (row,) = eventually(lambda: ipycron.history("quick"), "the run has a row")
    assert (row.outcome, row.summary) == ("finished", "42")
    assert row.id == task.last_run.id
    ipycron.shutdown()
