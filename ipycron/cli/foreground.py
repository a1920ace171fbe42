"""`ipycron run`: files on schedules, live, until Ctrl-C."""

from __future__ import annotations

import logging
import os
import signal
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from ipycron.api.functions import create_task, shutdown
from ipycron.cli.lines import Lines
from ipycron.cli.mistakes import BadLines
from ipycron.cli.table import Watch
from ipycron.cli.tasks_file import read_tasks
from ipycron.client.completion import Flag
from ipycron.errors import IpycronError
from ipycron.process.wire.printable import keep_colours, show_hidden

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipycron.api.task import Task
    from ipycron.scheduling.events import TaskContext

REFRESH = 4
"""Redraws per second."""


def run_file(
    expression: str,
    file: str,
    *,
    timestamps: bool = False,
    prefix: bool = False,
    **options: Any,
) -> int:
    """Schedule a file and show it; see `run_tasks` for arguments and exit code."""
    # A file's name need not be text, a task's must be.
    options.setdefault("name", make_name(file))
    task = create_task(
        expression, resolve_here(file), echo=False, logger=_make_logger(), **options
    )
    return run_tasks([task], timestamps=timestamps, prefix=prefix)


def run_lines(
    path: str, *, timestamps: bool = False, prefix: bool = False, **options: Any
) -> int:
    """Schedule the tasks in a file of tasks and show them; see `run_tasks`.

    Args:
        path: the file of tasks; see `read_tasks`.
        timestamps: whether each line of output begins with the time.
        prefix: whether it begins with its task's name; always true for several tasks.
        options: options for all its tasks.

    Raises:
        BadLines: if any line is invalid; no task is started then.
    """
    folder = Path() if path == "-" else Path(path).expanduser().parent
    logger, tasks = _make_logger(), []
    lines, mistakes = read_tasks(path)
    for line in lines:
        file = str((folder / Path(line.file).expanduser()).absolute())
        given = {**options, "args": line.args, "name": make_name(line.name)}
        try:
            tasks.append(
                create_task(line.expression, file, echo=False, logger=logger, **given)
            )
        except IpycronError as error:
            mistakes[line.number] = str(error)
    if mistakes:
        _shut_down()
        listed = (f"{path}:{number}: {mistakes[number]}" for number in sorted(mistakes))
        raise BadLines("\n".join(listed))
    has_several = len(tasks) > 1
    return run_tasks(tasks, timestamps=timestamps, prefix=prefix or has_several)


class Ends:
    """Tracks how tasks end, and whether the last run of each failed.

    Attributes:
        all_over: set when no task is left, or on request.
    """

    def __init__(self, tasks: list[Task]) -> None:
        self.all_over = Flag()
        self._left = {task.id for task in tasks}
        self._failed: set[str] = set()
        for task in tasks:
            task.on("execution:finished", lambda c: self._failed.discard(c.task.id))
            task.on("execution:failed", lambda c: self.fail(c.task.id))
            task.on("task:failed", lambda c: self.end(c.task.id, is_failed=True))
            task.on("task:destroyed", lambda c: self.end(c.task.id))

    def fail(self, task_id: str) -> None:
        """Record that a task's last run, or its start, has failed."""
        self._failed.add(task_id)

    def end(self, task_id: str, *, is_failed: bool = False) -> None:
        """Record that a task has ended."""
        if is_failed:
            self.fail(task_id)
        self._left.discard(task_id)
        if not self._left:
            self.all_over.set()

    @property
    def exit_code(self) -> int:
        """1 if a task has failed and no run of it has succeeded since."""
        return int(bool(self._failed))


def run_tasks(tasks: list[Task], *, timestamps: bool, prefix: bool) -> int:
    """Start tasks and show them until Ctrl-C, SIGTERM, or their last executions.

    In a terminal they are shown as a live table; elsewhere the output of their runs is
    passed on as it comes. A second Ctrl-C ends them at once.

    Returns:
        1 if the last completed run of any task failed, or if a task did not start or
        was given up; else 0.
    """
    ends = Ends(tasks)
    is_marked = timestamps or (prefix and len(tasks) == 1)
    is_plain = is_marked or not sys.stdout.isatty()
    lines = Lines(tasks, timestamps=timestamps, prefix=prefix) if is_plain else None
    try:
        with _end_at_signal(ends.all_over):
            for task, start in [(task, task.start()) for task in tasks]:
                error = start.exception()
                if error is not None:
                    name = f"{task.name}: " if len(tasks) > 1 else ""
                    print(f"{name}{type(error).__name__}: {error}", file=sys.stderr)
                    ends.end(task.id, is_failed=True)
            if lines is None:
                _watch(tasks, ends.all_over)
            else:
                lines.pump(ends.all_over)
        return ends.exit_code
    finally:
        _shut_down()


def make_name(file: str) -> str:
    """Return a file's name as valid text, which it need not be."""
    return os.fsencode(file).decode("utf-8", "backslashreplace")


def _make_logger() -> logging.Logger:
    """Return a logger without the tracebacks of runs: this module shows them all."""
    logger = logging.getLogger("ipycron.run")
    logger.addFilter(_is_no_run)
    return logger


def _is_no_run(record: logging.LogRecord) -> bool:
    args = record.args
    return not (isinstance(args, tuple) and "a run failed" in args)


def _shut_down() -> None:
    """Wait for runs to end; a second Ctrl-C ends everything at once."""
    try:
        shutdown()
    except KeyboardInterrupt:
        os._exit(130)  # the workers end with this process


def resolve_here(file: str) -> str:
    """Return a path resolved from the working folder, as a shell's user expects."""
    return str(Path(file).expanduser().absolute())


@contextmanager
def _end_at_signal(ended: Flag) -> Iterator[None]:
    """Make SIGTERM set `ended`, and Ctrl-C leave the block."""
    before = signal.signal(signal.SIGTERM, lambda *_: ended.set())
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)


def _watch(tasks: list[Task], ended: Flag) -> None:
    console = Console()
    for task in tasks:
        show = partial(_print_output, console, has_others=len(tasks) > 1)
        task.on("execution:finished", show)
        task.on("execution:failed", show)
    with Live(Watch(tasks), console=console, refresh_per_second=REFRESH):
        ended.wait()


def _print_output(
    console: Console, context: TaskContext, *, has_others: bool = False
) -> None:
    execution = context.execution
    for text, style in (
        (execution.output.stdout, ""),
        (execution.output.stderr, "yellow"),
        (execution.traceback_text or "", "red"),
    ):
        if text.strip():
            if has_others:
                console.print(f"{show_hidden(context.task.name)}:", style="bold")
            console.print(Text.from_ansi(keep_colours(text.rstrip()), style=style))
