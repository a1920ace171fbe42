"""`ipycron run`: one file on a schedule, live, until Ctrl-C."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from ipycron.api.functions import schedule, shutdown
from ipycron.cli.lines import Lines
from ipycron.cli.table import Watch
from ipycron.process.wire.printable import keep_colours

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipycron.api.task import Task
    from ipycron.scheduling.events import TaskContext

REFRESH = 4
"""Redraws a second."""


def run_file(
    expression: str,
    file: str,
    *,
    timestamps: bool = False,
    prefix: bool = False,
    **options: Any,
) -> int:
    """Schedule a file and show it until Ctrl-C, SIGTERM, or its last execution.

    In a terminal as a live table; elsewhere what its runs write is passed on as it
    comes. A second Ctrl-C ends it at once.

    Returns:
        1 if the last run that ended has failed, or the task did not start or was
        stopped for good; else 0.
    """
    # A file's name need not be text, a task's must be.
    options.setdefault("name", os.fsencode(file).decode("utf-8", "backslashreplace"))
    options["logger"] = _make_logger()
    task = schedule(expression, resolve_here(file), echo=False, **options)
    ended = threading.Event()
    failed: deque[bool] = deque([False], maxlen=1)  # whether the last run has
    task.on("task:destroyed", lambda _: ended.set())
    task.on("execution:finished", lambda _: failed.append(False))
    task.on("execution:failed", lambda _: failed.append(True))
    task.on("task:failed", lambda _: failed.append(True))
    task.on("task:failed", lambda _: ended.set())
    is_plain = timestamps or prefix or not sys.stdout.isatty()
    lines = Lines([task], timestamps=timestamps, prefix=prefix) if is_plain else None
    try:
        error = task.start().exception()
        if error is not None:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            return 1
        with _end_at_signal(ended):
            if lines is None:
                _watch([task], ended)
            else:
                lines.pump(ended)
        return int(failed[0])
    finally:
        _shut_down()


def _make_logger() -> logging.Logger:
    """Return a logger that leaves tracebacks of runs to us: we show each of them."""
    logger = logging.getLogger("ipycron.run")
    logger.addFilter(_is_no_run)
    return logger


def _is_no_run(record: logging.LogRecord) -> bool:
    args = record.args
    return not (isinstance(args, tuple) and "a run failed" in args)


def _shut_down() -> None:
    """Let runs end; a second Ctrl-C ends everything at once."""
    try:
        shutdown()
    except KeyboardInterrupt:
        os._exit(130)  # the workers end with this process


def resolve_here(file: str) -> str:
    """Return a path that means what a shell's user means: from the working folder."""
    from pathlib import Path  # noqa: PLC0415 - beside its only use

    return str(Path(file).expanduser().absolute())


@contextmanager
def _end_at_signal(ended: threading.Event) -> Iterator[None]:
    """Have SIGTERM set `ended`, and Ctrl-C leave the block."""
    before = signal.signal(signal.SIGTERM, lambda *_: ended.set())
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)


def _watch(tasks: list[Task], ended: threading.Event) -> None:
    console = Console()
    for task in tasks:
        task.on("execution:finished", lambda context: _print_output(console, context))
        task.on("execution:failed", lambda context: _print_output(console, context))
    with Live(Watch(tasks), console=console, refresh_per_second=REFRESH):
        ended.wait()


def _print_output(console: Console, context: TaskContext) -> None:
    execution = context.execution
    for text, style in (
        (execution.output.stdout, ""),
        (execution.output.stderr, "yellow"),
        (execution.traceback_text or "", "red"),
    ):
        if text.strip():
            console.print(Text.from_ansi(keep_colours(text.rstrip()), style=style))
