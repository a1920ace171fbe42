"""A worker's memory between two runs: what a run has left behind by mistake goes.

A traceback, a function that uses a variable of its script, an object that refers to
itself: such garbage waits for Python's collector, which counts objects, not bytes. A
run of few large objects leaves hundreds of megabytes before it is called. So a worker
looks at its own size after each run, and collects where that has grown.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import Any

from ipycron.process.posix import trim_heap

BRIEF = 0.0002
"""Seconds; a run that is shorter can hardly have left a megabyte."""
MANY = 16
"""Of these, the worker looks after the last."""
_SLACK_BYTES = 2 << 20
_SLACK = 1.05
"""How much larger it may be than it was, without being cleaned."""
_STATM = "/proc/self/statm"
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class MemoryKeeper:
    """Keeps a worker as large as its runs need it. Made when the job is loaded."""

    def __init__(self) -> None:
        self._own_figures = set(_list_figures())
        self._brief_runs = 0
        self._limit: float | None = None

    def clean(self, seconds: float) -> None:
        """Free what a run has left; it must not be referred to any more.

        Args:
            seconds: the run's duration, with the pickling of its result.
        """
        self._brief_runs += 1
        if seconds < BRIEF and self._brief_runs < MANY:
            return
        self._brief_runs = 0
        self._close_figures()
        size = read_size()
        if size is None:
            gc.collect()  # the size is unknown here: it may be needed
            return
        if self._limit is None:
            self._limit = allow(size)
        for step in (_collect_young, gc.collect, trim_heap):
            if size <= self._limit:
                break
            step()
            size = read_size() or size
        # What a job needs is allowed from now on; what it has given back is not.
        self._limit = (
            allow(size) if size > self._limit else min(self._limit, allow(size))
        )

    def _close_figures(self) -> None:
        """Close what the run has opened with pyplot, which holds it until then."""
        for number in _list_figures():
            if number not in self._own_figures:
                sys.modules["matplotlib.pyplot"].close(number)


def allow(size: float) -> float:
    """Return the size up to which a worker of a size is left alone."""
    return size * _SLACK + _SLACK_BYTES


def read_size() -> int | None:
    """Return the bytes of memory of this process; None where they are unknown."""
    # Opened each time: the job may close all descriptors, and open its own.
    try:
        fd = os.open(_STATM, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return int(os.read(fd, 128).split(None, 2)[1]) * _PAGE_BYTES
    finally:
        os.close(fd)


def _collect_young() -> None:
    """Collect what the run itself has made: most garbage, for little time."""
    gc.collect(1)


def _list_figures() -> list[Any]:
    pyplot = sys.modules.get("matplotlib.pyplot")
    return [] if pyplot is None else list(getattr(pyplot, "get_fignums", list)())
