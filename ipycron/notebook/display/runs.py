"""Runs of the history on a page: as HTML that needs no script, and one run as text.

Whatever the history's texts contain is escaped.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from ipycron.api import run_list, run_summary
from ipycron.api.run_list import (
    SHOWN,
    find_remark,
    format_at,
    format_outcome,
    format_result,
)
from ipycron.api.text_table import flatten, format_took
from ipycron.notebook.display.ansi import strip_ansi
from ipycron.notebook.display.static import (
    MAX_CHARACTERS,
    settle_lines,
    write_pre,
    write_traceback,
)
from ipycron.notebook.display.tables import PLAIN, TEXT_STYLE, write_html_table
from ipycron.notebook.display.tracebacks import tidy
from ipycron.runlog.rows import FAILURES, LOST_SLOTS, OPEN, RunOutcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipycron.runlog.records import RunRecord

_GREEN, _RED, _AMBER, _BLUE = "#00a250", "#e75c58", "#b27d12", "#208ffb"
"""Readable on white and on black; see `ansi`."""
_WIDEST = 10_000  # characters of a name or an error that a page keeps


def write_runs_html(records: Sequence[RunRecord], head: str) -> str:
    """Return a table of runs, and above it how many there are."""
    title = f'<div style="opacity:.7">{escape(head)}</div>'
    if not records:
        return title
    shown = records[:SHOWN]
    heads = "".join(
        f'<th style="text-align:left">{escape(text)}</th>' for text in run_list.HEADS
    )
    rows = zip(shown, run_list.make_rows(shown), strict=True)
    body = "".join(_write_row(record, cells) for record, cells in rows)
    left = len(records) - len(shown)
    more = f'<div style="opacity:.7">… {left:,} more</div>' if left else ""
    table = (
        f"<table {PLAIN}><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"
    )
    return f"<div>{title}{table}{more}</div>"


def _write_row(record: RunRecord, cells: Sequence[str]) -> str:
    at, name, outcome, *rest = cells
    marked = f"{_write_mark(record)} {escape(outcome)}"
    return "".join(
        (
            "<tr>",
            *(_write_cell(escape(text)) for text in (at, name)),
            _write_cell(marked),
            *(_write_cell(escape(text)) for text in rest),
            "</tr>",
        )
    )


def _write_cell(html: str) -> str:
    return f'<td style="{TEXT_STYLE}">{html}</td>'


def _write_mark(record: RunRecord) -> str:
    """Return an outcome's sign, in its colour: never colour alone."""
    sign, colour = find_mark(record.outcome)
    style = f' style="color:{colour}"' if colour else ' style="opacity:.6"'
    return f'<span aria-hidden="true"{style}>{sign}</span>'


def find_mark(outcome: str) -> tuple[str, str]:
    """Return the sign of an outcome and its colour; an empty one for the text's.

    Examples:
        >>> [find_mark(outcome)[0] for outcome in ("finished", "failed", "missed")]
        ['✓', '✗', '○']
    """
    if outcome == RunOutcome.FINISHED:
        return "✓", _GREEN
    if outcome in FAILURES:
        return "✗", _RED
    if outcome in OPEN:
        return "●", _BLUE
    return ("○", _AMBER) if outcome in LOST_SLOTS else ("–", "")


def write_summary_html(tasks: run_summary.HistorySummary) -> str:
    """Return a table of tasks and their figures."""
    if not tasks:
        return '<div style="opacity:.7">no tasks</div>'
    return write_html_table(run_summary.HEADS, run_summary.make_rows(tasks))


class RunView:
    """A run of the history with its attempts, as `%cron show` displays it."""

    def __init__(self, record: RunRecord, attempts: Sequence[RunRecord] = ()) -> None:
        self._record = record
        self._attempts = attempts

    def __repr__(self) -> str:
        return write_run_text(self._record, self._attempts)

    def _repr_html_(self) -> str:
        return write_run_html(self._record, self._attempts)


def write_run_html(record: RunRecord, attempts: Sequence[RunRecord] = ()) -> str:
    """Return a run: the facts, what it wrote, and the traceback of its error."""
    rows = (
        f'<tr><td colspan="2" style="{TEXT_STYLE}"><b>'
        f"{escape(flatten(record.task_name))}</b>  {_write_mark(record)} "
        f"{escape(format_outcome(record))}</td></tr>"
    )
    rows += "".join(
        f'<tr><td style="text-align:left;white-space:nowrap;opacity:.7">'
        f"{escape(label)}</td>{_write_cell(escape(text))}</tr>"
        for label, text in _describe(record, attempts)
    )
    parts = [f"<table {PLAIN}>{rows}</table>"]
    if record.output:
        parts.append(write_pre(_cut(settle_lines(record.output))))
    if record.traceback:
        parts.append(write_traceback(record.traceback))
    return f"<div>{''.join(parts)}</div>"


def _cut(text: str) -> str:
    """Return the end of a text, as much as a page keeps."""
    return text if len(text) <= MAX_CHARACTERS else f"…{text[-MAX_CHARACTERS:]}"


def write_run_text(record: RunRecord, attempts: Sequence[RunRecord] = ()) -> str:
    """Return the same as text; it has no effect in a terminal but being shown."""
    lines = [f"{flatten(record.task_name)}  {format_outcome(record)}"]
    lines += [f"{label:9} {text}" for label, text in _describe(record, attempts)]
    for text in (settle_lines(record.output or ""), tidy(record.traceback or "")):
        if text:
            plain = strip_ansi(text).rstrip("\n")
            lines += [f"  {line}" for line in plain.split("\n")]
    return "\n".join(lines)


def _describe(
    record: RunRecord, attempts: Sequence[RunRecord]
) -> list[tuple[str, str]]:
    """Return the labels of a run's lines and their texts, without empty ones."""
    took = "" if record.duration is None else f", took {format_took(record.duration)}"
    lines = [
        ("run", record.id),
        ("at", f"{format_at(record, with_zone=True)}{took}"),
        ("slot", _format_slot(record)),
        ("trigger", record.trigger),
        ("schedule", record.pattern),
        ("result", "" if _has_error(record) else format_result(record)),
        ("error", format_result(record) if _has_error(record) else ""),
        ("retry", find_remark(record)),
        ("worker", _format_worker(record)),
        ("used", _format_usage(record)),
        ("declared", "" if record.origin is None else f"{record.kind} {record.origin}"),
        *(_describe_attempt(attempt) for attempt in attempts),
    ]
    return [(label, flatten(text, _WIDEST)) for label, text in lines if text]


def _has_error(record: RunRecord) -> bool:
    return bool(record.error or record.error_type)


def _format_slot(record: RunRecord) -> str:
    """Return the slot where it is not the time above it."""
    slot = record.slot
    if slot is None or f"{slot:%F %T}" == f"{record.at:%F %T}":
        return ""
    return f"{slot:%Y-%m-%d %H:%M:%S}"


def _format_worker(record: RunRecord) -> str:
    parts = [
        "" if record.pid is None else f"process {record.pid}",
        "" if record.host is None else f"on {record.host}",
        "" if record.exit_code is None else f"exit code {record.exit_code}",
        "" if record.signal is None else record.signal,
    ]
    return ", ".join(part for part in parts if part).replace(", on ", " on ")


def _format_usage(record: RunRecord) -> str:
    cpu, memory = record.cpu_seconds, record.peak_memory
    parts = [
        "" if cpu is None else f"{cpu:.2f} s CPU",
        "" if memory is None else f"{memory / 1e6:,.0f} MB at most",
    ]
    return ", ".join(part for part in parts if part)


def _describe_attempt(attempt: RunRecord) -> tuple[str, str]:
    took = "" if attempt.duration is None else f" after {format_took(attempt.duration)}"
    text = f"{format_at(attempt)} {attempt.outcome}{took}"
    result = format_result(attempt)
    return f"attempt {attempt.attempt}", f"{text}: {result}" if result else text
