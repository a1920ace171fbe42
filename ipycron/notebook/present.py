"""Shows a task under the cell that declares it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipycron.notebook.clock import get_now
from ipycron.notebook.words import say_fires, say_schedule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipycron.notebook.session import Notebook
    from ipycron.task.task import Task


def present(
    notebook: Notebook, task: Task, *, notes: Sequence[str] = (), is_quiet: bool = False
) -> None:
    """Say what was understood, and show the task."""
    if is_quiet:
        return
    print(describe(task, notes))  # noqa: T201 - the front end shows it under the cell


def describe(task: Task, notes: Sequence[str] = ()) -> str:
    """Return the line that says what was understood."""
    said = f"{task.name}: {say_schedule(task)}, {say_fires(task, get_now())}"
    return "; ".join((said, *notes))
