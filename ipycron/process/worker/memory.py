"""A worker's memory between runs: garbage left by a run is collected.

A traceback, a function that uses a variable of its script, an object that refers to
itself: such garbage waits for Python's collector, which counts objects, not bytes. A
run with few large objects can leave hundreds of megabytes before the collector starts.
So a worker checks its own size after each run, and collects if it has grown.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import Any

from ipycron.process.posix import trim_heap

BRIEF = 0.0002
"""Seconds; a shorter run can hardly have left a megabyte."""
MANY = 16
"""A worker checks its size after this many short runs."""
_SLACK_BYTES = 2 << 20
_SLACK = 1.05
"""How much a worker may grow before garbage is collected."""
_STATM = "/proc/self/statm"
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class MemoryKeeper:
    """Keeps a worker no larger than its runs need. Created when the job is loaded."""

    def __init__(self) -> None:
        self._own_figures = set(_list_figures())
        self._brief_runs = 0
        self._limit: float | None = None

    def clean(self, seconds: float) -> None:
        """Free what a run has left; no reference to it may remain.

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
            gc.collect()  # the size is unknown here: collecting may be needed
            return
        if self._limit is None:
            self._limit = allow(size)
        for step in (_collect_young, gc.collect, trim_heap):
            if size <= self._limit:
                break
            step()
            size = read_size() or size
        # Memory that the job needs is allowed from now on; memory it gave back is not.
        self._limit = (
            allow(size) if size > self._limit else min(self._limit, allow(size))
        )

    def _close_figures(self) -> None:
        """Close the figures that the run has opened: pyplot holds them until then."""
        for number in _list_figures():
            if number not in self._own_figures:
                sys.modules["matplotlib.pyplot"].close(number)


def allow(size: float) -> float:
    """Return the size up to which a worker of this size is not cleaned."""
    return size * _SLACK + _SLACK_BYTES


def read_size() -> int | None:
    """Return the memory of this process in bytes; None if unknown."""
    # Opened each time: the job may close all descriptors and open its own.
    try:
        fd = os.open(_STATM, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return int(os.read(fd, 128).split(None, 2)[1]) * _PAGE_BYTES
    finally:
        os.close(fd)


def _collect_young() -> None:
    """Collect objects that the run itself created: most garbage, in little time."""
    gc.collect(1)


def _list_figures() -> list[Any]:
    pyplot = sys.modules.get("matplotlib.pyplot")
    return [] if pyplot is None else list(getattr(pyplot, "get_fignums", list)())
