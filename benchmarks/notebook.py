"""In the notebook: what loading, declaring and watching cost its main thread.

    python benchmarks/notebook.py

A shell in a process of its own, and real kernels. Exits 1 where a goal is missed.
"""

from __future__ import annotations

import contextlib
import io
import json
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from figures import get_quantile
from jupyter_client.manager import start_new_kernel
from section import Section, exit_with

if TYPE_CHECKING:
    from collections.abc import Callable

    from jupyter_client.blocking.client import BlockingKernelClient

ROUND_TRIPS = 400
PANEL = """
import ipycron, pathlib, tempfile
file = pathlib.Path(tempfile.mkdtemp()) / "job.py"
file.write_text("def task():\\n    print('tick')\\n    return 1\\n")
for number in range(20):
    ipycron.schedule("* * * * * *", str(file), name=f"job-{number}")
ipycron.panel()
"""


def main(section: Section) -> None:
    """Measure and print."""
    rounds = [run_shell() for _ in range(section.pick(5, 2))]
    for what, most in (
        ("`%load_ext ipycron`", 50),
        ("first task after `%load_ext`, warm", 30),
        ("`%%cron` cell that captures 1 KB, main thread", 10),
        ("`%%cron` cell that captures a 100 MB array, main thread", 150),
    ):
        seconds = statistics.median(figures[what] for figures in rounds)
        section.add(what, "ms", seconds * 1e3, most=most)
    measure_round_trips(section, section.pick(5, 1))


def run_shell() -> dict[str, float]:
    """Measure in a fresh process with a shell."""
    output = subprocess.check_output([sys.executable, __file__, "--shell"], text=True)
    figures: dict[str, float] = json.loads(output.splitlines()[-1])
    return figures


def measure_shell() -> dict[str, float]:
    """Load the extension and declare cells; return seconds by what was done."""
    from IPython.core.interactiveshell import (  # noqa: PLC0415 - of that process only
        InteractiveShell,
    )

    shell = InteractiveShell.instance()

    def run(source: str) -> None:
        assert shell.run_cell(source).success

    def declare(line: str, body: str) -> None:
        run(f"%%cron {line}\n{body}")

    def take(call: Callable[[], object]) -> float:
        begin = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            call()
        return time.perf_counter() - begin

    run("1")  # IPython's own first cell
    figures = {}
    load = "%load_ext ipycron"
    figures["`%load_ext ipycron`"] = take(lambda: run(load))
    run("import ipycron")
    time.sleep(5)  # a person types; the supervisor and its zygote are warm by then
    figures["first task after `%load_ext`, warm"] = take(
        lambda: (
            declare("0 0 1 1 * --name first", "1"),
            run("ipycron.get_task('first').start().result(30)"),
        )
    )
    run("import numpy\nsmall = b'x' * 1000")
    run("large = numpy.ones(100_000_000, numpy.uint8)")
    small = [
        take(lambda n=n: declare(f"0 0 1 1 * --name small-{n}", "len(small)"))
        for n in range(10)
    ]
    what = "`%%cron` cell that captures 1 KB, main thread"
    figures[what] = statistics.median(small)
    what = "`%%cron` cell that captures a 100 MB array, main thread"
    figures[what] = take(lambda: declare("0 0 1 1 * --name large", "large.sum()"))
    run("ipycron.get_task('large').start().result(30); ipycron.shutdown()")
    return figures


def measure_round_trips(section: Section, rounds: int) -> None:
    """Measure a cell's way to the kernel and back, with tasks and without, in turns.

    The medians of what each kernel gives: a p99 is four cells of 400, and one hiccup of
    the machine may hit them all.
    """
    pairs = [(time_cells(PANEL), time_cells("1")) for _ in range(rounds)]
    work = "a cell's round trip while 20 tasks run and a panel is open"
    for share in (0.5, 0.99):
        busy, idle = (
            statistics.median(get_quantile(seconds, share) for seconds in kernels)
            for kernels in zip(*pairs, strict=True)
        )
        what = f"{work}, p{share * 100:g}"
        peers = {"without": idle * 1e3}
        goal = {"peer": "without", "share": 1.5} if share == 0.99 else {}
        section.add(what, "ms", busy * 1e3, peers=peers, **goal)


def time_cells(setup: str) -> list[float]:
    """Return the seconds of many small cells in a fresh kernel."""
    manager, client = start_new_kernel(startup_timeout=60)
    try:
        run_cell(client, "import ipycron")
        run_cell(client, setup)
        time.sleep(3)
        seconds = []
        for _ in range(ROUND_TRIPS):
            begin = time.perf_counter()
            run_cell(client, "1 + 1")
            seconds.append(time.perf_counter() - begin)
            time.sleep(0.005)
        run_cell(client, "ipycron.shutdown()")
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=False)
    return seconds


def run_cell(client: BlockingKernelClient, source: str) -> None:
    """Run a cell and wait for its reply and its last message."""
    reply = client.execute_interactive(
        source, timeout=60, output_hook=lambda _: None, store_history=False
    )
    assert reply["content"]["status"] == "ok", reply["content"]


if __name__ == "__main__":
    if sys.argv[1:] == ["--shell"]:
        print(json.dumps(measure_shell()))
        sys.exit()
    exit_with(main, __doc__, history=True)
