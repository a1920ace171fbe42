"""`ipycron run`: one file on a schedule, live, until Ctrl-C."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from ipycron.api.functions import schedule, shutdown
from ipycron.cli.table import Watch
from ipycron.process.wire.printable import keep_colours

if TYPE_CHECKING:
    from ipycron.api.task import Task
    from ipycron.scheduling.events import TaskContext

REFRESH = 4
"""Redraws a second."""


def run_file(expression: str, file: str, **options: Any) -> int:
    """Schedule a file and show it until Ctrl-C, SIGTERM, or its last execution.

    Returns:
        0, or 1 if the task did not start or was stopped for good.
    """
    console = Console()
    # A file's name need not be text, a task's must be.
    options.setdefault("name", os.fsencode(file).decode("utf-8", "backslashreplace"))
    task = schedule(expression, resolve_here(file), **options)
    ended = threading.Event()
    failures: list[TaskContext] = []
    task.on("task:destroyed", lambda _: ended.set())
    task.on("task:failed", failures.append)
    task.on("task:failed", lambda _: ended.set())
    task.on("execution:finished", lambda context: _print_output(console, context))
    task.on("execution:failed", lambda context: _print_output(console, context))
    try:
        error = task.start().exception()
        if error is not None:
            shown = keep_colours(f"{type(error).__name__}: {error}")
            console.print(Text.from_ansi(shown, style="red"))
            return 1
        _watch(console, [task], ended)
    finally:
        shutdown()
    return 1 if failures else 0


def resolve_here(file: str) -> str:
    """Return a path that means what a shell's user means: from the working folder."""
    from pathlib import Path  # noqa: PLC0415 - beside its only use

    return str(Path(file).expanduser().absolute())


def _watch(console: Console, tasks: list[Task], ended: threading.Event) -> None:
    before = signal.signal(signal.SIGTERM, lambda *_: ended.set())
    try:
        with Live(Watch(tasks), console=console, refresh_per_second=REFRESH):
            ended.wait()
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)


def _print_output(console: Console, context: TaskContext) -> None:
    execution = context.execution
    for text, style in (
        (execution.output.stdout, ""),
        (execution.output.stderr, "yellow"),
        (execution.traceback_text or "", "red"),
    ):
        if text.strip():
            console.print(Text.from_ansi(keep_colours(text.rstrip()), style=style))
