"""A script: a file that is run from top to bottom, as `python FILE` runs it.

In a worker each run has a process of its own, which ends with it. So whatever a run
does to its process, such as imports and settings, is gone at the next run. What Python
does at the end of a program happens here, before the run's end is sent: it waits for
threads, calls exit functions, and closes files.
"""

from __future__ import annotations

import _thread
import atexit
import gc
import importlib.machinery
import io
import os
import sys
import threading
import traceback
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any

from ipycron.scheduling.clock import read_wall_clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ipycron.scheduling.events import TaskContext

_READ_BYTES = 4096
_YOUNG_SECONDS = 2.0
"""A source this young may be written again without a new date: bytecode is checked
against dates in whole seconds."""


class ScriptRunner:
    """Runs a file as `__main__`, read when the run begins.

    Args:
        path: the file.
        args: its arguments.
        source: its text, if the file itself may be on another machine.
    """

    is_single_use = True

    def __init__(
        self, path: str, args: tuple[str, ...], source: bytes | None = None
    ) -> None:
        self._path = path
        self._args = args
        self._source = source
        self._main: ModuleType | None = None
        self._known: frozenset[str] = frozenset()
        self._threads: frozenset[threading.Thread] = frozenset()

    def run(
        self,
        describe: Callable[[], TaskContext],  # noqa: ARG002 - a script takes none
    ) -> None:
        """Execute the file as it is now; see `LoadedJob.run`.

        `sys.exit` with 0 or None ends the program successfully.
        """
        text = read_source(self._path) if self._source is None else self._source
        code = compile_source(text, self._path)
        self._known = frozenset(sys.modules)
        self._threads = frozenset(threading.enumerate())
        self._main = main = ModuleType("__main__")
        main.__file__ = self._path
        sys.modules["__main__"] = main
        sys.argv = [self._path, *self._args]
        hook = sys.excepthook
        try:
            exec(code, main.__dict__)  # noqa: S102 - running the user's file is the job
        except SystemExit as error:
            if is_success(error):
                return
            if not isinstance(error.code, int):
                sys.stderr.write(f"{error.code}\n")
            raise
        except BaseException as error:
            if sys.excepthook is not hook:
                sys.excepthook(type(error), error, error.__traceback__)
            raise

    def end(self) -> None:
        """Do what Python does at the end of a program; see `LoadedJob.end`."""
        if self._main is None:
            return  # the run has not begun
        _attempt(threading._shutdown)  # type: ignore[attr-defined]  # noqa: SLF001 - no other way
        run_exit_functions()
        _attempt(self._release)

    def _release(self) -> None:
        """Release the run's modules: their files are closed, `__del__` is called.

        A daemon thread still needs the modules: then files are only flushed.
        """
        if _thread._count():  # noqa: SLF001 - as above
            _flush_files()
            return
        names = [name for name in sys.modules if name not in self._known]
        modules = [sys.modules.pop(name) for name in names]
        assert self._main is not None
        _clear(self._main)
        gc.collect()
        for module in reversed(modules):
            if type(module) is ModuleType:  # other types may run code when accessed
                _clear(module)
        gc.collect()
        _flush_files()

    def close(self) -> None:
        """Release the module and whatever it holds; see `LoadedJob.close`."""
        if self._main is not None and self._threads.issuperset(threading.enumerate()):
            _clear(self._main)
        self._main = None
        gc.collect()


def is_success(error: SystemExit) -> bool:
    """Return whether a program that exits with this code has succeeded."""
    return error.code is None or (isinstance(error.code, int) and error.code == 0)


def run_exit_functions() -> None:
    """Call what the job has registered with `atexit`; failures go to stderr."""
    _attempt(atexit._run_exitfuncs)  # noqa: SLF001 - Python has no other name for it


def read_source(path: str) -> bytes:
    """Return a file's bytes."""
    # Without `open` and `pathlib`: their buffers would add to a worker's memory.
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(file, _READ_BYTES):
            parts.append(part)
    finally:
        os.close(file)
    return b"".join(parts)


def compile_source(text: bytes, path: str) -> CodeType:
    """Return a file's code. Raises `SyntaxError`."""
    return compile(text, path, "exec", dont_inherit=True)


def distrust_young_bytecode() -> None:
    """Have imports cache no bytecode for a source that was just written.

    A helper module edited twice within one second would be run as first saved.
    """
    loader: Any = importlib.machinery.SourceFileLoader
    keep = loader._cache_bytecode  # noqa: SLF001 - the one place where it is decided

    def keep_if_old(self: Any, source_path: str, path: str, data: bytes) -> None:
        if read_wall_clock() - os.stat(source_path).st_mtime > _YOUNG_SECONDS:  # noqa: PTH116 - a string, of importlib's
            keep(self, source_path, path, data)

    loader._cache_bytecode = keep_if_old  # noqa: SLF001 - as above


def _attempt(step: Callable[[], object]) -> None:
    """Do one step of the end; a failing step must not prevent the others."""
    try:
        step()
    except BaseException:  # noqa: BLE001 - border: job
        traceback.print_exc()


def _clear(module: ModuleType) -> None:
    """Clear a module in the order that Python uses."""
    names: Iterable[str] = list(module.__dict__)
    for is_private in (True, False):
        for name in names:
            if name != "__builtins__" and is_private == _is_private(name):
                module.__dict__[name] = None


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def _flush_files() -> None:
    """Flush the files that were not closed."""
    for thing in gc.get_objects():
        if issubclass(type(thing), io.IOBase) and not thing.closed:
            _attempt(thing.flush)
