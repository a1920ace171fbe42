"""How late background tasks fire, while the client idles and while it holds the GIL.

    python benchmarks/fires.py

From the slot to the first line of the job. Exits 1 where a goal is missed.
"""

from __future__ import annotations

import logging
import math
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from apscheduler.schedulers.background import BackgroundScheduler
from figures import get_quantile, measure_lag
from peers import NODE_CRON, ask_node_cron
from section import Section, exit_with, make_history

from ipycron.api.functions import schedule, shutdown
from ipycron.api.history import set_history

if TYPE_CHECKING:
    from collections.abc import Callable

APSCHEDULER = "APScheduler"
COUNTS = (1, 20, 100)
TASK = """
import time
def task(ctx):
    return time.time() - ctx.date.timestamp()
"""
SHARES = (0.5, 0.99)
ROUNDS = 2
"""Turns of measuring with and without the history."""


def main(section: Section) -> None:
    """Measure and print."""
    seconds = section.pick(10, 4)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "job.py"
        path.write_text(TASK)
        lag = measure_lag(seconds) * 1e3
        section.add("every clock shows a new second, after it, p50", "ms", lag)
        for count in COUNTS:
            measure_fires(section, path, count, seconds, lag)
        measure_history(section, path, seconds)
    shutdown()


def measure_fires(
    section: Section, path: Path, count: int, seconds: int, lag: float
) -> None:
    """Measure one number of tasks: idle, beside node-cron's, then busy.

    Ours wait until every clock shows their slot, `lag` ms after it; node-cron's do not.
    """
    idle = collect_lateness(path, count, partial(time.sleep, seconds))
    answer = ask_node_cron("fires", count, seconds)
    theirs = None if answer is None else answer["late"]
    goals = {
        (1, 0.5): {"most": lag + 0.5},
        (100, 0.5): {"peer": NODE_CRON, "share": 1 / 5, "wait": lag},
        (100, 0.99): {"peer": NODE_CRON, "share": 1 / 5, "wait": lag},
    }
    for share in SHARES:
        section.add(
            f"lateness of a fire, {name_tasks(count)}, p{share * 100:g}",
            "ms",
            get_quantile(idle, share) * 1e3,
            peers={NODE_CRON: theirs and get_quantile(theirs, share) * 1e3},
            **goals.get((count, share), {}),
        )
    busy = collect_lateness(path, count, partial(hold_the_interpreter, seconds))
    peer = collect_peer_lateness(count, partial(hold_the_interpreter, seconds))
    add_busy(section, count, seconds, idle=idle, busy=busy, peer=peer)


def measure_history(section: Section, path: Path, seconds: int) -> None:
    """Measure what recording the runs costs a fire, with and without by turns (H9)."""
    set_history(make_history(path.parent))
    late: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(ROUNDS):
        for is_recorded in (True, False):
            late[is_recorded] += collect_lateness(
                path, COUNTS[-1], partial(time.sleep, seconds), history=is_recorded
            )
    for share in SHARES:
        ratio = get_quantile(late[True], share) / get_quantile(late[False], share)
        section.add(
            f"lateness of a fire, {name_tasks(COUNTS[-1])}, p{share * 100:g}, recorded "
            "in the history against not",
            "×",
            ratio,
            **({"most": 1.1} if share == SHARES[0] else {}),
        )


def add_busy(
    section: Section,
    count: int,
    seconds: int,
    *,
    idle: list[float],
    busy: list[float],
    peer: list[float],
) -> None:
    """Print what holding the GIL changes: nothing, it should be."""
    work = f"the same while the client holds the GIL, {name_tasks(count)}"
    for share in SHARES:
        section.add(
            f"{work}, p{share * 100:g}",
            "ms",
            get_quantile(busy, share) * 1e3,
            peers={APSCHEDULER: get_quantile(peer, share) * 1e3},
        )
    ratio = get_quantile(busy, 0.5) / get_quantile(idle, 0.5)
    section.add(f"{work}, p50 against idle", "×", ratio, most=1.5)
    due = count * seconds
    lost = {APSCHEDULER: max(0.0, due - len(peer))}
    section.add(f"{work}, fires lost", "", max(0, due - len(busy)), peers=lost, most=0)


def name_tasks(count: int) -> str:
    """Return the number of tasks in words."""
    return f"{count} task{'s' if count > 1 else ''}"


def sleep_past_slot() -> None:
    """Return in the middle of a second, so that its parts hold equal fires."""
    time.sleep(math.floor(time.time()) + 1.5 - time.time())


def collect_lateness(
    path: Path, count: int, pass_time: Callable[[], None], *, history: bool = True
) -> list[float]:
    """Return the lateness in seconds of every fire while time passes."""
    tasks = [schedule("* * * * * *", path, history=history) for _ in range(count)]
    for task in tasks:
        task.start().result(60)
    late: list[float] = []
    sleep_past_slot()
    for task in tasks:
        task.on("execution:finished", lambda c: late.append(c.execution.result))
    pass_time()
    time.sleep(0.3)  # the listeners of the last second
    for task in tasks:
        task.off("execution:finished")
    for end in [task.destroy() for task in tasks]:
        end.result(60)
    return late


def collect_peer_lateness(count: int, pass_time: Callable[[], None]) -> list[float]:
    """Return the same of as many jobs in an APScheduler of this process."""
    logging.getLogger("apscheduler").setLevel(logging.CRITICAL)
    scheduler = BackgroundScheduler()
    late: list[float] = []

    def job() -> None:
        now = time.time()
        late.append(now - math.floor(now))

    for _ in range(count):
        scheduler.add_job(job, "cron", second="*")
    sleep_past_slot()
    scheduler.start()
    pass_time()
    scheduler.shutdown(wait=False)
    return late


def hold_the_interpreter(seconds: float) -> None:
    """Keep the GIL in C code, a second and more at a time, as a busy cell does."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(60_000_000))


if __name__ == "__main__":
    exit_with(main, __doc__)
