"""What a soak weighs: memory every second, descriptors before and after all tasks."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
import time
from pathlib import Path

from ipycron.client.registry import registry

MAX_GROWTH = 16e6
"""Bytes by which the fitted line may rise over the quiet time. Allocators breathe."""
MAX_MORE_DESCRIPTORS = 5
"""By which a process may have more when all tasks are destroyed than before the first.

While there are tasks, chance decides: a worker has some in its supervisor, a task that
is called directly has one, a large result that nobody has asked for is one."""
SECONDS_TO_LEAVE = 10.0
ZYGOTE = b"ipycron.process.worker.zygote"


class Scales:
    """Weighs the client and its supervisor. To be made before the first task."""

    def __init__(self) -> None:
        self._samples: dict[tuple[str, int], list[tuple[float, float]]] = {}
        self._files = {name: count_files(pid) for name, pid in find_weighed()}

    def weigh(self) -> None:
        """Note the memory of both."""
        now = time.monotonic()
        for name, pid in find_weighed():
            with contextlib.suppress(OSError):
                samples = self._samples.setdefault((name, pid), [])
                samples.append((now, read_memory(pid)))

    def judge_memory(self, since: float) -> bool:
        """Print the slopes since an instant; return whether all is flat."""
        is_flat = True
        for (name, _), samples in self._samples.items():
            late = [sample for sample in samples if sample[0] >= since]
            if len(late) < 5:
                continue
            slope = fit_slope(late)
            is_flat &= slope * (late[-1][0] - late[0][0]) <= MAX_GROWTH
            print(f"{name:<12}{late[-1][1] / 1e6:8.1f} MB {slope / 1e3:+9.2f} kB/s")
        return is_flat

    def judge_files(self) -> bool:
        """Print the descriptors that are open without tasks; return whether few.

        The last worker may still be going: waits for it.
        """
        deadline = time.monotonic() + SECONDS_TO_LEAVE
        pause = threading.Event()
        while True:
            gc.collect()  # listeners of the last events may have kept a task
            files = {name: count_files(pid) for name, pid in find_weighed()}
            more = max(files[name] - self._files[name] for name in files)
            if more <= MAX_MORE_DESCRIPTORS or time.monotonic() > deadline:
                break
            pause.wait(0.1)
        for name, count in files.items():
            first = self._files[name]
            print(f"{name:<12}{count:8} descriptors without tasks, {first} at first")
        return more <= MAX_MORE_DESCRIPTORS


def find_weighed() -> list[tuple[str, int]]:
    """Return the processes that there are to weigh: name, process ID."""
    pids = {"client": os.getpid(), "supervisor": registry.client.supervisor_pid}
    return [(name, pid) for name, pid in pids.items() if pid is not None]


def read_memory(pid: int) -> float:
    """Return the anonymous memory of a process, in bytes (Linux)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return float(line.split()[1]) * 1024
    return 0.0


def count_files(pid: int) -> int:
    """Return how many descriptors a process has open (Linux).

    Without those of the history's file, which stays open from its first row on.
    """
    opened = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            opened.append(entry.readlink().name)
    return sum(not name.startswith("history.sqlite") for name in opened)


def find_children(pid: int) -> list[int]:
    """Return a process's children (Linux)."""
    words = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(word) for word in words]


def fit_slope(samples: list[tuple[float, float]]) -> float:
    """Return the slope of a least-squares line, per second."""
    if len(samples) < 2:
        return 0.0
    mean_x = sum(x for x, _ in samples) / len(samples)
    mean_y = sum(y for _, y in samples) / len(samples)
    spread = sum((x - mean_x) ** 2 for x, _ in samples)
    return sum((x - mean_x) * (y - mean_y) for x, y in samples) / spread
