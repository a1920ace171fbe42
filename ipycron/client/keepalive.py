"""What keeps a script alive while it has something scheduled.

The interpreter waits for threads that are no daemons before it ends; one such thread
stands for all started, ref'd tasks. A notebook's kernel is never held, nor a script
whose main thread has died of an exception: that is how it is to end.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from types import TracebackType


class Holder(Protocol):
    """What may keep the process alive: a task."""

    id: str

    @property
    def is_holding(self) -> bool:
        """Whether it does now."""


class Keepalive:
    """Holds the interpreter while any task is held."""

    def __init__(self) -> None:
        # Taken again by a signal's handler that controls a task. No thread is started
        # with it: the client's loop would wait for who is interrupted there.
        self._lock = threading.RLock()
        self._held: set[str] = set()
        self._release: threading.Event | None = None
        self._running: threading.Event | None = None  # what a thread waits for
        self._is_given_up = False
        self._hook_before: Any = None

    def update(self, task: Holder) -> None:
        """Ask a task whether it keeps the process alive, and see to it.

        When this returns the process is held, also if another thread was about to:
        the script may be at its last line.
        """
        with self._lock:
            # Asked here: an answer from outside may be older than another thread's.
            is_held = task.is_holding
            if is_held != (task.id in self._held):  # most events change nothing
                if is_held:
                    self._held.add(task.id)
                else:
                    self._held.discard(task.id)
                self._apply()
            release = self._release if is_held else None
        if release is not None and release is not self._running:
            self._start(release)

    def _apply(self) -> None:
        if self._held and self._release is None:
            if not self._is_given_up and not is_interactive():
                self._hold()
        elif not self._held and self._release is not None:
            self._let_go()

    def _hold(self) -> None:
        self._release = threading.Event()
        self._hook_before, sys.excepthook = sys.excepthook, self._see_exception

    def _start(self, release: threading.Event) -> None:
        """Start the thread. Two that come at once start two, for the same time."""
        thread = threading.Thread(
            target=release.wait, name="ipycron-keepalive", daemon=False
        )
        try:
            thread.start()
        finally:
            self._running = release  # also where none can be started: told once

    def _let_go(self) -> None:
        assert self._release is not None
        self._release.set()
        self._release = None
        # One that was put on top of ours passes on to it: it stays.
        if sys.excepthook == self._see_exception:
            sys.excepthook = self._hook_before

    def _see_exception(
        self,
        kind: type[BaseException],
        error: BaseException,
        trace: TracebackType | None,
    ) -> None:
        """The hook before this one, then the end of the script where it is one."""
        try:
            self._hook_before(kind, error, trace)
        finally:
            if threading.current_thread() is threading.main_thread():
                self._is_given_up = True
                self.close()

    def close(self) -> None:
        """Hold nothing any more."""
        with self._lock:
            self._held.clear()
            self._apply()


def is_interactive() -> bool:
    """Return whether this is a notebook, an IPython or a plain Python prompt."""
    ipython = sys.modules.get("IPython")
    if ipython is not None and ipython.get_ipython() is not None:
        return True
    return hasattr(sys, "ps1") or bool(sys.flags.interactive)
