"""How long a question to the history takes, in a year of one-a-minute runs.

    python benchmarks/history.py

The file also has another task's runs in between. Each question opens it anew, as
`history()` does, and makes the records; the best of several counts, as the others
measure how busy the machine is. Exits 1 where a goal is missed.
"""

from __future__ import annotations

import os
import tempfile
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from figures import measure_calls
from section import Section, exit_with

import ipycron
from ipycron.runlog.rows import RunOutcome, RunRow, TaskRow
from ipycron.runlog.settings import VARIABLE
from ipycron.runlog.store import Store

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
NAMES = ("minutely", "other")
BATCH = 5000
MOST = 20.0
"""Milliseconds for a day of one task, behaviour H9."""


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
    """Measure questions to a file that is filled first."""
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
