"""Waking one thread that waits, from another that must not."""

from __future__ import annotations

import contextlib
import threading


class Bell:
    """Wakes one thread, once.

    Not a `threading.Event`: that is written in Python, around a lock. A handler that
    raises there, as that of Ctrl-C does, can leave the lock locked, and whoever rings
    waits for ever. Here each step is one of C.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def wait(self, timeout: float | None = None) -> bool:
        """Return whether it has rung within so many seconds; None waits for ever."""
        if timeout is None:
            return self._lock.acquire()
        return self._lock.acquire(timeout=min(max(0.0, timeout), threading.TIMEOUT_MAX))

    def ring(self) -> None:
        """Wake who waits. May be repeated."""
        with contextlib.suppress(RuntimeError):  # rung already
            self._lock.release()
