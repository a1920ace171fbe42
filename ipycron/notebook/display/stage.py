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
    """A variable that a cell has captured, or left out, in words."""

    name: str
    type_name: str
    size: str
    is_left_out: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Understood:
    """What was understood of a declaration.

    Attributes:
        line: all of it in a line.
        variables: what the cell has captured.
        size: of all of them together, in words.
        captured: the same in a line; empty if there are none.
        notes: what else there is to say: what it replaces, where results go.
    """

    line: str
    variables: tuple[Variable, ...] = ()
    size: str = ""
    captured: str = ""
    notes: tuple[str, ...] = ()


class TaskDisplay(Protocol):
    """Where tasks are shown."""

    def show(self, task: Task, understood: Understood) -> None:
        """Say what was understood, and show a task from now on, here."""

    def show_leftovers(self, cell: Hashable, leftovers: Mapping[Task, str]) -> None:
        """Show tasks that go on though no cell declares them, and what ends them.

        Args:
            cell: the one that runs.
            leftovers: what is said of each task, after its name.
        """

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
