"""The shell that runs cells in a worker.

The zygote builds and warms it once (`prepare_shell`); a forked worker makes a
`CellShell` from it, loads one cell and runs it many times on its main thread. Nothing
here imports IPython before that.

What the code leaves in its namespace is still there at the next run. Results are not:
`_`, `Out` and `In` stay empty, so that a task holds no more after a thousand runs than
after one.
"""

# mypy: disable-error-code="no-untyped-call"
# Most of IPython's methods have no annotations.

from __future__ import annotations

import atexit
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ipycron.process.posix import flush_stdio
from ipycron.process.shell.source import compile_cell, parse_cell
from ipycron.process.shell.tracebacks import (
    find_missing_name,
    format_coloured,
    format_plain,
    trim_traceback,
)
from ipycron.process.wire.sources import register_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ipycron.process.shell.ipython import CellInteractiveShell
    from ipycron.process.shell.source import CompiledCell
    from ipycron.process.wire.displays import DisplayData

CONTEXT_NAME = "ctx"
"""The variable with the context of the cell's run."""

_WARM_RESULT = "[len('abc')]"
_WARM_FAILURE = "1 / 0"
_WARM_MAGICS = (("line", "time"), ("cell", "bash"))


@dataclass(frozen=True, slots=True, kw_only=True)
class CellOutcome:
    """How one run of a cell ended.

    Attributes:
        result: the value of the trailing expression, or None.
        error: what the cell raised (`SystemExit` and `KeyboardInterrupt` too), its
            traceback beginning with the cell; or None.
        traceback_text: Python's rendering of the error; empty without one.
        traceback_ansi: IPython's rendering, coloured; empty without an error.
    """

    result: Any = None
    error: BaseException | None = None
    traceback_text: str = ""
    traceback_ansi: str = ""

    @property
    def is_ok(self) -> bool:
        """Whether the cell ran without an error."""
        return self.error is None


class CellShell:
    """The shell of one worker, for one cell.

    Everything runs on the main thread, one call at a time.
    """

    def __init__(self, *, publish: Callable[[DisplayData], None]) -> None:
        """Use the process's shell; build it here if no zygote has.

        Args:
            publish: called with each display as it happens, in the thread that shows
                it. Never called in a process that the cell forks.
        """
        self._shell = _get_shell()
        self._shell.attach(publish)
        self._code: CompiledCell
        self._source = self._filename = ""
        self._captured: tuple[str, ...] = ()
        self._left_behind: frozenset[str] = frozenset()

    def load(
        self,
        source: str,
        namespace: Mapping[str, Any] | None = None,
        *,
        extensions: Iterable[str] = (),
        filename: str = "<cell>",
        left_behind: Iterable[str] = (),
    ) -> None:
        """Make the cell ready to run.

        Args:
            source: the text as typed; see `shell_source` about its first lines.
            namespace: the captured variables, by name.
            extensions: IPython extensions whose magics it uses.
            filename: what tracebacks call it, such as ``<cell report>``.
            left_behind: variables of the notebook that are not in the namespace.

        Raises:
            SyntaxError: if it is not IPython code.
            Exception: whatever loading an extension raises.
        """
        shell = self._shell
        shell.user_ns.update(namespace or {})
        self._captured = tuple(namespace or ())
        self._left_behind = frozenset(left_behind)
        assert shell.extension_manager is not None
        for extension in extensions:
            shell.extension_manager.load_extension(extension)
        shell.prepare_figures()
        register_source(filename, source, filename.strip("<>").removeprefix("cell "))
        with warnings.catch_warnings():
            # The notebook showed these warnings when the cell was declared.
            warnings.simplefilter("ignore", SyntaxWarning)
            cell = parse_cell(source, transform=shell.transform_cell, filename=filename)
            tree = shell.transform_ast(cell.tree)
            self._code = compile_cell(replace(cell, tree=tree))
        self._source, self._filename = source, filename

    def run(self, ctx: object) -> CellOutcome:
        """Run the cell once and return how it ended. Raises no error of the cell.

        Args:
            ctx: the variable `ctx` in the cell.
        """
        self._shell.user_ns[CONTEXT_NAME] = ctx
        try:
            result = self._shell.run_compiled(self._code, self._source)
        except BaseException as error:  # noqa: BLE001 - border: job
            trim_traceback(error, self._filename)
            self._advise(error)
            return CellOutcome(
                error=error,
                traceback_text=format_plain(error),
                traceback_ansi=format_coloured(error, self._shell),
            )
        finally:
            flush_stdio()
        return CellOutcome(result=result)

    def _advise(self, error: BaseException) -> None:
        """Add a note to a NameError if the notebook has the missing name."""
        name = find_missing_name(error)
        if name is not None and name in self._left_behind:
            names = ",".join((*self._captured, name))
            error.add_note(
                f"The notebook has {name!r}, which the cell did not take along. "
                f"Declare it with --capture {names}"
            )

    def close(self) -> None:
        """Close the event loop that the runs have used."""
        self._shell.loop_runner.close()


def prepare_shell() -> None:
    """Build this process's shell and warm it; further calls do nothing.

    Called in the zygote before it forks: workers inherit and share what this imports.
    Starts no thread and leaves no descriptor open. From then on the shell's namespace
    is `__main__`, and `input` raises.
    """
    from ipycron.process.shell.ipython import CellInteractiveShell  # noqa: PLC0415 - IPython, 180 ms

    if not CellInteractiveShell.initialized():
        shell = _get_shell()
        # A worker's shell ends with its process; a script has no shell.
        atexit.unregister(shell.atexit_operations)
        _warm(shell)


def _get_shell() -> CellInteractiveShell:
    """Return the process's shell, created at the first call."""
    from ipycron.process.shell.ipython import get_shell  # noqa: PLC0415 - as above

    return get_shell()


def _warm(shell: CellInteractiveShell) -> None:
    """Do once what every worker does, so that imports and caches are shared."""
    import asyncio  # noqa: F401, PLC0415 - cells that await

    import cloudpickle  # noqa: F401, PLC0415 - namespaces and results

    import ipycron.process.shell.captured  # noqa: F401, PLC0415 - a cell's variables

    for kind, name in _WARM_MAGICS:
        shell.find_magic(name, kind)
    rehearsal = CellShell(publish=lambda _: None)
    for source in (_WARM_RESULT, _WARM_FAILURE):
        rehearsal.load(source)
        rehearsal.run(None)
    del shell.user_ns[CONTEXT_NAME]
