"""Passes on the output of runs as it comes: for pipes, files and other programs."""

from __future__ import annotations

import sys
import threading
from datetime import datetime
from typing import TYPE_CHECKING

from ipycron.client.completion import Wakeup
from ipycron.client.registry import registry
from ipycron.process.wire.printable import keep_colours
from ipycron.scheduling.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import IO

    from ipycron.api.task import Task
    from ipycron.client.completion import Flag
    from ipycron.client.executions import Execution
    from ipycron.scheduling.events import TaskContext

COALESCE = 0.02
"""Seconds that output is collected before it is passed on."""
_LONGEST_WAIT = 0.5


class Lines:
    """Passes on what runs write: stdout to stdout, stderr and tracebacks to stderr.

    Bytes are passed on unchanged; with timestamps or a prefix, in whole lines. Use
    `pump` on one thread only.

    Args:
        tasks: the tasks whose runs to follow.
        timestamps: whether each line begins with the time.
        prefix: whether each line begins with its task's name.
    """

    def __init__(
        self, tasks: Iterable[Task], *, timestamps: bool = False, prefix: bool = False
    ) -> None:
        self._timestamps, self._prefix = timestamps, prefix
        self._wake = Wakeup()
        self._runs: list[TaskContext] = []  # runs that are not completely passed on
        self._positions: dict[str, int] = {}
        self._rests: dict[tuple[str, str], bytes] = {}  # unfinished lines
        self._ended: set[str] = set()
        for task in tasks:
            task.on("execution:started", self._handle_start)
            task.on("execution:finished", self._handle_end)
            task.on("execution:failed", self._handle_end)
        registry.event_log.watch(self._note)

    def _note(self, _: str) -> None:
        self._wake.set()

    def _handle_start(self, context: TaskContext) -> None:
        self._runs.append(context)
        self._wake.set()

    def _handle_end(self, context: TaskContext) -> None:
        assert context.execution is not None
        self._ended.add(context.execution.id)
        self._wake.set()

    def pump(self, ended: Flag) -> None:
        """Pass on output until `ended` is set, including everything until then."""
        pause = threading.Event()  # never set
        while not ended.is_set():
            self._wake.wait(_LONGEST_WAIT)
            pause.wait(COALESCE)
            self._wake.wait(0)  # what has come since then is read now
            self.flush()
        self.flush()

    def flush(self) -> None:
        """Pass on what has arrived.

        Raises:
            BrokenPipeError: if the reader of the pipe is gone.
        """
        for context in list(self._runs):
            run = context.execution
            assert run is not None
            is_over = run.id in self._ended  # before the last read
            self._pass_on(context, run)
            if is_over:
                self._finish(context, run)
        sys.stdout.flush()
        sys.stderr.flush()

    def _pass_on(self, context: TaskContext, run: Execution) -> None:
        pieces, position = run.output.read(self._positions.get(run.id, 0))
        self._positions[run.id] = position
        for piece in pieces:
            if piece.missing:
                self._write(context, "stderr", describe_missing(piece.missing))
            if piece.data:
                self._write(context, piece.kind, piece.data)

    def _finish(self, context: TaskContext, run: Execution) -> None:
        """Pass on the unfinished line, and the traceback of a failure."""
        for stream in ("stdout", "stderr"):
            rest = self._rests.pop((run.id, stream), b"")
            if rest:
                self._emit(context, stream, rest + b"\n")
        if run.traceback_text:
            text = run.traceback_text.rstrip() + "\n"
            self._write(context, "stderr", text.encode(errors="backslashreplace"))
            self._rests.pop((run.id, "stderr"), None)
        self._runs.remove(context)
        self._positions.pop(run.id, None)
        self._ended.discard(run.id)

    def _write(self, context: TaskContext, stream: str, data: bytes) -> None:
        if not (self._timestamps or self._prefix):
            _get_binary(stream).write(data)
            return
        assert context.execution is not None
        key = context.execution.id, stream
        *lines, rest = (self._rests.get(key, b"") + data).split(b"\n")
        self._rests[key] = rest
        for line in lines:
            self._emit(context, stream, line + b"\n")

    def _emit(self, context: TaskContext, stream: str, line: bytes) -> None:
        """Write a line after its time and its task's name."""
        head = ""
        if self._timestamps:
            now = datetime.fromtimestamp(SystemClock().now()).astimezone()
            head = f"{now.isoformat(' ', 'milliseconds')} "
        if self._prefix:
            head += f"{context.task.name}: "
        if getattr(sys, stream).isatty():
            text = keep_colours(line.decode(errors="replace"))
            line = text.encode(errors="backslashreplace")
        _get_binary(stream).write(head.encode(errors="backslashreplace") + line)


def _get_binary(stream: str) -> IO[bytes]:
    return sys.stderr.buffer if stream == "stderr" else sys.stdout.buffer


def describe_missing(count: int) -> bytes:
    """Return the line that says how many bytes of output were dropped."""
    return f"[{count} bytes were left out: too much at once]\n".encode()
