"""What ipycron knows of one notebook, or of one session at a prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipycron.errors import InvalidOption, suggest
from ipycron.notebook.cells import CellLedger
from ipycron.task import api

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


class Notebook:
    """One per shell, made at the first use of a magic.

    Attributes:
        shell: IPython's shell.
        cells: which cell has declared what.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        self.shell = shell
        self.cells = CellLedger()

    @property
    def kernel(self) -> Any:
        """The kernel of a notebook; None at a terminal's prompt."""
        return getattr(self.shell, "kernel", None)

    def find_variable(self, name: str) -> Any:
        """Return a variable of the notebook.

        Raises:
            InvalidOption: if there is none.
        """
        if name not in self.shell.user_ns:
            raise InvalidOption(
                option="variable",
                value=name,
                expected="the name of a variable of the notebook",
                advice=suggest(name, self.shell.user_ns).strip(),
            )
        return self.shell.user_ns[name]

    def close(self) -> None:
        """End all tasks and processes, and say which tasks that were."""
        names = [task.name for task in api.get_tasks().values()]
        api.shutdown()
        if names:
            print(f"ended: {', '.join(names)}")  # noqa: T201 - the cell's output
