"""Pickles a notebook's variables one by one, and reports which cannot travel.

One pickler for all, so that what they share stays shared: an array that two of
them hold is sent once and is one array again.

A function travels without the variables it uses. These are reported as `found`, and are
sent as variables themselves: the function will look them up in the worker's `__main__`
(`ipycron.process.shell.captured`).
"""

from __future__ import annotations

import io
import pickle
import sys
from types import FunctionType, ModuleType
from typing import Any

from ipycron.notebook.capture.names import (
    find_code_globals,
    find_code_modules,
    find_code_names,
)
from ipycron.notebook.capture.texts import find_text_names, runs_text
from ipycron.process.wire.by_value import is_made_module
from ipycron.process.wire.pickler import Pickler


class TooLargeError(Exception):
    """Raised when more than the limit has been pickled."""


class Sink(io.BytesIO):
    """Collects a pickle and its out-of-band buffers, up to a limit.

    Attributes:
        size: bytes so far, buffers included.
        buffers: the memory of large values, not copied.
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit
        self.size = 0
        self.buffers: list[pickle.PickleBuffer] = []

    def write(self, data: Any, /) -> int:
        """Append a part of the pickle."""
        self._count(len(data))
        return super().write(data)

    def add_buffer(self, buffer: pickle.PickleBuffer) -> None:
        """Keep a buffer."""
        self._count(memoryview(buffer).nbytes)
        self.buffers.append(buffer)

    def _count(self, size: int) -> None:
        self.size += size
        if self.size > self._limit:
            raise TooLargeError


class NotebookPickler(Pickler):
    """A pickler for one notebook's variables.

    Attributes:
        culprit: the object pickled last: after an error, the one that failed.
        found: the global names that the notebook's functions use, and whether they
            need them; the owner empties it.
        users: the function that uses each name.
        modules: modules pickled by name, and those that functions import.
        names: all names in the code of functions, including attributes.
        types: the types of everything pickled.
    """

    def __init__(self, sink: Sink, *, shell: Any) -> None:
        super().__init__(sink, buffer_callback=sink.add_buffer)
        self._shell = shell
        self.culprit: object = None
        self.found: dict[str, bool] = {}
        self.users: dict[str, str] = {}
        self.modules: dict[str, None] = {}
        self.names: set[str] = set()
        self.types: set[type] = set()

    def reducer_override(self, obj: Any) -> Any:
        """Pickle by reference, or refuse, what is bound to this process."""
        self.culprit = obj
        self.types.add(type(obj))
        if obj is self._shell:
            return _get_shell, ()
        for name in ("stdout", "stderr"):
            if obj is getattr(sys, name):
                return getattr, (sys, name)
        if refusal := _find_refusal(obj):
            raise pickle.PicklingError(refusal)
        if isinstance(obj, ModuleType) and not is_made_module(obj):
            self.modules[obj.__name__] = None
        return super().reducer_override(obj)

    def adopt(self, other: NotebookPickler) -> None:
        """Take over what another pickler has found."""
        self.found |= other.found
        self.users |= other.users

    def reduce_by_value(self, obj: Any) -> Any:
        """Leave out the variables of the notebook's functions."""
        reduced = super().reduce_by_value(obj)
        if isinstance(obj, FunctionType) and obj.__globals__ is self._shell.user_ns:
            self._detach(obj, reduced)
        return reduced

    def _detach(self, function: FunctionType, reduced: tuple[Any, ...]) -> None:
        """Remove the variables from a function's state; record their names."""
        _, slots = reduced[2]  # cloudpickle: a function's __dict__, its other slots
        slots["__globals__"] = {}
        reads, binds = find_code_globals(function.__code__)
        names, texts = find_code_names(function.__code__)
        self.names |= names
        self.modules.update(dict.fromkeys(find_code_modules(function.__code__)))
        is_code = runs_text(names)
        in_texts = {n for t in texts for n in find_text_names(t, is_code=is_code)}
        for name in sorted(reads | in_texts):
            # A name that the function also binds may not exist yet.
            is_needed = name in reads - binds
            self.found[name] = self.found.get(name, False) or is_needed
            self.users.setdefault(name, function.__qualname__)


def _find_refusal(obj: object) -> str | None:
    """Return why an object must not be pickled although cloudpickle would try."""
    if isinstance(obj, io.TextIOWrapper):
        return "it is an open file"  # would arrive as a StringIO with its content
    widgets = sys.modules.get("ipywidgets")
    if widgets is not None and isinstance(obj, widgets.Widget):
        return "it is a widget of this page"
    return None


def _get_shell() -> Any:
    """Return the shell of the process that unpickles this."""
    from IPython import get_ipython  # noqa: PLC0415 - not in every worker

    return get_ipython()


def explain(error: Exception) -> str:
    """Return pickle's reason as the middle of a sentence."""
    if isinstance(error.__cause__, RecursionError):
        return "it is nested too deeply"
    return str(error).strip().rstrip(".") or type(error).__name__


def advise(*objects: object) -> str:
    """Return the advice for the first of the objects that has any."""
    for obj in objects:
        for cls in type(obj).__mro__:
            name = f"{cls.__module__}.{cls.__qualname__}"
            for prefix, advice in _ADVICE.items():
                if name.startswith(prefix):
                    return advice
    return "Make it inside the cell"


_ADVICE: dict[str, str] = {
    "_io.": "Open it inside the cell",
    "sqlite3.": "Connect inside the cell",
    "socket.": "Connect inside the cell",
    "_socket.": "Connect inside the cell",
    "ipywidgets.": "Copy what it holds (such as x = widget.value) and use that",
    "threading.Thread": "Start it inside the cell",
    "builtins.generator": "Make a list of it, or make it inside the cell",
    "builtins.coroutine": "Await it in the notebook and use what it returns",
    "_asyncio.": "Await it in the notebook and use what it returns",
}
