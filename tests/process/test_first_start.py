"""What may happen in the middle of the first start, in fresh interpreters.

A signal's handler runs between any two steps; here it runs at the import of a module.
"""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import Mock

import pytest
from fresh import run_fresh
from house import NEVER
from polling import SECONDS, eventually
from watching import find_living_children, is_dead, read_command

import ipycron
from ipycron.api.task import get_record
from ipycron.client.background import BackgroundTasks
from ipycron.client.client import Client
from ipycron.client.registry import registry
from ipycron.process.supervision import start_supervisor

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
    """Return a program's JSON output, interrupted at the import of `name`."""
    return run_fresh(AT_IMPORT.format(name=name) + story)


@pytest.mark.parametrize("name", ["asyncio", "ipycron.client.engine", "asyncio.tasks"])
def test_handler_may_shut_down_the_first_start(name):
    """Nothing hangs: the start fails, and the next client starts normally."""
    told, status, again = run(SHUT_DOWN, name)
    assert told == "ipycron was shut down"
    assert (status, again) == ("destroyed", "destroyed")


def test_handler_may_start_a_task_in_the_first_start():
    """Both are started by one supervisor."""
    found, supervisors = run(START_ANOTHER, "ipycron.client.engine")
    assert found == [None, 1]
    assert supervisors == 1


@pytest.mark.parametrize("name", ["asyncio.tasks", "ipycron.client.background"])
def test_first_start_may_be_interrupted_and_repeated(name):
    """Ctrl-C leaves no supervisor behind, and no partly imported asyncio."""
    assert run(INTERRUPT, name) == ["", "idle", "well"]


def test_copy_that_is_forked_in_the_first_start_holds_no_socket():
    """Otherwise a supervisor would outlive its client with the child."""
    before, held = run(FORK, "ipycron.client.engine")
    assert before > 0
    assert held == []


def test_copy_that_is_forked_before_the_first_call_holds_no_socket():
    """The engine then has the supervisor but has not contacted it yet."""
    supervisor = start_supervisor()
    remote = BackgroundTasks(Mock(), None, supervisor, loop=None, submit=None)
    remote.close_in_child()
    assert supervisor.sock.fileno() == -1
    supervisor.kill()


def test_client_that_was_shut_down_takes_no_task():
    """Such a task would be in no list, and nothing would ever end it."""
    task = ipycron.create_task(NEVER, lambda: 1)
    client = Client()
    client.shutdown(0)
    with pytest.raises(RuntimeError, match="ipycron was shut down"):
        client.add(get_record(task))
    assert client.tasks == {}


def test_first_zygote_is_a_process_of_its_own():
    """Forked from the supervisor, it has its own session and name."""
    ipycron.create_task(NEVER, os.__file__.replace("os.py", "this.py")).start().result(
        SECONDS
    )
    supervisor = registry.client.supervisor_pid
    (zygote,) = find_living_children(supervisor)
    assert (read_command(supervisor), read_command(zygote)) == ("supervisor", "zygote")
    assert os.getsid(zygote) == os.getpgid(zygote) == zygote
    assert os.getsid(supervisor) == supervisor
    # Nobody here speaks TLS, which is a tenth of a supervisor's start.
    assert "_ssl" not in Path(f"/proc/{supervisor}/maps").read_text()


def test_unused_supervisor_is_gone_with_its_zygote():
    """Whoever waits for its end need not wait for its zygote, too."""
    supervisor = start_supervisor()
    pid = supervisor.process.pid
    eventually(lambda: find_living_children(pid), "it has forked its zygote")
    (zygote,) = find_living_children(pid)
    supervisor.kill()
    # Its descriptors are closed a moment before it is a zombie.
    eventually(lambda: is_dead(zygote), "it is gone")


COLLECTING = """
import gc, json, os, socket
from ipycron.process.supervisor import program as supervise

def serve(*_):
    print(json.dumps(gc.isenabled()), flush=True)
    os._exit(0)

gc.disable()
import ipycron.process.supervisor.server
ipycron.process.supervisor.server.serve = serve
ours, theirs = socket.socketpair()
_, leash = os.pipe()
supervise.main(theirs.fileno(), leash)
"""


def test_supervisor_collects_its_garbage():
    """It loads with the collector off, and then runs for months."""
    assert run_fresh(COLLECTING) is True
