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
from pathlib import Path

from figures import Figure
from peers import VERSION, find_node_cron, read_node_version
from table import LIBRARIES, MISSING, find_version, make_summary, make_table

SECTIONS = (
    "processes.py",
    "fires.py",
    "inline.py",
    "notebook.py",
    "large.py",
    "lasting.py",
    "growth.py",
    "history.py",
    "kept.py",
    "cron.py",
)
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
        *make_summary(figures),
        "",
        f"{(time.monotonic() - begin) / 60:.1f} minutes.",
    ]
    print("\n".join(lines))
    if not options.quick and not options.sections:
        _RESULTS.write_text("# Results\n\n" + "\n".join(lines) + "\n")
    return int(not is_sound or any(figure.is_met is False for figure in figures))


def run(section: str, *, is_quick: bool) -> tuple[bool, list[Figure]]:
    """Run a section; return whether it came to its end, and its figures."""
    command = [sys.executable, str(_HERE / section), "--json"]
    command += ["--quick"] * is_quick
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


if __name__ == "__main__":
    sys.exit(main())
