"""Executors that misbehave, and jobs for those that do not."""

# ruff: noqa: T201 - tests check what jobs print

from __future__ import annotations

import concurrent.futures
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path


class Silent(concurrent.futures.Executor):
    """Accepts every run, and never ends one."""

    def __init__(self):
        self.futures = []

    def submit(self, *_, **__):
        """Return a future that never ends."""
        self.futures.append(concurrent.futures.Future())
        return self.futures[-1]


class Answering(Silent):
    """Ends every future at once: with a value, an error or a cancellation."""

    def __init__(self, answer):
        super().__init__()
        self._answer = answer

    def submit(self, *_, **__):
        """Return a future that is done."""
        future = super().submit()
        if self._answer is None:
            future.cancel()
            future.set_running_or_notify_cancel()
        elif isinstance(self._answer, BaseException):
            future.set_exception(self._answer)
        else:
            future.set_result(self._answer)
        return future


class Rejecting(concurrent.futures.Executor):
    """Raises, or returns something other than a future."""

    def __init__(self, answer):
        self._answer = answer

    def submit(self, *_, **__):
        """Raise, or return an invalid value."""
        if isinstance(self._answer, BaseException):
            raise self._answer
        return self._answer


class Blocking(concurrent.futures.Executor):
    """Has no capacity, and waits for it."""

    def __init__(self):
        self.room = threading.Event()

    def submit(self, *_, **__):
        """Block."""
        self.room.wait(30)
        raise RuntimeError("no room")


class Boom(Exception):
    """An error that a job defines."""

    extra = ()


def talk(ctx):
    """Write to every kind of output; return the context's contents."""
    print("to stdout", ctx.task.name)
    print("to stderr", file=sys.stderr)
    sys.stdout.buffer.write(b"bytes\n")
    logging.getLogger("talker").warning("to the log, %d", 7)
    return ctx


def fail():
    """Fail with an error of its own class and a cause."""
    try:
        {}["first"]
    except KeyError as error:
        boom = Boom(3)
        boom.extra = [1, 2]
        raise boom from error


def pause(seconds=0.005):
    """Sleep for a while."""
    threading.Event().wait(seconds)


async def wait_a_little():
    """Await briefly, and return."""
    import asyncio  # noqa: PLC0415 - as other jobs do

    await asyncio.sleep(0.01)
    return "awaited"


def leave(folder):
    """Exit the process in the middle of a run."""
    (Path(folder) / str(os.getpid())).touch()
    os._exit(3)


def leave_once(folder):
    """Exit the first process that runs this; in the next, return its pid."""
    if not list(Path(folder).iterdir()):
        leave(folder)
    return os.getpid()


def note_and_wait(folder):
    """Record this process's pid, then wait for the test."""
    folder = Path(folder)
    with (folder / "runs").open("a") as file:
        file.write(f"{os.getpid()}\n")
    deadline = time.monotonic() + 20
    while not (folder / "go").exists() and time.monotonic() < deadline:
        pause()
    return os.getpid()


def end_process(folder):
    """Kill this process without warning, as soon as the test says so."""
    if (Path(folder) / "go").exists():
        os.kill(os.getpid(), signal.SIGKILL)


def read_runs(folder):
    """Return the pids of the processes in which `note_and_wait` has run."""
    path = Path(folder) / "runs"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def flood(count):
    """Print more than is kept."""
    for number in range(count):
        print(f"{number:099d}")
