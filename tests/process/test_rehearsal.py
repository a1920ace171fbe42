"""The zygote's rehearsal of workers leaves nothing behind."""

import json
import subprocess
import sys

LOOK = """
import ctypes, json, logging, os, sys, threading
from ipycron.process.posix import wake_with_parent_end
from ipycron.process.worker import rehearsal

def find_parent_signal():
    number = ctypes.c_int()
    ctypes.CDLL(None).prctl(2, ctypes.byref(number))  # PR_GET_PDEATHSIG
    return number.value

def look():
    return [
        find_parent_signal() if sys.platform == "linux" else 0, sys.getprofile(),
        threading.main_thread() is threading.current_thread(), threading.active_count(),
        sys.path, sys.argv, sorted(os.listdir("/dev/fd")), os.getcwd(),
        logging.getLogger().handlers == [], logging.getLogger().level,
        "ipycron_task" in sys.modules,
    ]

wake_with_parent_end()
before = look()
rehearsal.rehearse()
print(json.dumps([before, look()]))
"""
COUNT = """
from collections import Counter
from ipycron.process.worker import rehearsal
from ipycron.process.wire.channel import BlockingChannel

told = Counter()
send = BlockingChannel.send

def count(self, message, *more):
    told[type(message).__name__ + str(getattr(message, "is_ok", ""))] += 1
    send(self, message, *more)

BlockingChannel.send = count
rehearsal.rehearse()
print(told["LoadedTrue"] == rehearsal.REHEARSALS,
      told["EndedTrue"] == rehearsal.REHEARSALS * (rehearsal.RUNS + 1))
"""
GATHERED = """
from ipycron.process.worker import rehearsal
from ipycron.process.worker.program import Worker
from ipycron.process.worker.zygote import Zygote

functions = Worker._run, Zygote.serve
before = [function.__code__ for function in functions]
rehearsal.rehearse()
print(*(f.__code__ is code for f, code in zip(functions, before)),
      *(f.__code__ == code for f, code in zip(functions, before)))
"""


def run_program(program):
    """Return a program's output; it must print no warning."""
    command = [sys.executable, "-W", "error", "-c", program, "argument"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    return done.stdout


def test_rehearsal_leaves_nothing_behind():
    """No descriptor, module, handler or path; a supervisor's end still wakes it."""
    before, after = json.loads(run_program(LOOK))
    assert after == before


def test_rehearsal_runs_whole_workers():
    """Each loads its job and runs it, often enough for CPython to specialize it."""
    assert run_program(COUNT).split() == ["True", "True"]


def test_rehearsal_moves_the_code_that_workers_use():
    """It moves no other code; the copies are equal."""
    assert run_program(GATHERED).split() == ["False", "True", "True", "True"]
