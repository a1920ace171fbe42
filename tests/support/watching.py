"""Inspecting processes from outside: which exist, whose they are, what they hold."""

# Called before and after each test, where pathlib would take most of the time.
# ruff: noqa: PTH123, PTH208

from __future__ import annotations

import contextlib
import os
from pathlib import Path

SESSION = "IPYCRON_TEST_SESSION"
"""A variable in the environment of every process that a test session starts."""
MARK = "IPYCRON_TEST_MARK"
"""Another, for a test that must tell some processes from the others that it starts."""
_LARGE = 1 << 15
"""Bytes: few environments are larger."""
PROGRAMS = {
    "supervisor.program": "supervisor",
    "worker.zygote": "zygote",
    "worker.program": "worker",
}


def find_marked(mark):
    """Return pid and command of each living process with `mark` in its environment."""
    wanted = [f"{name}={mark}\0".encode() for name in (SESSION, MARK)]
    found = {}
    for pid in find_all():
        # A process may end in the meantime.
        with contextlib.suppress(OSError):
            environment = _read_environment(pid)
            if any(word in environment for word in wanted) and not is_dead(pid):
                found[pid] = read_command(pid)
    return found


def _read_environment(pid):
    """Return a process's environment, as the kernel has it."""
    # Of each process of the machine, again and again: no file object.
    fd = os.open(f"/proc/{pid}/environ", os.O_RDONLY | os.O_CLOEXEC)
    try:
        text = part = os.read(fd, _LARGE)
        while len(part) == _LARGE:
            text += (part := os.read(fd, _LARGE))
    finally:
        os.close(fd)
    return text


def find_all():
    """Return the pids of all processes."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def read_command(pid):
    """Return the command line, shortened to the part that identifies the program.

    Empty for a zombie; raises `OSError` for who is gone.
    """
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        text = file.read().replace(b"\0", b" ").decode("utf-8", "replace")
    for program, name in PROGRAMS.items():
        if f"ipycron.process.{program} " in text:
            return name
    return text[:100]


def read_stat(pid):
    """Return the fields of /proc/PID/stat after the command's name."""
    with open(f"/proc/{pid}/stat", errors="replace") as file:
        return file.read().rpartition(")")[2].split()


def is_dead(pid):
    """Return whether a process is gone, or a zombie."""
    try:
        return read_stat(pid)[0] in "ZX"
    except OSError:
        return True


def find_children(pid="self"):
    """Return the pids of a process's children, including zombies."""
    found = set()
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with (
                contextlib.suppress(OSError),
                open(f"/proc/{pid}/task/{thread}/children", "rb") as file,
            ):
                found |= {int(word) for word in file.read().split()}
    return found


def find_living_children(pid):
    """Return the pids of the living children, oldest first."""
    return [child for child in sorted(find_children(pid)) if not is_dead(child)]


def find_family(pid="self"):
    """Return the pids of all descendants of a process, parents first."""
    family = []
    for child in sorted(find_children(pid)):
        family += [child, *find_family(child)]
    return family


def read_rss(pid):
    """Return a process's private and shared memory without files, in bytes.

    A memfd that it maps or holds counts for nobody.
    """
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


def count_descriptors(pid):
    """Return how many descriptors a process has open.

    Without those of the history's file: it is opened with the first row that is
    written, and stays open.
    """
    opened = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            opened.append(entry.readlink().name)
    return sum(not name.startswith("history.sqlite") for name in opened)
