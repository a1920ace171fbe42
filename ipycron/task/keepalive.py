"""What keeps a script alive while it has something scheduled.

The interpreter waits for threads that are no daemons before it ends; one such thread
stands for all started, ref'd tasks. A notebook's kernel is never held.
"""

from __future__ import annotations

import sys
import threading


class Keepalive:
    """Holds the interpreter while any task is held."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: set[str] = set()
        self._release: threading.Event | None = None

    def update(self, task_id: str, *, is_held: bool) -> None:
        """Say whether a task is to keep the process alive."""
        with self._lock:
            if is_held:
                self._held.add(task_id)
            else:
                self._held.discard(task_id)
            self._apply()

    def _apply(self) -> None:
        if self._held and self._release is None and not is_interactive():
            self._release = threading.Event()
            thread = threading.Thread(
                target=self._release.wait, name="ipycron-keepalive", daemon=False
            )
            thread.start()
        elif not self._held and self._release is not None:
            self._release.set()
            self._release = None

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
