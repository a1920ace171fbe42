"""Jobs for tests: one body, usable inline, as a coroutine and in a worker.

A body is a function of the context. One that waits is a generator: where it yields,
a sync job sleeps and a coroutine gives way. Imported by workers: kept light.
"""

from __future__ import annotations

import inspect
import os
import threading
from functools import partial
from pathlib import Path

PAUSE = 0.005


def as_function(body):
    """Return the sync job of a body."""
    if not inspect.isgeneratorfunction(body):
        return body
    return partial(_walk, body)


def _walk(body, context):
    steps = body(context)
    pause = threading.Event()
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
        pause.wait(PAUSE)


def as_coroutine(body):
    """Return the coroutine job of a body."""
    import asyncio  # noqa: PLC0415 - sync jobs in workers need none

    async def job(context):
        if not inspect.isgeneratorfunction(body):
            return body(context)
        steps = body(context)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value
            await asyncio.sleep(PAUSE)

    return job


class Gate:
    """Makes jobs in any process wait until the test opens it."""

    def __init__(self, path):
        self._path = Path(path)

    def open(self):
        """Let every job continue, now and later."""
        self._path.touch()

    def close(self):
        """Make jobs wait again."""
        self._path.unlink()

    def pass_through(self):
        """Yield until it is open; for bodies."""
        while not self._path.exists():
            yield


class Log:
    """Lines written by jobs in any process, in order."""

    def __init__(self, path):
        self._path = Path(path)

    def write(self, line):
        """Append a line atomically, even with several writers."""
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(fd, f"{line}\n".encode())
        finally:
            os.close(fd)

    def read(self):
        """Return the lines so far."""
        return self._path.read_text().splitlines() if self._path.exists() else []
