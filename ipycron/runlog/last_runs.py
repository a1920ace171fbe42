"""What a process that takes tasks over must know of the runs before it: the service.

No output and no traceback is read: a thousand tasks are a quarter of a second.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from ipycron.runlog.reading import ask, clean_instant
from ipycron.runlog.rows import ENDED, RunOutcome
from ipycron.runlog.store import VANISHED, to_text
from ipycron.scheduling.events import ScheduledExecution

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping
    from pathlib import Path

MAX_SUMMARY = 300
"""Characters of a result or an error, as while the run was remembered."""
_MOST = 2**53
_RETURNED = (RunOutcome.FINISHED, RunOutcome.CANCELLED)


def _list(outcomes: frozenset[RunOutcome]) -> str:
    return ", ".join(f"'{outcome}'" for outcome in sorted(outcomes))


_OF_NAME = "FROM runs WHERE run IS NULL AND name = :name"
_OF_TASK = (
    "AND task IN (SELECT key FROM tasks WHERE name = :name AND task_id = :task_id)"
)
_HAS_OTHERS = "SELECT 1 FROM tasks WHERE name = :name AND task_id != :task_id LIMIT 1"
_HAS_BEGUN = "AND NOT (started_at IS NULL AND outcome IN ('lost', 'stopped'))"
"""A run that was still waiting when it was dropped is none of those remembered."""
_SELECT_LAST = (
    "SELECT id, trigger, coalesce(slot, at), started_at, finished_at, pid, "
    "coalesce(attempts, attempt), outcome, error_type, substr(error, 1, :most), "
    "substr(summary, 1, :most)"
)
_LATEST = "ORDER BY at DESC, id DESC LIMIT :limit"
_SELECT_COUNT = "SELECT outcome, TOTAL(max(1, coalesce(missed_count, 1)))"
_INDIVIDUAL = frozenset(
    {
        RunOutcome.MISSED,
        RunOutcome.PAUSED,
        RunOutcome.EXCLUDED,
        RunOutcome.LOST,
        RunOutcome.STOPPED,
    }
)
"""Outcomes of rows that may count as none, or as many: each is looked at."""


class LastRun(NamedTuple):
    """A run that is over.

    Attributes:
        execution: the run.
        outcome: how it ended.
        summary: its result or its error, in one line.
        remark: why no further attempt followed a failed one; mostly empty.
    """

    execution: ScheduledExecution
    outcome: RunOutcome
    summary: str
    remark: str

    @property
    def is_ok(self) -> bool:
        """Whether its job returned, or cancelled it."""
        return self.outcome in _RETURNED


class LastRuns(NamedTuple):
    """The last runs of a task, oldest first, and how many rows have each outcome.

    A row that stands for many slots counts as many.
    """

    runs: tuple[LastRun, ...]
    counts: dict[RunOutcome, int]


def read_last_runs(
    path: Path, names: Mapping[str, str], limit: int, *, patience: float
) -> dict[str, LastRuns]:
    """Return the last runs of tasks, by their ids.

    Runs of another task of the same name are left out: one of another notebook, one
    that is not kept, or the one that this task has replaced.

    Args:
        path: the file; there need not be one.
        names: the names of the tasks by their ids.
        limit: how many runs of each.
        patience: seconds after which no further task is read.

    Returns:
        Those of the tasks that were read in time, even if they have no runs.

    Raises:
        HistoryError: if the file cannot be read.
    """
    deadline = time.monotonic() + patience
    read = partial(_read_all, names=names, limit=limit, deadline=deadline)
    found = ask(path, read, is_flushed=False)
    return dict.fromkeys(names, LastRuns((), {})) if found is None else found


def _read_all(
    connection: sqlite3.Connection,
    names: Mapping[str, str],
    limit: int,
    deadline: float,
) -> dict[str, LastRuns]:
    found: dict[str, LastRuns] = {}
    connection.execute("BEGIN")  # a snapshot: opened once, not for each statement
    for task_id, name in names.items():
        if time.monotonic() > deadline:
            break
        found[task_id] = _read(connection, task_id, to_text(name), limit)
    return found


def _read(
    connection: sqlite3.Connection, task_id: str, name: str, limit: int
) -> LastRuns:
    values = {
        "name": name,
        "task_id": to_text(task_id),
        "most": MAX_SUMMARY,
        "limit": limit,
    }
    # The index alone says which outcomes a name has, but not of which task.
    is_shared = connection.execute(_HAS_OTHERS, values).fetchone() is not None
    rows = f"{_OF_NAME} {_OF_TASK if is_shared else ''}"
    counts = _count(connection, rows, values)
    if not counts:
        return LastRuns((), {})
    last = connection.execute(
        f"{_SELECT_LAST} {rows} AND outcome IN ({_list(ENDED)}) {_HAS_BEGUN} {_LATEST}",
        values,
    )
    runs = [run for row in last if (run := _make_run(row)) is not None]
    return LastRuns(tuple(reversed(runs)), counts)


def _count(
    connection: sqlite3.Connection, rows: str, values: Mapping[str, Any]
) -> dict[RunOutcome, int]:
    """Return how many rows have each outcome; a thousand of them are 0.1 ms."""
    text = f"SELECT outcome, COUNT(*) {rows} GROUP BY outcome"
    counts = dict(connection.execute(text, values))
    if not _INDIVIDUAL.isdisjoint(counts):
        text = f"{_SELECT_COUNT} {rows} AND outcome IN ({_list(_INDIVIDUAL)})"
        text = f"{text} {_HAS_BEGUN} GROUP BY outcome"
        counts |= dict.fromkeys(_INDIVIDUAL, 0)
        counts |= dict(connection.execute(text, values))
    return {
        RunOutcome(outcome): int(min(count, _MOST))
        for outcome, count in counts.items()
        if count and outcome in _KNOWN
    }


_KNOWN = frozenset(map(str, RunOutcome))


def _make_run(row: tuple[Any, ...]) -> LastRun | None:
    """Return a row's run; None if it is none of ours: any file may be opened."""
    (
        run_id, trigger, date, started_at, finished_at, pid, attempt,
        word, error_type, error, summary,
    ) = row  # fmt: skip
    values = {
        "id": run_id,
        "reason": trigger,
        "date": clean_instant(date),
        "started_at": clean_instant(started_at),
        "finished_at": clean_instant(finished_at),
        "pid": pid,
        "attempt": attempt,
    }
    try:
        execution = msgspec.convert(values, ScheduledExecution)
    except msgspec.ValidationError:
        return None
    outcome, result = RunOutcome(word), _show(summary)
    if outcome in _RETURNED:
        return LastRun(execution, outcome, result, "")
    if outcome is RunOutcome.LOST and not error_type:
        error_type, error = "SupervisorLost", error or VANISHED
    text = ": ".join(_show(part) for part in (error_type, error) if part)
    return LastRun(execution, outcome, text[:MAX_SUMMARY], result)


def _show(value: Any) -> str:
    return value if isinstance(value, str) else ""
