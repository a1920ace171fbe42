"""The state of one notebook, or of one session at a prompt."""

# Messages about tasks are the output of the cell.
# ruff: noqa: T201

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipycron.api import functions as api
from ipycron.errors import StartRevoked, TaskDestroyed, TaskNotStarted
from ipycron.notebook.display.last_words import LastResort
from ipycron.notebook.display.terminal import TerminalDisplay
from ipycron.notebook.display.words import say_name
from ipycron.notebook.magic.cells import CellLedger
from ipycron.notebook.magic.inline_output import InlineOutput
from ipycron.notebook.widgets.page import PageDisplay
from ipycron.process.wire.outcome import summarize_error

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from ipycron.api.task import Task
    from ipycron.client.completion import Completion
    from ipycron.notebook.display.stage import TaskDisplay


class Notebook:
    """One per shell, made at the first use of a magic.

    Attributes:
        shell: IPython's shell.
        cells: which cell has declared which tasks.
        stage: where its tasks are shown.
        inline_output: collects what inline cells print and show.
        quiet: names of the tasks that were declared with ``--quiet``.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        self.shell = shell
        self.cells = CellLedger()
        self.stage = make_stage(shell)
        self.quiet: set[str] = set()
        self.inline_output = InlineOutput(shell)
        self._last_resort = LastResort(self.stage, self.quiet)
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
            names = ", ".join(say_name(task) for task in ended)
            print(f"{names}: ended, the cell no longer declares it")
        if kept:
            self.stage.show_leftovers(key, kept)
        if is_outermost:
            self.stage.leave(key)

    def _find_deleted(self) -> list[object]:
        """Return the ids of cells that were deleted since a cell last ran.

        JupyterLab and Notebook send them with each cell.
        """
        get_parent = getattr(self.shell, "get_parent", None)
        parent = {} if get_parent is None else get_parent() or {}
        deleted = parent.get("metadata", {}).get("deletedCells")
        return deleted if isinstance(deleted, list) else []

    def see_end(self, task: Task, completion: Completion[Any]) -> None:
        """Log the failure of a run that no caller waits for and no view shows."""
        error = completion.exception()
        if isinstance(error, StartRevoked | TaskNotStarted | TaskDestroyed):
            return  # a stop or a destroy came first: not a failure
        if error is not None and not self.stage.has(task.name):
            summary = summarize_error(error)
            extra = {"ipycron_name": task.name}
            text = "task %r: a run failed: %s"
            task.logger.error(text, task.name, summary, extra=extra)

    def close(self) -> None:
        """End all tasks and processes, and print which tasks those were."""
        names = [say_name(task) for task in api.get_tasks().values()]
        api.shutdown()
        self.stage.close()
        self._last_resort.remove()
        if names:
            print(f"ended: {', '.join(names)}")


def make_stage(shell: Any) -> TaskDisplay:
    """Return the display for a shell's tasks."""
    return (
        TerminalDisplay(shell)
        if getattr(shell, "kernel", None) is None
        else PageDisplay()
    )
