"""A program as a guest: what it does to a shared process is undone.

A script in a worker has its process to itself, which ends with it. On an executor the
process is not ours and lives on. So what Python does at the end of a program is done
here for the script alone: its threads are joined, the functions that it has registered
with `atexit` are called, its modules are forgotten; and the folder, the environment and
the like are restored.
"""

from __future__ import annotations

import atexit
import importlib
import logging
import os
import sys
import threading
import traceback
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from ipycron.process.worker.logs import configure_beside
from ipycron.process.worker.surroundings import Surroundings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType, ModuleType


@contextmanager
def keep_surroundings() -> Iterator[None]:
    """Restore what a job changes in its surroundings, and let it configure logging."""
    surroundings, configure = Surroundings(), logging.basicConfig
    logging.basicConfig = configure_beside(logging.getLogger().handlers[:])
    try:
        yield
    finally:
        logging.basicConfig = configure
        surroundings.restore()


@contextmanager
def end_program(folder: str) -> Iterator[None]:
    """Do at exit what Python does at the end of a script in this folder."""
    modules, threads = set(sys.modules), _Threads()
    importlib.invalidate_caches()  # a helper may be newer than its folder's listing
    threading.Thread.start = threads.make_start()  # type: ignore[method-assign, assignment]
    exits = _ExitFunctions(folder)
    atexit.register, atexit.unregister = exits.register, exits.unregister
    try:
        yield
    finally:
        threads.join()
        threading.Thread.start = threads.original  # type: ignore[method-assign]
        atexit.register, atexit.unregister = exits.originals
        exits.call()
        for name in sys.modules.keys() - modules:
            if _is_in(sys.modules[name], folder):
                del sys.modules[name]


class _Threads:
    """The threads that a script starts, and those that they start; no others."""

    def __init__(self) -> None:
        self.original = threading.Thread.start
        self._started = [threading.current_thread()]

    def make_start(self) -> Callable[[threading.Thread], None]:
        """Return a `Thread.start` that records them."""

        def start(thread: threading.Thread) -> None:
            if threading.current_thread() in self._started:
                self._started.append(thread)
            self.original(thread)

        return start

    def join(self) -> None:
        """Join those that are not daemons; more may be started meanwhile."""
        for thread in self._started:
            if thread is not threading.current_thread() and not thread.daemon:
                with suppress(RuntimeError):  # the thread could not be started
                    thread.join()


class _ExitFunctions:
    """Stands in for `atexit` while a script runs: takes what its code registers.

    What a library registers that the script has imported belongs to the process, as the
    library does.
    """

    def __init__(self, folder: str) -> None:
        self.originals = atexit.register, atexit.unregister
        self._folder = folder
        self._calls: list[tuple[Callable[..., Any], Any, Any]] = []

    def register(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Record the function, if it is the script's own."""
        if not self._is_own(sys._getframe(1)):  # noqa: SLF001 - the caller matters
            return self.originals[0](function, *args, **kwargs)
        self._calls.append((function, args, kwargs))
        return function

    def unregister(self, function: Any, /) -> None:
        """Forget the function."""
        self._calls = [call for call in self._calls if call[0] != function]
        self.originals[1](function)

    def call(self) -> None:
        """Call the functions, the last one first; failures go to stderr."""
        while self._calls:
            function, args, kwargs = self._calls.pop()
            try:
                function(*args, **kwargs)
            except BaseException:  # noqa: BLE001 - border: job
                traceback.print_exc()

    def _is_own(self, caller: FrameType) -> bool:
        file = caller.f_globals.get("__file__")
        return isinstance(file, str) and os.path.dirname(file) == self._folder  # noqa: PTH120 - compared, not used


def _is_in(module: ModuleType, folder: str) -> bool:
    """Return whether a module is a helper of the script in a folder."""
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and file.startswith(os.path.join(folder, ""))  # noqa: PTH118 - as above
