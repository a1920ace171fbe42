"""The last 24 hours of all tasks, counted in half hours in the history's file."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ipycron.client.registry import registry
from ipycron.errors import HistoryError
from ipycron.notebook.widgets.filed import OFF, find_file, is_kept
from ipycron.notebook.widgets.past import PastReader, explain_trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ipycron.api.task import Task

STEP = 1800
STEPS = 48
"""Seconds of a step, and how many there are: a task of every second has as many marks
as one of every half hour."""
REFRESH = 5.0
"""Seconds between two looks at the file while runs end."""


class Counted(NamedTuple):
    """What the file has of a day, by the tasks' ids.

    Attributes:
        start: the first instant, Unix seconds.
        steps: by the number of the step, the counts in the order of `glances.KINDS`.
        kept: the instant before which runs are not kept, where there is one.
        note: why there is nothing, in one line; mostly empty.
    """

    start: int
    steps: dict[str, dict[int, list[int]]]
    kept: dict[str, float]
    note: str


class Day:
    """What one panel shows of the last 24 hours. Thread-safe; nothing here blocks.

    Args:
        change: called from another thread when there is something new to send.
    """

    def __init__(self, change: Callable[[], None]) -> None:
        self._change = change
        self._reader = registry.get_single(PastReader)
        self._lock = threading.RLock()
        self._found: Counted | None = None
        self._told: Counted | None = None
        self._is_stale = True
        self._is_reading = False
        self._start = 0
        self._read_at = 0.0

    def begin(self) -> None:
        """Send everything again: another page is there."""
        with self._lock:
            self._told = None
            self._is_stale = True

    def note(self) -> None:
        """Look again soon: something has happened."""
        self._is_stale = True

    def is_due(self, instant: float, now: float) -> bool:
        """Return whether to look at the file.

        Args:
            instant: Unix seconds, by the tasks' clock.
            now: monotonic seconds.
        """
        if self._is_reading:
            return False
        has_moved = find_start(instant) != self._start
        return has_moved or (self._is_stale and now >= self._read_at + REFRESH)

    def ask(self, tasks: Iterable[Task], instant: float, now: float) -> None:
        """Count again, in another thread."""
        self._start, self._read_at = find_start(instant), now
        self._is_stale, self._is_reading = False, True
        names = {task.id: task.name for task in tasks if is_kept(task)}
        question = partial(count_days, names, self._start)
        self._reader.ask((self, "day"), question, self._take)

    def _take(self, found: Counted | HistoryError) -> None:
        if isinstance(found, HistoryError):
            found = Counted(self._start, {}, {}, explain_trouble(found))
        with self._lock:
            self._found = found
            self._is_reading = False
        self._change()

    def take_news(self) -> dict[str, Any] | None:
        """Return what a page does not know; None if it knows all.

        As long as the steps are the same ones, only those are sent that have changed.
        """
        with self._lock:
            found, told = self._found, self._told
            self._told = found
        if found is None or found == told:
            return None
        is_whole = told is None or told.start != found.start
        before = {} if told is None or is_whole else told.steps
        rows = {
            task_id: new
            for task_id, steps in found.steps.items()
            if (new := _find_new(steps, before.get(task_id, {})))
        }
        return {
            "start": found.start,
            "step": STEP,
            "steps": STEPS,
            "whole": is_whole,
            "rows": rows,
            "kept": found.kept,
            "note": found.note,
        }


def _find_new(
    steps: dict[int, list[int]], before: dict[int, list[int]]
) -> list[tuple[int, list[int]]]:
    return [(n, counts) for n, counts in steps.items() if before.get(n) != counts]


def find_start(instant: float) -> int:
    """Return the beginning of the first step: the last one contains the instant."""
    return (int(instant) // STEP + 1 - STEPS) * STEP


def count_days(names: Mapping[str, str], start: int) -> Counted:
    """Return what the file has of tasks, from their names by their ids; may take long.

    Raises:
        HistoryError: if it cannot be read.
    """
    from ipycron.runlog.glances import Steps, read_days  # noqa: PLC0415 - SQLite
    from ipycron.runlog.settings import find_settings  # noqa: PLC0415 - as above

    path = find_file()
    if path is None:
        return Counted(start, {}, {}, OFF)
    keep_runs = (registry.history or find_settings()).keep_runs
    steps = Steps(start, STEP, STEPS)
    days = read_days(path, sorted(set(names.values())), steps, keep_runs=keep_runs)
    found = {key: days[name] for key, name in names.items() if name in days}
    return Counted(
        start,
        {task_id: day.counts for task_id, day in found.items()},
        {
            task_id: day.since
            for task_id, day in found.items()
            if day.since is not None and day.since > start
        },
        "",
    )
