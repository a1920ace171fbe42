"""Where tasks are shown: under their cell, or in the terminal.

`widgets/page.py` shows the live card, and the static text and HTML for front ends
without widgets and for saved notebooks. `terminal.py` prints what runs print.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from ipycron.api.task import Task


class Variable(NamedTuple):
    """A variable that a cell has captured or left out, as text."""

    name: str
    type_name: str
    size: str
    is_left_out: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpretation:
    """How a declaration was understood.

    Attributes:
        line: all of it in one line.
        variables: what the cell has captured.
        size: their total size, as text.
        captured: the same in one line; empty if there are none.
        notes: further notes: which task it replaces, where results go.
    """

    line: str
    variables: tuple[Variable, ...] = ()
    size: str = ""
    captured: str = ""
    notes: tuple[str, ...] = ()


class TaskDisplay(Protocol):
    """Where tasks are shown."""

    def show(self, task: Task, interpretation: Interpretation) -> None:
        """Show how a declaration was understood, and show its task here from now on."""

    def show_leftovers(self, cell: Hashable, leftovers: Mapping[Task, str]) -> None:
        """Show tasks that continue though no cell declares them, and how to end them.

        Args:
            cell: the running cell.
            leftovers: the note on each task, shown after its name.
        """

    def has(self, name: str) -> bool:
        """Return whether a task of this name is shown."""

    def prints(self, task: Task) -> bool:
        """Return whether a task's output is printed here anyway."""

    def show_trouble(self, task: Task, text: str) -> None:
        """Show why a task did not start."""

    def leave(self, cell: Hashable) -> None:
        """Record that a cell has ended: its previous output is gone."""

    def flush(self) -> None:
        """Show everything that has happened so far."""

    def close(self) -> None:
        """Stop showing tasks."""
