"""``%%cron --inline``: a cell that runs in the notebook's own process and namespace.

In a kernel it runs on the kernel's event loop, which is the main thread's: between
two cells, never in the middle of one, so it may use what cells use (it may also run
while a cell awaits something). A slow cell makes its runs late, and a long run keeps
the next cell waiting; an interrupt ends it. At a terminal's prompt no loop is running;
there it runs on a thread, concurrently with what is typed.

What it prints and shows belongs to the run, as with a worker: `InlineOutput`. Not what
its threads print: they inherit no context variable, and if we made them do so, a thread
of a pool would print for all later runs and cells into the run that it was started in.
"""

# mypy: disable-error-code="no-untyped-call"
# Most of IPython's methods have no annotations.

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

from ipycron.client.recording import recorder
from ipycron.notebook.magic.inline_output import OwnFigures, own_figures
from ipycron.process.shell.displays import clean_bundle, clean_metadata
from ipycron.process.shell.source import (
    compile_cell,
    is_coroutine_code,
    parse_cell,
)
from ipycron.process.shell.tracebacks import format_coloured, trim_traceback
from ipycron.process.wire.displays import DisplayData
from ipycron.process.wire.outcome import WorkerTraceback, get_traceback_text, set_cause
from ipycron.process.wire.sources import register_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ipycron.client.recording import Recorder
    from ipycron.notebook.magic.notebook import Notebook

_CONTEXT = "ctx"
_ABSENT = object()


class InlineCell:
    """A cell, ready to run here.

    Attributes:
        cell_source: its text; marks the job as a cell for the history.
        is_async: whether it awaits.
    """

    def __init__(self, source: str, notebook: Notebook, *, name: str) -> None:
        shell: Any = notebook.shell
        self.cell_source = source
        self._shell = shell
        self._output = notebook.inline_output
        self._filename = f"<cell {name}>"
        # The context determines where a thread or log handler of the cell writes.
        self._place = copy_context()
        register_source(self._filename, source, name)
        cell = parse_cell(
            source, transform=shell.transform_cell, filename=self._filename
        )
        self._code = compile_cell(cell)
        self.is_async = self._code.is_async

    def make_job(self) -> Callable[[Any], Any]:
        """Return the job to schedule: a coroutine function if a loop is running."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return self._run_on_thread
        return self._run_on_loop

    async def _run_on_loop(self, ctx: Any) -> Any:
        place = self._make_place()
        if self.is_async:
            loop = asyncio.get_running_loop()
            run = OwnFigures(self._run_async(ctx))
            return await loop.create_task(run, context=place)
        with own_figures(), _interruptible():
            return place.run(self._run, ctx)

    def _make_place(self) -> Context:
        """Return a run's context: that of the declaration, marked with its run."""
        place: Context = self._place.copy()
        place.run(recorder.set, recorder.get())
        return place

    def _run_on_thread(self, ctx: Any) -> Any:
        place = self._make_place()
        if self.is_async:
            return place.run(asyncio.run, self._run_async(ctx))
        return place.run(self._run, ctx)

    def _run(self, ctx: Any) -> Any:
        with self._running(ctx) as output:
            value = None
            for part in self._code.parts:
                value = eval(part, self._shell.user_ns)  # noqa: S307 - the user's cell
            return self._show(value, output)

    async def _run_async(self, ctx: Any) -> Any:
        with self._running(ctx) as output:
            value = None
            for part in self._code.parts:
                value = eval(part, self._shell.user_ns)  # noqa: S307 - as above
                if is_coroutine_code(part):
                    value = await value
            return self._show(value, output)

    @contextlib.contextmanager
    def _running(self, ctx: Any) -> Iterator[Recorder]:
        """Set the notebook's variable `ctx`; show figures; trim tracebacks."""
        names = self._shell.user_ns
        before = names.get(_CONTEXT, _ABSENT)
        names[_CONTEXT] = ctx
        with self._output.taking() as output:
            try:
                yield output
            except Exception as error:
                self._attach_traceback(error)
                raise
            finally:
                if before is _ABSENT:
                    names.pop(_CONTEXT, None)
                else:
                    names[_CONTEXT] = before
                # Shows the figures that are still open.
                self._shell.events.trigger("post_execute")

    def _attach_traceback(self, error: Exception) -> None:
        """Give an error a traceback into the cell, as a worker's error has."""
        if get_traceback_text(error) is not None:
            return
        trim_traceback(error, self._filename)
        last: BaseException = error
        while last.__cause__ is not None:
            last = last.__cause__
        set_cause(last, WorkerTraceback(format_coloured(error, self._shell)))

    def _show(self, value: Any, output: Recorder) -> Any:
        if not self._code.has_value or value is None:
            return None
        data, metadata = self._shell.display_formatter.format(value)
        if data:  # otherwise it has displayed itself
            output.display(
                DisplayData(
                    kind="result",
                    data=clean_bundle(data, has_page=True),
                    metadata=clean_metadata(metadata),
                )
            )
        return value


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Make an interrupt end the run: between cells a kernel ignores it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
