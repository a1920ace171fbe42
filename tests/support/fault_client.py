"""A client for the fault matrix: brings one task into a state, and reports events.

    python fault_client.py FOLDER STATE

Writes JSON lines on stdout: ``{"ready": ...}`` when the subject is in the state, then
every event and the end of every completion. Leaves by `shutdown` when stdin ends.

Three tasks: the *subject* is in the state, the *neighbour* is idle, the *bystander*
runs every second.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

from polling import eventually, pause

import ipycron

NEVER = "0 0 1 1 *"
LOAD_SECONDS = 1.0
RUN_SECONDS = 1.2
"""Both count from the fault on: what it ends is not to end by itself before."""

SUBJECT = """
import os, subprocess, sys, time
from pathlib import Path
here = Path(__file__).parent
helper = subprocess.Popen(["sleep", "600"])
def tell(name, number):
    # Renamed when it is whole: somebody waits for it.
    (here / f"{name}.new").write_text(str(number))
    (here / f"{name}.new").rename(here / name)
tell("worker", os.getpid())
tell("helper", helper.pid)  # the last: with it, the subject is starting
def wait_for_the_fault(seconds):
    while not (here / "struck").exists():
        time.sleep(0.01)
    time.sleep(seconds)
wait_for_the_fault(LOAD)
def task():
    tell("run", os.getpid())
    wait_for_the_fault(RUN)
    return "done"
"""

_lock = threading.Lock()
_heard = []


def say(**facts):
    """Write one line; from any thread."""
    with _lock:
        sys.stdout.write(json.dumps(facts) + "\n")
        sys.stdout.flush()


def hear(context):
    """Report an event."""
    error = context.error
    run = context.execution
    _heard.append((context.task.name, context.event))
    say(
        event=context.event,
        task=context.task.name,
        status=context.task.status,
        run=None if run is None else run.id,
        reason=None if run is None else run.reason,
        date=context.date.timestamp(),
        missed_count=context.missed_count,
        error=None if error is None else type(error).__name__,
        text=None if error is None else str(error),
    )


def follow(name, completion):
    """Report how a completion ends."""

    def report(done):
        error = done.exception()
        say(
            completion=name,
            error=None if error is None else type(error).__name__,
            text=None if error is None else str(error),
            result=None if error is not None else done.result(),
        )

    completion.add_done_callback(report)


def wait_for(path):
    """Return once a file exists."""
    eventually(path.exists, path, 30)


def wait_to_hear(event):
    """Return once the subject's listeners were called for past events."""
    eventually(lambda: ("subject", event) in _heard, event, 30)


def bring_into(state, subject, folder):
    """Start, run or stop the subject."""
    start = subject.start()
    follow("start", start)
    if state == "starting":
        wait_for(folder / "helper")
        return
    start.result()
    wait_to_hear("task:started")
    if state == "idle":
        return
    follow("execute", subject.execute())
    wait_for(folder / "run")
    wait_to_hear("execution:started")
    if state == "stopping":
        follow("stop", subject.stop())
        pause(0.05)  # on its way through two processes


def main(folder, state):
    """Run until stdin ends."""
    source = SUBJECT.replace("RUN", str(RUN_SECONDS))
    if state == "starting":
        source = source.replace("LOAD", str(LOAD_SECONDS))
    else:
        source = source.replace("wait_for_the_fault(LOAD)", "")
    (folder / "subject.py").write_text(source)
    (folder / "quick.py").write_text("import os\ndef task():\n    return os.getpid()\n")
    ipycron.on("*", hear)
    neighbour = ipycron.create_task(NEVER, folder / "quick.py", name="neighbour")
    neighbour.start().result()
    bystander = ipycron.create_task(
        "* * * * * *", folder / "quick.py", name="bystander"
    )
    bystander.start().result()
    subject = ipycron.create_task(NEVER, folder / "subject.py", name="subject")
    bring_into(state, subject, folder)
    say(
        ready=True,
        client=os.getpid(),
        neighbour=neighbour.execute().result(),
    )
    sys.stdin.read()
    say(statuses={task.name: task.status for task in ipycron.get_tasks().values()})
    ipycron.shutdown()
    say(bye=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
