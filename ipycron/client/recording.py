"""Records what each run of an inline job prints; other output is unaffected.

This covers functions and the cells of a notebook; the notebook adds what cells display.

A context variable identifies the run that code belongs to. Coroutines inherit it, as do
threads that are started with a copy of the context (`asyncio.to_thread`); other threads
have none. `sys.stdout` and `sys.stderr` remain the same objects, with a `write` that
reads the variable first: what is printed outside of a run is passed on unchanged.

Output that bypasses this method is not recorded: ``sys.stdout.buffer``, descriptor 1, C
code and child processes.
"""

from __future__ import annotations

import sys
import threading
import weakref
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any, Literal

from ipycron.process.wire.displays import pack_display

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Token

    from ipycron.client.output import Output
    from ipycron.process.wire.displays import DisplayData

    Stream = Literal["stdout", "stderr"]

_STREAMS: tuple[Stream, ...] = ("stdout", "stderr")


class Recorder:
    """Records what one run prints, in any thread.

    Args:
        output: the run's.
        on_change: reports that the task has changed.

    Attributes:
        passes_on: whether what the run prints is also written to the stream.
    """

    __slots__ = ("_on_change", "_output", "_shown", "passes_on")

    def __init__(
        self, output: Output, on_change: Callable[[], Any], *, passes_on: bool = True
    ) -> None:
        self.passes_on = passes_on
        self._output = output
        self._on_change = on_change
        self._shown: set[str] = set()

    def write(self, stream: Stream, text: str) -> None:
        """Add text of a stream."""
        if text:
            self._output.write(stream, text.encode("utf-8", "backslashreplace"), 0)
            self._on_change()

    def display(self, display: DisplayData) -> None:
        """Add a display."""
        if display.display_id is not None:
            self._shown.add(display.display_id)
        self._output.display(pack_display(display))
        self._on_change()

    def has_shown(self, display_id: object) -> bool:
        """Return whether a display of this id is in the run's output."""
        return display_id in self._shown


recorder: ContextVar[Recorder | None] = ContextVar("ipycron_recorder", default=None)
"""The recorder of the run that this code belongs to. A job that continues in another
context, as the cells of a notebook do, copies it:
``context.run(recorder.set, recorder.get())``.
"""


def outside_of_runs(call: Callable[..., Any], *arguments: Any) -> None:
    """Call something in a context that belongs to no run."""
    if recorder.get() is None:
        call(*arguments)
        return
    context = copy_context()
    context.run(recorder.set, None)
    context.run(call, *arguments)


class StreamHooks:
    """The hooks in the process's streams while inline runs are in progress."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._hooks: list[_WriteHook] = []
        # Those that were removed last: most runs hook the same streams again.
        self._spare: dict[Stream, _WriteHook] = {}
        self._runs = 0

    def recording(self, run: Recorder) -> _Recording:
        """Return a context in which the output of the code is recorded."""
        return _Recording(self, run)

    def count(self, change: int) -> None:
        """Count the runs in progress; hook the streams for the first one."""
        with self._lock:
            self._runs += change
            self.settle()

    def settle(self) -> None:
        """Hook the streams while runs are in progress; otherwise remove the hooks.

        To be called again after other code may have replaced streams or their methods:
        IPython does so for each cell, and restores them afterwards.
        """
        with self._lock:
            if self._runs:
                for name in _STREAMS:
                    self._hook(name)
            else:
                # A hook below someone else's is removed once that is gone.
                self._hooks = [hook for hook in self._hooks if not self._remove(hook)]

    def _remove(self, hook: _WriteHook) -> bool:
        """Remove a hook and keep it for the next run; return whether it is removed."""
        if not hook.remove():
            return False
        self._spare[hook.name] = hook
        return True

    def close_in_child(self) -> None:
        """Record nothing in a process that this one forked."""
        self._lock = threading.RLock()
        self._runs = 0
        recorder.set(None)
        self.settle()

    def _hook(self, name: Stream) -> None:
        """Hook a stream, which programs and tests may have replaced."""
        stream = getattr(sys, name, None)  # None where there is no console
        if stream is None or isinstance(getattr(stream, "write", None), _WriteHook):
            return
        # Not `contextlib.suppress`, which is slower: this happens at each run.
        try:
            hook = self._spare.pop(name, None)
            if hook is None or not hook.fits(stream):
                hook = _WriteHook(name, stream)
                self._hooks = [h for h in self._hooks if h.is_needed]
            stream.write = hook
            self._hooks.append(hook)
        except (AttributeError, TypeError):
            pass  # a stream without settable attributes or weak references


class _Recording:
    """The context of one run's code. Each run has one: a generator takes longer."""

    __slots__ = ("_hooks", "_run", "_token")

    def __init__(self, hooks: StreamHooks, run: Recorder) -> None:
        self._hooks = hooks
        self._run = run
        self._token: Token[Recorder | None]

    def __enter__(self) -> None:
        self._hooks.count(1)
        self._token = recorder.set(self._run)

    def __exit__(self, *_: object) -> None:
        recorder.reset(self._token)
        self._hooks.count(-1)


class _WriteHook:
    """Replaces the method `write` of one stream, as an attribute of it.

    Attributes:
        name: the stream's.
    """

    __slots__ = ("_own", "_stream", "name")

    def __init__(self, name: Stream, stream: Any) -> None:
        self.name = name
        # Weak: in a reference cycle, the stream would be closed later.
        self._stream = weakref.ref(stream)
        self._own = getattr(stream, "__dict__", {}).get("write")  # someone else's hook

    def fits(self, stream: Any) -> bool:
        """Return whether it can hook this stream again, after it was removed.

        Not over someone else's hook, which may call this one: they would call each
        other without end.
        """
        is_plain = self._own is None and "write" not in stream.__dict__
        return is_plain and self._stream() is stream

    def __call__(self, text: Any, /) -> Any:
        run = recorder.get()
        if run is None or not isinstance(text, str):
            return self._pass_on(text)
        run.write(self.name, text)
        if not run.passes_on:
            return len(text)
        # If a stream writes to another one, that must not record it again.
        token = recorder.set(None)
        try:
            return self._pass_on(text)
        finally:
            recorder.reset(token)

    def _pass_on(self, text: Any) -> Any:
        if self._own is not None:
            return self._own(text)
        stream = self._stream()
        if stream is None:
            raise ValueError("I/O operation on closed file.")  # the stream is gone
        return type(stream).write(stream, text)

    @property
    def is_needed(self) -> bool:
        """Whether its stream still exists."""
        return self._stream() is not None

    def remove(self) -> bool:
        """Restore the previous method; return False if another hook covers this one."""
        stream = self._stream()
        if stream is None:
            return True
        if (first := stream.__dict__.get("write")) is self:
            if self._own is None:
                del stream.write
            else:
                stream.write = self._own
        return first is self or first is None
