"""What the history costs: the CPU of a row, and the time of a question to a year.

    python benchmarks/history.py

Rows are put as the scheduler does it, a first one when a run begins and one when it
ends, by a hundred tasks at each second and by one run after another. Measured is the
CPU of the thread that writes; the best of several seconds counts.

The file that is asked has a year of one-a-minute runs, with another task's in between.
Each question opens it anew, as `history()` does, and makes the records; the best of
several counts, as the others measure how busy the machine is. Exits 1 where a goal is
missed.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from figures import measure_calls
from msgspec.structs import replace
from section import Section, exit_with

import ipycron
from ipycron.runlog.rows import RunOutcome, RunRow, TaskRow
from ipycron.runlog.settings import VARIABLE, make_settings
from ipycron.runlog.store import Store
from ipycron.runlog.writer import HistoryWriter

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
NAMES = ("minutely", "other")
BATCH = 5000
MOST = 20.0
"""Milliseconds for a day of one task, behaviour H9."""


MOST_CPU = 60.0
"""Microseconds of CPU for a row, behaviour H9."""
RUNS = 100
"""Runs in a second."""


def measure_writing(section: Section) -> None:
    """Measure the CPU time of the thread that writes."""
    for what, pause, goal in (
        ("a hundred at once", 0.0, MOST_CPU),
        ("one after another", 0.8 / RUNS, None),
    ):
        with tempfile.TemporaryDirectory() as folder:
            settings = make_settings(Path(folder) / "history.sqlite")
            writer = HistoryWriter(settings, warn=print)
            writer.put(make_task(NAMES[0], BEGAN.timestamp()))
            writer.flush(60)
            costs = [
                measure_second(writer, number, pause)
                for number in range(section.pick(10, 3))
            ]
            writer.close(60)
        section.add(
            f"history, CPU of a row, {RUNS} runs a second, {what}",
            "µs",
            min(costs) * 1e6,
            most=goal,
        )


def measure_second(writer: HistoryWriter, number: int, pause: float) -> float:
    """Return the seconds of CPU for each of the runs of one second."""
    clock = time.pthread_getcpuclockid(find_thread("ipycron-history"))
    end = time.monotonic() + 1
    before = time.clock_gettime(clock)
    first = number * RUNS
    for run in range(first, first + RUNS):
        row = make_run(NAMES[0], run, BEGAN.timestamp() + run)
        writer.put(replace(row, outcome=RunOutcome.RUNNING, finished_at=None))
        time.sleep(pause)
        writer.put(row)
    time.sleep(max(0.0, end - time.monotonic()))
    writer.flush(60)
    return (time.clock_gettime(clock) - before) / RUNS


def find_thread(name: str) -> int:
    """Return the ident of a thread of this process."""
    return next(t.ident for t in threading.enumerate() if t.name == name and t.ident)


def fill(path: Path, count: int) -> None:
    """Write so many runs of two tasks, a minute apart, by turns."""
    began = BEGAN.timestamp()
    store = Store(path, now=began)
    store.apply([make_task(name, began) for name in NAMES])
    for first in range(0, count, BATCH):
        last = min(first + BATCH, count)
        store.apply(
            [
                make_run(name, number, began + 60 * number)
                for number in range(first, last)
                for name in NAMES
            ]
        )
    store.end(began)
    store.close()


def make_task(name: str, at: float) -> TaskRow:
    """Return a task."""
    return TaskRow(
        key=name,
        task_id=name,
        name=name,
        origin=None,
        kind="function",
        pattern="* * * * *",
        zone="Europe/Berlin",
        schedule="* * * * * Europe/Berlin",
        code_hash=None,
        declared_at=at,
    )


def make_run(task: str, number: int, at: float) -> RunRow:
    """Return a run that has printed ten lines; one in five hundred fails."""
    return RunRow(
        id=f"{task:>8.8}{number:024x}",
        task=task,
        slot=at,
        trigger="scheduled",
        at=at,
        outcome=RunOutcome.FINISHED if number % 500 else RunOutcome.FAILED,
        started_at=at,
        finished_at=at + 0.4,
        pid=4321,
        cpu_seconds=0.1,
        peak_memory=10_000_000,
        summary="42",
        output="a line of the output\n" * 10,
        output_left_out=0,
    )


def main(section: Section) -> None:
    """Measure rows, then questions to a file that is filled first."""
    measure_writing(section)
    days = section.pick(365, 30)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.sqlite"
        fill(path, days * 1440)
        os.environ[VARIABLE] = str(path)
        middle = BEGAN + days // 2 * DAY
        ask = partial(ipycron.history, NAMES[0], limit=None)
        for what, call, goal in (
            ("a day of a task", partial(ask, since=middle, until=middle + DAY), MOST),
            ("the newest hundred", ipycron.history, None),
            ("failures of a task", partial(ask, outcome="failures"), None),
        ):
            seconds = measure_calls(call, 20)
            section.add(
                f"history, {days} days each minute: {what}",
                "ms",
                seconds[0] * 1e3,
                most=goal,
            )


if __name__ == "__main__":
    exit_with(main, __doc__)
