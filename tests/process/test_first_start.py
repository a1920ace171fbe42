"""What may come in the middle of the first start of all, in fresh interpreters.

A signal's handler runs between any two steps; here it runs at the import of a module.
"""

from __future__ import annotations

import pytest
from fresh import run_fresh

AT_IMPORT = """
import json, keyword, os, sys

class AtImport:
    def find_spec(self, name, *_):
        if name == {name!r}:
            sys.meta_path.remove(self)
            interrupt()

sys.meta_path.insert(0, AtImport())
import ipycron
task = ipycron.create_task("0 0 1 1 *", keyword.__file__)
"""

SHUT_DOWN = """
interrupt = ipycron.shutdown
try:
    task.start()
except RuntimeError as error:
    told = str(error)
again = ipycron.create_task("0 0 1 1 *", keyword.__file__)
again.start().result(20)
ipycron.shutdown()
print(json.dumps([told, task.status, again.status]))
"""

START_ANOTHER = """
others = []

def interrupt():
    for job in (keyword.__file__, lambda: 1):
        other = ipycron.create_task("0 0 1 1 *", job)
        other.start()
        others.append(other)

task.start().result(20)
found = [other.execute().result(20) for other in others]
pids = open(f"/proc/self/task/{os.getpid()}/children").read().split()
ipycron.shutdown()
print(json.dumps([found, len(pids)]))
"""

INTERRUPT = """
def interrupt():
    raise KeyboardInterrupt

try:
    task.start()
except KeyboardInterrupt:
    children = open(f"/proc/self/task/{os.getpid()}/children").read()
    import asyncio
    task.start().result(20)
    print(json.dumps([children, task.status, asyncio.run(asyncio.sleep(0, "well"))]))
ipycron.shutdown()
"""

FORK = """
def list_sockets():
    fds = os.listdir("/proc/self/fd")
    links = (os.path.realpath(f"/proc/self/fd/{fd}") for fd in fds)
    return [link for link in links if "socket:" in link]

def interrupt():
    before = list_sockets()
    if os.fork() == 0:
        print(json.dumps([len(before), list_sockets()]), flush=True)
        os._exit(0)
    os.wait()

task.start().result(20)
ipycron.shutdown()
"""


def run(story: str, name: str) -> object:
    """Return what a story prints as JSON, interrupted at the import of `name`."""
    return run_fresh(AT_IMPORT.format(name=name) + story)


@pytest.mark.parametrize("name", ["asyncio", "ipycron.task.engine", "asyncio.tasks"])
def test_handler_may_shut_down_the_first_start(name):
    """Nobody hangs: the start fails, and the next client starts as ever."""
    told, status, again = run(SHUT_DOWN, name)
    assert told == "ipycron was shut down"
    assert (status, again) == ("destroyed", "destroyed")


def test_handler_may_start_a_task_in_the_first_start():
    """Both are started, by one supervisor."""
    found, supervisors = run(START_ANOTHER, "ipycron.task.engine")
    assert found == [None, 1]
    assert supervisors == 1


@pytest.mark.parametrize("name", ["asyncio.tasks", "ipycron.task.remote"])
def test_first_start_may_be_interrupted_and_repeated(name):
    """Ctrl-C leaves no supervisor behind, and no half of asyncio."""
    assert run(INTERRUPT, name) == ["", "idle", "well"]


def test_copy_that_is_forked_in_the_first_start_holds_no_socket():
    """A supervisor would not see the end of its client as long as the copy lives."""
    before, held = run(FORK, "ipycron.task.engine")
    assert before > 0
    assert held == []
