"""`%cron` and `%%cron`: what IPython calls. All the work is done elsewhere."""

# mypy: disable-error-code="no-untyped-call"
# Most of IPython's methods have no annotations.
from __future__ import annotations

import re
import sys
from functools import cached_property
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from IPython.core.magic import (
    Magics,
    line_cell_magic,
    magics_class,
    needs_local_scope,
    no_var_expand,
)

from ipycron.notebook.magic.formats import register_formats, unregister_formats

if TYPE_CHECKING:
    from ipycron.notebook.magic.notebook import Notebook


def _get_manual() -> str:
    from ipycron.notebook.magic.manual import write_manual  # noqa: PLC0415 - see extension

    return write_manual()


@magics_class
class CronMagics(Magics):
    """The magics of one shell."""

    shell: Any
    _loading: SimpleNamespace | None = None

    @cached_property
    def notebook(self) -> Notebook:
        """The state of this notebook; imports what is needed to run tasks."""
        from ipycron.notebook.magic.notebook import Notebook  # noqa: PLC0415 - as above

        notebook = Notebook(self.shell)
        if self._loading is not None:
            notebook.cells.begin(self._loading)
        return notebook

    @no_var_expand
    @needs_local_scope
    @line_cell_magic
    def cron(
        self, line: str, cell: str | None = None, local_ns: dict[str, Any] | None = None
    ) -> None:
        """Schedule a cell or a file, and control what is scheduled."""
        from ipycron.notebook.magic.dispatch import run_magic  # noqa: PLC0415 - as above

        run_magic(self.notebook, line, cell, local_ns or {})

    # IPython reads this first: the manual is only written when needed.
    vars(cron)["getdoc"] = _get_manual

    def load(self) -> None:
        """Register event handlers, completion and formatters with the shell."""
        shell = self.shell
        shell.register_magics(self)
        shell.events.register("pre_run_cell", self._begin_cell)
        shell.events.register("post_run_cell", self._end_cell)
        shell.input_transformers_cleanup.append(clean_header)
        shell.Completer.custom_matchers.append(self._match)
        register_formats(shell)
        self._loading = self._find_loading_cell()

    def unload(self) -> None:
        """End all tasks and leave nothing of ipycron in the shell."""
        shell = self.shell
        self.notebook.close()
        unregister_formats(shell)
        shell.Completer.custom_matchers.remove(self._match)
        shell.input_transformers_cleanup.remove(clean_header)
        shell.events.unregister("post_run_cell", self._end_cell)
        shell.events.unregister("pre_run_cell", self._begin_cell)
        for kind in ("line", "cell"):
            shell.magics_manager.magics[kind].pop("cron", None)
        shell.magics_manager.registry.pop(type(self).__name__, None)

    @cached_property
    def _match(self) -> Any:
        """The completer's matcher; imports the rest at its first call."""
        from IPython.core.completer import context_matcher  # noqa: PLC0415 - as above

        @context_matcher()  # type: ignore[untyped-decorator] # IPython's
        def ipycron_matcher(context: Any) -> Any:
            from ipycron.notebook.magic.completion import match  # noqa: PLC0415 - as above

            return match(context, self.shell)

        return ipycron_matcher

    def _find_loading_cell(self) -> SimpleNamespace | None:
        """Return the cell that loads us: its ``pre_run_cell`` is over already."""
        get_parent = getattr(self.shell, "get_parent", None)
        parent = {} if get_parent is None else get_parent() or {}
        code = parent.get("content", {}).get("code")
        if not code:
            return None
        cell_id = parent.get("metadata", {}).get("cellId")
        return SimpleNamespace(cell_id=cell_id, raw_cell=code, before=_find_task_ids())

    def _begin_cell(self, info: Any) -> None:
        self.notebook.begin_cell(info)

    def _end_cell(self, result: Any) -> None:
        # The cell that loads us need import nothing more, unless it has made a task.
        if "notebook" in vars(self) or _find_task_ids():
            self.notebook.end_cell(result)
        self._loading = None


def _find_task_ids() -> frozenset[str]:
    """Return the ids of all tasks, without importing anything."""
    module = sys.modules.get("ipycron.client.registry")
    # A module that another thread is still importing has no names and no tasks yet.
    registry = getattr(module, "registry", None)
    client = None if registry is None else registry.running_client
    return frozenset() if client is None else frozenset(client.tasks)


_HEADER = re.compile(r"%%cron(?=\s|$)")
_HELP = re.compile(r"%%cron\s+(-h|--help)\s*")


def clean_header(lines: list[str]) -> list[str]:
    """Return the lines of a cell so that IPython recognizes `%%cron`.

    IPython knows a cell magic by the very first line. Comments above `%%cron` are
    removed (the cell's source, with its line numbers, is taken from the text as typed),
    and a header that asks for help needs no body.
    """
    for index, line in enumerate(lines):
        if _HEADER.match(line):
            kept = lines[index:]
            if _HELP.fullmatch(line) and not "".join(kept[1:]).strip():
                return [line[1:]]
            return kept
        if line.strip() and not line.lstrip().startswith("#"):
            break
    return lines
