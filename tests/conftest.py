"""What every test must leave as it found it."""

import gc
import os
import shutil
import signal
import sys
import tempfile
import uuid

import evidence
import pytest
from leaks import Belongings, end_processes, find_leaks
from lengths import IS_FULL
from polling import SECONDS
from scores import Scoreboard
from watching import SESSION

import ipycron

# Folders whose tests start no processes that could be orphaned.
PURE = ("unit", "property")


def pytest_configure(config):
    """Mark every process that this test session will start."""
    config.pluginmanager.register(Scoreboard())
    config.pluginmanager.register(evidence)
    os.environ[SESSION] = uuid.uuid4().hex
    # Not into the history of whoever runs the tests, nor with the tasks that they keep.
    folder = tempfile.mkdtemp(prefix="ipycron-tests-")
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    os.environ["IPYCRON_HISTORY"] = f"{folder}/history.sqlite"
    os.environ["IPYCRON_SERVICE_DIR"] = f"{folder}/service"
    # A shell that starts us in the background has us ignore SIGINT; loops that borrow
    # it put the default back.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Keep what pytest makes of the tests' sources, also where Python may not.

    It adds to their assertions whenever it has no bytecode of that: six seconds of
    processor time for all of them, in each process of pytest-xdist.
    """
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, False
    try:
        return (yield)
    finally:
        sys.dont_write_bytecode = before


def pytest_collection_modifyitems(config, items):
    """Leave out what only `make test-full` runs."""
    if not IS_FULL:
        only_full = [item for item in items if item.get_closest_marker("full")]
        config.hook.pytest_deselected(items=only_full)
        items[:] = [item for item in items if item not in only_full]


def pytest_collection_finish():
    """Spare the garbage collector the thousands of tests that stay to the end."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def quiet():
    """Keep the output of jobs off the console of the tests, as pytest's users may."""
    ipycron.set_echo(False)


@pytest.fixture(scope="module", autouse=True)
def patience(request):
    """Give tasks the time to load their jobs that a busy machine takes.

    That is longer than users want to wait; a test may still say how long.
    """
    if find_folder(request) in PURE:
        yield
        return
    defaults = [make.__kwdefaults__ for make in (ipycron.create_task, ipycron.schedule)]
    before = [options["start_timeout"] for options in defaults]
    for options in defaults:
        options["start_timeout"] = SECONDS
    yield
    for options, seconds in zip(defaults, before, strict=True):
        options["start_timeout"] = seconds


def find_folder(request):
    """Return the name of the folder below `tests` that a test is in."""
    return request.path.relative_to(request.config.rootpath / "tests").parts[0]


@pytest.fixture(autouse=True)
def leak_guard(request):
    """Fail a test that leaves a process, thread, descriptor, listener or task."""
    has_orphans = find_folder(request) not in PURE
    before = Belongings(has_orphans=has_orphans)
    yield
    leaks = find_leaks(before, has_orphans=has_orphans)
    if leaks:
        end_processes(before)
        pytest.fail("the test left behind: " + "; ".join(leaks), pytrace=False)


@pytest.fixture(scope="session")
def zygote():
    """One prepared process, for all cells that tests run in forks of it."""
    from shell_zygote import Zygote  # noqa: PLC0415 - IPython, for those who need it

    zygote = Zygote()
    yield zygote
    zygote.close()
