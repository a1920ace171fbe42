"""Tables of tasks and of an expression in a notebook: as text and as HTML."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from ipycron.api.text_table import find_room, flatten, write_text_table
from ipycron.notebook.display.words import describe_row, format_instants, get_now

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ipycron.api.pools import PoolState
    from ipycron.api.task import Task
    from ipycron.cron.trigger import Trigger

_HEADS = ("name", "status", "schedule", "next run", "last run", "past runs")
_POOL_HEADS = ("pool", "limit", "running", "queued", "tasks")
TEXT_STYLE = (
    "text-align:left;max-width:40em;overflow-wrap:break-word;white-space:pre-wrap"
)
"""Style of a cell in an HTML table: a long word does not widen the page, and the two
blanks between an expression and its words stay two."""
PLAIN = 'class="mathjax_ignore tex2jax_ignore"'
"""Attribute of an element whose texts are no formulas, though they may have dollars:
MathJax 3 and 2 leave it alone."""


class TaskTable:
    """A table of tasks as they are when the table is shown.

    Args:
        tasks: which.
        marks: by task id, a note to show beside the status.
    """

    def __init__(
        self, tasks: Iterable[Task], marks: Mapping[str, str] | None = None
    ) -> None:
        self._tasks = tuple(tasks)
        self._marks = marks or {}

    def _get_rows(self) -> list[tuple[str, ...]]:
        now = get_now()
        newest = {task.name: task for task in self._tasks}
        rows = [
            describe_row(task, now, is_replaced=newest[task.name] is not task)
            for task in self._tasks
        ]
        states = [
            row.status if row.status == "ending" else f"{row.status}{self._mark(task)}"
            for row, task in zip(rows, self._tasks, strict=True)
        ]
        return [
            (r.name, state, r.schedule, r.next_run, r.last_run, r.history)
            for r, state in zip(rows, states, strict=True)
        ]

    def _mark(self, task: Task) -> str:
        mark = self._marks.get(task.id)
        kept = ", kept" if task.is_kept else ""
        return f"{kept} ({mark})" if mark else kept

    def __repr__(self) -> str:
        return write_text_table((_HEADS, *self._get_rows()), room=find_room())

    def _repr_html_(self) -> str:
        rows = [
            (*before, _join_units(next_run), last_run, kept)
            for *before, next_run, last_run, kept in self._get_rows()
        ]
        return write_html_table(_HEADS, rows)


def _join_units(next_run: str) -> str:
    """Have "in 17 min 56 s" stay on one line."""
    at, comma, left = next_run.partition(", ")
    return at + comma + left.replace(" ", "\N{NO-BREAK SPACE}")


class PoolTable:
    """A table of pools, by name; None is that of the tasks without one."""

    def __init__(self, pools: Mapping[str | None, PoolState]) -> None:
        self._rows = [
            (
                "(tasks without one)" if name is None else flatten(name),
                "none" if pool.limit is None else str(pool.limit),
                str(pool.running),
                str(pool.queued),
                flatten(", ".join(pool.tasks)),
            )
            for name, pool in pools.items()
        ]

    def __repr__(self) -> str:
        return write_text_table((_POOL_HEADS, *self._rows), room=find_room())

    def _repr_html_(self) -> str:
        return write_html_table(_POOL_HEADS, self._rows)


class ExpressionView:
    """An expression: its words, its fields and its next fires."""

    def __init__(self, expression: Trigger, *, count: int = 5) -> None:
        self._expression = expression
        self._count = count

    def _get_rows(self) -> list[tuple[str, str]]:
        now = get_now()
        expression = self._expression
        fires = expression.upcoming(self._count, now)
        return [
            ("expression", expression.text),
            ("means", expression.describe()),
            ("zone", str(expression.timezone)),
            ("next", format_instants(fires, now) or "never"),
            *(("warning", text) for text in expression.warnings),
        ]

    def __repr__(self) -> str:
        return "\n".join(f"{head:10}  {text}" for head, text in self._get_rows())

    def _repr_html_(self) -> str:
        return write_html_table((), self._get_rows())


def write_html_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; every text is escaped."""
    head = "".join(f"<th style='text-align:left'>{escape(h)}</th>" for h in heads)
    body = "".join(
        "<tr>"
        + "".join(f"<td style='{TEXT_STYLE}'>{escape(cell)}</td>" for cell in row)
        + "</tr>"
        for row in rows
    )
    thead = f"<thead><tr>{head}</tr></thead>" if heads else ""
    return f"<table {PLAIN}>{thead}<tbody>{body}</tbody></table>"
