"""``%%cron --inline``: a cell that runs in the notebook's own process and namespace.

In a kernel it runs on the kernel's event loop, which is the main thread's: between
two cells, never in the middle of one, so it may touch what cells touch (while a cell
awaits something, it may run). A cell that takes its time makes its runs late, and a
long run keeps the next cell waiting; an interrupt ends it. At a terminal's prompt no
loop is running; there it runs on a thread, beside whatever is typed.

What it prints and shows appears under the cell that declares it.
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

from IPython.display import display

from ipycron.process.shell.source import (
    compile_cell,
    is_coroutine_code,
    parse_cell,
)
from ipycron.process.shell.tracebacks import format_coloured, trim_traceback
from ipycron.process.wire.outcome import WorkerTraceback, get_traceback_text, set_cause
from ipycron.process.wire.sources import register_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CONTEXT = "ctx"
_ABSENT = object()


class InlineCell:
    """A cell, ready to run here.

    Attributes:
        is_async: whether it awaits.
    """

    def __init__(self, source: str, shell: Any, *, name: str) -> None:
        self._shell = shell
        self._filename = f"<cell {name}>"
        # Where output goes is said by the context that a cell runs in.
        self._place = copy_context()
        register_source(self._filename, source, name)
        cell = parse_cell(
            source, transform=shell.transform_cell, filename=self._filename
        )
        self._code = compile_cell(cell)
        self.is_async = self._code.is_async

    def make_job(self) -> Callable[[Any], Any]:
        """Return what is scheduled: a coroutine function where a loop is running."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return self._run_on_thread
        return self._run_on_loop

    async def _run_on_loop(self, ctx: Any) -> Any:
        place = self._place.copy()
        if self.is_async:
            loop = asyncio.get_running_loop()
            return await loop.create_task(self._run_async(ctx), context=place)
        with _interruptible():
            return place.run(self._run, ctx)

    def _run_on_thread(self, ctx: Any) -> Any:
        place: Context = self._place.copy()
        if self.is_async:
            return place.run(asyncio.run, self._run_async(ctx))
        return place.run(self._run, ctx)

    def _run(self, ctx: Any) -> Any:
        with self._running(ctx):
            value = None
            for part in self._code.parts:
                value = eval(part, self._shell.user_ns)  # noqa: S307 - the user's cell
            return self._show(value)

    async def _run_async(self, ctx: Any) -> Any:
        with self._running(ctx):
            value = None
            for part in self._code.parts:
                value = eval(part, self._shell.user_ns)  # noqa: S307 - as above
                if is_coroutine_code(part):
                    value = await value
            return self._show(value)

    @contextlib.contextmanager
    def _running(self, ctx: Any) -> Iterator[None]:
        """Lend the notebook the variable `ctx`; show figures; trim tracebacks."""
        names = self._shell.user_ns
        before = names.get(_CONTEXT, _ABSENT)
        names[_CONTEXT] = ctx
        try:
            yield
        except Exception as error:
            self._attach_traceback(error)
            raise
        finally:
            if before is _ABSENT:
                names.pop(_CONTEXT, None)
            else:
                names[_CONTEXT] = before
            self._shell.events.trigger("post_execute")  # shows the figures left open

    def _attach_traceback(self, error: Exception) -> None:
        """Have an error say where in the cell it was raised, as a worker's does."""
        if get_traceback_text(error) is not None:
            return
        trim_traceback(error, self._filename)
        last: BaseException = error
        while last.__cause__ is not None:
            last = last.__cause__
        set_cause(last, WorkerTraceback(format_coloured(error, self._shell)))

    def _show(self, value: Any) -> Any:
        if not self._code.has_value or value is None:
            return None
        display(value)
        return value


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let an interrupt end the run: between cells a kernel ignores it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
