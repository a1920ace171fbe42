"""What importing costs, measured in fresh interpreters."""

from __future__ import annotations

import sys

import pytest
from fresh import run_fresh

import ipycron

LOADED = """
import sys, threading, json
before = set(sys.modules)
import {module}
names = sorted({{name.partition(".")[0] for name in set(sys.modules) - before}})
print(json.dumps([names, threading.active_count()]))
"""


def test_import_loads_the_standard_library_only():
    """`import ipycron` loads no other package, nothing slow, and no thread."""
    names, threads = run_fresh(LOADED.format(module="ipycron"))
    foreign = set(names) - set(sys.stdlib_module_names) - {"ipycron"}
    assert foreign == set()
    assert {"asyncio", "typing", "re"} & set(names) == set()
    assert threads == 1


def test_zygote_starts_without_ipython_asyncio_zmq_or_a_thread():
    """The zygote's program is light; more is loaded later, on request."""
    names, threads = run_fresh(LOADED.format(module="ipycron.process.worker.zygote"))
    assert {"IPython", "asyncio", "zmq", "croniter", "rich"} & set(names) == set()
    assert threads == 1


AT_FORK = """
import json, os, sys
names = set()
register = os.register_at_fork

def note(**handlers):
    names.add(sys._getframe(1).f_globals["__name__"])
    register(**handlers)

os.register_at_fork = note
import ipycron.process.supervisor.program, ipycron.process.supervisor.server
own = {name for name in sys.modules if name.startswith("ipycron.client")}
own |= {"ipycron.process.supervision"} & set(sys.modules)
print(json.dumps([sorted(names), sorted(own)]))
"""


def test_workers_call_nothing_of_the_client_after_their_fork():
    """Each worker would call it, and write to the pages of its code."""
    names, clients = run_fresh(AT_FORK)
    assert clients == []
    ours = {name for name in names if name.startswith("ipycron.")}
    assert ours == {"ipycron.process.unix"}  # it renews locks, which calls no Python


GUARD = """
import json, os, socket, sys, time
from pathlib import Path

def read_command(pid):
    deadline = time.monotonic() + 20
    name = ".".join(("ipycron.process", "{program} "))  # not a word of this very text
    while name not in (text := Path("/proc", pid, "cmdline").read_text()):
        assert time.monotonic() < deadline, text  # it is forked, and not yet itself
    return text

class Guard:
    def find_spec(self, name, *_):
        if name in {names}:
            pids = Path("/proc/self/task", str(os.getpid()), "children").read_text()
            commands = [read_command(pid) for pid in pids.split()]
            print(json.dumps(commands), flush=True)
            os._exit(0)

sys.meta_path.insert(0, Guard())
"""

FIRST_CHILDREN = (
    GUARD.format(
        names=("asyncio", "ipycron.process.supervisor.server"), program="worker.zygote"
    )
    + """
from ipycron.process.supervisor.program import main
ours, theirs = socket.socketpair()
_, leash = os.pipe()
main(theirs.fileno(), leash)
"""
)


def test_supervisor_starts_its_zygote_before_it_loads_itself():
    """Both load at once: a script's first task waits for the slower one."""
    (command,) = run_fresh(FIRST_CHILDREN)
    assert "ipycron.process.worker.zygote" in command


CLIENT_CHILDREN = (
    GUARD.format(
        names=("asyncio", "ipycron.client.engine"), program="supervisor.program"
    )
    + """
import ipycron
task = ipycron.create_task("0 0 1 1 *", json.__file__)
assert not Path("/proc/self/task", str(os.getpid()), "children").read_text()
task.start()
"""
)


def test_client_starts_its_supervisor_before_it_loads_its_engine():
    """Only at the first start: creating a task starts nothing."""
    (command,) = run_fresh(CLIENT_CHILDREN)
    assert "ipycron.process.supervisor.program" in command


FIRST_TASK = """
import json, sys
import ipycron
for options in ({}, {"background": True}):
    task = ipycron.schedule("0 0 1 1 *", lambda: 1, **options)
    assert task.execute().result(20) == 1
ipycron.shutdown()
print(json.dumps([name for name in sys.modules if name.startswith("ipycron.")]))
"""


def test_script_without_executors_does_not_load_their_modules():
    """A script that schedules a function does not load what it does not use."""
    loaded = run_fresh(FIRST_TASK)
    rooms = {name.split(".")[1] for name in loaded}
    assert rooms & {"api", "client", "process", "scheduling"}
    assert not rooms & {"executors", "notebook", "cli", "testing"}


BACKGROUND_ONLY = """
import json, sys
import ipycron
task = ipycron.schedule("0 0 1 1 *", json.__file__)
task.start().result(20)
before = list(sys.modules)
assert ipycron.schedule("0 0 1 1 *", lambda: 1).execute().result(20) == 1
ipycron.shutdown()
print(json.dumps([before, list(sys.modules)]))
"""


def test_script_in_the_background_does_not_load_what_others_need():
    """Its client waits for nothing that only inline tasks and rules use."""
    before, after = run_fresh(BACKGROUND_ONLY)
    own = {"ipycron.client.local", "ipycron.scheduling.scheduler"}
    others = {"ipycron.triggers.rule", "calendar", "difflib", "secrets", "tempfile"}
    assert "ipycron.client.engine" in before
    assert not (own | others) & set(before)
    assert own <= set(after)


NEVER_STARTED = """
import json, sys
import ipycron
told = []
for job in (json.__file__, lambda: None):
    task = ipycron.create_task("0 0 1 1 *", job)
    task.on("*", lambda context: told.append(context.event))
ipycron.shutdown()
print(json.dumps([told, task.status, "asyncio" in sys.modules]))
"""


def test_shutdown_destroys_tasks_that_were_never_started():
    """They need no engine, and their listeners are called nevertheless."""
    told, status, has_engine = run_fresh(NEVER_STARTED)
    assert told == ["task:destroyed", "task:destroyed"]
    assert status == "destroyed"
    assert not has_engine


def test_supervisor_imports_no_ipython_and_no_pickler_of_functions():
    """The supervisor runs no user code, so it needs neither."""
    names, _ = run_fresh(LOADED.format(module="ipycron.process.supervisor.server"))
    assert {"IPython", "cloudpickle", "numpy", "zmq", "rich"} & set(names) == set()


@pytest.mark.parametrize("name", ipycron.__all__)
def test_public_name_exists(name):
    """Every name in `__all__` exists and is listed."""
    assert getattr(ipycron, name) is not None
    assert name in dir(ipycron)


def test_schedule_stays_the_function_when_its_package_is_imported():
    """No subpackage replaces a public function."""
    import ipycron.scheduling.scheduler  # noqa: PLC0415

    assert callable(ipycron.schedule)


def test_unknown_attribute_is_an_attribute_error():
    """The lazy lookup fails like that of any module."""
    with pytest.raises(AttributeError, match="no attribute 'shedule'"):
        _ = ipycron.shedule
