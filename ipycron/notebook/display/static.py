"""A task on a static page: as text, and as HTML that needs no script.

For terminals, for notebooks that run unattended, and for saved notebooks. Everything is
escaped except the displays that the job made.
"""

from __future__ import annotations

import re
import shlex
from datetime import UTC, datetime, timedelta
from html import escape
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from ipycron.api.text_table import format_kept
from ipycron.errors import ServiceLost
from ipycron.notebook.display.ansi import strip_ansi, to_html
from ipycron.notebook.display.tables import PLAIN, TEXT_STYLE
from ipycron.notebook.display.tracebacks import read_errors, tidy
from ipycron.notebook.display.transcript import Transcript
from ipycron.notebook.display.words import (
    explain_error,
    find_shown_run,
    find_start_error,
    format_count,
    format_instant,
    format_name,
    format_next,
    format_run,
    format_schedule,
    format_state,
    get_now,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ipycron.api.task import Task
    from ipycron.client.executions import RunLike
    from ipycron.notebook.display.task_display import Interpretation
    from ipycron.notebook.display.transcript import Item

MAX_CHARACTERS = 20_000
"""Characters of a run's output that a page keeps: the last ones."""

_NO_DAY = datetime.min.replace(tzinfo=UTC) + timedelta(days=2)
"""No instant is on this day: all are shown with their dates."""
_IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_MONO = "font-family:var(--jp-code-font-family,monospace)"  # exported pages set no font
_PRE = f"margin:2px 0;white-space:pre-wrap;overflow-wrap:anywhere;{_MONO}"
_ERROR = "border-left:3px solid #d33;padding-left:8px"


def describe_task(
    task: Task,
    *,
    trouble: str | None = None,
    interpretation: Interpretation | None = None,
) -> dict[str, Any]:
    """Return a task as a mimebundle: plain text and HTML.

    Args:
        task: which.
        trouble: why it did not start.
        interpretation: how its declaration was understood.
    """
    return {
        "text/plain": write_text(task, trouble=trouble, interpretation=interpretation),
        "text/html": write_html(task, trouble=trouble, interpretation=interpretation),
    }


def write_text(
    task: Task,
    *,
    trouble: str | None = None,
    interpretation: Interpretation | None = None,
) -> str:
    """Return a task, its last run and that run's output, as text."""
    lines = [] if interpretation is None else [interpretation.line]
    lines += [f"{name:9} {text}" for name, text in _describe(task, get_now()) if text]
    trouble = trouble or _explain_trouble(task)
    if trouble:
        lines += [_say_trouble(task), *_indent(strip_ansi(trouble))]
    run = find_shown_run(task)
    if run is not None:
        for _, value in _read_output(read_transcript(run)):
            text = value if isinstance(value, str) else _get_plain(value)
            lines += _indent(strip_ansi(text))
        lines += _indent(tidy(strip_ansi(run.traceback_text or "")))
    return "\n".join(lines)


def format_leftovers(leftovers: Mapping[Task, str]) -> str:
    """Return a line for each task that continues though no cell declares it.

    Args:
        leftovers: the note on each, shown after its name.
    """
    return "\n".join(
        f"{format_name(task)}: has been ended"
        if task.status == "destroyed"
        else f"{format_name(task)}: {reason}; `%cron destroy {shlex.quote(task.name)}` "
        "ends it"
        for task, reason in leftovers.items()
    )


def describe_leftovers(leftovers: Mapping[Task, str]) -> dict[str, Any]:
    """Return the same as a mimebundle."""
    text = format_leftovers(leftovers)
    return {"text/plain": text, "text/html": write_pre(text)}


def _explain_trouble(task: Task) -> str | None:
    error = find_start_error(task)
    return None if error is None else explain_error(error)


def _say_trouble(task: Task) -> str:
    is_lost = isinstance(task.start_error, ServiceLost)
    return "does not run" if is_lost else "did not start"


def _indent(text: str) -> list[str]:
    return [f"  {line}" for line in text.rstrip("\n").splitlines()]


def write_html(
    task: Task,
    *,
    trouble: str | None = None,
    interpretation: Interpretation | None = None,
) -> str:
    """Return the same as HTML."""
    lines = _describe(task, None)
    if interpretation is not None:
        lines.append(("captured", interpretation.captured.removeprefix("captured: ")))
        lines.append(("note", "; ".join(interpretation.notes)))
    (name, status), *facts = lines
    rows = (
        f'<tr><td colspan="2" style="{TEXT_STYLE}"><b>{escape(name)}</b>  '
        f"{escape(status)}</td></tr>"
    )
    rows += "".join(
        f'<tr><td style="text-align:left;white-space:nowrap;opacity:.7">'
        f"{escape(label)}</td>"
        f'<td style="{TEXT_STYLE}">{escape(text)}</td></tr>'
        for label, text in facts
        if text
    )
    parts = [f"<table {PLAIN}>{rows}</table>"]
    trouble = trouble or _explain_trouble(task)
    if trouble:
        parts.append(write_pre(f"{_say_trouble(task)}\n{trouble}", style=_ERROR))
    run = find_shown_run(task)
    if run is not None:
        at = format_instant(run.date, _NO_DAY)
        caption = f"Figure of {format_name(task)}, run at {at}"
        for kind, value in _read_output(read_transcript(run)):
            parts.append(_write_item(kind, value, caption))
        if run.traceback_text:
            parts.append(write_traceback(run.traceback_text))
    return f"<div>{''.join(parts)}</div>"


def _describe(task: Task, now: datetime | None) -> list[tuple[str, str]]:
    """Return the labels of a task's lines and their texts.

    Args:
        task: which.
        now: the present; None for text that is also read on other days.
    """
    run, following = find_shown_run(task), task.next_run
    state = format_state(task, now or _NO_DAY)
    if task.is_kept and task.status != "destroyed":  # as the card says it
        state = f"{state}, kept"
    if now is not None:
        next_run = format_next(task, now)
    else:
        now = _NO_DAY
        next_run = "" if following is None else format_instant(following, now)
    return [
        (format_name(task), state),
        ("schedule", f"{task.pattern}  {format_schedule(task)}"),
        ("next run", next_run),
        ("last run", "" if run is None else _format_run(run, now)),
        ("past runs", format_kept(task.history)),
    ]


def _format_run(run: RunLike, now: datetime) -> str:
    """Return a run as text; with its result only if that is not shown below."""
    text = format_run(run, now)
    if run.is_ok and read_transcript(run).has_result:
        return text.removesuffix(f": {run.summary}")
    return text


def read_transcript(run: RunLike) -> Transcript:
    """Return what a run has written so far."""
    transcript = Transcript()
    transcript.feed(run.output.read()[0])
    return transcript


def _read_output(transcript: Transcript) -> Iterator[tuple[str, Any]]:
    """Yield what a run wrote, in order: texts, and mimebundles for displays."""
    left = MAX_CHARACTERS
    items: list[tuple[str, Any]] = []
    for kind, value in reversed(continue_lines(transcript.items)):
        if kind == "group":
            outputs = transcript.groups[value].outputs
            items += [("display", output["data"]) for output in reversed(outputs)]
        elif kind == "missing":
            items.append(("missing", f"… {value:,} bytes left out …\n"))
        elif left > 0:
            text = settle_lines(value)
            items.append((kind, text if len(text) <= left else f"…{text[-left:]}"))
            left -= len(text)
    yield from reversed(items)


def continue_lines(items: Iterable[Item]) -> list[Item]:
    r"""Return items in which each stream continues its last line where that stands.

    As on the card: a bar on one stream is not repeated for each line on the other.

    Examples:
        >>> continue_lines([("stderr", "1 %"), ("stdout", "a\n"), ("stderr", "\r2 %")])
        [('stderr', '1 %\r2 %'), ('stdout', 'a\n')]
    """
    joined: list[Item] = []
    unfinished: dict[str, int] = {}
    for kind, value in items:
        if kind in ("group", "missing"):
            unfinished.clear()
            joined.append((kind, value))
            continue
        text = value
        if (place := unfinished.get(kind)) is not None:
            line, end, text = value.partition("\n")
            joined[place] = (kind, joined[place][1] + line + end)
            if not end:
                continue
            del unfinished[kind]
        if text:
            if not text.endswith("\n"):
                unfinished[kind] = len(joined)
            joined.append((kind, text))
    return joined


def settle_lines(text: str) -> str:
    r"""Return what a terminal would show of lines with carriage returns.

    Examples:
        >>> settle_lines("10 %\r100 %\ndone\r\n")
        '100 %\ndone\n'
    """
    lines = text.replace("\r\n", "\n").split("\n")
    return "\n".join(map(_settle_line, lines))


def _settle_line(line: str) -> str:
    if "\r" not in line:
        return line
    # After a return at the end, more may follow.
    return line.rstrip("\r").rpartition("\r")[2] + "\r" * line.endswith("\r")


def _get_plain(data: dict[str, Any]) -> str:
    return f"{data.get('text/plain', '')}\n"


def _write_item(kind: str, value: Any, caption: str) -> str:
    if kind == "display":
        return write_bundle(value, caption)
    if kind == "stderr":
        return write_pre(value, style="background:rgba(221,51,51,.12)")
    return write_pre(value)


def write_traceback(text: str) -> str:
    """Return a traceback as HTML: the last error first, libraries folded."""
    lines = text.split("\n")
    errors = read_errors(text)
    if not errors:
        return write_pre(tidy(text), style=_ERROR)
    parts = []
    is_folding = any(not frame.library for error in errors for frame in error.frames)
    for error in errors:
        title = "\n".join(lines[error.first : error.end])
        relation = f"{error.relation}:\n" if error.relation else ""
        parts.append(write_pre(f"{relation}{title}", style="font-weight:bold"))
        for library, frames in groupby(error.frames, attrgetter("library")):
            shown = [write_pre("\n".join(lines[f.first : f.end])) for f in frames]
            if library and is_folding:
                head = f"{format_count(len(shown), 'frame')} in {library}"
                shown = [
                    f"<details><summary>{escape(head)}</summary>",
                    *shown,
                    "</details>",
                ]
            parts += shown
    return f'<div style="{_ERROR}">{"".join(parts)}</div>'


def write_pre(text: str, *, style: str = "") -> str:
    """Return text with its colours and line breaks as HTML; the rest is escaped."""
    return f'<pre style="{_PRE};{style}">{to_html(text)}</pre>'


def write_bundle(data: dict[str, Any], caption: str = "") -> str:
    """Return the richest form of a display that a page can show by itself.

    Args:
        data: the display's mimebundle.
        caption: what an image is, for those who do not see it.
    """
    if (html := data.get("text/html")) is not None:
        return f"<div>{_join(html)}</div>"
    if (svg := data.get("image/svg+xml")) is not None:
        return f"<div>{_join(svg)}</div>"
    for mime in _IMAGES:
        if mime in data:
            source = re.sub(r"[^A-Za-z0-9+/=]", "", _join(data[mime]))
            return f'<img alt="{escape(caption)}" src="data:{mime};base64,{source}">'
    for mime in ("text/latex", "text/markdown", "text/plain"):
        if mime in data:
            return write_pre(_join(data[mime]))
    return ""


def _join(text: Any) -> str:
    """Return text that Jupyter may store as a list of lines."""
    return text if isinstance(text, str) else "".join(map(str, text))
