"""A program whose only task runs every second, while its clock is set; and its rows."""

import os
import subprocess
import sys
from pathlib import Path

from history_books import read

SHIFTED = Path(__file__).parent / "shifted"
BEGIN = """
import collections, os, signal, sys, time
from pathlib import Path
import ipycron
from ipycron.client.registry import registry

EVENTS = "execution:finished", "execution:missed", "execution:skipped", "task:restarted"
clock = Path(os.environ["IPYCRON_TEST_SHIFT_FILE"])
kind, *said = sys.argv[1:]
seen = collections.Counter()  # events, reasons of runs, and the longest count of slots

def note(context):
    seen[context.event] += 1
    if context.event == "execution:finished":
        seen[context.execution.reason] += 1
    else:
        seen["longest"] = max(seen["longest"], context.missed_count or 1)

def wait(what, least):
    deadline = time.monotonic() + 40
    while seen[what] < least:
        assert time.monotonic() < deadline, (what, least, seen)
        time.sleep(0.02)

def shift(seconds):
    new = clock.with_name("new")
    new.write_text(seconds)
    new.replace(clock)

def lose_supervisor():
    os.kill(registry.client.supervisor_pid, signal.SIGKILL)

def work(ctx):
    pass

options = {"background": kind == "background", "name": "night", "tolerance": 5}
task = ipycron.schedule("* * * * * *", work, **options)
for event in EVENTS:
    task.on(event, note)
wait("execution:finished", 1)
"""
END = """
wait("execution:finished", seen["execution:finished"] + 2)
ipycron.shutdown()
"""


def run_night(folder, program, kind, *said):
    """Run a program once its task has run; return the rows of two more runs at least.

    Args:
        folder: of the clock and of the history.
        program: calls `wait`, `shift` and `lose_supervisor`.
        kind: of the task: "background" or "inline".
        said: what the program finds in the list `said`, as text.
    """
    (folder / "clock").write_text("0")
    history = {**os.environ, "IPYCRON_HISTORY": str(folder / "history.sqlite")}
    shifted = {
        "PYTHONPATH": str(SHIFTED),
        "IPYCRON_TEST_SHIFT_FILE": str(folder / "clock"),
    }
    subprocess.run(
        [sys.executable, "-c", BEGIN + program + END, kind, *map(str, said)],
        env={**history, **shifted},
        timeout=150,
        check=True,
    )
    return read("night", history)
