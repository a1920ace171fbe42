"""What a soak weighs every second: memory and descriptors of client and supervisor."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from ipycron.client.registry import registry

MAX_GROWTH = 16e6
"""Bytes by which the fitted line may rise over the quiet time. Allocators breathe."""
MAX_MORE_DESCRIPTORS = 20
FILES_A_WORKER = 4
"""A socket, two pipes, the lifeline: see `process.supervisor.ends.WorkerPipes`."""
ZYGOTE = b"ipycron.process.worker.zygote"


class Scales:
    """Weighs the client and the supervisor every second."""

    def __init__(self) -> None:
        self._samples: dict[tuple[str, int], list[tuple[float, float, int]]] = {}

    def weigh(self) -> None:
        """Note memory and descriptors."""
        now = time.monotonic()
        pids = {"client": os.getpid(), "supervisor": registry.client.supervisor_pid}
        for name, pid in pids.items():
            with contextlib.suppress(OSError):
                if pid is not None:
                    samples = self._samples.setdefault((name, pid), [])
                    samples.append((now, read_memory(pid), count_own_files(pid)))

    def judge(self, since: float) -> bool:
        """Print the slopes since an instant; return whether all is flat."""
        is_flat = True
        for (name, _), samples in self._samples.items():
            late = [sample for sample in samples if sample[0] >= since]
            if len(late) < 5:
                continue
            seconds = late[-1][0] - late[0][0]
            memory = fit_slope([(at, size) for at, size, _ in late])
            descriptors = fit_slope([(at, count) for at, _, count in late])
            is_flat &= memory * seconds <= MAX_GROWTH
            is_flat &= descriptors * seconds <= MAX_MORE_DESCRIPTORS
            print(
                f"{name:<12}{late[-1][1] / 1e6:8.1f} MB {memory / 1e3:+9.2f} kB/s"
                f"{late[-1][2]:8} descriptors of its own {descriptors:+8.3f}/s"
            )
        return is_flat


def read_memory(pid: int) -> float:
    """Return the anonymous memory of a process, in bytes (Linux)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return float(line.split()[1]) * 1024
    return 0.0


def count_own_files(pid: int) -> int:
    """Return a process's descriptors but those that hold its workers (Linux).

    How many workers there are is chance: a stopped task has none.
    """
    workers = len(find_workers(pid)) if pid != os.getpid() else 0
    return len(list(Path(f"/proc/{pid}/fd").iterdir())) - FILES_A_WORKER * workers


def find_workers(supervisor: int) -> list[int]:
    """Return the workers below a supervisor: forked by its zygote, or spawned."""
    found = []
    for child in find_children(supervisor):
        command = Path(f"/proc/{child}/cmdline").read_bytes()
        found += find_children(child) if ZYGOTE in command else [child]
    return found


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
