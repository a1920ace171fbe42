"""The rows of a long pause of which slots are caught up on, in real processes (H1)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from history_books import list_slots, read

SUPPORT = Path(__file__).parents[1] / "support"
PROGRAM = """
import os, signal, sys, time
from pathlib import Path
import ipycron
from ipycron.client.registry import registry

clock = Path(os.environ["IPYCRON_TEST_SHIFT_FILE"])
kind, mode, victim = sys.argv[1:]
catch_up = "latest" if mode == "latest" else ipycron.CatchUp("all", window=1000)
seen = {"execution:finished": 0, "execution:skipped": 0, "longest": 0, "catch_up": 0}

def note(context):
    if context.event == "execution:finished":
        seen["catch_up"] += context.execution.reason == "catch_up"
    seen[context.event] += 1
    if context.event == "execution:skipped":
        seen["longest"] = max(seen["longest"], context.missed_count or 1)

def wait(what, least):
    deadline = time.monotonic() + 40
    while seen[what] < least:
        assert time.monotonic() < deadline, (what, least, seen)
        time.sleep(0.02)

def work(ctx):
    pass

options = {"background": kind == "background", "name": "night", "tolerance": 5}
task = ipycron.schedule("* * * * * *", work, **options)
for event in ("execution:finished", "execution:skipped"):
    task.on(event, note)
wait("execution:finished", 1)
task.pause().result(20)
wait("execution:skipped", 1)
new = clock.with_name("new")
new.write_text("3000")
new.replace(clock)
wait("longest", 1000)
if victim == "supervisor":
    ipycron.history("night")  # the row of the count is on the disk then
    os.kill(registry.client.supervisor_pid, signal.SIGKILL)
    before = seen["execution:skipped"]
    wait("execution:skipped", before + 3)
task.resume(catch_up=catch_up).result(20)
wait("catch_up", 1 if mode == "latest" else 100)
wait("execution:finished", seen["execution:finished"] + 2)
ipycron.shutdown()
"""


@pytest.mark.parametrize(
    ("kind", "mode", "victim"),
    [
        ("background", "latest", "nobody"),
        ("background", "all", "supervisor"),
        ("inline", "all", "nobody"),
    ],
)
def test_slot_that_runs_after_a_long_pause_is_in_one_row(tmp_path, kind, mode, victim):
    """It is no longer in the count of those that were skipped."""
    (tmp_path / "clock").write_text("0")
    history = {**os.environ, "IPYCRON_HISTORY": str(tmp_path / "history.sqlite")}
    shifted = {
        "PYTHONPATH": str(SUPPORT / "shifted"),
        "IPYCRON_TEST_SHIFT_FILE": str(tmp_path / "clock"),
    }
    subprocess.run(
        [sys.executable, "-c", PROGRAM, kind, mode, victim],
        env={**history, **shifted},
        timeout=120,
        check=True,
    )
    rows = read("night", history)
    counts = [row["missed_count"] for row in rows if row["outcome"] == "paused"]
    assert max(filter(None, counts)) > 1000
    caught = [row for row in rows if row["trigger"] == "catch_up"]
    assert len(caught) == (1 if mode == "latest" else 100)
    slots = list_slots(rows)
    assert sorted(slots) == list(range(min(slots), max(slots) + 1))
