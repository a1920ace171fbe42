"""Finds where the magics of a cell come from, so that a worker has them too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ipycron.notebook.capture.names import MagicKind

OwnMagics = dict[str, tuple[Any, "MagicKind"]]
"""Magics that a notebook defines: by name, the function and its kind."""

_OURS = "ipycron"


def find_extensions(
    magics: Iterable[tuple[MagicKind, str]], shell: Any
) -> tuple[str, ...]:
    """Return the loaded extensions that the magics come from, each once."""
    found: dict[str, None] = {}
    for kind, name in magics:
        function = shell.find_magic(name, kind)
        extension = _match(_get_module(function), shell.extension_manager.loaded)
        if extension is not None and extension != _OURS:
            found[extension] = None
    return tuple(found)


def find_own_magics(magics: Iterable[tuple[MagicKind, str]], shell: Any) -> OwnMagics:
    """Return the magics that the notebook itself defines: function and kind."""
    found: OwnMagics = {}
    for kind, name in magics:
        function = shell.find_magic(name, kind)
        if function is not None and _get_module(function) == "__main__":
            found[name] = (function, kind)
    return found


def _get_module(function: Any) -> str:
    """Return the module that defines a magic."""
    owner = getattr(function, "__self__", None)
    module = type(owner).__module__ if owner is not None else None
    return module or getattr(function, "__module__", None) or ""


def _match(module: str, extensions: Iterable[str]) -> str | None:
    """Return the extension that shares most of its path with the module.

    An extension is a module or package; its magics are defined in it, below it, or in a
    sibling module. IPython's own extensions have siblings that are not extensions.
    """
    best, length = None, 0
    for extension in sorted(extensions):
        shared = _count_shared(module.split("."), extension.split("."))
        is_inside = shared == len(extension.split("."))
        if shared > length and (is_inside or not module.startswith("IPython.")):
            best, length = extension, shared
    return best


def _count_shared(one: list[str], other: list[str]) -> int:
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count
