"""What a scheduled cell captures from its notebook.

A snapshot: the names that the cell uses, with their current values. Nothing is
executed, nothing of the notebook is changed, and a large array is not copied: the
`buffers` are its own memory until they are written out.
"""

from __future__ import annotations

import builtins
import itertools
import sys
import warnings
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ipycron.errors import CaptureError, InvalidOption, suggest
from ipycron.notebook.capture.magics import find_extensions, find_own_magics
from ipycron.notebook.capture.names import find_names
from ipycron.notebook.capture.writer import (
    EMPTY_NAMES,
    SnapshotWriter,
    format_size,
    get_type_name,
    is_own,
)
from ipycron.process.shell.captured import seal
from ipycron.process.shell.source import compile_cell, parse_cell
from ipycron.process.wire.by_value import is_made_here

if TYPE_CHECKING:
    import ast
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from ipycron.notebook.capture.magics import OwnMagics
    from ipycron.notebook.capture.names import CellNames

LARGEST_CAPTURE = 256 * 2**20
"""Bytes that are sent without an explicit request by name."""

CELL_NAMES = frozenset({"ctx"})
"""Names that the worker itself defines for a cell."""

_WORKER_NAMES = frozenset({"display", "get_ipython"})

_SHOWN_FROM = 10 * 1024  # a size in bytes that is worth showing
_MOST_SHOWN = 12
_MOST_LEFT_BEHIND = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedName:
    """One variable of a snapshot.

    Attributes:
        name: as in the notebook; ``%name`` for a magic that the notebook defines.
        type_name: its type, for display: ``DataFrame``, ``function``, ``module``.
        size_bytes: what it adds to the snapshot; objects already in it do not count
            again.
    """

    name: str
    type_name: str
    size_bytes: int

    def __str__(self) -> str:
        if self.size_bytes < _SHOWN_FROM:
            return f"{self.name} ({self.type_name})"
        return f"{self.name} ({self.type_name}, {format_size(self.size_bytes)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """A snapshot, ready to travel.

    Attributes:
        names: its contents: what the cell may use, what it uses, then what its
            functions use.
        left_out: what cannot be sent and the cell may not need, since it binds these
            names itself on some of its paths.
        extensions: IPython extensions that the cell's magics come from.
        pickle: loads, with the buffers, as a dictionary of the variables.
        buffers: the memory of the variables as flat bytes; arrays are not copied. Write
            the buffers out before the notebook continues and changes them.
        left_behind: the notebook's other variables.
        warnings: what the cell will miss or find changed, one line each.
    """

    names: tuple[CapturedName, ...] = ()
    left_out: tuple[CapturedName, ...] = ()
    extensions: tuple[str, ...] = ()
    pickle: bytes = b""
    buffers: tuple[memoryview, ...] = ()
    left_behind: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        """The total size of all variables."""
        return sum(name.size_bytes for name in self.names)

    def describe(self) -> str:
        """Return a one-line description; empty if nothing was captured or left out."""
        parts = []
        if self.names:
            parts.append(f"captured: {_join(self.names)}")
        if self.left_out:
            parts.append(f"left out: {_join(self.left_out)}")
        return "; ".join(parts)


def check_syntax(source: str, shell: Any, *, filename: str = "<cell>") -> None:
    """Check that a cell can be run, without running any of it.

    Args:
        source: the text as typed; blank lines at its top count.
        shell: the notebook's `InteractiveShell`.
        filename: what the error calls the cell.

    Raises:
        SyntaxError: with the line's number and text as typed.
    """
    compile_cell(parse_cell(source, transform=shell.transform_cell, filename=filename))


def capture_names(
    source: str,
    shell: Any,
    *,
    include: Iterable[str] | None = None,
    exclude: Collection[str] = CELL_NAMES,
    limit: int = LARGEST_CAPTURE,
) -> Captured:
    """Return the snapshot of what a cell uses.

    Args:
        source: the cell's text, which `check_syntax` has accepted.
        shell: the notebook's `InteractiveShell`.
        include: send exactly these, and what functions among them use, however
            large; empty: nothing. None: what the source uses.
        exclude: names that are never sent.
        limit: the most bytes that are sent unless `include` asks for more.

    Raises:
        CaptureError: if a variable that the cell needs cannot travel; the text names
            it.
        InvalidOption: if a name of `include` does not exist.
    """
    used = _analyse(source, shell)
    if include is None:
        wanted = dict.fromkeys(used.possible, False) | dict.fromkeys(used.needed, True)
        magics = find_own_magics(used.magics, shell)
    else:
        wanted = dict.fromkeys(_check_names(include, shell), True)
        magics = {}
        limit = sys.maxsize
    snapshot = _Snapshot(shell, used, exclude=exclude, limit=limit)
    return replace(
        snapshot.take(wanted, magics),
        extensions=find_extensions(used.magics, shell),
    )


class _Snapshot:
    """Takes one snapshot; starts again without names that turn out not to travel."""

    def __init__(
        self, shell: Any, used: CellNames, *, exclude: Collection[str], limit: int
    ) -> None:
        self._shell = shell
        self._used = used
        self._exclude = exclude
        self._limit = limit
        self._failed: dict[str, CaptureError] = {}
        self._asked: dict[str, None] = {}  # what functions need

    def take(self, wanted: dict[str, bool], magics: OwnMagics) -> Captured:
        """Return the snapshot.

        Args:
            wanted: the names, and whether they are needed. Those that are not come
                first, so that failures are found before much is written.
            magics: magics that the notebook defines.
        """
        writer = None
        while writer is None:
            writer = self._try_write(wanted, magics)
        writer.write_imports(self._used.modules, self._used.attributes)
        pickled, buffers = seal(writer.finish(), writer.sink.buffers)
        return Captured(
            names=tuple(self._describe(*item) for item in writer.sizes.items()),
            left_out=tuple(self._describe(name, 0) for name in self._failed),
            pickle=pickled,
            buffers=tuple(buffer.raw() for buffer in buffers),
            left_behind=tuple(self._find_left_behind(writer)),
            warnings=tuple(self._warn(writer)),
        )

    def _try_write(
        self, wanted: dict[str, bool], magics: OwnMagics
    ) -> SnapshotWriter | None:
        """Write everything wanted; return None if a name not needed has failed."""
        writer = SnapshotWriter(self._shell, limit=self._limit)
        pending = deque(wanted.items())
        for name, (function, kind) in magics.items():
            pending.extend(writer.write_magic(name, function, kind).items())
        pending.extend(writer.write_settings().items())
        for name in _find_made_modules(self._used.modules):
            pending.extend(writer.write_module(name).items())
        self._asked = {}
        while pending:
            name, is_needed = pending.popleft()
            if name in writer.sizes or not self._is_to_send(name):
                continue
            if name in self._failed:
                if is_needed:
                    raise self._failed[name]
                continue
            try:
                used = writer.write_variable(name)
            except CaptureError as error:
                if is_needed:
                    raise
                self._failed[name] = error
                return None
            pending.extend((n, need and is_needed) for n, need in used.items())
            if is_needed and not self._used.binds_unseen:
                self._asked.update(dict.fromkeys(n for n, need in used.items() if need))
        return writer

    def _is_to_send(self, name: str) -> bool:
        return name not in self._exclude and is_own(name, self._shell)

    def _find_left_behind(self, writer: SnapshotWriter) -> Iterator[str]:
        own = (name for name in self._shell.user_ns if is_own(name, self._shell))
        others = (n for n in own if n not in writer.sizes and n not in self._exclude)
        names = (name for name in others if name.isidentifier() and name[:1] != "_")
        return itertools.islice(names, _MOST_LEFT_BEHIND)

    def _warn(self, writer: SnapshotWriter) -> Iterator[str]:
        """Yield a warning for each name that the cell will not find as expected."""
        users = writer.users
        read = {*self._used.needed, *self._used.possible, *users}
        for name in sorted(read.intersection(self._exclude)):
            if is_own(name, self._shell):
                yield (
                    f"{name!r} in the cell is the run's context, not the notebook's "
                    "variable: rename that to use it"
                )
        for name in sorted(read & EMPTY_NAMES):
            if name not in writer.sizes:
                yield (
                    f"{name!r} is empty in a worker: give what the cell needs of it "
                    "a name here, and use that"
                )
        for setting in writer.unsent:
            yield f"the setting {setting} cannot be sent, the cell has the default"
        asked = (name for name in self._asked if name not in self._used.bound)
        for name in dict.fromkeys((*self._used.expected, *asked)):
            if self._is_missing(name, writer):
                yield self._describe_missing(name, users)

    def _is_missing(self, name: str, writer: SnapshotWriter) -> bool:
        if name in writer.sizes or name in self._failed or name in self._exclude:
            return False
        if name in _WORKER_NAMES or hasattr(builtins, name) or name[:2] == "__":
            return False
        return name not in self._shell.user_ns or is_own(name, self._shell)

    def _describe_missing(self, name: str, users: Mapping[str, str]) -> str:
        user = repr(users[name]) if name in users else "the cell"
        if name in self._shell.user_ns:
            return f"{name!r} is not sent along, {user} will not find it"
        known = [other for other in self._shell.user_ns if is_own(other, self._shell)]
        text = f"{name!r} is not defined, {user} will not find it"
        return f"{text}.{advice}" if (advice := suggest(name, known)) else text

    def _describe(self, name: str, size: int) -> CapturedName:
        is_magic = name.startswith("%")
        value = self._shell.user_ns.get(name, sys.modules.get(name))
        type_name = "magic" if is_magic else get_type_name(value)
        return CapturedName(name=name, type_name=type_name, size_bytes=size)


def _analyse(source: str, shell: Any) -> CellNames:
    def parse(text: str) -> ast.Module:
        return parse_cell(text, transform=shell.transform_cell, filename="<cell>").tree

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # check_syntax has reported them
        return find_names(parse(source), parse=parse)


def _check_names(names: Iterable[str], shell: Any) -> list[str]:
    checked = list(names)
    known = [name for name in shell.user_ns if is_own(name, shell)]
    for name in checked:
        if name not in known:
            raise InvalidOption(
                option="--capture",
                value=name,
                expected="the name of a variable of the notebook",
                advice=suggest(name, known).strip(),
            )
    return checked


def _find_made_modules(names: Iterable[str]) -> dict[str, None]:
    """Return the modules that were made in the notebook, and their packages."""
    return {
        parent: None
        for name in names
        for parent in itertools.accumulate(name.split("."), "{}.{}".format)
        if parent in sys.modules and is_made_here(parent)
    }


def _join(names: tuple[CapturedName, ...]) -> str:
    shown = ", ".join(str(name) for name in names[:_MOST_SHOWN])
    more = len(names) - _MOST_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
