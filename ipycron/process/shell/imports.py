"""Hooks that run as soon as a module is imported, and not before."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.machinery import ModuleSpec


class _Finder:
    """Runs the hooks of an import; finds no module itself."""

    def __init__(self) -> None:
        self.waiting: dict[str, list[Callable[[], object]]] = {}

    def find_spec(self, name: str, *_: Any) -> ModuleSpec | None:
        waiting = self.waiting.pop(name, None)
        if waiting is None:
            return None
        import importlib.util  # noqa: PLC0415 - a script's worker does without

        spec = importlib.util.find_spec(name)
        loader: Any = None if spec is None else spec.loader
        if hasattr(loader, "exec_module"):
            execute = loader.exec_module

            def exec_module(module: Any) -> None:
                execute(module)
                for follow in waiting:
                    with contextlib.suppress(Exception):  # the module is another one
                        follow()

            loader.exec_module = exec_module
        return spec


_finder = _Finder()


def follow_import(name: str, follow: Callable[[], object]) -> None:
    """Call a function when a module is imported; at once if it already is.

    Args:
        name: the module's.
        follow: the function. Its errors do not fail the import.
    """
    if name in sys.modules:
        follow()
        return
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    _finder.waiting.setdefault(name, []).append(follow)
