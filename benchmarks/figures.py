"""What a measurement says: figures, with goals; and how they are taken."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

OURS = "ipycron"
COARSE = 5 if sys.platform == "linux" else time.CLOCK_REALTIME
"""The clock of files' times and of `time.localtime()`: it shows a second last."""
NEVER = "0 0 1 1 *"
"""A schedule that does not fire while we measure."""


@dataclass(kw_only=True)
class Figure:
    """One line of the table.

    Attributes:
        values: by library, ipycron's own among them.
        most: the largest value of ours that meets the goal, None without one.
        peer: with whom `share` compares.
        share: the largest part of the peer's value that meets the goal.
        wait: what ours has to wait before it may begin and the peer does not, in the
            unit of the values: the goal is that much larger.
    """

    what: str
    unit: str
    values: dict[str, float]
    most: float | None = None
    peer: str | None = None
    share: float | None = None
    wait: float = 0.0

    @property
    def bounds(self) -> list[float]:
        """What ours may not exceed; without the peer, what is left of it."""
        bounds = [] if self.most is None else [self.most]
        if self.share is not None and self.peer in self.values:
            bounds.append(self.share * self.values[self.peer] + self.wait)
        return bounds

    @property
    def is_met(self) -> bool | None:
        """Whether every goal is met; None where there is nothing to compare."""
        if not self.bounds:
            return None
        return all(self.values[OURS] <= bound for bound in self.bounds)

    def get_ratio(self, name: str) -> float:
        """Return how many times ours the value of another library is."""
        ours = self.values[OURS]
        return self.values[name] / ours if ours else math.inf


def measure_calls(call: Callable[[], object], times: int) -> list[float]:
    """Return the seconds of each call, sorted."""
    seconds = []
    for _ in range(times):
        begin = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begin)
    return sorted(seconds)


def measure_lag(seconds: int) -> float:
    """Return how late every clock shows a new second: the median, in seconds.

    Of a process that does nothing else: no run may begin before.
    """
    late = []
    for _ in range(seconds):
        second = math.floor(time.time()) + 1
        time.sleep(max(0.0, second - time.time() - 0.002))
        while time.clock_gettime(COARSE) < second:
            time.sleep(0.0001)
        late.append(time.time() - second)
    return get_quantile(late, 0.5)


def get_quantile(values: Iterable[float], share: float) -> float:
    """Return the value that `share` of the values do not exceed; none: infinity."""
    ordered = sorted(values)
    if not ordered:
        return math.inf
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def read_private_bytes(pid: int | str = "self") -> int:
    """Return the memory that only this process holds, in bytes (Linux)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    private = [line.split() for line in lines if line.startswith("Private_")]
    return sum(int(words[1]) for words in private) * 1024


def read_cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used (Linux), to 10 ms."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / 100
