"""A notebook's variables on their way into a worker.

The notebook pickles the variables one after another, with one pickler: what they share
stays shared, and an error names the variable. `seal` wraps the stream so that it
travels as any other object does: unpickling it calls `restore`.

A function of the notebook runs in the worker's `__main__`. Plain cloudpickle would
give it a namespace of its own; a cell could then not change what its functions see,
nor a function what its cell sees.
"""

from __future__ import annotations

import builtins
import contextlib
import importlib
import io
import pickle
import sys
from functools import partial
from types import FunctionType
from typing import TYPE_CHECKING, Any, Literal

from ipycron.errors import CaptureError
from ipycron.process.shell.imports import follow_import
from ipycron.process.shell.settings import apply_settings
from ipycron.process.wire.identity import is_loading_job, loading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import CodeType, ModuleType

ItemKind = Literal["variable", "magic", "module", "imports", "settings", "attributes"]

Item = tuple[ItemKind, str, str]
"""What precedes each value in the stream: its kind, name and type.

A "magic" is a function and its kind ("line" or "cell"). A "module" was created in the
notebook and is registered when it is unpickled; "imports" are names of modules;
"settings" of a library and "attributes" of a module are pickled separately, to be
applied when it is imported. The stream ends with a None.
"""


def seal(
    stream: bytes, buffers: Sequence[pickle.PickleBuffer]
) -> tuple[bytes, list[pickle.PickleBuffer]]:
    """Return a pickle, with its out-of-band buffers, that loads as the snapshot."""
    outer: list[pickle.PickleBuffer] = []
    sealed = _Sealed([pickle.PickleBuffer(stream), *buffers])
    return pickle.dumps(sealed, protocol=5, buffer_callback=outer.append), outer


class _Sealed:
    """Pickles as a call of `restore`."""

    def __init__(self, blocks: list[pickle.PickleBuffer]) -> None:
        self._blocks = blocks

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return restore, tuple(self._blocks)


def restore(stream: bytes | memoryview, *buffers: Any) -> dict[str, Any]:
    """Return the variables by name; register their magics.

    Runs in the worker, after its shell is made: functions are bound to `__main__`.

    Args:
        stream: the items and values.
        buffers: the memory of large values, used in place, not copied. Pass memory that
            is writable and private (a ``MAP_PRIVATE`` mapping): an array over read-only
            memory cannot be assigned to. What was read-only in the notebook stays
            read-only.

    Raises:
        CaptureError: if a value cannot be rebuilt here; names the variable.
    """
    variables: dict[str, Any] = {}
    with loading(is_job=True):
        for (kind, name, _), value in _read(stream, buffers):
            if kind == "variable":
                variables[name] = value
            elif kind == "magic":
                _register_magic(name, *value)
            elif kind == "imports":
                _import_modules(value)
            elif kind == "settings":
                apply_settings(name, partial(_load_settings, value))
            elif kind == "attributes":
                follow_import(name, partial(_set_attributes, name, value))
    return variables


def _read(
    stream: bytes | memoryview, buffers: Sequence[Any]
) -> Iterator[tuple[Item, Any]]:
    unpickler = _Unpickler(io.BytesIO(stream), buffers=buffers)
    while (item := unpickler.load()) is not None:
        try:
            value = unpickler.load()
        except Exception as error:
            _, name, type_name = item
            raise CaptureError(
                variable=name,
                type_name=type_name,
                reason=f"it cannot be rebuilt there ({type(error).__name__}: {error})",
                advice="Make it inside the cell.",
            ) from error
        yield item, value


class _Unpickler(pickle.Unpickler):
    """Gives functions of a notebook the worker's `__main__` as their globals."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("cloudpickle.cloudpickle", "_make_function"):
            return _make_function
        return super().find_class(module, name)


def _make_function(
    code: CodeType, namespace: dict[str, Any], *rest: Any
) -> FunctionType:
    """Do what cloudpickle's function of the same name does, in the right namespace."""
    if namespace.get("__name__") == "__main__":
        main: ModuleType = sys.modules["__main__"]
        namespace = vars(main)
    namespace["__builtins__"] = builtins
    return FunctionType(code, namespace, *rest)


def _import_modules(names: Sequence[str]) -> None:
    for name in names:
        # The cell may not need it; if it does, it gets an AttributeError.
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def _set_attributes(name: str, pickled: bytes) -> None:
    for attribute, value in _load_settings(pickled).items():
        setattr(sys.modules[name], attribute, value)


def _load_settings(pickled: bytes) -> Any:
    # The settings refer to the snapshot's own objects: now, within the same load, or
    # later, when no job is being loaded.
    with contextlib.nullcontext() if is_loading_job() else loading():
        return _Unpickler(io.BytesIO(pickled)).load()


def _register_magic(name: str, function: Any, kind: str) -> None:
    from IPython import get_ipython  # noqa: PLC0415 - only where a shell is

    shell = get_ipython()
    if shell is not None:
        shell.register_magic_function(function, kind, name)
