"""A real clock that was a day ahead and is corrected (C3)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import ipycron
from ipycron.testing import time_travel

SUPPORT = Path(__file__).parents[1] / "support"
SCRIPT = """
import os, sys, time
from pathlib import Path
import ipycron
shift = Path(os.environ["IPYCRON_TEST_SHIFT_FILE"])
def job():
    pass
options = {"background": True} if sys.argv[1] == "background" else {}
dates = []
task = ipycron.schedule("* * * * * *", job, name="job", **options)
task.on("execution:started", lambda context: dates.append(context.date.timestamp()))
deadline = time.monotonic() + 25
def wait(count):
    while len(dates) < count and time.monotonic() < deadline:
        time.sleep(0.02)
wait(1)
new = shift.with_name("new")
new.write_text(sys.argv[2])
new.replace(shift)  # at once: another thread may be reading it
time.sleep(0.2)
before = task.seconds_to_next
count = len(dates)
if float(sys.argv[2]) < -3 * 3600:
    wait(count + 2)
    print(len(dates) >= count + 2, abs(dates[-1] - time.time()) < 60)
else:
    print(before > 3000, len(dates) == count)
ipycron.shutdown()
"""


def run(kind, shift, folder):
    """Run a task with a clock that is set back by some seconds."""
    clock = folder / "clock"
    clock.write_text("0")
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, kind, str(shift)],
        env={
            **os.environ,
            "PYTHONPATH": str(SUPPORT / "shifted"),
            "IPYCRON_TEST_SHIFT_FILE": str(clock),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("kind", ["background", "inline"])
def test_task_goes_on_when_a_clock_that_was_ahead_is_corrected(kind, tmp_path):
    """Within seconds, with one line in the log."""
    ended = run(kind, -86_400, tmp_path)
    assert ended.stdout.split() == ["True", "True"]
    line = ended.stderr.strip()
    assert line.startswith("the clock was set back by ")
    assert "the slots of all tasks are counted anew, from 20" in line
    assert "\n" not in line, line


def test_next_run_says_that_slots_are_not_run_again(tmp_path):
    """After an hour's step, both `next_run` and the run are an hour away."""
    ended = run("background", -3600, tmp_path)
    assert (ended.stdout.split(), ended.stderr) == (["True", "True"], "")


@pytest.mark.parametrize(
    ("back", "following"),
    [
        # By less than three hours: the slots up to 12:00 have been run already.
        (1800, "2026-12-01 13:00"),
        (3 * 3600, "2026-12-01 13:00"),
        # By more: the clock was wrong before, and its slots are counted anew.
        (3 * 3600 + 90, "2026-12-01 09:00"),
        (86_400, "2026-11-30 13:00"),
    ],
)
def test_next_run_is_what_will_run_after_a_clock_step(back, following, caplog):
    """However far the clock was set back; one line says that slots are counted anew."""
    with time_travel("2026-12-01 11:30", timezone="UTC") as clock:
        dates = []
        task = ipycron.schedule("0 * * * *", lambda ctx: dates.append(ctx.date))
        clock.advance_to("2026-12-01 12:01")
        clock.step(-back)
        clock.advance(6)
        assert f"{task.next_run:%Y-%m-%d %H:%M}" == following
        expected = task.next_run
        clock.advance(task.seconds_to_next)
        assert dates[-1] == expected
        assert len(dates) == 2
    warnings = [r for r in caplog.records if "set back" in r.getMessage()]
    assert len(warnings) == (back > 3 * 3600)
