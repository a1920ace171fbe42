"""What a measurement says: figures, with goals; and how they are taken.

A section of the benchmarks is a program that prints one figure a line, as JSON, so
that each runs in a process of its own and `bench.py` reads them all.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

OURS = "ipycron"
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
    """

    what: str
    unit: str
    values: dict[str, float]
    most: float | None = None
    peer: str | None = None
    share: float | None = None

    @property
    def bounds(self) -> list[float]:
        """What ours may not exceed; without the peer, what is left of it."""
        bounds = [] if self.most is None else [self.most]
        if self.share is not None and self.peer in self.values:
            bounds.append(self.share * self.values[self.peer])
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


@dataclass
class Section:
    """Prints figures as they are found.

    Attributes:
        is_quick: whether to measure less, for trying.
    """

    is_quick: bool
    figures: list[Figure] = field(default_factory=list)

    def add(
        self,
        what: str,
        unit: str,
        ours: float,
        *,
        peers: dict[str, float | None] | None = None,
        **goal: Any,
    ) -> None:
        """Print a figure; `goal` as in `Figure`. A peer that is None is missing."""
        known = {n: value for n, value in (peers or {}).items() if value is not None}
        figure = Figure(what=what, unit=unit, values={OURS: ours, **known}, **goal)
        self.figures.append(figure)
        print(json.dumps(asdict(figure)), flush=True)

    def pick(self, full: int, quick: int) -> int:
        """Return how often, or how long, to measure."""
        return quick if self.is_quick else full


def run_section(measure: Callable[[Section], None], about: str | None) -> int:
    """Run a section as a program; return its exit code."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--quick", action="store_true", help="measure less, to try")
    section = Section(parser.parse_args().quick)
    measure(section)
    return int(any(figure.is_met is False for figure in section.figures))


def measure_calls(call: Callable[[], object], times: int) -> list[float]:
    """Return the seconds of each call, sorted."""
    seconds = []
    for _ in range(times):
        begin = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begin)
    return sorted(seconds)


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


def exit_with(measure: Callable[[Section], None], about: str | None) -> None:
    """Leave with the exit code of a section."""
    sys.exit(run_section(measure, about))
