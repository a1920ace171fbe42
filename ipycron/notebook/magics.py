"""`%cron` and `%%cron`: what IPython calls. All the work is done elsewhere."""

# mypy: disable-error-code="no-untyped-call"
# Most of IPython's methods have no annotations.

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from IPython.core.magic import (
    Magics,
    line_cell_magic,
    magics_class,
    needs_local_scope,
    no_var_expand,
)

if TYPE_CHECKING:
    from ipycron.notebook.session import Notebook


@magics_class
class CronMagics(Magics):
    """The magics of one shell."""

    shell: Any

    @cached_property
    def notebook(self) -> Notebook:
        """What is known of this notebook; imports what it takes to run tasks."""
        from ipycron.notebook.session import Notebook  # noqa: PLC0415 - see extension

        return Notebook(self.shell)

    @no_var_expand
    @needs_local_scope
    @line_cell_magic
    def cron(
        self, line: str, cell: str | None = None, local_ns: dict[str, Any] | None = None
    ) -> Any:
        """Schedule a cell or a file, and control what is scheduled."""
        from ipycron.notebook import dispatch  # noqa: PLC0415 - as above

        return dispatch.run_magic(self.notebook, line, cell, local_ns or {})

    def load(self) -> None:
        """Follow the shell's cells."""
        self.shell.events.register("pre_run_cell", self._begin_cell)
        self.shell.events.register("post_run_cell", self._end_cell)

    def unload(self) -> None:
        """End all tasks and leave nothing of ipycron in the shell."""
        self.notebook.close()
        self.shell.events.unregister("pre_run_cell", self._begin_cell)
        self.shell.events.unregister("post_run_cell", self._end_cell)
        for kind in ("line", "cell"):
            self.shell.magics_manager.magics[kind].pop("cron", None)
        self.shell.magics_manager.registry.pop(type(self).__name__, None)

    def _begin_cell(self, info: Any) -> None:
        self.notebook.cells.begin(info)

    def _end_cell(self, result: Any) -> None:
        ended = self.notebook.cells.end(result)
        if ended:
            names = ", ".join(task.name for task in ended)
            print(f"{names}: ended, the cell does not declare it any more")  # noqa: T201
