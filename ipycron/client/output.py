"""What a run printed and displayed, and in which order."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from ipycron.process.wire.displays import unpack_display
from ipycron.runlog.output import OutputLog

if TYPE_CHECKING:
    from ipycron.process.wire.displays import DisplayData
    from ipycron.process.wire.payload import Payload
    from ipycron.process.wire.protocol import StreamName

MAX_DISPLAYS = 200
"""Displays kept of one run; the oldest are dropped and counted."""
MAX_ENTRIES = 2000
"""Switches between streams and displays that are remembered; beyond it, the older half
becomes one block of each."""

Kind = Literal["stdout", "stderr", "display"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of a run's output: what one stream wrote, or one display.

    Attributes:
        kind: where it comes from.
        data: what was written; empty for a display.
        display: the display; None for text and for a display that was dropped.
        missing: bytes before it that were not kept.
    """

    kind: Kind
    data: bytes = b""
    display: DisplayData | None = None
    missing: int = 0


@dataclass(slots=True)
class _Entry:
    """Adjacent output of one kind: `size` units at `start`, from its `offset`-th on."""

    kind: Kind
    start: int
    offset: int
    size: int


class _Record:
    """The output of a run, in order. Written under `_lock`."""

    __slots__ = (
        "_entries",
        "display_bytes",
        "displays",
        "dropped_displays",
        "lock",
        "position",
        "streams",
    )

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.streams: dict[str, OutputLog] = {}
        self.displays: list[Payload] = []
        self.display_bytes = 0
        self.dropped_displays = 0
        self.position = 0
        self._entries: list[_Entry] = []

    @property
    def size(self) -> int:
        """Bytes kept, displays included."""
        kept = sum(log.kept for log in list(self.streams.values()))
        return kept + self.display_bytes

    def write(
        self, stream: StreamName, data: bytes, dropped: int, dropped_lines: int
    ) -> None:
        """Add bytes of a stream; see `Output.write`."""
        log = self.streams.setdefault(stream, OutputLog())
        self._note(stream, log.size, len(data) + dropped)
        log.append(data, dropped, dropped_lines)

    def display(self, payload: Payload) -> None:
        """Add a display; see `Output.display`."""
        self._note("display", self.dropped_displays + len(self.displays), 1)
        self.displays.append(payload)
        self.display_bytes += payload.size
        if len(self.displays) > MAX_DISPLAYS:
            self.display_bytes -= self.displays.pop(0).size
            self.dropped_displays += 1

    def _note(self, kind: Kind, offset: int, size: int) -> None:
        last = self._entries[-1] if self._entries else None
        if last is not None and last.kind == kind:
            last.size += size
        else:
            self._entries.append(_Entry(kind, self.position, offset, size))
        self.position += size
        if len(self._entries) > MAX_ENTRIES:
            self._fold()

    def _fold(self) -> None:
        """Forget the order within the older half; keep one entry of each kind."""
        half = len(self._entries) // 2
        old, self._entries = self._entries[:half], self._entries[half:]
        folded: list[_Entry] = []
        start = old[0].start
        kinds: tuple[Kind, ...] = ("stdout", "stderr", "display")
        for kind in kinds:
            turns = [entry for entry in old if entry.kind == kind]
            if turns:
                size = sum(entry.size for entry in turns)
                folded.append(_Entry(kind, start, turns[0].offset, size))
                start += size
        self._entries[:0] = folded

    def read(self, since: int) -> list[Piece]:
        """Return what came after `since`; see `Output.read`."""
        pieces: list[Piece] = []
        for entry in self._find_entries(since):
            skipped = max(0, since - entry.start)
            first, last = entry.offset + skipped, entry.offset + entry.size
            if entry.kind == "display":
                pieces += [self._read_display(index) for index in range(first, last)]
            else:
                head, missing, tail = self.streams[entry.kind].read(first, last)
                if head:
                    pieces.append(Piece(kind=entry.kind, data=head))
                if tail or missing:
                    pieces.append(Piece(kind=entry.kind, data=tail, missing=missing))
        return pieces

    def _find_entries(self, since: int) -> list[_Entry]:
        first = len(self._entries)
        while first and self._entries[first - 1].start >= since:
            first -= 1
        # The entry before may have grown since then.
        if first and self._entries[first - 1].start + self._entries[first - 1].size > (
            since
        ):
            first -= 1
        return self._entries[first:]

    def _read_display(self, index: int) -> Piece:
        kept = index - self.dropped_displays
        if kept < 0:
            return Piece(kind="display")
        return Piece(kind="display", display=unpack_display(self.displays[kept]))


_opening = threading.RLock()
"""Held while a record is created: a job may have several threads. It and each record's
lock are reentrant, as a signal handler or a finalizer may print."""


class Output(msgspec.Struct, gc=False, eq=False):
    """What a run printed and displayed. Grows while it runs; safe in any thread.

    A struct, and empty until something is written: a thousand tasks remember twenty
    thousand runs, most of which print nothing, and what the garbage collector does not
    track cannot delay a schedule.
    """

    _record: _Record | None = None

    @property
    def stdout(self) -> str:
        """The text of standard output; if it is too long, its beginning and end."""
        return self._get_text("stdout")

    @property
    def stderr(self) -> str:
        """The text of standard error; if it is too long, its beginning and end."""
        return self._get_text("stderr")

    def _get_text(self, stream: StreamName) -> str:
        record = self._record
        if record is None:
            return ""
        with record.lock:
            return str(record.streams.get(stream, ""))

    @property
    def displays(self) -> list[Any]:
        """Rich displays in order, as the shell made them (mimebundles); a snapshot."""
        record = self._record
        payloads = [] if record is None else list(record.displays)
        return [unpack_display(payload) for payload in payloads]

    @property
    def dropped_displays(self) -> int:
        """The number of displays dropped, beyond the newest 200."""
        return 0 if self._record is None else self._record.dropped_displays

    @property
    def position(self) -> int:
        """The amount of output so far: each byte and each display counts as one."""
        return 0 if self._record is None else self._record.position

    @property
    def size(self) -> int:
        """Bytes kept, displays included."""
        return 0 if self._record is None else self._record.size

    def read(self, since: int = 0) -> tuple[list[Piece], int]:
        """Return what came after `since`, in order, and the position after it.

        Args:
            since: a position returned before; 0 for everything that is kept.
        """
        record = self._record
        if record is None:
            return [], 0
        with record.lock:
            return record.read(since), record.position

    # --- while it runs: from the client's loop, or the threads of an inline job -------

    def write(
        self, stream: StreamName, data: bytes, dropped: int, dropped_lines: int = 0
    ) -> None:
        """Add bytes of a stream.

        Args:
            stream: which.
            data: the bytes.
            dropped: bytes before them that were not kept.
            dropped_lines: ends of lines among those.
        """
        record = self._open()
        with record.lock:
            record.write(stream, data, dropped, dropped_lines)

    def display(self, payload: Payload) -> None:
        """Add a display, as bytes: 200 descriptors would be too many."""
        payload.settle()
        record = self._open()
        with record.lock:
            record.display(payload)

    def _open(self) -> _Record:
        if self._record is None:
            with _opening:
                if self._record is None:
                    self._record = _Record()
        return self._record

    def __repr__(self) -> str:
        record = self._record or _Record()
        sizes = [f"{name} {log.size:,} B" for name, log in list(record.streams.items())]
        return f"<Output {', '.join(sizes)}, {len(record.displays)} displays>"
