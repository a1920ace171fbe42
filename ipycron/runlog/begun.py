"""Which slots have begun: noted before they do, so that a kill cannot hide it (K6).

A row of the history is written a moment after its run has begun. Where a process and
whoever watches it are killed within that moment, nobody knows of the run, and its slot
would be caught up on: it would run twice. A note is one `write` to a file of its own,
which a killed process cannot take back; only a power failure can.

Two files are kept, the present one and the one before it: many more runs than can be
without a row.

A line that is a bare number is an instant, Unix seconds: the clock was set back to it
and had been wrong before (C3). What was noted earlier in the file with a later instant
is void: those slots are still to come.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from ipycron.scheduling.events import (
    Reason,  # noqa: TC001 - msgspec reads the annotations
)
from ipycron.scheduling.plan import is_corrected

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_BYTES = 256 * 1024
"""The size at which another file is begun: about 3,000 notes."""
_EARLIER = ".1"


class Begun(msgspec.Struct, frozen=True, array_like=True):
    """A slot whose run has begun, or was just about to.

    Attributes:
        name: of its task, which no other task of this file has.
        slot: Unix seconds.
        run_id: the run's.
        reason: as that of an execution.
        at: when it was noted, Unix seconds.
        is_withdrawn: whether it does not begin after all, though it was noted before.
    """

    name: str
    slot: float
    run_id: str
    reason: Reason
    at: float
    is_withdrawn: bool = False


class BegunNotes:
    """Writes notes; for one thread.

    Args:
        path: the file; another process may have written to it before.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1
        self._size = 0

    def add(self, begun: Begun) -> None:
        """Note that a slot is about to begin; on return it is known for good.

        Raises:
            OSError: if that is not possible.
        """
        self._write(begun)

    def correct(self, now: float) -> None:
        """Note that the clock was set back to `now`, from a time that was wrong.

        Raises:
            OSError: if that is not possible.
        """
        self._write(now)

    def correct_if_ahead(self, now: float) -> None:
        """Note the same if what the file has is of a clock that was ahead.

        Raises:
            OSError: if that is not possible.
        """
        if any(is_corrected(now, begun.at) for begun in _read_valid(self._path)):
            self.correct(now)

    def _write(self, line: Begun | float) -> None:
        if self._descriptor < 0 or self._size > MAX_BYTES:
            self._open()
        # The end of the line comes first: what a full disk has cut short is one line.
        data = b"\n" + msgspec.json.encode(line)
        self._size += os.write(self._descriptor, data)

    def close(self) -> None:
        """Close the file, until there is another note. May be repeated."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> None:
        if self._descriptor >= 0:
            self.close()
            self._path.replace(f"{self._path}{_EARLIER}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(self._path, flags, 0o600)
        self._size = os.fstat(self._descriptor).st_size


def read_begun(path: Path, *, now: float) -> dict[str, list[Begun]]:
    """Return which slots have begun, by name, in the order of their notes.

    Args:
        path: of the notes.
        now: Unix seconds; what a clock noted that was ahead of it is left out.
    """
    found: dict[str, list[Begun]] = {}
    for begun in _read_valid(path):
        if not is_corrected(now, begun.at):
            found.setdefault(begun.name, []).append(begun)
    return found


def _read_valid(path: Path) -> list[Begun]:
    """Return the notes of slots that have begun, each once."""
    by_id: dict[str, Begun] = {}
    for line in _read(path):
        if not isinstance(line, Begun):
            by_id = {key: begun for key, begun in by_id.items() if begun.at <= line}
        elif line.is_withdrawn:
            by_id.pop(line.run_id, None)
        else:
            by_id.setdefault(line.run_id, line)
    return list(by_id.values())


def _read(path: Path) -> Iterator[Begun | float]:
    for file in (path.with_name(f"{path.name}{_EARLIER}"), path):
        try:
            lines = file.read_bytes().split(b"\n")
        except OSError:
            continue  # there was none, or it cannot be read: nothing is known
        for line in lines:
            try:
                yield msgspec.json.decode(line, type=Begun | float)
            except (msgspec.MsgspecError, ValueError):
                continue  # it was cut short: its run did not begin
