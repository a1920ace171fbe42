"""Which slots have begun: noted before they do, so that a kill cannot hide it (K6).

A row of the history is written a moment after its run has begun. Where a process and
whoever watches it are killed within that moment, nobody knows of the run, and its slot
would be caught up on: it would run twice. A note is one `write` to a file of its own,
which a killed process cannot take back; only a power failure can.

Two files are kept, the present one and the one before it: many more runs than can be
without a row.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from ipycron.scheduling.events import (
    Reason,  # noqa: TC001 - msgspec reads the annotations
)

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
        if self._descriptor < 0 or self._size > MAX_BYTES:
            self._open()
        # The end of the line comes first: what a full disk has cut short is one line.
        line = b"\n" + msgspec.json.encode(begun)
        self._size += os.write(self._descriptor, line)

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


def read_begun(path: Path) -> dict[str, list[Begun]]:
    """Return which slots have begun, by name, in the order of their notes."""
    by_id: dict[str, Begun] = {}
    for begun in _read(path):
        if begun.is_withdrawn:
            by_id.pop(begun.run_id, None)
        else:
            by_id.setdefault(begun.run_id, begun)
    found: dict[str, list[Begun]] = {}
    for begun in by_id.values():
        found.setdefault(begun.name, []).append(begun)
    return found


def _read(path: Path) -> Iterator[Begun]:
    for file in (path.with_name(f"{path.name}{_EARLIER}"), path):
        try:
            lines = file.read_bytes().split(b"\n")
        except OSError:
            continue  # there was none, or it cannot be read: nothing is known
        for line in lines:
            try:
                yield msgspec.json.decode(line, type=Begun)
            except (msgspec.MsgspecError, ValueError):
                continue  # it was cut short: its run did not begin
