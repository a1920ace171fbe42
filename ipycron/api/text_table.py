"""Tables as plain text: of tasks in a program, in a terminal and in a notebook."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ipycron.errors import StartError
from ipycron.process.wire.printable import show_hidden

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from ipycron.api.task import Task
    from ipycron.client.executions import Execution, History, PastRun

_HEADS = ("name", "status", "schedule", "next run", "last run", "past runs")
_NEXT = 3  # the place of the next run: half a date says nothing
_WIDEST = 60  # characters of a cell in a text table
_LONGEST = 200  # characters of a text that are looked at for a cell
_NARROWEST = 12  # to which cells are cut for a terminal's sake
PAGE = 100  # characters of a line where none fits better, as below a cell
_GAP = "  "
_MINUTE = 60
_MILLISECONDS, _HUNDREDTHS, _TENTHS = 0.0995, 9.995, 59.95  # seconds below which


def list_tasks(tasks: Iterable[Task], *, marks_kept: bool = True) -> str:
    """Return a table of tasks in the words of programs, with whole dates.

    Args:
        tasks: the tasks.
        marks_kept: whether the status says which of them are kept.
    """
    rows = [_make_row(task, marks_kept=marks_kept) for task in tasks]
    room = find_room() or PAGE
    return write_text_table([_HEADS, *rows], room=room, whole=(_NEXT,))


def _make_row(task: Task, *, marks_kept: bool) -> tuple[str, ...]:
    following = task.next_run
    when = "" if following is None else f"{following:%Y-%m-%d %H:%M:%S}"
    status = "starting" if task.is_starting else task.status
    if task.queued:
        status = f"{status}, {len(task.queued)} queued"
    if task.is_paused:
        status = "paused" if task.status == "idle" else f"{status}, paused"
    if marks_kept and task.is_kept and task.status != "destroyed":
        status = f"{status}, kept"
    if task.is_paused:  # last: it may be long, and is cut for a terminal's sake
        status = f"{status}{_format_pause(task)}"
    kept = format_kept(task.history)
    cells = (task.name, status, task.pattern, when, _format_last(task), kept)
    return tuple(show_hidden(" ".join(cell.split())) for cell in cells)


def _format_pause(task: Task) -> str:
    until, note = task.paused_until, task.pause_note
    when = "" if until is None else f" until {until:%Y-%m-%d %H:%M:%S}"
    return when + (f" ({note})" if note else "")


def _format_last(task: Task) -> str:
    error = task.start_error
    if error is not None and not (task.is_started or task.is_starting):
        return f"did not start: {explain_start(error)}"
    history = task.history
    return format_run(history[-1]) if history else ""


def explain_start(error: BaseException) -> str:
    """Return why a task did not start, to be read after its name and "did not start".

    Examples:
        >>> from ipycron.errors import StartError
        >>> explain_start(StartError(name="job", reason="OSError: no such file"))
        'OSError: no such file'
        >>> explain_start(OSError("no such file"))
        'OSError: no such file'
    """
    if isinstance(error, StartError) and not error.output:
        return error.reason
    return f"{type(error).__name__}: {error}"


def format_run(run: Execution | PastRun) -> str:
    """Return what became of a run, first in a word that a narrow column still shows."""
    text = f"{run.outcome} {run.date:%Y-%m-%d %H:%M:%S}"
    return f"{text}: {run.summary}" if run.summary not in ("", "None") else text


def format_kept(history: History) -> str:
    """Return how many runs a history holds: ``3``, or ``20 of 125``; empty for none."""
    kept, total = len(history), history.total
    if not total:
        return ""
    return str(kept) if kept == total else f"{kept} of {total:,}"


def format_took(seconds: float) -> str:
    """Return a run's duration in the format of the views (`formatDuration`).

    Examples:
        >>> [format_took(s) for s in (0.0012, 0.42, 12.34, 245, 7290)]
        ['1 ms', '0.42 s', '12.3 s', '4 min 05 s', '2 h 02 min']
    """
    if seconds < _MILLISECONDS:
        return f"{round(seconds * 1000)} ms"
    if seconds < _HUNDREDTHS:
        return f"{seconds:.2f} s"
    if seconds < _TENTHS:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), _MINUTE)
    if minutes < _MINUTE:
        return f"{minutes} min {rest:02} s"
    hours, minutes = divmod(round(seconds / _MINUTE), _MINUTE)
    return f"{hours} h {minutes:02} min"


def flatten(text: str, limit: int = _LONGEST) -> str:
    """Return the beginning of a text as one line, without anything invisible."""
    return show_hidden(" ".join(text[:limit].split()))


def find_room() -> int | None:
    """Return the characters of a line where stdout is a terminal; None elsewhere."""
    try:
        is_terminal = sys.stdout.isatty()
    except (AttributeError, ValueError):  # there is no console, or it is closed
        return None
    if not is_terminal:
        return None
    from shutil import get_terminal_size  # noqa: PLC0415 - loads nine modules

    return get_terminal_size().columns


def write_text_table(
    rows: Sequence[Sequence[str]],
    *,
    room: int | None = None,
    whole: Collection[int] = (),
) -> str:
    """Return columns of text, two blanks apart; long cells are cut.

    Args:
        rows: texts, the same number in each row.
        room: the characters of a line; None for no limit. The widest columns are cut
            first; a line is longer if not all columns fit.
        whole: the numbers of columns, from 0, that are not cut for this.
    """
    flat = [[_cut(cell, _WIDEST) for cell in row] for row in rows]
    widths = [max(map(measure, column)) for column in zip(*flat, strict=True)]
    if room is not None:
        _narrow(widths, room - len(_GAP) * (len(widths) - 1), whole)
    return "\n".join(
        _GAP.join(
            _fill(_cut(cell, width), width)
            for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in flat
    )


def _narrow(widths: list[int], room: int, whole: Collection[int]) -> None:
    """Narrow the widest columns until all fit or none can be narrowed."""
    places = [place for place in range(len(widths)) if place not in whole]
    while sum(widths) > room:
        widest = max(places, key=widths.__getitem__)
        if widths[widest] <= _NARROWEST:
            return
        widths[widest] -= 1


def _fill(text: str, width: int) -> str:
    return text + " " * (width - measure(text))


def _cut(text: str, width: int) -> str:
    flat = " ".join(text.split())
    if measure(flat) <= width:
        return flat
    cut = flat[: width - 1]
    while measure(cut) > width - 1:
        cut = cut[:-1]
    return f"{cut}…"


def measure(text: str) -> int:
    r"""Return the columns that a text takes in a terminal.

    Examples:
        >>> [measure(text) for text in ("plain", "数据", "🚀", "e\u0301")]
        [5, 4, 2, 1]
    """
    if text.isascii():
        return len(text)
    from unicodedata import category, east_asian_width  # noqa: PLC0415 - few need it

    shown = (char for char in text if category(char) not in ("Mn", "Me", "Cf"))
    return sum(2 if east_asian_width(char) in "WF" else 1 for char in shown)
