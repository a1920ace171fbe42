"""`worker_init=`: what each worker calls before it loads the job."""

import logging
import os
import signal
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest
from house import NEVER, Record
from polling import SECONDS

import ipycron
from ipycron.client.jobs import Cell
from ipycron.errors import CaptureError, InvalidOption, RemoteError
from ipycron.process.wire.payload import Payload

LOCK = threading.Lock()


@pytest.mark.parametrize("launcher", ["fork", "spawn"])
def test_worker_init_is_called_before_the_job_is_loaded(write, launcher):
    """Once per worker, for a file and a function; its effects last."""

    def set_up():
        sys.initialized = [*getattr(sys, "initialized", []), os.getpid()]
        logging.getLogger("job").setLevel(7)

    def report():
        return sys.initialized, logging.getLogger("job").level

    source = "import sys\nSEEN = list(sys.initialized)\ndef task(): return SEEN"
    options = {"launcher": launcher, "worker_init": set_up}
    file = ipycron.create_task(NEVER, write(source), **options)
    function = ipycron.create_task(NEVER, report, background=True, **options)
    record = Record(function)
    for task in (file, function):
        task.start().result(SECONDS)
    assert file.execute().result(SECONDS) == [file.last_run.pid]
    for _ in range(2):
        result = function.execute().result(SECONDS)
        assert result == ([function.last_run.pid], 7)
    os.kill(function.last_run.pid, signal.SIGKILL)
    record.wait("task:restarted")
    result = function.execute().result(SECONDS)
    assert result == ([function.last_run.pid], 7)


def test_worker_init_is_called_before_a_cell_is_loaded():
    """As for a file."""

    def set_up():
        sys.initialized = os.getpid()

    cell = Cell(source="import sys\nsys.initialized", filename="<x>", payload=Payload())
    task = ipycron.create_task(NEVER, cell, worker_init=set_up)
    task.start().result(SECONDS)
    assert task.execute().result(SECONDS) == task.last_run.pid


def test_worker_init_is_called_for_each_run_of_a_script(write, tmp_path):
    """Each run has its own process."""
    log = str(tmp_path / "log")

    def set_up():
        logging.basicConfig(filename=log, format="%(message)s")

    script = write("import logging\nlogging.warning('said')\nprint('done')")
    task = ipycron.create_task(NEVER, script, worker_init=set_up)
    task.start().result(SECONDS)
    for _ in range(2):
        task.execute().result(SECONDS)
    assert (tmp_path / "log").read_text() == "said\nsaid\n"


@pytest.mark.parametrize("launcher", ["fork", "spawn"])
@pytest.mark.parametrize("error", [KeyError("lost"), SystemExit(3)])
def test_error_of_worker_init_is_one_of_the_start(launcher, error):
    """It says where it was raised; nothing is left running."""

    def fail():
        raise error

    task = ipycron.create_task(
        NEVER, lambda: 1, background=True, launcher=launcher, worker_init=fail
    )
    failure = task.start().exception(SECONDS)
    assert type(failure) is (KeyError if type(error) is KeyError else RemoteError)
    text = "".join(traceback.format_exception(failure))
    assert "This was raised by worker_init, before the job was loaded." in text
    assert task.status == "stopped"


async def wait():
    """A coroutine function, which is never awaited."""


def generate():
    """A generator function: calling it runs nothing."""
    yield


@pytest.mark.parametrize(
    ("init", "options", "said"),
    [
        (3, {"background": True}, "a function without required parameters"),
        ("init.py", {"background": True}, "a function without required parameters"),
        (wait, {"background": True}, "no coroutine function"),
        (generate, {"background": True}, "no coroutine function"),
        (lambda a: a, {"background": True}, "a function without required parameters"),
        (lambda a, b: a + b, {"background": True}, "without required parameters"),
        (print, {}, "None for a function in this process. Use background=True"),
        (print, {"executor": ThreadPoolExecutor(1)}, "None with an executor"),
        (lambda: LOCK, {"background": True}, "'LOCK' (lock) cannot be sent"),
    ],
)
def test_worker_init_that_cannot_be_is_refused(init, options, said):
    """When the task is created, with the reason."""
    with pytest.raises((InvalidOption, CaptureError)) as refused:
        ipycron.create_task(NEVER, lambda: 1, worker_init=init, **options)
    assert said in str(refused.value)


def test_worker_init_that_takes_much_along_is_refused():
    """It is stored with the task, and sent to each worker."""
    data = bytes(2_000_000)
    with pytest.raises(InvalidOption, match="at most 1,048,576 bytes along, not 2,000"):
        ipycron.create_task(
            NEVER, lambda: 1, background=True, worker_init=lambda: len(data)
        )
