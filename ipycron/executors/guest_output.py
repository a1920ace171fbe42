"""What a job prints and logs in a process that it shares with others.

`sys.stdout`, `sys.stderr` and the root logger belong to the whole process. While a job
is a guest here they are intercepted, and what its own thread or coroutine writes goes
to its `Record`. Everything else passes through: output of the host itself, of threads
that the job starts, of C code and of child processes.
"""

from __future__ import annotations

import io
import logging
import sys
import threading
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal

from ipycron.process.worker.logs import LogForwarder
from ipycron.runlog.output import HEAD_BYTES, TAIL_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Kind = Literal["stdout", "stderr", "display"]
Piece = tuple[Kind, bytes, int, int]
"""The stream, its bytes, and how many bytes and line ends were left out before them."""

MAX_DISPLAYS = 200
MAX_LOGS = 10_000
"""Log records of one run that are sent; the rest are counted."""


class Record:
    """What one run has written, bounded, in order. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._pieces: list[tuple[Kind, bytearray]] = []
        self._sizes: dict[Kind, int] = {"stdout": 0, "stderr": 0}
        self._tails: dict[Kind, bytearray] = {}
        self._lines: dict[Kind, int] = {"stdout": 0, "stderr": 0}  # behind the heads
        self._displays = 0
        self._logs: list[dict[str, Any]] = []
        self._lost_logs = 0

    def write(self, kind: Kind, data: bytes) -> None:
        """Add what a stream wrote; beyond its head only the tail is kept."""
        with self._lock:
            room = max(0, HEAD_BYTES - self._sizes[kind])
            self._sizes[kind] += len(data)
            if room:
                self._add(kind, data[:room])
            if len(data) > room:
                tail = self._tails.setdefault(kind, bytearray())
                tail += data[room:]
                self._lines[kind] += data.count(b"\n", room)
                # Not at every write: this moves everything that is kept.
                if len(tail) > 2 * TAIL_BYTES:
                    del tail[:-TAIL_BYTES]

    def _add(self, kind: Kind, data: bytes) -> None:
        if not self._pieces or self._pieces[-1][0] != kind:
            self._pieces.append((kind, bytearray()))
        self._pieces[-1][1].extend(data)

    def show(self, display: bytes) -> None:
        """Add a display, packed; only the first ones are kept."""
        with self._lock:
            self._displays += 1
            if self._displays <= MAX_DISPLAYS:
                self._pieces.append(("display", bytearray(display)))

    def log(self, described: dict[str, Any]) -> None:
        """Add a log record, as `logs` describes it."""
        with self._lock:
            if len(self._logs) < MAX_LOGS:
                self._logs.append(described)
            else:
                self._lost_logs += 1

    def get_pieces(self) -> list[Piece]:
        """Return the output in order: heads and displays, then the tails."""
        with self._lock:
            pieces: list[Piece] = [(k, bytes(data), 0, 0) for k, data in self._pieces]
            for kind, kept in self._tails.items():
                tail = bytes(kept[-TAIL_BYTES:])
                dropped = self._sizes[kind] - HEAD_BYTES - len(tail)
                lines = self._lines[kind] - tail.count(b"\n")
                pieces.append((kind, tail, dropped, lines))
            return pieces

    def get_logs(self) -> list[dict[str, Any]]:
        """Return the log records, and one more if there were too many."""
        with self._lock:
            if not self._lost_logs:
                return self._logs
            text = f"{self._lost_logs:,} log records of this run were left out"
            level = {"levelno": logging.WARNING, "levelname": "WARNING"}
            return [
                *self._logs,
                {"name": "ipycron", "msg": text, "args": None, **level},
            ]


_record: ContextVar[Record | None] = ContextVar("ipycron_record", default=None)
"""The record of the run whose code is running: each thread and coroutine has its
own."""


class _Router(io.TextIOBase):
    """A text stream that writes to the calling run's record, or passes text through."""

    def __init__(self, kind: Kind, host: Any) -> None:
        self._kind = kind
        self.host = host

    def write(self, text: str) -> int:
        record = _record.get()
        if record is None:
            return int(self.host.write(text))
        record.write(self._kind, text.encode("utf-8", "backslashreplace"))
        return len(text)

    def flush(self) -> None:
        if _record.get() is None:
            self.host.flush()

    def isatty(self) -> bool:
        return _record.get() is None and bool(self.host.isatty())

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return int(self.host.fileno())

    @property
    def encoding(self) -> str:  # type: ignore[override] # ours never changes
        return "utf-8"

    @property
    def buffer(self) -> Any:
        """The stream for bytes."""
        return self.host.buffer if _record.get() is None else _Bytes(self._kind)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.host, name)


class _Bytes(io.RawIOBase):
    """The bytes below a router: ``sys.stdout.buffer``."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        record = _record.get()
        if record is not None:
            record.write(self._kind, bytes(data))
        return len(data)


class _LogTaker(LogForwarder):
    """A root handler that takes the records of runs and ignores all others."""

    def __init__(self) -> None:
        super().__init__(_take_log)

    def emit(self, record: logging.LogRecord) -> None:
        last = logging.lastResort
        if _record.get() is not None:
            super().emit(record)
            return
        # If the host has no handler, this one must not look like one.
        is_alone = logging.getLogger().handlers == [self]
        if is_alone and last is not None and record.levelno >= last.level:
            last.handle(record)


def _take_log(described: dict[str, Any]) -> None:
    record = _record.get()
    if record is not None:
        record.log(described)


class _HostOnly(logging.Filter):
    """Leaves a host's handler the records it had before: its own, at its level."""

    def __init__(self, level: int) -> None:
        super().__init__()
        self._level = level

    def filter(self, record: logging.LogRecord) -> bool:
        return _record.get() is None and record.levelno >= self._level


class _Watch:
    """Replaces the process's streams and root logger while any run is a guest."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._guests = 0
        self._watched_level: int | None = None
        self._restore: list[Callable[[], None]] = []

    def begin(self, level: int | None) -> None:
        """Begin to intercept; with a level, log records from that level up as well."""
        with self._lock:
            self._guests += 1
            if self._guests == 1:
                self._watch_stream("stdout")
                self._watch_stream("stderr")
            if level is not None:
                self._watch_log(level)

    def end(self) -> None:
        """Restore everything once the last guest has left."""
        with self._lock:
            self._guests -= 1
            if not self._guests:
                while self._restore:
                    self._restore.pop()()

    def _watch_stream(self, name: Kind) -> None:
        router = _Router(name, getattr(sys, name))

        def restore() -> None:
            # A stream that other code has installed meanwhile is left in place.
            if getattr(sys, name) is router:
                setattr(sys, name, router.host)

        setattr(sys, name, router)
        self._restore.append(restore)

    def _watch_log(self, level: int) -> None:
        """Take records from the lowest level that any guest has asked for."""
        root = logging.getLogger()
        if self._watched_level is None:
            self._add_taker(root)
            self._watched_level = root.level
        if level < self._watched_level:
            root.setLevel(level)
            self._watched_level = level

    def _add_taker(self, root: logging.Logger) -> None:
        taker, level, handlers = _LogTaker(), root.level, list(root.handlers)
        guard = _HostOnly(level)
        for handler in handlers:
            handler.addFilter(guard)
        root.addHandler(taker)

        def restore() -> None:
            root.removeHandler(taker)
            for handler in handlers:
                handler.removeFilter(guard)
            if root.level == self._watched_level:
                root.setLevel(level)
            self._watched_level = None

        self._restore.append(restore)


_watch = _Watch()
"""A process has one `sys.stdout`; the remote side of an executor has no registry."""


@contextmanager
def record_output(level: int | None) -> Iterator[Record]:
    """Record what the calling thread's code writes.

    Args:
        level: the lowest level of log records to take; None leaves logging alone, since
            its handlers are the client's own.
    """
    record = Record()
    _watch.begin(level)
    token = _record.set(record)
    try:
        yield record
    finally:
        _record.reset(token)
        _watch.end()
