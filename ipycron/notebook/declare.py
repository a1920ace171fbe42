"""Schedules what a line of `%%cron` or `%cron` declares: a cell or a file."""

# mypy: disable-error-code="no-untyped-call"
# Most of IPython's methods have no annotations.

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from ipycron.errors import TaskFileNotFound
from ipycron.notebook.capture import Captured, capture_names, check_syntax
from ipycron.notebook.capture_writer import format_size
from ipycron.notebook.grammar import refuse_expression, split_expression
from ipycron.notebook.magic_options import split_values
from ipycron.notebook.present import present
from ipycron.notebook.usage import describe_syntax_error
from ipycron.process.payload import pack_pickle
from ipycron.task import api
from ipycron.task.source import Cell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipycron.notebook.grammar import ParsedLine
    from ipycron.notebook.magic_options import CellOptions
    from ipycron.notebook.session import Notebook
    from ipycron.scheduling.context import TaskContext
    from ipycron.task.completion import Completion
    from ipycron.task.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class _Declaration:
    """What a line asks for, checked as far as a notebook can.

    Attributes:
        expression: when.
        job: what: a path, a `Cell`, or a function that runs the cell here.
        name: the task's.
        is_unnamed: whether the line gives no name.
        options: the task's options.
        cell: the other options of the line.
        notes: what else is to be said about it.
    """

    expression: str
    job: Any
    name: str
    is_unnamed: bool
    options: dict[str, Any]
    cell: CellOptions
    notes: tuple[str, ...] = ()


def declare_cell(notebook: Notebook, line: ParsedLine, body: str) -> None:
    """Schedule the cell that stands below the line."""
    expression, surplus = _find_expression(line.words)
    if surplus or line.rest:
        refuse_expression([*line.words, *line.rest])
    options, cell_options = split_values(line.values)
    source = notebook.cells.number_lines(body)
    _check_source(notebook, source)
    captured = _capture(notebook, source, cell_options)
    name, is_unnamed = _find_name(notebook, options, "cell")
    job = Cell(
        source=source,
        filename=f"<cell {name}>",
        # The buffers are the notebook's own memory: written out before it goes on.
        payload=pack_pickle(captured.pickle, captured.buffers),
        extensions=captured.extensions,
    )
    _declare(
        notebook,
        _Declaration(
            expression=expression,
            job=job,
            name=name,
            is_unnamed=is_unnamed,
            options=options,
            cell=cell_options,
            notes=_describe_captured(captured),
        ),
    )


def declare_file(notebook: Notebook, line: ParsedLine) -> None:
    """Schedule the file that the line names."""
    expression, words = _find_expression(line.words)
    if not words:
        raise UsageError(
            f"{expression!r} says when, but not what: write a file behind it, or "
            "%%cron (two signs) above a cell."
        )
    path = _find_file(words[0])
    options, cell_options = split_values(line.values)
    _refuse_cell_options(cell_options)
    options["args"] = (*words[1:], *line.rest)
    name, is_unnamed = _find_name(notebook, options, path.stem)
    _declare(
        notebook,
        _Declaration(
            expression=expression,
            job=path,
            name=name,
            is_unnamed=is_unnamed,
            options=options,
            cell=cell_options,
        ),
    )


# --- what is declared ---------------------------------------------------------------


def _find_expression(words: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Return the expression and the words behind it."""
    found = split_expression(words)
    if found is None:
        found = " ".join(words), ()
        refuse_expression(words)
    return found


def _find_name(
    notebook: Notebook, options: dict[str, Any], stem: str
) -> tuple[str, bool]:
    """Return the task's name, and whether it is one that we give."""
    given = options.pop("name", None)
    if given is not None:
        return given, False
    taken = frozenset(task.name for task in api.get_tasks().values())
    return notebook.cells.claim_name(taken, stem), True


def _check_source(notebook: Notebook, source: str) -> None:
    """Refuse a cell that cannot be run."""
    try:
        check_syntax(source, notebook.shell)
    except SyntaxError as error:
        raise UsageError(describe_syntax_error(error)) from None
    if not ast.parse(notebook.shell.transform_cell(source)).body:
        raise UsageError(
            "the cell is empty: write what is to run below the line of %%cron"
        )


def _find_file(text: str) -> Path:
    """Return the file; refuse one that is no Python, without running it."""
    path = Path.cwd() / Path(text).expanduser()
    if not path.is_file():
        raise TaskFileNotFound(path=text, folder=str(Path.cwd()))
    try:
        compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
    except SyntaxError as error:
        where = f"{path.name}, "
        raise UsageError(describe_syntax_error(error, where=where)) from None
    return path.resolve()


def _refuse_cell_options(cell: CellOptions) -> None:
    for flag, is_given in (
        ("--inline", cell.inline),
        ("--capture", cell.capture is not None),
        ("--no-capture", cell.no_capture),
    ):
        if is_given:
            raise UsageError(f"{flag} is for cells: a file takes no variables along")


def _capture(notebook: Notebook, source: str, cell: CellOptions) -> Captured:
    if cell.no_capture and cell.capture is not None:
        raise UsageError("--capture and --no-capture exclude each other")
    include = () if cell.no_capture else cell.capture
    return capture_names(source, notebook.shell, include=include)


def _describe_captured(captured: Captured) -> tuple[str, ...]:
    said = captured.describe()
    if not said:
        return ()
    if len(captured.names) > 1:
        said += f"; {format_size(captured.size_bytes)} in all"
    return (said,)


# --- the task -----------------------------------------------------------------------


def _declare(notebook: Notebook, wish: _Declaration) -> None:
    existing = _find_task(wish.name)
    task = api.create_task(wish.expression, wish.job, name=wish.name, **wish.options)
    if wish.is_unnamed:
        notebook.cells.claim(task)
    if task is existing:
        present(notebook, task, notes=("kept, as it was",), is_quiet=wish.cell.quiet)
        return
    notes = wish.notes if existing is None else (*wish.notes, "replaces the one before")
    if wish.cell.into is not None:
        task.on("execution:finished", partial(_bind, notebook, wish.cell.into))
        notes = (*notes, f"results go to {wish.cell.into}")
    present(notebook, task, notes=notes, is_quiet=wish.cell.quiet)
    task.start().add_done_callback(partial(_report_start, task))
    if wish.cell.run_now:
        _run_now(task)


def _find_task(name: str) -> Task | None:
    named = [task for task in api.get_tasks().values() if task.name == name]
    return named[-1] if named else None


def _bind(notebook: Notebook, name: str, context: TaskContext) -> None:
    notebook.shell.user_ns[name] = context.execution.result


def _report_start(task: Task, completion: Completion[None]) -> None:
    error = completion.exception()
    if error is not None:
        task.logger.error(
            "task %r did not start: %s: %s", task.name, type(error).__name__, error
        )


def _run_now(task: Task) -> None:
    # The view of the task shows the end; nobody else has to be told of a failure.
    task.execute().add_done_callback(lambda completion: completion.exception())
