"""Reads little of many runs, for views: marks, pages of a list, counts of a day.

No output and no traceback is read: a thousand runs are a few milliseconds.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ipycron.runlog.reading import ask, clean_instant
from ipycron.runlog.rows import ENDED, FAILURES, LOST_SLOTS, OPEN, RunOutcome
from ipycron.runlog.store import to_text

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from pathlib import Path

KINDS = ("finished", "failed", "stopped", "missed", "skipped")
"""What an outcome means to who looks at many: each has a shape of its own."""

_COLUMNS = (
    "id, at, slot, trigger, outcome, started_at, finished_at, missed_count, "
    "attempts, error_type, error, summary"
)
_OPEN = ", ".join(f"'{outcome}'" for outcome in sorted(OPEN))
_IN_STEPS = (
    "FROM runs WHERE run IS NULL AND name = ? AND at >= ? AND at < ? "
    f"AND outcome NOT IN ({_OPEN})"
)
_COUNT_ROWS = (
    f"SELECT CAST((at - ?) / ? AS INTEGER), outcome, COUNT(*) {_IN_STEPS} GROUP BY 1, 2"
)
_COUNT_MORE = (
    f"SELECT CAST((at - ?) / ? AS INTEGER), outcome, SUM(missed_count - 1) {_IN_STEPS} "
    "AND outcome IN ('missed', 'paused', 'excluded') GROUP BY 1, 2"
)
"""The slots of rows that stand for many, beside the row itself."""


class Glance(NamedTuple):
    """A run or slot in brief. Instants are Unix seconds.

    Attributes:
        slots: how many a row of slots stands for.
        attempts: how many a run had; 1 without an end.
        summary: the result or the error, as text of any length.
    """

    id: str
    at: float
    slot: float | None
    trigger: str
    outcome: str
    started_at: float | None
    finished_at: float | None
    slots: int
    attempts: int
    summary: str


class Steps(NamedTuple):
    """A time in steps of equal length: from where, how long each is, how many."""

    start: float
    seconds: float
    number: int


class Day(NamedTuple):
    """How often what became of a task's slots and calls, in steps of equal length.

    Attributes:
        counts: by the number of the step from the start, the counts in the order of
            `KINDS`; steps in which nothing happened are left out.
        since: rows before this instant are not kept, Unix seconds; None if all are.
    """

    counts: dict[int, list[int]]
    since: float | None


def find_kind(outcome: str) -> str:
    """Return which of `KINDS` an outcome is.

    Examples:
        >>> [find_kind(outcome) for outcome in ("timed_out", "cancelled", "overlap")]
        ['failed', 'stopped', 'skipped']
    """
    if outcome == RunOutcome.FINISHED:
        return "finished"
    if outcome in FAILURES:
        return "failed"
    if outcome in ENDED:
        return "stopped"
    return "missed" if outcome in LOST_SLOTS else "skipped"


def read_last(path: Path, names: Sequence[str], limit: int) -> dict[str, list[Glance]]:
    """Return the last runs and slots of each name that are over, the newest first.

    Raises:
        HistoryError: if the file cannot be read.
    """
    question = partial(_read_last, names=names, limit=limit)
    return ask(path, question, is_flushed=False) or {}


def read_page(
    path: Path, name: str, before: tuple[float, str] | None, limit: int
) -> list[Glance]:
    """Return the runs and slots of a name that are over, the newest first.

    Args:
        path: the file.
        name: the task's.
        before: `at` and `id` of the last one of the page before; None for the first.
        limit: how many at most.

    Raises:
        HistoryError: if the file cannot be read.
    """
    question = partial(_read_page, name=name, before=before, limit=limit)
    return ask(path, question) or []


def read_days(
    path: Path, names: Sequence[str], steps: Steps, *, keep_runs: int
) -> dict[str, Day]:
    """Return the counts of each name that has any; they are counted in the file.

    Args:
        path: the file.
        names: of the tasks.
        steps: of the time to look at.
        keep_runs: how many rows of a name are kept.

    Raises:
        HistoryError: if the file cannot be read.
    """
    question = partial(_read_days, names=names, steps=steps, keep=keep_runs)
    return ask(path, question) or {}


def _read_last(
    connection: sqlite3.Connection, names: Sequence[str], limit: int
) -> dict[str, list[Glance]]:
    found = {name: _read_page(connection, name, None, limit) for name in names}
    return {name: glances for name, glances in found.items() if glances}


def _read_page(
    connection: sqlite3.Connection,
    name: str,
    before: tuple[float, str] | None,
    limit: int,
) -> list[Glance]:
    border = "" if before is None else "AND at <= ? AND (at, id) < (?, ?) "
    values = () if before is None else (before[0], *before)
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM runs WHERE run IS NULL AND name = ? "  # noqa: S608 - ours
        f"AND outcome NOT IN ({_OPEN}) {border}ORDER BY at DESC, id DESC LIMIT ?",
        (to_text(name), *values, limit),
    )
    return [_make_glance(row) for row in rows]


def _make_glance(row: tuple[Any, ...]) -> Glance:
    """Return a row as it is shown: any file may be opened, with anything in it."""
    (
        run_id, at, slot, trigger, outcome, started_at, finished_at, count,
        attempts, error_type, error, summary,
    ) = row  # fmt: skip
    texts = (error_type, error) if error_type or error else (summary,)
    return Glance(
        str(run_id),
        clean_instant(at) or 0.0,
        clean_instant(slot),
        str(trigger),
        str(outcome),
        clean_instant(started_at),
        clean_instant(finished_at),
        count if isinstance(count, int) else 1,
        attempts if isinstance(attempts, int) else 1,
        ": ".join(str(text) for text in texts if text),
    )


def _read_days(
    connection: sqlite3.Connection, names: Sequence[str], steps: Steps, keep: int
) -> dict[str, Day]:
    connection.execute("BEGIN")  # all names at the same instant
    days = {
        name: Day(
            _count(connection, name, steps), _find_oldest_kept(connection, name, keep)
        )
        for name in names
    }
    return {name: day for name, day in days.items() if day.counts}


def _count(
    connection: sqlite3.Connection, name: str, steps: Steps
) -> dict[int, list[int]]:
    counts: dict[int, list[int]] = {}
    values = (
        *(steps.start, steps.seconds, to_text(name)),
        *(steps.start, steps.start + steps.seconds * steps.number),
    )
    for statement in (_COUNT_ROWS, _COUNT_MORE):
        for number, outcome, count in connection.execute(statement, values):
            if isinstance(count, int) and count:
                of_step = counts.setdefault(number, [0] * len(KINDS))
                of_step[KINDS.index(find_kind(str(outcome)))] += count
    return counts


def _find_oldest_kept(
    connection: sqlite3.Connection, name: str, keep: int
) -> float | None:
    """Return the place of the oldest row, if there are as many as are kept."""
    row = connection.execute(
        "SELECT at FROM runs WHERE run IS NULL AND name = ? "
        "ORDER BY at DESC LIMIT 1 OFFSET ?",
        (to_text(name), keep - 1),
    ).fetchone()
    return None if row is None else clean_instant(row[0])
