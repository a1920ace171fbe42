"""Using up a process's resources: its descriptors, its children."""

from __future__ import annotations

import contextlib
import os
import resource
import uuid
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")


def count_descriptors(pid="self"):
    """Return a process's number of descriptors, and the highest one plus one."""
    numbers = [int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir()]
    return len(numbers), max(numbers) + 1


@contextlib.contextmanager
def no_descriptors():
    """Context manager in which this process has no free descriptor."""
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
    """Context manager: another process may open only `spare` more descriptors."""
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


def make_process_group():
    """Return the folder of a new group of the kernel's pids controller, or None."""
    for parent in (_GROUPS / "pids", _GROUPS):
        folder = parent / f"ipycron-{uuid.uuid4().hex[:8]}"
        with contextlib.suppress(OSError):
            folder.mkdir()
            if (folder / "pids.max").exists():
                return folder
            folder.rmdir()
    return None


class ProcessLimit:
    """Limits the number of processes of a program and all that it starts.

    By a group of the kernel's controller of processes, which holds for root, too.
    """

    def __init__(self):
        folder = make_process_group()
        if folder is None:
            import pytest  # noqa: PLC0415 - the soak runs without it

            pytest.skip("needs a group of processes: root, and /sys/fs/cgroup")
        self._folder = folder

    def enter(self):
        """Add this process and its children to the group; the program's first step."""
        (self._folder / "cgroup.procs").write_text(str(os.getpid()))

    def set(self, count):
        """Allow this many processes and threads; None for any number."""
        (self._folder / "pids.max").write_text("max" if count is None else str(count))

    @property
    def is_used(self):
        """Whether a process is in the group."""
        return bool((self._folder / "cgroup.procs").read_text())

    def close(self):
        """Remove the group, whose processes have ended."""
        self.set(None)
        self._folder.rmdir()
