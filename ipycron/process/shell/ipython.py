"""The IPython shell of a worker: no history, no terminal, no user.

It imports IPython, so only `prepare_shell` may import this module first.
"""

# mypy: disable-error-code="no-untyped-call"
# Most of IPython's methods have no annotations.

from __future__ import annotations

import builtins
import contextlib
import contextvars
import os
import subprocess
import sys
from types import CoroutineType
from typing import TYPE_CHECKING, Any, NoReturn

from IPython.core.autocall import ExitAutocall
from IPython.core.compilerop import CachingCompiler
from IPython.core.interactiveshell import (
    ExecutionInfo,
    ExecutionResult,
    InteractiveShell,
)
from traitlets import Type, default
from traitlets.config import Config

from ipycron.process.posix import flush_stdio
from ipycron.process.shell.displays import CellDisplayHook, CellPublisher
from ipycron.process.shell.source import is_coroutine_code
from ipycron.process.wire.describe import (
    get_short_name,
    get_type_name,
    interrupting,
)
from ipycron.process.wire.sources import find_label

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine

    from ipycron.process.shell.source import CompiledCell
    from ipycron.process.wire.displays import DisplayData

_DISPLAY_SECONDS = 10.0
"""Seconds that a cell's value may take to describe itself: a large table, a figure."""
CANCEL_TIMEOUT = 1.0
"""Seconds that an interrupted coroutine gets to clean up."""

INLINE_BACKEND = "module://matplotlib_inline.backend_inline"


class CellCompiler(CachingCompiler):
    """Names the cells of the notebook in tracebacks as the notebook does."""

    def format_code_name(self, name: str) -> tuple[str, str] | None:
        """Return ``("Cell", label)`` for a registered source."""
        label = find_label(name)
        return ("Cell", label) if label else super().format_code_name(name)


class Leave(ExitAutocall):
    """`exit` and `quit`: there is no session to end, so they end the run."""

    def __call__(self, code: object = None) -> NoReturn:
        """End the run as `sys.exit` does."""
        raise SystemExit(code)


class LoopRunner:
    """Runs coroutines on one loop for all runs: what a cell keeps is bound to it.

    An interrupted coroutine is cancelled, so that nothing of one run is left on the
    loop to wake up in the next.
    """

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None

    def __call__(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine to its end; return its result or raise its error."""
        import asyncio  # noqa: PLC0415 - 80 ms in a shell that is not warm

        if self._runner is None:
            self._runner = asyncio.Runner()
        task: asyncio.Task[Any] | None = None

        async def run() -> Any:
            nonlocal task
            task = asyncio.current_task()
            return await coroutine

        try:
            return self._runner.run(run(), context=contextvars.copy_context())
        except BaseException:
            # The runner itself cancels on SIGINT only.
            if task is not None and not task.done():
                task.cancel()
                self._runner.run(asyncio.wait([task], timeout=CANCEL_TIMEOUT))
            raise

    def close(self) -> None:
        """Close the loop, if a run has made one."""
        if self._runner is not None:
            self._runner.close()


class CellInteractiveShell(InteractiveShell):
    """An `InteractiveShell` whose code runs unattended.

    Where IPython shows an error and continues (`%run`, `%%capture`), this shell raises
    it: an unattended run that failed must not look like a success.
    """

    _is_evaluating = False
    is_guest = False
    """Whether the process is shared, so that its pipes are not the job's."""

    display_pub_class = Type(CellPublisher)
    displayhook_class = Type(CellDisplayHook)
    compiler_class = Type(CellCompiler)

    def init_hooks(self) -> None:
        """Add the hook that shows what `name?` would open in a pager."""
        super().init_hooks()
        self.set_hook("show_in_pager", _show_page, 10)

    @default("exiter")
    def _exiter_default(self) -> ExitAutocall:
        return Leave(self)

    # --- what the worker calls ----------------------------------------------------

    def attach(self, publish: Callable[[DisplayData], None]) -> None:
        """Bind the shell to this process: its displays and its event loop."""
        assert isinstance(self.display_pub, CellPublisher)
        self.display_pub.sink = publish
        self.display_pub.owner_pid = os.getpid()
        self.loop_runner = LoopRunner()

    def prepare_figures(self) -> None:
        """Show figures inline if matplotlib has already been imported.

        Later imports find the backend by ``MPLBACKEND``.
        """
        is_ours = os.environ.get("MPLBACKEND") == INLINE_BACKEND
        if is_ours and "matplotlib" in sys.modules:
            self.enable_matplotlib()

    def run_compiled(self, cell: CompiledCell, source: str) -> Any:
        """Run a cell; return its value, published as a result. Raises its error."""
        info = ExecutionInfo.__new__(ExecutionInfo)  # arguments vary by version
        info.raw_cell = source
        execution = ExecutionResult(info)
        with self.builtin_trap, self.display_trap:
            self.events.trigger("pre_execute")
            self.events.trigger("pre_run_cell", info)
            try:
                self._is_evaluating = True
                execution.result = self._evaluate(cell)
            except BaseException as error:
                execution.error_in_exec = error
                raise
            finally:
                self._is_evaluating = False
                self.events.trigger("post_execute")  # shows the figures left open
                self.events.trigger("post_run_cell", execution)
        return execution.result

    def _evaluate(self, cell: CompiledCell) -> Any:
        if cell.is_async:
            value = self.loop_runner(self._evaluate_async(cell))
        else:
            value = None
            for part in cell.parts:
                value = eval(part, self.user_global_ns, self.user_ns)  # noqa: S307 - the user's cell
        if not cell.has_value or value is None:
            return None
        if type(value) is CoroutineType:  # otherwise its body would never run
            value = self.loop_runner(value)
        self._show_result(value)
        return value

    def _show_result(self, value: Any) -> None:
        """Display the value of the cell; if it fails to describe itself, name its type.

        IPython shows an `Exception` raised by it; that does not fail the cell.
        """
        try:
            with interrupting(_DISPLAY_SECONDS):
                sys.displayhook(value)
        except BaseException as error:  # noqa: BLE001 - a user's __repr__
            name, reason = get_type_name(value), get_short_name(error)
            print(f"<{name}> could not be displayed: {reason}", file=sys.stderr)  # noqa: T201 - as IPython does

    async def _evaluate_async(self, cell: CompiledCell) -> Any:
        value = None
        for part in cell.parts:
            value = eval(part, self.user_global_ns, self.user_ns)  # noqa: S307 - as above
            if is_coroutine_code(part):
                value = await value
        return value

    # --- what cells and magics call -----------------------------------------------

    def system(self, cmd: str) -> None:
        """Run ``!cmd``: a subprocess that writes to the worker's own pipes.

        IPython's own uses a pseudo-terminal, which costs 0.1 s a call.
        """
        if cmd.rstrip().endswith("&"):
            raise OSError("Background processes not supported.")
        flush_stdio()
        # `$name` and `{expression}` refer to the names in our caller's frame.
        command = self.var_expand(cmd, depth=1)
        code = self._call(command)
        self.user_ns["_exit_code"] = code
        if code and getattr(self, "system_raise_on_error", False):
            raise subprocess.CalledProcessError(code, command)

    def _call(self, command: str) -> int:
        pipe = subprocess.PIPE if self.is_guest else None
        done = subprocess.run(  # noqa: S602 - a shell's command is what `!` means
            command,
            shell=True,
            executable=os.environ.get("SHELL"),
            stdin=subprocess.DEVNULL,
            stdout=pipe,
            stderr=pipe,
            check=False,
        )
        if self.is_guest:
            sys.stdout.write(done.stdout.decode("utf-8", "backslashreplace"))
            sys.stderr.write(done.stderr.decode("utf-8", "backslashreplace"))
        return done.returncode

    system_piped = system
    system_raw = system

    def run_cell(self, *args: Any, **kwargs: Any) -> Any:
        """Run a cell for a magic; raise its error."""
        result = super().run_cell(*args, **kwargs)
        result.raise_error()
        return result

    async def run_code(
        self, code_obj: Any, result: Any = None, *, async_: bool = False
    ) -> bool:
        """Execute code; keep its error, whatever it is, for `run_cell`."""
        try:
            value = eval(code_obj, self.user_global_ns, self.user_ns)  # noqa: S307 - as above
            if async_:
                await value
        except BaseException as error:
            if result is None:
                raise
            result.error_in_exec = error
            return True
        return False

    def safe_execfile(
        self, fname: Any, *where: Any, raise_exceptions: bool = True, **options: Any
    ) -> None:
        """Run a file for `%run`; raise its error."""
        super().safe_execfile(
            fname, *where, raise_exceptions=raise_exceptions, **options
        )

    def showtraceback(self, *args: Any, **options: Any) -> None:
        """Raise the error that a magic would show (`%time`, before IPython 9.4).

        Errors that other parts of IPython show are not the cell's: a repr that fails, a
        figure that cannot be drawn.
        """
        error = sys.exception()
        if self._is_evaluating and error is not None and not args and not options:
            raise error
        super().showtraceback(*args, **options)

    def enable_gui(self, gui: str | None = None) -> None:
        """Do nothing: there is no GUI event loop to integrate with."""

    def enable_matplotlib(self, gui: str | None = None) -> Any:  # noqa: ARG002 - IPython's
        """Show figures in the notebook, whatever backend is asked for."""
        return super().enable_matplotlib("inline")

    @contextlib.contextmanager
    def _tee(self, channel: str) -> Any:  # noqa: ARG002 - IPython's
        # IPython's own keeps everything printed, for a history that is off.
        yield

    def _showtraceback(self, etype: object, evalue: object, stb: list[str]) -> None:  # noqa: ARG002 - IPython's
        sys.stderr.write("\n".join(stb) + "\n")


def get_shell() -> CellInteractiveShell:
    """Return the shell of this process: it is `__main__` and `get_ipython()`.

    Created at the first call, without a thread (history would start one) and without an
    open descriptor.
    """
    if not CellInteractiveShell.initialized():
        _prepare_process()
    shell: CellInteractiveShell = CellInteractiveShell.instance(config=_make_config())
    return shell


def _make_config() -> Config:
    config = Config()
    config.HistoryManager.enabled = False
    config.HistoryManager.hist_file = ":memory:"
    config.InteractiveShell.cache_size = 0
    config.InteractiveShell.warn_venv = False
    return config


def _prepare_process() -> None:
    builtins.input = _refuse_input
    # As ipykernel does: pyplot finds the backend when the cell first draws, and
    # the backend finds the shell. Nothing of matplotlib is imported before.
    os.environ.setdefault("MPLBACKEND", INLINE_BACKEND)


def _refuse_input(prompt: object = "", /) -> NoReturn:  # noqa: ARG001 - the built-in's
    raise EOFError(
        "input(): a scheduled cell has no user to ask. Set a variable in the notebook "
        "and use it in the cell instead."
    )


def _show_page(shell: CellInteractiveShell, data: Any, *_: Any, **__: Any) -> None:
    """Show what `name?` would open in a pager."""
    bundle = data if isinstance(data, dict) else {"text/plain": data}
    shell.display_pub.publish(bundle.get("data", bundle))
