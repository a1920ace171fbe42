"""A section of the benchmarks: a program that measures and prints its table.

With ``--json`` it prints one figure a line instead, so that each section runs in a
process of its own and `bench.py` reads them all.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from figures import OURS, Figure
from table import make_summary, make_table

if TYPE_CHECKING:
    from collections.abc import Callable

VARIABLE = "IPYCRON_HISTORY"
"""Where the history is. Not imported from us: peers are measured without us."""


@dataclass
class Section:
    """Collects figures as they are found.

    Attributes:
        is_quick: whether to measure less, for trying.
        is_json: whether to print each figure at once, as a line of JSON.
    """

    is_quick: bool
    is_json: bool
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
        """Add a figure; `goal` as in `Figure`. A peer that is None is missing."""
        known = {n: value for n, value in (peers or {}).items() if value is not None}
        figure = Figure(what=what, unit=unit, values={OURS: ours, **known}, **goal)
        self.figures.append(figure)
        if self.is_json:
            print(json.dumps(asdict(figure)), flush=True)
        else:
            print(f"{what} …", file=sys.stderr, flush=True)

    def pick(self, full: int, quick: int) -> int:
        """Return how often, or how long, to measure."""
        return quick if self.is_quick else full


def run_section(
    measure: Callable[[Section], None], about: str | None, *, history: bool
) -> int:
    """Run a section as a program; return its exit code; see `exit_with`."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--quick", action="store_true", help="measure less, to try")
    parser.add_argument("--json", action="store_true", help="a line for each figure")
    options = parser.parse_args()
    section = Section(options.quick, options.json)
    compile_package()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        # Not into the user's own history, nor faster or slower for what is in that.
        os.environ[VARIABLE] = str(make_history(folder)) if history else "off"
        measure(section)
    if not options.json:
        print(
            "\n".join(
                [*make_table(section.figures), "", *make_summary(section.figures)]
            )
        )
    return int(any(figure.is_met is False for figure in section.figures))


def make_history(folder: str | Path) -> Path:
    """Return where a history of its own is written."""
    return Path(folder) / "history.sqlite"


def compile_package() -> None:
    """Write the package's bytecode: who installs it has that from the beginning.

    Where the environment forbids Python to write any, each program that is measured
    would compile us anew, a third of a second for a first task.
    """
    spec = find_spec("ipycron")
    assert spec is not None
    for folder in spec.submodule_search_locations or ():
        compileall.compile_dir(folder, quiet=1)


def exit_with(
    measure: Callable[[Section], None], about: str | None, *, history: bool = False
) -> None:
    """Leave with the exit code of a section.

    Args:
        measure: measures, and adds the figures.
        about: what the program's help says.
        history: whether the runs are written into a history, as by default. Not beside
            peers: they write nothing down.
    """
    sys.exit(run_section(measure, about, history=history))
