"""The state of one notebook, or of one session at a prompt."""

# Messages about tasks are the output of the cell.
# ruff: noqa: T201

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ipycron.api import functions as api
from ipycron.errors import (
    ExecutionStopped,
    StartRevoked,
    TaskDestroyed,
    TaskNotStarted,
)
from ipycron.notebook.display.last_resort import LastResort
from ipycron.notebook.display.terminal import TerminalDisplay
from ipycron.notebook.display.words import format_name
from ipycron.notebook.magic.cells import CellTracker
from ipycron.notebook.magic.inline_output import InlineOutput
from ipycron.notebook.widgets.page import PageDisplay
from ipycron.process.wire.outcome import summarize_error
from ipycron.scheduling.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from IPython.core.interactiveshell import InteractiveShell

    from ipycron.api.task import Task
    from ipycron.client.completion import Completion
    from ipycron.notebook.display.task_display import TaskDisplay
    from ipycron.scheduling.events import TaskContext


_LOADING_SECONDS = 30.0
"""Maximum seconds to wait until a result is loaded."""
_LOOK_SECONDS = 0.01
_ENDED_ON_REQUEST = StartRevoked, TaskNotStarted, TaskDestroyed, ExecutionStopped


class Results:
    """Puts the results of tasks into variables of the notebook, each in its lane."""

    def __init__(self) -> None:
        self._kept: WeakKeyDictionary[Task, list[int]] = WeakKeyDictionary()

    def keep(self, task: Task, put: Callable[[TaskContext], None]) -> None:
        """Call `put` after each successful run of a task that has not been started."""
        counts = self._kept.setdefault(task, [])
        place = len(counts)
        counts.append(0)

        def put_next(context: TaskContext) -> None:
            try:
                put(context)
            finally:
                counts[place] += 1

        task.on("execution:finished", put_next)

    def wait(self, task: Task) -> None:
        """Return when the results of the runs that have ended are in their variables.

        Loading one may take seconds, for the libraries that it needs.
        """
        clock, ended = SystemClock(), task.history.finished
        deadline = clock.monotonic() + _LOADING_SECONDS
        counts = self._kept.get(task, [])
        while min(counts, default=ended) < ended and clock.monotonic() < deadline:
            threading.Event().wait(_LOOK_SECONDS)


class Notebook:
    """One per shell, made at the first use of a magic.

    Attributes:
        shell: IPython's shell.
        cells: which cell has declared which tasks.
        display: where its tasks are shown.
        inline_output: collects what inline cells print and show.
        results: puts results into variables (`--into`, `--append-to`).
        quiet: names of the tasks that were declared with ``--quiet``.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        self.shell = shell
        self.cells = CellTracker()
        self.display = make_display(shell)
        self.results = Results()
        self.quiet: set[str] = set()
        self.inline_output = InlineOutput(shell)
        self._last_resort = LastResort(self.display, self.quiet)
        self._last_resort.install()

    @property
    def kernel(self) -> Any:
        """The kernel of a notebook; None at a terminal's prompt."""
        return getattr(self.shell, "kernel", None)

    def begin_cell(self, info: Any) -> None:
        """Record that a cell begins: IPython's event ``pre_run_cell``."""
        self.inline_output.settle()
        self.cells.begin(info, self._find_deleted())

    def end_cell(self, result: Any) -> None:
        """Record that a cell has ended: IPython's event ``post_run_cell``."""
        self.inline_output.settle()
        key, is_outermost = self.cells.key, self.cells.depth == 1
        ended, kept = self.cells.end(result)
        if ended:
            names = ", ".join(format_name(task) for task in ended)
            print(f"{names}: ended, the cell no longer declares it")
        if kept:
            self.display.show_leftovers(key, kept)
        if is_outermost:
            self.display.leave(key)

    def _find_deleted(self) -> list[object]:
        """Return the ids of cells that were deleted since a cell last ran.

        JupyterLab and Notebook send them with each cell.
        """
        get_parent = getattr(self.shell, "get_parent", None)
        parent = {} if get_parent is None else get_parent() or {}
        deleted = parent.get("metadata", {}).get("deletedCells")
        return deleted if isinstance(deleted, list) else []

    def handle_end(self, task: Task, completion: Completion[Any]) -> None:
        """Log the failure of a run that no caller waits for and no view shows."""
        error = completion.exception()
        if isinstance(error, _ENDED_ON_REQUEST):
            return  # stopped or destroyed: not a failure
        # A quiet task may have been shown under the same name before.
        is_shown = task.name not in self.quiet and self.display.has(task.name)
        if error is not None and not is_shown:
            summary = summarize_error(error)
            extra = {"ipycron_name": task.name}
            text = "task %r: a run failed: %s"
            task.logger.error(text, task.name, summary, extra=extra)

    def close(self) -> None:
        """End all tasks and processes, and print which tasks those were."""
        tasks = api.get_tasks().values()
        names = [format_name(task) for task in tasks if not task.is_kept]
        kept = [format_name(task) for task in tasks if task.is_kept]
        api.shutdown()
        self.display.close()
        self._last_resort.remove()
        if names:
            print(f"ended: {', '.join(names)}")
        if kept:
            print(f"kept, still scheduled by the service: {', '.join(kept)}")


def make_display(shell: Any) -> TaskDisplay:
    """Return the display for a shell's tasks."""
    return (
        TerminalDisplay(shell)
        if getattr(shell, "kernel", None) is None
        else PageDisplay()
    )
