"""Checks and schedules what `%%cron` or `%cron` declares: a cell or a file."""

# mypy: disable-error-code="no-untyped-call"
# Most of IPython's methods have no annotations.
from __future__ import annotations

import ast
import contextlib
import shlex
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from ipycron.api import functions as api
from ipycron.api.kept import find_service_pid
from ipycron.client.jobs import Cell
from ipycron.errors import IpycronError, StartRevoked, TaskFileNotFound
from ipycron.notebook.capture.capture import Captured, capture_names, check_syntax
from ipycron.notebook.capture.writer import format_size
from ipycron.notebook.display.task_display import Interpretation, Variable
from ipycron.notebook.display.words import (
    explain_error,
    format_error,
    format_fires,
    format_name,
    format_schedule,
    get_now,
)
from ipycron.notebook.magic.grammar import refuse_expression, split_trigger
from ipycron.notebook.magic.inline_cell import InlineCell
from ipycron.notebook.magic.options import split_values
from ipycron.notebook.magic.usage import describe_syntax_error
from ipycron.process.wire.outcome import Unserializable
from ipycron.process.wire.payload import pack_pickle

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ipycron.api.task import Task
    from ipycron.client.completion import Completion
    from ipycron.notebook.magic.grammar import ParsedLine
    from ipycron.notebook.magic.notebook import Notebook
    from ipycron.notebook.magic.options import CellOptions
    from ipycron.scheduling.events import TaskContext


@dataclass(frozen=True, slots=True, kw_only=True)
class _Declaration:
    """What a line asks for, apart from the code to run.

    Attributes:
        expression: when the task runs.
        name: the task's.
        is_unnamed: whether the line gives no name.
        options: the task's options except the name.
        cell: the other options of the line.
    """

    expression: str
    name: str
    is_unnamed: bool
    options: dict[str, Any]
    cell: CellOptions


def declare_cell(notebook: Notebook, line: ParsedLine, body: str) -> None:
    """Schedule the cell below the line."""
    expression, surplus = find_expression(line.words)
    if surplus or line.rest:
        refuse_expression([*line.words, *line.rest])
    options, cell = split_values(line.values)
    check_cell_options(cell)
    source = notebook.cells.number_lines(body)
    check_source(notebook.shell, source)
    if cell.inline:
        declaration = _read(notebook, expression, options, cell, stem="cell")
        _declare(notebook, declaration, _make_inline(notebook, declaration, source))
        return
    captured = capture_names(source, notebook.shell, include=_get_include(cell))
    declaration = _read(notebook, expression, options, cell, stem="cell")
    job = Cell(
        source=source,
        filename=f"<cell {declaration.name}>",
        # The buffers are the notebook's own memory: write them out before it continues.
        payload=pack_pickle(captured.pickle, captured.buffers),
        extensions=captured.extensions,
        left_behind=captured.left_behind,
    )
    _declare(notebook, declaration, job, captured)


def declare_file(notebook: Notebook, line: ParsedLine) -> None:
    """Schedule the file that the line names."""
    expression, words = find_expression(line.words)
    if not words:
        raise UsageError(
            f"{expression!r} says when, but not what: write a file after it, or "
            "%%cron (two signs) above a cell"
        )
    path = find_file(words[0])
    options, cell = split_values(line.values)
    check_file_options(cell)
    options["args"] = (*words[1:], *line.rest)
    declaration = _read(notebook, expression, options, cell, stem=path.stem)
    _declare(notebook, declaration, path)


def _read(
    notebook: Notebook,
    expression: str,
    options: dict[str, Any],
    cell: CellOptions,
    *,
    stem: str,
) -> _Declaration:
    """Collect what a line asks for; name the task if it has no name."""
    name = options.pop("name", None)
    is_unnamed = name is None
    if options.get("keep"):
        _check_kept(name, options, cell)
    if is_unnamed and options.get("distributed"):
        raise UsageError(
            "--distributed needs a --name: it is the key that all instances share"
        )
    if is_unnamed:
        taken = frozenset(task.name for task in api.get_tasks().values())
        name = notebook.cells.claim_name(taken, stem)
    return _Declaration(
        expression=expression,
        name=name,
        is_unnamed=is_unnamed,
        options=options,
        cell=cell,
    )


def _check_kept(name: str | None, options: dict[str, Any], cell: CellOptions) -> None:
    """Refuse what a kept task cannot have: it outlives the notebook."""
    if name is None:
        raise UsageError("--keep needs a --name: a kept task is found by it")
    for flag, is_given in (
        ("--inline", cell.inline),
        ("--into", cell.into is not None),
        ("--append-to", cell.append_to is not None),
        ("--on", options.get("executor") is not None),
        ("--coordinator", options.get("run_coordinator") is not None),
        ("--logger", options.get("logger") is not None),
    ):
        if is_given:
            raise UsageError(
                f"{flag} belongs to this notebook, which a kept task outlives: leave "
                f"out {flag} or --keep"
            )


def _make_inline(notebook: Notebook, declaration: _Declaration, source: str) -> Any:
    """Return the function that runs a cell here."""
    if declaration.options.get("executor") is not None:
        raise UsageError("--inline runs in the notebook itself, --on does elsewhere")
    inline = InlineCell(source, notebook, name=declaration.name)
    if declaration.options.get("timeout") is not None and not inline.is_async:
        raise UsageError(
            "--timeout cannot end a cell that runs in the notebook itself: leave "
            "--inline out, or interrupt the kernel"
        )
    return inline.make_job()


def _get_include(cell: CellOptions) -> tuple[str, ...] | None:
    return () if cell.no_capture else cell.capture


def _describe_captured(captured: Captured) -> str:
    text = captured.describe()
    if len(captured.names) > 1:
        text += f", {format_size(captured.size_bytes)} in all"
    return text


def _list_variables(captured: Captured) -> Iterator[Variable]:
    for names, is_left_out in ((captured.names, False), (captured.left_out, True)):
        for found in names:
            size = "" if is_left_out else format_size(found.size_bytes)
            yield Variable(found.name, found.type_name, size, is_left_out)


# --- the task -----------------------------------------------------------------------


def _declare(
    notebook: Notebook,
    declaration: _Declaration,
    job: Any,
    captured: Captured | None = None,
) -> None:
    """Create the task, show it and start it."""
    captured = captured or Captured()
    warnings = captured.warnings
    notes: tuple[str, ...] = ()
    _check_list(notebook, declaration.cell.append_to)
    existing = _find_task(declaration.name)
    task = _create(declaration, job)
    notebook.cells.claim(task, is_named=not declaration.is_unnamed)
    if task is existing:
        kept = ("kept as it was",)
        interpretation = Interpretation(line=describe(task, kept), notes=kept)
        present(notebook, task, interpretation, is_quiet=declaration.cell.quiet)
        return
    if declaration.cell.into is not None:
        notebook.results.keep(task, partial(_bind, notebook, declaration.cell.into))
        notes = (*notes, f"each result goes to {declaration.cell.into}")
    if declaration.cell.append_to is not None:
        notebook.results.keep(
            task, partial(_append, notebook, declaration.cell.append_to)
        )
        notes = (*notes, f"each result is added to {declaration.cell.append_to}")
    if declaration.is_unnamed and task.expression.is_hashed:
        text = "H gives each name a different time; keep it with --name"
        warnings = (*warnings, text)
    if existing is not None:
        notes = (*notes, f"replaces {format_name(existing)}")
    if task.is_kept:
        notes = (*notes, _describe_home(task))
    interpretation = Interpretation(
        line=describe(
            task, [text for text in (_describe_captured(captured), *notes) if text]
        ),
        variables=tuple(_list_variables(captured)),
        size=format_size(captured.size_bytes),
        captured=_describe_captured(captured),
        notes=notes,
    )
    present(
        notebook,
        task,
        interpretation,
        warnings=warnings,
        is_quiet=declaration.cell.quiet,
    )
    if not task.is_kept:  # the service has started it already
        task.start().add_done_callback(partial(_report_start, notebook, task))
    if declaration.cell.run_now:
        task.execute().add_done_callback(partial(notebook.handle_end, task))


def _create(declaration: _Declaration, job: Any) -> Task:
    """Create a task; one that is kept is started, too.

    Raises:
        UsageError: if the service cannot load its job: then nothing is kept.
    """
    given = {"name": declaration.name, **declaration.options}
    if not declaration.options.get("keep"):
        return api.create_task(declaration.expression, job, **given)
    try:
        return api.schedule(declaration.expression, job, **given)
    except IpycronError:
        raise
    except Exception as error:  # noqa: BLE001 - the job's own code raised it
        text = f"{declaration.name!r} is not kept: its job cannot be loaded"
        print(explain_error(error))  # noqa: T201 - under the cell, as a start's error
        raise UsageError(f"{text}: {format_error(error)}") from None


def _describe_home(task: Task) -> str:
    """Say where a kept task runs, and how to end it."""
    pid = find_service_pid()
    where = "the service" if pid is None else f"the service, process {pid}"
    end = f"%cron destroy {shlex.quote(task.name)}"
    return f"kept by {where}: runs without this notebook until {end}"


def _check_list(notebook: Notebook, name: str | None) -> None:
    """Refuse to add results to something that is not a list."""
    value = notebook.shell.user_ns.get(name, [])
    if name is not None and not isinstance(value, list):
        raise UsageError(
            f"--append-to {name}: {name!r} is of type {type(value).__name__}, "
            "expected a list, or a new name"
        )


def _find_task(name: str) -> Task | None:
    named = [task for task in api.get_tasks().values() if task.name == name]
    return named[-1] if named else None


def _bind(notebook: Notebook, name: str, context: TaskContext) -> None:
    if context.execution.outcome != "cancelled":  # it has no result
        notebook.shell.user_ns[name] = context.execution.result


def _append(notebook: Notebook, name: str, context: TaskContext) -> None:
    """Add a result to a list, unless there is none: the summary shows why."""
    result = context.execution.result
    is_cancelled = context.execution.outcome == "cancelled"
    if is_cancelled or isinstance(result, Unserializable):
        return
    listed = notebook.shell.user_ns.get(name)
    if not isinstance(listed, list):
        listed = notebook.shell.user_ns[name] = []
    listed.append(result)


def _report_start(notebook: Notebook, task: Task, completion: Completion[None]) -> None:
    error = completion.exception()
    # A task that was stopped or ended since did as requested.
    if error is None or isinstance(error, StartRevoked) or task.status == "destroyed":
        return
    notebook.display.show_trouble(task, explain_error(error))
    extra = {"ipycron_name": task.name}
    text = "task %r did not start: %s"
    task.logger.error(text, task.name, format_error(error), extra=extra)


def find_expression(words: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Return the expression that the words begin with, and the words after it.

    Raises:
        CronSyntaxError: if they begin with none; reports the words up to a file.
    """
    found = split_trigger(words)
    if found is not None:
        return found
    files = (i for i, word in enumerate(words) if word[-3:] == ".py" or _is_file(word))
    end = next(files, len(words))
    refuse_expression(words[:end])
    raise UsageError(f"{' '.join(words)!r} does not begin with a cron expression")


def _is_file(word: str) -> bool:
    # A name too long, a null byte, the home of a user who does not exist.
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        return Path(word).expanduser().is_file()
    return False


def check_source(shell: Any, source: str) -> None:
    """Refuse a cell that cannot be run or is empty."""
    try:
        check_syntax(source, shell)
    except SyntaxError as error:
        raise UsageError(describe_syntax_error(error)) from None
    if not ast.parse(shell.transform_cell(source)).body:
        raise UsageError(
            "the cell is empty: write what is to run below the line of %%cron"
        )


def find_file(text: str) -> Path:
    """Return a task file; refuse one that is not Python, without running it."""
    if not _is_file(text):
        raise TaskFileNotFound(path=text, folder=str(Path.cwd()))
    path = Path.cwd() / Path(text).expanduser()
    try:
        compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
    except SyntaxError as error:
        where = f"{path.name}, "
        raise UsageError(describe_syntax_error(error, where=where)) from None
    except ValueError as error:  # a null byte, before Python 3.12
        raise UsageError(f"{path.name}: {error}") from None
    return path.resolve()


def check_cell_options(cell: CellOptions) -> None:
    """Refuse cell options that exclude each other."""
    if cell.no_capture and cell.capture is not None:
        raise UsageError("--capture and --no-capture exclude each other")
    if cell.inline and (cell.no_capture or cell.capture is not None):
        raise UsageError("--inline runs in the notebook itself and captures nothing")


def check_file_options(cell: CellOptions) -> None:
    """Refuse cell options for a file."""
    for flag, is_given in (
        ("--inline", cell.inline),
        ("--capture", cell.capture is not None),
        ("--no-capture", cell.no_capture),
    ):
        if is_given:
            raise UsageError(f"{flag} is for cells: a file takes no variables along")


def present(
    notebook: Notebook,
    task: Task,
    interpretation: Interpretation,
    *,
    warnings: Sequence[str] = (),
    is_quiet: bool = False,
) -> None:
    """Print how the line was understood, and show the task from now on.

    Args:
        notebook: the notebook to show it in.
        task: the task.
        interpretation: the description of the declaration.
        warnings: likely problems, one line each.
        is_quiet: show nothing.
    """
    if is_quiet:
        notebook.quiet.add(task.name)
        return
    notebook.quiet.discard(task.name)
    notebook.display.show(task, interpretation)
    for text in warnings:
        print(f"warning: {text}")  # noqa: T201 - the front end shows it under the cell


def describe(task: Task, notes: Sequence[str] = ()) -> str:
    """Return the line that describes a declaration as it was understood."""
    text = (
        f"{format_name(task)}: {format_schedule(task)}, {format_fires(task, get_now())}"
    )
    return "; ".join((text, *notes))
