"""What a run printed and displayed, and in which order."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ipycron.process.outcome import unpack_display
from ipycron.process.output import OutputLog

if TYPE_CHECKING:
    from ipycron.process.displays import DisplayData
    from ipycron.process.payload import Payload
    from ipycron.process.protocol import StreamName

MAX_DISPLAYS = 200
"""Displays kept of one run; the oldest are dropped and counted."""
MAX_ENTRIES = 2000
"""Turns between streams and displays that are remembered; beyond, the older half
becomes one block of each."""

Kind = Literal["stdout", "stderr", "display"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of a run's output: what one stream wrote, or one display.

    Attributes:
        kind: where it comes from.
        data: what was written; empty for a display.
        display: the display; None for text and for a display that was dropped.
        missing: bytes before it that nobody kept.
    """

    kind: Kind
    data: bytes = b""
    display: DisplayData | None = None
    missing: int = 0


@dataclass(slots=True)
class _Entry:
    """A turn of one kind: `size` units of it from `start`, its `offset`-th on."""

    kind: Kind
    start: int
    offset: int
    size: int


_NO_STREAMS: dict[str, OutputLog] = {}
_NOTHING: list[Any] = []
"""Shared by all outputs that are empty; never filled."""


class Output:
    """What a run printed and displayed. Grows while it runs; safe in any thread.

    Attributes:
        dropped_displays: displays left out, beyond the newest 200.
        position: how much came so far: each byte and each display counts one.
        size: bytes kept.
    """

    __slots__ = (
        "__weakref__",
        "_display_bytes",
        "_displays",
        "_entries",
        "_lock",
        "_streams",
        "dropped_displays",
        "position",
    )

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Most runs say nothing: what they would keep it in is made by `_open`.
        self._streams: dict[str, OutputLog] = _NO_STREAMS
        self._displays: list[Payload] = _NOTHING
        self._entries: list[_Entry] = _NOTHING
        self._display_bytes = 0
        self.dropped_displays = 0
        self.position = 0

    @property
    def stdout(self) -> str:
        """Text of standard output: whole, or its head and tail."""
        with self._lock:
            return str(self._streams.get("stdout", ""))

    @property
    def stderr(self) -> str:
        """Text of standard error: whole, or its head and tail."""
        with self._lock:
            return str(self._streams.get("stderr", ""))

    @property
    def displays(self) -> list[Any]:
        """Rich displays in order, as the shell made them (mimebundles); a snapshot."""
        return [unpack_display(payload) for payload in list(self._displays)]

    @property
    def size(self) -> int:
        """Bytes kept, displays included."""
        kept = sum(log.size - log.dropped for log in list(self._streams.values()))
        return kept + self._display_bytes

    def read(self, since: int = 0) -> tuple[list[Piece], int]:
        """Return what came after `since`, in order, and the position after it.

        Args:
            since: a position returned before; 0 for everything that is kept.
        """
        with self._lock:
            return self._read(since), self.position

    def _read(self, since: int) -> list[Piece]:
        pieces: list[Piece] = []
        for entry in self._find_entries(since):
            skipped = max(0, since - entry.start)
            first, last = entry.offset + skipped, entry.offset + entry.size
            if entry.kind == "display":
                pieces += [self._read_display(index) for index in range(first, last)]
            else:
                head, missing, tail = self._streams[entry.kind].read(first, last)
                if head:
                    pieces.append(Piece(kind=entry.kind, data=head))
                if tail or missing:
                    pieces.append(Piece(kind=entry.kind, data=tail, missing=missing))
        return pieces

    def _find_entries(self, since: int) -> list[_Entry]:
        first = len(self._entries)
        while first and self._entries[first - 1].start >= since:
            first -= 1
        # The one before may have grown since.
        if first and self._entries[first - 1].start + self._entries[first - 1].size > (
            since
        ):
            first -= 1
        return self._entries[first:]

    def _read_display(self, index: int) -> Piece:
        kept = index - self.dropped_displays
        if kept < 0:
            return Piece(kind="display")
        return Piece(kind="display", display=unpack_display(self._displays[kept]))

    # --- on the client's loop -------------------------------------------------------

    def write(self, stream: StreamName, data: bytes, dropped: int) -> None:
        """Add bytes of a stream, which came after `dropped` bytes nobody kept."""
        with self._lock:
            self._open()
            log = self._streams.setdefault(stream, OutputLog())
            self._note(stream, log.size, len(data) + dropped)
            log.append(data, dropped)

    def display(self, payload: Payload) -> None:
        """Add a display. Its bytes, not a descriptor: 200 of those are too many."""
        payload.settle()
        with self._lock:
            self._open()
            count = self.dropped_displays + len(self._displays)
            self._note("display", count, 1)
            self._displays.append(payload)
            self._display_bytes += payload.size
            if len(self._displays) > MAX_DISPLAYS:
                self._display_bytes -= self._displays.pop(0).size
                self.dropped_displays += 1

    def _open(self) -> None:
        if self._streams is _NO_STREAMS:
            self._streams, self._displays, self._entries = {}, [], []

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
        """Forget the order within the older half: one entry of each kind stands in."""
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

    def __repr__(self) -> str:
        sizes = [f"{name} {log.size:,} B" for name, log in list(self._streams.items())]
        return f"<Output {', '.join(sizes)}, {len(self._displays)} displays>"
