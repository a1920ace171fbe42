"""The rows of a clock that was ahead and is corrected, in real processes (H1, C3)."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import datetime

import pytest
from history_books import list_slots, read
from shifted_night import SHIFTED, run_night

AHEAD = 20_000
LATER = 300  # than before: in the middle of the slots that were missed
PROGRAM = """
ahead, later, lost = said
shift(ahead)
wait("longest", 1000)
wait("execution:finished", seen["execution:finished"] + 2)
if lost == "before":
    lose_supervisor()
shift(later)
if lost == "unnoticed":
    lose_supervisor()
deadline = time.monotonic() + 40
while task.last_run.date.timestamp() > time.time() + 60:
    assert time.monotonic() < deadline, task.last_run
    time.sleep(0.02)
if lost == "after":
    lose_supervisor()
    wait("task:restarted", 1)
"""


def run(folder, kind, lost):
    """Run the program; return its rows, those of no slot first."""
    rows = run_night(folder, PROGRAM, kind, AHEAD, LATER, lost)
    ahead = [row for row in rows if row["slot"] is None]
    return ahead, [row for row in rows if row["slot"] is not None]


def find_newest(folder):
    """Return the newest slot that the file says was reached."""
    with closing(sqlite3.connect(folder / "history.sqlite")) as connection:
        (newest,) = connection.execute("SELECT last_slot FROM tasks").fetchall()
    return newest[0]


@pytest.mark.parametrize("kind", ["background", "inline"])
def test_slot_that_is_to_come_once_more_is_in_one_row(tmp_path, kind):
    """What ran while the clock was ahead has rows of no slot."""
    ahead, rows = run(tmp_path, kind, "never")
    slots = list_slots(rows)
    assert sorted(slots) == list(range(min(slots), max(slots) + 1))
    assert max(slots) > min(slots) + LATER
    began = [datetime.fromisoformat(row["started_at"]).timestamp() for row in ahead]
    assert len(began) >= 2
    assert min(began) > min(slots) + AHEAD - 10
    assert {row["outcome"] for row in ahead} <= {"finished", "stopped"}
    assert find_newest(tmp_path) == max(slots)


@pytest.mark.parametrize("lost", ["before", "unnoticed", "after"])
def test_slots_are_in_one_row_when_the_supervisor_is_lost_as_well(tmp_path, lost):
    """Just before the correction, before it is noticed, or after that."""
    ahead, rows = run(tmp_path, "background", lost)
    slots = list_slots(rows)
    assert len(slots) == len(set(slots))
    assert LATER < max(slots) - min(slots) < AHEAD // 2
    missing = set(range(min(slots), max(slots) + 1)) - set(slots)
    if lost == "after":
        assert not missing
    assert len(ahead) >= 2
    assert find_newest(tmp_path) == max(slots)


NIGHT = """
import os, signal, time
import ipycron

runs = []
task = ipycron.create_task("* * * * * *", lambda: None, name="night")
task.on("execution:finished", runs.append)
task.start()
deadline = time.monotonic() + 40
while len(runs) < 3:
    assert time.monotonic() < deadline
    time.sleep(0.02)
time.sleep(0.4)  # the last row is written
os.kill(os.getpid(), signal.SIGKILL)
"""

CORRECT = """
while not runs:
    assert time.monotonic() < deadline
    time.sleep(0.02)
runs.clear()
new = os.environ["IPYCRON_TEST_SHIFT_FILE"] + "-new"
open(new, "w").write("0")
os.replace(new, os.environ["IPYCRON_TEST_SHIFT_FILE"])
"""


@pytest.mark.parametrize(("ahead", "right"), [(1, 2), (2, 1)])
def test_lives_of_a_clock_that_was_ahead_hide_no_later_one(tmp_path, ahead, right):
    """Nothing is known of the time up to their successor; after that, every slot is."""
    history = {**os.environ, "IPYCRON_HISTORY": str(tmp_path / "history.sqlite")}
    shifted = {
        "PYTHONPATH": str(SHIFTED),
        "IPYCRON_TEST_SHIFT": str(AHEAD),
    }
    (tmp_path / "night.py").write_text(NIGHT)
    for environment in [{**history, **shifted}] * ahead + [history] * right:
        subprocess.run(
            [sys.executable, "night.py"],
            cwd=tmp_path,
            env=environment,
            timeout=60,
            check=False,
        )
    rows = read("night", history)
    assert [row["outcome"] for row in rows if row["slot"] is None]
    slots = list_slots([row for row in rows if row["slot"] is not None])
    assert sorted(slots) == list(range(min(slots), max(slots) + 1))
    assert max(slots) - min(slots) < AHEAD // 2


def test_life_that_sees_the_correction_recounts_the_lives_before_it(tmp_path):
    """Those of the same clock that was ahead: their slots are to come again."""
    history = {**os.environ, "IPYCRON_HISTORY": str(tmp_path / "history.sqlite")}
    clock = tmp_path / "clock"
    clock.write_text(str(AHEAD))
    environment = {
        **history,
        "PYTHONPATH": str(SHIFTED),
        "IPYCRON_TEST_SHIFT_FILE": str(clock),
    }
    corrected = NIGHT.replace("while len(runs) < 3", CORRECT + "while len(runs) < 3")
    for program in (NIGHT, corrected):
        (tmp_path / "night.py").write_text(program)
        subprocess.run(
            [sys.executable, "night.py"],
            cwd=tmp_path,
            env=environment,
            timeout=60,
            check=False,
        )
    slots = list_slots(
        [row for row in read("night", history) if row["slot"] is not None]
    )
    assert len(slots) >= 2
    assert max(slots) - min(slots) < AHEAD // 2
    assert len(slots) == len(set(slots))
