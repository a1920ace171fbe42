"""Everything in one go: `make bench`, or ``python benchmarks/bench.py --quick``.

Runs every section in a process of its own, prints one table with the peers measured
in the same run, writes it to ``benchmarks/results.md`` with the machine's description,
and exits 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from figures import OURS, Figure
from peers import NODE_CRON, VERSION, find_node_cron, read_node_version

SECTIONS = (
    "processes.py",
    "fires.py",
    "inline.py",
    "notebook.py",
    "large.py",
    "lasting.py",
    "cron.py",
)
LIBRARIES = ("APScheduler", "schedule", "croniter", "cronsim")
COLUMNS = (NODE_CRON, *LIBRARIES)
MISSING = "not installed"
_HERE = Path(__file__).parent
_RESULTS = _HERE / "results.md"


def main() -> int:
    """Measure, print, write; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="measure less, to try")
    parser.add_argument(
        "sections", nargs="*", help=f"some of {', '.join(SECTIONS)}; by default all"
    )
    options = parser.parse_args()
    begin = time.monotonic()
    busy = os.getloadavg()[0]
    is_sound, figures = True, []
    for section in options.sections or SECTIONS:
        print(f"{section} …", file=sys.stderr, flush=True)
        is_done, found = run(section, is_quick=options.quick)
        is_sound &= is_done
        figures += found
    lines = [
        *describe_machine(busy),
        "",
        *make_table(figures),
        "",
        *make_summary(figures, time.monotonic() - begin),
    ]
    print("\n".join(lines))
    if not options.quick and not options.sections:
        _RESULTS.write_text("# Results\n\n" + "\n".join(lines) + "\n")
    return int(not is_sound or any(figure.is_met is False for figure in figures))


def run(section: str, *, is_quick: bool) -> tuple[bool, list[Figure]]:
    """Run a section; return whether it came to its end, and its figures."""
    command = [sys.executable, str(_HERE / section), *(["--quick"] * is_quick)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    figures = [Figure(**json.loads(line)) for line in done.stdout.splitlines()]
    is_missed = any(figure.is_met is False for figure in figures)
    is_done = done.returncode == int(is_missed)
    if not is_done:
        print(f"{section} broke off: exit code {done.returncode}", file=sys.stderr)
    return is_done, figures


def describe_machine(busy: float) -> list[str]:
    """Return what the figures depend on: no name of a host, no path."""
    cores = len(os.sched_getaffinity(0))
    peers = ", ".join(f"{name} {find_version(name)}" for name in LIBRARIES)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    system = f"{platform.system()} {platform.release()}"
    python = f"Python {platform.python_version()}"
    node_cron = VERSION if find_node_cron() else MISSING
    node = f"node-cron {node_cron} (Node {read_node_version()})"
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    machine = f"{read_processor()}, {cores} cores, {memory:.0f} GB, {system}, {python}"
    return [
        f"{day}, {machine}; load at the beginning {busy:.1f}.",
        "",
        f"Peers: {node}, {peers}.",
    ]


def read_processor() -> str:
    """Return the processor's model."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def find_version(name: str) -> str:
    """Return the version of a library, or that it is missing."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return MISSING


def make_table(figures: list[Figure]) -> list[str]:
    """Return the table in Markdown, its columns aligned for a terminal."""
    others = sorted({n for f in figures for n in f.values} - {OURS, *COLUMNS})
    heads = ["work", OURS, "goal", "", *map(name_column, COLUMNS), "others"]
    rows = [[*make_row(figure), make_others(figure, others)] for figure in figures]
    widths = [max(len(row[at]) for row in [heads, *rows]) for at in range(len(heads))]
    rule = ["-" * width for width in widths]
    return [
        "| " + " | ".join(map(str.ljust, row, widths)) + " |"
        for row in [heads, rule, *rows]
    ]


def name_column(name: str) -> str:
    """Return the head of a peer's column, which says where there is no peer."""
    version = VERSION if name == NODE_CRON and find_node_cron() else None
    if name != NODE_CRON:
        version = find_version(name)
    is_missing = version in (None, MISSING)
    return f"{name} ({MISSING})" if is_missing else name


def make_row(figure: Figure) -> list[str]:
    """Return the cells of one figure, but the last."""
    verdict = {None: "", True: "met", False: "**missed**"}[figure.is_met]
    ours = f"{format_value(figure.values[OURS])} {figure.unit}".strip()
    peers = [make_cell(figure, name) for name in COLUMNS]
    return [figure.what, ours, describe_goal(figure), verdict, *peers]


def describe_goal(figure: Figure) -> str:
    """Return the goal in words."""
    words = []
    if figure.most is not None:
        words.append(f"≤ {format_value(figure.most)}")
    if figure.share is not None:
        part = "" if figure.share == 1 else describe_share(figure.share) + " of "
        words.append(f"≤ {part}{figure.peer}")
    return ", ".join(words)


def describe_share(share: float) -> str:
    """Return a share as people say it."""
    return f"1/{1 / share:.0f}" if share < 1 else f"{share:g} times"


def make_cell(figure: Figure, name: str) -> str:
    """Return a peer's value and how many times ours it is."""
    if name not in figure.values:
        return ""
    value = format_value(figure.values[name])
    if not figure.values[OURS]:
        return value
    return f"{value} ({format_value(figure.get_ratio(name))}×)"


def make_others(figure: Figure, names: list[str]) -> str:
    """Return the cell of the peers that have no column of their own."""
    cells = [f"{n}: {make_cell(figure, n)}" for n in names if n in figure.values]
    return ", ".join(cells)


def format_value(value: float) -> str:
    """Return three digits that count."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def make_summary(figures: list[Figure], seconds: float) -> list[str]:
    """Return what was missed, in a list."""
    judged = [figure for figure in figures if figure.is_met is not None]
    missed = [figure for figure in judged if not figure.is_met]
    met = len(judged) - len(missed)
    lines = [f"{met} of {len(judged)} goals met; {seconds / 60:.1f} minutes."]
    if missed:
        lines += ["", "Missed:", ""]
    for figure in missed:
        bound = format_value(min(figure.bounds))
        ours = format_value(figure.values[OURS])
        lines.append(f"- {figure.what}: {ours} of {bound} {figure.unit}".rstrip())
    return lines


if __name__ == "__main__":
    sys.exit(main())
