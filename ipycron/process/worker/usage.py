"""What a run used of the machine: CPU time and memory of its worker."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import time

from ipycron.scheduling.events import RunDetails

# Linux counts in KB, macOS in bytes.
_UNIT = 1 if sys.platform == "darwin" else 1024
_CLEAR_REFS = "/proc/self/clear_refs"
_PEAK = b"5"
"""What resets the peak of a process's memory. Source: proc(5)."""


class UsageMeter:
    """Measures one run after another.

    The beginning of a run takes one system call: direct calls, which are short, are
    never measured to their end. What their children used counts with the next run that
    is.
    """

    def __init__(self) -> None:
        self._children = _read_children()
        self._peak = 0
        self.start()

    def start(self) -> None:
        """Count from now on."""
        self._begin = time.process_time()

    def describe_run(self, traceback_end: str) -> RunDetails:
        """Return what the run used, and the end of its error's traceback."""
        before, self._children = self._children, _read_children()
        seconds = time.process_time() - self._begin + self._children - before
        return RunDetails(
            traceback=traceback_end,
            cpu_seconds=round(seconds, 6),
            peak_memory=self._take_peak(),
        )

    def _take_peak(self) -> int:
        """Return the largest resident set of the run in bytes, and begin anew.

        Where the system cannot begin anew, it is the largest so far.
        """
        peak = _read_peak()
        if peak > self._peak:
            _forget_peak()
            self._peak = _read_peak()
        return peak


def _read_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _read_peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT


def _forget_peak() -> None:
    with contextlib.suppress(OSError):
        fd = os.open(_CLEAR_REFS, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, _PEAK)
        finally:
            os.close(fd)
