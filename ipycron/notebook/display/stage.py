"""Shows tasks where they are declared: under the cell, or in the terminal.

A kernel displays the live card, and in the next output the static text and HTML for
front ends without widgets and for saved notebooks. A terminal prints
what runs print, as it comes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from ipycron.notebook.display.terminal import TerminalStage
from ipycron.notebook.display.words import get_now, say_fires, say_name, say_schedule
from ipycron.notebook.widgets.page import PageStage

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from ipycron.api.task import Task
    from ipycron.notebook.magic.notebook import Notebook


class TaskDisplay(Protocol):
    """Where tasks are shown."""

    def show(self, task: Task) -> None:
        """Show a task from now on, here."""

    def has(self, name: str) -> bool:
        """Return whether a task of this name is shown."""

    def prints(self, task: Task) -> bool:
        """Return whether what a task prints is printed here anyway."""

    def tell_trouble(self, task: Task, text: str) -> None:
        """Show what kept a task from starting."""

    def leave(self, cell: Hashable) -> None:
        """Note that a cell has ended: what it showed before is gone."""

    def flush(self) -> None:
        """Show everything that has happened until now."""

    def close(self) -> None:
        """Show nothing more."""


def make_stage(shell: Any) -> TaskDisplay:
    """Return where a shell's tasks are shown."""
    return (
        TerminalStage(shell) if getattr(shell, "kernel", None) is None else PageStage()
    )


def present(
    notebook: Notebook,
    task: Task,
    *,
    notes: Sequence[str] = (),
    warnings: Sequence[str] = (),
    is_quiet: bool = False,
) -> None:
    """Say what was understood, and show the task from now on.

    Args:
        notebook: where it is shown.
        task: the task.
        notes: what the line says after the schedule.
        warnings: what will perhaps go wrong, a line each.
        is_quiet: show nothing.
    """
    if is_quiet:
        notebook.quiet.add(task.name)
        return
    notebook.quiet.discard(task.name)
    lines = (describe(task, notes), *(f"warning: {text}" for text in warnings))
    print("\n".join(lines))  # noqa: T201 - the front end shows it under the cell
    notebook.stage.show(task)


def describe(task: Task, notes: Sequence[str] = ()) -> str:
    """Return the line that says what was understood."""
    said = f"{say_name(task)}: {say_schedule(task)}, {say_fires(task, get_now())}"
    return "; ".join((said, *notes))
