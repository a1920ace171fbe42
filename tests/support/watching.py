"""Looking at processes from outside: who is there, until when, holding what."""

from __future__ import annotations

import os
import time
from pathlib import Path

MARK = "IPYCRON_TEST_MARK"


def wait_until(condition, seconds, what):
    """Return the first true answer of `condition`; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)
    return answer


def find_marked(mark):
    """Return pid and command of every living process whose environment has `mark`."""
    wanted = f"{MARK}={mark}".encode()
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            environment = Path(f"/proc/{entry}/environ").read_bytes()
            if wanted in environment.split(b"\0") and not is_dead(int(entry)):
                found[int(entry)] = read_command(int(entry))
        except OSError:
            continue
    return found


def read_command(pid):
    """Return the command line, shortened to what tells the programs apart."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    for name in ("supervisor", "zygote", "worker"):
        if f"ipycron.process.{name} " in words:
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
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                state, parent = read_stat(int(entry))[:2]
            except OSError:
                continue
            if int(parent) == pid and state not in "ZX":
                children.append(int(entry))
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
    return len(os.listdir(f"/proc/{pid}/fd"))
