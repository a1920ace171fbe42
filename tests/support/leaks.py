"""What a process holds, counted before and after a test."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import threading
import time

from polling import pause
from watching import SESSION, find_children, find_marked, read_command

DEADLINE = 20.0
"""Seconds for what a test has closed to be gone: threads end, processes are reaped."""
LONGEST_PAUSE = 0.02
"""Seconds between two looks at what is not gone yet; the first ones come sooner."""
_KEPT_THREADS = (
    "ipycron-job",
    "ipycron-events-watch",
    "ipycron-history",
    "ipycron-history-opening",
)
"""What a client that goes on keeps for a while, for the next calls and rows."""


class Belongings:
    """A snapshot of what this process holds; `-` gives the difference.

    Args:
        has_orphans: whether to look for processes that are nobody's children any
            more, by the mark in their environment: some milliseconds.
    """

    def __init__(self, *, has_orphans):
        self.threads = set(threading.enumerate())
        self.descriptors = find_descriptors()
        self.processes = find_children()
        if has_orphans:
            self.processes |= find_marked(os.environ[SESSION]).keys()
        self.held = find_held()
        self.client = find_client()

    def __sub__(self, other):
        threads = self.threads - other.threads
        descriptors = self.descriptors - other.descriptors
        if other.client is not None and self.client is other.client:
            threads = {t for t in threads if t.name not in _KEPT_THREADS}
            threads.discard(self.client.dispatcher.thread)  # another after a slow call
            # Its writer opens the file, and the log beside it, when it first has a
            # row; SQLite closes what a reader had open when its locks are gone.
            path = os.environ["IPYCRON_HISTORY"]
            files = tuple(f"{path}{suffix}" for suffix in ("", "-wal", "-shm"))
            descriptors = {d for d in descriptors if not d.endswith(files)}
        return [
            *(f"thread {t.name}" for t in threads),
            *(f"descriptor {d}" for d in sorted(descriptors)),
            *(f"process {describe(p)}" for p in self.processes - other.processes),
            *(self.held - other.held),
        ]


def find_descriptors():
    """Return the numbers and targets of open descriptors, without the reserve's.

    Those are opened anew, under other numbers, when descriptors have been received.
    """
    refusal = sys.modules.get("ipycron.process.refusal")
    reserve = [] if refusal is None else refusal.reserve._held
    found = set()
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - before and after each test
        # The folder's own descriptor is listed, too, but already closed.
        with contextlib.suppress(OSError):
            if int(name) in reserve:
                continue
            found.add(f"{name} → {os.readlink(f'/proc/self/fd/{name}')}")  # noqa: PTH115
    return found


def find_held():
    """Return what was registered with ipycron or the interpreter and not removed."""
    held = {
        f"handler {signal.getsignal(number)} of {number.name}"
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    held.add(f"sys.excepthook {sys.excepthook}")
    client = find_client()
    if client is not None:
        held |= {f"task {task.name!r}" for task in client.tasks.values()}
        held |= {f"listener of {event}" for event in client.listeners.events}
    return held


def find_client():
    """Return the client of this process, or None."""
    module = sys.modules.get("ipycron.client.registry")
    return None if module is None else module.registry.running_client


def describe(pid):
    """Return a process's id and the beginning of its command line."""
    try:
        return f"{pid} {read_command(pid)}"
    except OSError:
        return f"{pid} (gone)"


def find_leaks(before, *, has_orphans):
    """Return what exists now but did not before, after waiting for its end."""
    deadline = time.monotonic() + DEADLINE
    seconds = 0.001
    while leaks := Belongings(has_orphans=has_orphans) - before:
        if time.monotonic() > deadline:
            return leaks
        # Most threads end at once, and a collection takes longer than that.
        if seconds >= LONGEST_PAUSE:
            gc.collect()  # objects held only by a reference cycle are not leaks
        pause(seconds)
        seconds = min(2 * seconds, LONGEST_PAUSE)
    return []


def end_processes(before):
    """Kill what a test has left, so that later tests are not affected."""
    ours = find_children() | find_marked(os.environ[SESSION]).keys()
    for pid in ours - before.processes:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
