"""Pauses with no supervisor yet, with a lost one, and in a fork (C4)."""

import os
import signal
import threading
from itertools import pairwise

from fresh import run_fresh
from house import EVERY_SECOND, Record, submit_to_client
from polling import SECONDS

import ipycron
from ipycron.client.registry import registry

FORK = """
import os, ipycron
from ipycron.errors import TaskNotInherited
task = ipycron.schedule("0 0 1 1 *", int, name="report")
task.start().result(20)
pid = os.fork()
if pid == 0:
    try:
        task.pause().result(20)
    except TaskNotInherited:
        os._exit(7)
    os._exit(8)
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
ipycron.shutdown()
print(code)
"""


def strike():
    """Kill the supervisor, right after all earlier requests; return its id."""
    struck = threading.Event()
    pids = []

    def kill():
        pids.append(registry.client.supervisor_pid)
        os.kill(pids[0], signal.SIGKILL)
        struck.set()

    submit_to_client(kill)
    assert struck.wait(SECONDS)
    return pids[0]


def test_task_can_be_paused_before_anything_is_started():
    """A pause starts no process."""
    task = ipycron.create_task(EVERY_SECOND, int, background=True)
    task.pause().result(SECONDS)
    assert task.is_paused
    assert registry.client.supervisor_pid is None
    record = Record(task)
    task.start().result(SECONDS)
    record.wait("execution:skipped")
    assert record.count("execution:started") == 0


def test_pause_survives_the_loss_of_the_supervisor(write):
    """The next one skips the slots, too, and those of the time in between."""
    task = ipycron.create_task(EVERY_SECOND, write("def task():\n    return 1\n"))
    task.start().result(SECONDS)
    record = Record(task)
    task.pause(note="kept").result(SECONDS)
    record.wait("execution:skipped")
    strike()
    record.wait("task:restarted")
    count = record.count("execution:skipped")
    record.wait("execution:skipped", count + 2)
    assert task.pause_note == "kept"
    assert record.count("task:paused") == 1
    dates = [c.date for c in record.of("execution:skipped")]
    missed = [c.date for c in record.of("execution:missed")]
    assert not [date for date in missed if dates[0] <= date <= dates[-1]]
    seconds = [(b - a).total_seconds() for a, b in pairwise(dates)]
    assert set(seconds) == {1.0}
    started = record.count("execution:started")
    task.resume().result(SECONDS)
    record.wait("execution:finished", started + 1)


def test_pause_that_was_not_answered_is_kept_for_the_next_supervisor(write):
    """A stopped supervisor neither reports nor answers; then it is killed."""
    task = ipycron.create_task(EVERY_SECOND, write("def task():\n    return 1\n"))
    task.start().result(SECONDS)
    record = Record(task)
    pid = registry.client.supervisor_pid
    os.kill(pid, signal.SIGSTOP)
    pause = task.pause(note="asked")
    resume = task.resume()
    again = task.pause(note="asked again")
    submit_to_client(lambda: os.kill(pid, signal.SIGKILL))
    for completion in (pause, resume, again):
        completion.result(SECONDS)
    assert task.pause_note == "asked again"
    record.wait("task:restarted")
    record.wait("execution:skipped", 2)
    assert record.count("task:paused") == 2
    assert record.count("task:resumed") == 1


def test_pause_of_a_fork_is_refused():
    """The task is the parent's."""
    assert run_fresh(FORK) == 7
