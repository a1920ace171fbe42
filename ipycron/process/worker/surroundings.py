"""A job's surroundings, which are the same at the beginning of each run.

A worker survives its runs, and so do its modules and namespace; but a run that changes
the working folder, environment variables, signal handlers or logging must not affect
the next one.
"""

from __future__ import annotations

import _locale
import _signal
import contextlib
import marshal
import os
import sys
from typing import Any

from ipycron.process.worker.logs import LoggingState

_NUMBERS = tuple(sorted(int(number) for number in _signal.valid_signals()))
_environ: dict[bytes, bytes] = os.environ._data  # type: ignore[attr-defined]  # noqa: SLF001 - compared after each run: as it is, without decoding


class Surroundings:
    """Folder, environment, paths, arguments, umask, signals, locale and logging.

    Recorded when this object is created. For the main thread of a process that belongs
    to the job alone, or is lent to it; see `restore`.
    """

    def __init__(self) -> None:
        self._folder = _find_folder()
        self._environ = _copy_environment()
        self._path, self._paths = sys.path, sys.path[:]
        self._argv, self._arguments = sys.argv, sys.argv[:]
        self._umask = os.umask(0o022)
        os.umask(self._umask)
        self._handlers = _get_handlers()
        self._locale = _locale.setlocale(_locale.LC_ALL, None)
        self._logging = LoggingState()

    def restore(self) -> None:
        """Restore what has changed. Cheap if nothing has."""
        os.umask(self._umask)
        if self._folder is not None and _find_folder() != self._folder:
            with contextlib.suppress(OSError):  # the folder is gone
                os.chdir(self._folder)
        if _copy_environment() != self._environ:
            self._restore_environment()
        if sys.path is not self._path or sys.path != self._paths:
            sys.path = self._path
            sys.path[:] = self._paths
        if sys.argv is not self._argv or sys.argv != self._arguments:
            sys.argv = self._argv
            sys.argv[:] = self._arguments
        if (handlers := _get_handlers()) != self._handlers:
            self._restore_handlers(handlers)
        if _locale.setlocale(_locale.LC_ALL, None) != self._locale:
            _locale.setlocale(_locale.LC_ALL, self._locale)
        self._logging.restore()

    def _restore_environment(self) -> None:
        before: dict[bytes, bytes] = marshal.loads(self._environ)  # noqa: S302 - ours
        for name in _environ.keys() - before.keys():
            del os.environb[name]
        for name, value in before.items():
            if _environ.get(name) != value:
                os.environb[name] = value

    def _restore_handlers(self, handlers: dict[int, Any]) -> None:
        _signal.setitimer(_signal.ITIMER_REAL, 0)  # an alarm would end the process now
        for number in handlers | self._handlers:
            before = self._handlers.get(number, _signal.SIG_DFL)
            if handlers.get(number, _signal.SIG_DFL) != before and before is not None:
                # Only the main thread may set them; elsewhere the job could not.
                with contextlib.suppress(ValueError, OSError):
                    _signal.signal(number, before)


def _copy_environment() -> bytes:
    """Return the environment, the same bytes as long as nothing has changed.

    Not a dictionary: another reference to each name and value would make a worker
    write to all the pages that contain them. `marshal` up to its version 2 does not
    count references, either.
    """
    return marshal.dumps(_environ, 2)


def _find_folder() -> bytes | None:
    try:
        return os.getcwdb()  # noqa: PTH109 - bytes, and without pathlib
    except OSError:
        return None  # the folder was removed


def _get_handlers() -> dict[int, Any]:
    """Return the handlers that are not the default; None for one set by C code."""
    # Few: a list of all would be 50 kB of a worker's memory.
    return {
        number: handler
        for number in _NUMBERS
        if (handler := _signal.getsignal(number)) != _signal.SIG_DFL
    }
