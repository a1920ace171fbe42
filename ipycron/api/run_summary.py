"""The figures of each task in a list of runs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import msgspec

from ipycron.api.frame import make_frame
from ipycron.api.frozen_list import FrozenList
from ipycron.api.text_table import (
    PAGE,
    find_room,
    flatten,
    format_took,
    write_text_table,
)
from ipycron.runlog.rows import ENDED, FAILURES, RunOutcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from pandas import DataFrame

    from ipycron.runlog.records import RunRecord

_FIELDS = (
    "task_name",
    "runs",
    "failures",
    "success_rate",
    "p50",
    "p95",
    "missed",
    "last_success",
)
HEADS = ("task", "runs", "failed", "success", "p50", "p95", "missed", "last success")


class TaskSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one task, of the runs that were asked for.

    Attributes:
        task_name: the task's name.
        runs: how many began and are over.
        failures: how many of them did not succeed, though nobody ended them.
        success_rate: of those that finished or failed, the share that finished, 0 to 1;
            None if there are none. A run that was stopped counts as neither.
        p50: the median duration of those that finished, seconds; None without any.
        p95: the duration that 95 % of them did not exceed, seconds.
        missed: how many slots were missed.
        last_success: when the last one finished; None without any.
    """

    task_name: str
    runs: int
    failures: int
    success_rate: float | None
    p50: float | None
    p95: float | None
    missed: int
    last_success: datetime | None


class HistorySummary(FrozenList[TaskSummary]):
    """The figures of several tasks, by name. Immutable, like a tuple."""

    __slots__ = ()

    def to_pandas(self) -> DataFrame:
        """Return a data frame with a row for each task.

        Raises:
            ImportError: if pandas is not installed.
        """
        return make_frame(
            {name: [getattr(task, name) for task in self] for name in _FIELDS},
            instants=("last_success",),
            whole=("runs", "failures", "missed"),
            numbers=("success_rate", "p50", "p95"),
        )

    def __repr__(self) -> str:
        if not self._items:
            return "<HistorySummary: no tasks>"
        rows = (HEADS, *make_rows(self))
        return write_text_table(rows, room=find_room() or PAGE)

    def _repr_html_(self) -> str:
        """Return a table for notebooks."""
        # By name: a display is of a higher layer, and only a notebook asks for it.
        display = import_module("ipycron.notebook.display.runs")
        html: str = display.write_summary_html(self)
        return html


def make_rows(tasks: Iterable[TaskSummary]) -> list[tuple[str, ...]]:
    """Return the texts of a table's rows, below `HEADS`; safe to print."""
    return [
        (
            flatten(task.task_name),
            f"{task.runs:,}",
            f"{task.failures:,}",
            "" if task.success_rate is None else f"{_floor(task.success_rate)} %",
            "" if task.p50 is None else format_took(task.p50),
            "" if task.p95 is None else format_took(task.p95),
            f"{task.missed:,}",
            "" if task.last_success is None else f"{task.last_success:%F %T}",
        )
        for task in tasks
    ]


def _floor(rate: float) -> str:
    """Return a rate in per cent, rounded down: 100 only if nothing has failed."""
    return f"{int(rate * 1000 + 1e-9) / 10:g}"


def summarize(records: Iterable[RunRecord]) -> HistorySummary:
    """Return the figures of each task, in alphabetical order."""
    by_name: dict[str, list[RunRecord]] = {}
    for record in records:
        by_name.setdefault(record.task_name, []).append(record)
    return HistorySummary(_summarize(by_name[name]) for name in sorted(by_name))


def _summarize(records: list[RunRecord]) -> TaskSummary:
    finished = [r for r in records if r.outcome == RunOutcome.FINISHED]
    failures = sum(record.outcome in FAILURES for record in records)
    decided = len(finished) + failures
    took = sorted(r.duration for r in finished if r.duration is not None)
    ends = [record.finished_at for record in finished if record.finished_at is not None]
    return TaskSummary(
        task_name=records[0].task_name,
        runs=sum(record.outcome in ENDED for record in records),
        failures=failures,
        success_rate=len(finished) / decided if decided else None,
        p50=find_quantile(took, 0.5),
        p95=find_quantile(took, 0.95),
        missed=sum(
            record.missed_count or 1
            for record in records
            if record.outcome == RunOutcome.MISSED
        ),
        last_success=max(ends, default=None),
    )


def find_quantile(ordered: Sequence[float], share: float) -> float | None:
    """Return the value that a share of the values does not exceed; None of none.

    Between two values it is interpolated, as NumPy and pandas do it.

    Args:
        ordered: the values, in ascending order.
        share: 0 to 1.

    Examples:
        >>> find_quantile([1.0, 2.0, 3.0, 4.0], 0.5), find_quantile([], 0.5)
        (2.5, None)
    """
    if not ordered:
        return None
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)
