"""Using up what the system gives a process: its descriptors."""

from __future__ import annotations

import contextlib
import os
import resource
from pathlib import Path


def count_descriptors(pid="self"):
    """Return how many descriptors a process has, and one above the highest."""
    numbers = [int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir()]
    return len(numbers), max(numbers) + 1


@contextlib.contextmanager
def no_descriptors():
    """While this process has every descriptor in use that it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    _, top = count_descriptors()
    resource.setrlimit(resource.RLIMIT_NOFILE, (top, hard))
    held = []
    try:
        with contextlib.suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in held:
            os.close(fd)


@contextlib.contextmanager
def limited_descriptors(pid, spare=0):
    """While another process may open `spare` descriptors more, and no others."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    free = 0
    used = {int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    limit = 0
    while limit in used or free < spare:
        free += limit not in used
        limit += 1
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, before[1]))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
