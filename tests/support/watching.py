"""Looking at processes from outside: who is there, until when, holding what."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

MARK = "IPYCRON_TEST_MARK"
PROGRAMS = {
    "supervisor.program": "supervisor",
    "worker.zygote": "zygote",
    "worker.program": "worker",
}


def wait_until(condition, seconds, what):
    """Return the first true answer of `condition`; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        pause(0.02)
    return answer


def pause(seconds):
    """Let time pass: between two looks, or because that is the test."""
    threading.Event().wait(seconds)


def find_marked(mark):
    """Return pid and command of every living process whose environment has `mark`."""
    wanted = f"{MARK}={mark}".encode()
    found = {}
    for pid in find_all():
        # Whoever ends meanwhile is not there any more.
        with contextlib.suppress(OSError):
            environment = Path(f"/proc/{pid}/environ").read_bytes()
            if wanted in environment.split(b"\0") and not is_dead(pid):
                found[pid] = read_command(pid)
    return found


def find_all():
    """Return the pids of all processes."""
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def read_command(pid):
    """Return the command line, shortened to what tells the programs apart."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    for program, name in PROGRAMS.items():
        if f"ipycron.process.{program} " in words:
            return name
    return words[:60]


def read_stat(pid):
    """Return the fields of /proc/PID/stat after the command's name."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def is_dead(pid):
    """Return whether a process is gone, or a zombie that nobody has reaped yet."""
    try:
        return read_stat(pid)[0] in "ZX"
    except OSError:
        return True


def find_children(pid):
    """Return the living children of a process."""
    children = []
    for child in find_all():
        with contextlib.suppress(OSError):
            state, parent = read_stat(child)[:2]
            if int(parent) == pid and state not in "ZX":
                children.append(child)
    return children


def read_rss(pid):
    """Return the private and shared memory of a process without files, in bytes.

    A memfd that it maps or holds counts for nobody.
    """
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


def count_descriptors(pid):
    """Return how many descriptors a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
