"""Writes a snapshot: variables, the notebook's magics, library settings.

It reads the namespace and changes nothing in the notebook. One writer makes one
attempt: after a failure its pickler's memo holds unfinished objects.
"""

from __future__ import annotations

import re
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ipycron.errors import CaptureError
from ipycron.notebook.capture.pickling import (
    NotebookPickler,
    Sink,
    TooLargeError,
    advise,
    explain,
)
from ipycron.notebook.capture.settings import read_edits, read_settings
from ipycron.process.wire.places import find_place

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from ipycron.notebook.capture.names import MagicKind
    from ipycron.process.shell.captured import ItemKind

EMPTY_NAMES = frozenset({"In", "Out", "_ih", "_oh"})
"""IPython's own history, which a worker does not have."""

_ANSWERS = re.compile(r"_{1,3}|_i{1,3}|_i?\d+")  # the last results and sources
_MACHINERY = frozenset(
    {
        "__annotations__",
        "__builtin__",
        "__builtins__",
        "__doc__",
        "__loader__",
        "__name__",
        "__package__",
        "__spec__",
    }
)
"""Attributes that every module has."""

_LARGEST_SETTINGS = 2**20
"""Maximum bytes of one library's settings."""

_WAY_OUT = "or leave it out: --capture NAMES sends exactly those, --no-capture nothing."


class SnapshotWriter:
    """One attempt to write a snapshot.

    Attributes:
        sink: holds what was written.
        sizes: bytes that each variable and magic has added, in the order written.
        unsent: settings that cannot travel.
    """

    def __init__(self, shell: Any, *, limit: int) -> None:
        self._shell = shell
        self._limit = limit
        self.sink = Sink(limit)
        self._pickler = NotebookPickler(self.sink, shell=shell)
        self.sizes: dict[str, int] = {}
        self.unsent: list[str] = []

    def write_magic(self, name: str, function: Any, kind: MagicKind) -> dict[str, bool]:
        """Write a magic that the notebook defines; see `write_variable`."""
        shown = f"%{name}" if kind == "line" else f"%%{name}"
        return self._write("magic", name, (function, kind), shown=shown)

    def write_variable(self, name: str) -> dict[str, bool]:
        """Write a variable; return what functions in it use.

        Returns:
            The names, and whether the functions need them.

        Raises:
            CaptureError: if it cannot be pickled, or the limit is passed.
        """
        return self._write("variable", name, self._shell.user_ns[name], shown=name)

    def write_module(self, name: str) -> dict[str, bool]:
        """Write a module that was made in the notebook; see `write_variable`."""
        return self._write("module", name, sys.modules[name], shown=name)

    def write_imports(self, names: Iterable[str], attributes: Collection[str]) -> None:
        """Write which modules inside packages the worker has to import.

        ``import urllib.request`` binds `urllib`; that `urllib.request` exists is an
        effect of the notebook's import.

        Args:
            names: names of modules that the cell imports itself.
            attributes: names in the cell's code, including attributes.
        """
        packages = {*names, *self._pickler.modules}
        found = sorted(_find_submodules(packages, self._pickler.names | {*attributes}))
        if found:
            self._pickler.dump(("imports", "", ""))
            self._pickler.dump(found)

    def write_settings(self) -> dict[str, bool]:
        """Write library settings and assignments to module attributes.

        Returns:
            What functions in them use; see `write_variable`.
        """
        self._pickler.found = {}
        for library, settings in read_settings(self._shell).items():
            self._write_settings("settings", library, settings)
        for module, attributes in read_edits(self._shell).items():
            self._write_settings("attributes", module, attributes)
        return self._pickler.found

    def _write_settings(self, kind: ItemKind, name: str, settings: Any) -> None:
        """Write settings; those that cannot travel are `unsent`."""
        pickled = self._pickle_settings(settings)
        if pickled is None and isinstance(settings, dict):
            kept = {k: v for k, v in settings.items() if self._can_travel(k, v)}
            self.unsent += [f"{name}: {k}" for k in settings.keys() - kept]
            pickled = self._pickle_settings(kept)
        if pickled is not None:
            self._pickler.dump((kind, name, ""))
            self._pickler.dump(pickled)

    def _can_travel(self, name: str, value: object) -> bool:
        return self._pickle_settings({name: value}) is not None

    def _pickle_settings(self, settings: object) -> bytes | None:
        """Return settings as a separate pickle; None if they cannot travel."""
        sink = Sink(_LARGEST_SETTINGS)
        pickler = NotebookPickler(sink, shell=self._shell)
        try:
            pickler.dump(settings)
        except Exception:  # noqa: BLE001 - pickling runs users' code
            return None
        self._pickler.adopt(pickler)
        return None if sink.buffers else sink.getvalue()

    @property
    def users(self) -> Mapping[str, str]:
        """The names that functions use, with one function for each."""
        return self._pickler.users

    def finish(self) -> bytes:
        """Write the end; return the stream."""
        self._pickler.dump(None)
        return self.sink.getvalue()

    def _write(
        self, kind: ItemKind, name: str, value: Any, *, shown: str
    ) -> dict[str, bool]:
        self._pickler.found = {}
        self._pickler.dump((kind, name, get_type_name(value)))
        before = self.sink.size
        try:
            self._pickler.dump(value)
        except TooLargeError:
            self.sizes[shown] = self.sink.size - before
            raise self._make_size_error() from None
        except Exception as error:
            raise self._make_error(shown, value, error) from error
        self.sizes[shown] = self.sink.size - before
        return self._pickler.found

    def _make_size_error(self) -> CaptureError:
        largest = max(self.sizes, key=self.sizes.__getitem__)
        return CaptureError(
            variable=largest,
            type_name=get_type_name(self._shell.user_ns.get(largest)),
            reason=f"the variables of this cell take more than "
            f"{format_size(self._limit)}, this one {format_size(self.sizes[largest])} "
            "or more",
            advice=f"Read it inside the cell, or confirm with --capture {largest}.",
        )

    def _make_error(self, shown: str, value: Any, error: Exception) -> CaptureError:
        culprit = self._pickler.culprit
        reason = explain(error)
        variable = self._find_name(culprit) or shown
        if variable != shown:
            reason += f" ({shown!r} holds it)"
            value = culprit
        elif shown in self._pickler.users:
            reason += f" ({self._pickler.users[shown]!r} uses it)"
        elif place := find_place(value, culprit):
            reason += f" ({shown}{place})"
        return CaptureError(
            variable=variable,
            type_name=get_type_name(value),
            reason=reason,
            advice=f"{advise(value, culprit)}, {_WAY_OUT}",
        )

    def _find_name(self, value: object) -> str | None:
        """Return the notebook's name for an object."""
        namespace: Mapping[str, Any] = self._shell.user_ns
        for name, other in namespace.items():
            if other is value and is_own(name, self._shell):
                return name
        return None


def _find_submodules(packages: set[str], used: set[str]) -> set[str]:
    """Return the imported submodules whose names are used."""
    roots = {package.partition(".")[0] for package in packages}
    found = set()
    for name in list(sys.modules):
        parts = name.split(".")
        if parts[0] not in roots:
            continue
        for end in range(1, len(parts)):
            if ".".join(parts[:end]) in packages and used >= set(parts[end:]):
                found.add(name)
    return found


def is_own(name: str, shell: Any) -> bool:
    """Return whether a name is the user's variable, not one of IPython's."""
    if name not in shell.user_ns or name in _MACHINERY:
        return False
    value = shell.user_ns[name]
    if _ANSWERS.fullmatch(name):
        return bool(value != "") if isinstance(value, str) else True
    hidden = shell.user_ns_hidden
    return name not in hidden or hidden[name] is not value


def get_type_name(value: object) -> str:
    """Return the type of a value, for display."""
    if isinstance(value, type):
        return "class"
    if isinstance(value, ModuleType):
        return "module"
    name = type(value).__name__
    return "function" if name == "builtin_function_or_method" else name


def format_size(size: float) -> str:
    """Return a size as readable text: ``1.2 MB``."""
    for unit in ("B", "KB", "MB"):
        if size < 1024:  # noqa: PLR2004 - the unit's factor
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GB"
