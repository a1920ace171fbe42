"""The one thread that writes to the browser.

Nothing else writes to widgets, so that no other part of ipycron waits for a front end:
the client's loop records which task has changed; this thread reads the task a moment
later, as often as each view allows.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import threading
import time
from typing import Protocol

from ipycron.client.completion import Wakeup
from ipycron.client.registry import registry

COALESCE = 0.05
"""Seconds that changes are collected before views are updated; a burst is one
update."""
BYTES_PER_SECOND = 400_000
"""Output sent by all views together. Above 1,000,000 bytes a second Jupyter's server
drops messages, of every widget and print in the notebook."""
TURN = 0.001
"""Seconds that this thread holds the interpreter: a running cell would otherwise wait
until this thread is done, or for the 5 ms after which Python switches threads."""
BREAK = 0.0001
"""Seconds of rest in between: long enough for another thread to wake up."""


class View(Protocol):
    """A view in a browser, or a terminal.

    Attributes:
        outlives_process: whether it is still seen when this process has ended.
    """

    outlives_process: bool

    def note(self, task_ids: set[str]) -> None:
        """Record that these tasks have changed."""

    def push(self, now: float) -> float:
        """Send what is due at monotonic `now`; return when to call this again."""


class Feed:
    """Makes the attached views send what has changed.

    `detach` and `note` take no lock. The garbage collector may close a widget, and
    thereby detach it, at any line of any thread, also in `attach`; and while a signal
    handler in `attach` waits for the client, the client's loop notes changes.
    """

    def __init__(self) -> None:
        # Held to start and to end the thread; reentrant for signal handlers.
        self._lock = threading.RLock()
        # Not an `Event`, whose own lock is not reentrant either.
        self._wake = Wakeup()
        self._pause = threading.Event()  # never set
        self._changed: dict[str, None] = {}
        self._views: list[View] = []
        self._thread: threading.Thread | None = None
        self._free_at = 0.0
        self._turn_ends = 0.0
        self._turn = 0
        # After the registry's own, and so called before it.
        atexit.register(self._leave_pages)

    def attach(self, view: View) -> None:
        """Keep a view up to date from now on."""
        registry.event_log.watch(self.note)
        with self._lock:
            if not any(known is view for known in tuple(self._views)):
                self._views.append(view)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="ipycron-views", daemon=True
                )
                self._thread.start()
        self._wake.set()

    def detach(self, view: View) -> None:
        """Detach a view. An unknown one is ignored; without views the thread ends."""
        with contextlib.suppress(ValueError):
            self._views.remove(view)
        self._wake.set()

    def note(self, task_id: str) -> None:
        """Record that a task has changed. Fast, as the client's loop calls this."""
        self._changed[task_id] = None
        self._wake.set()

    def wake(self) -> None:
        """Update the views soon, regardless of when they asked to be called."""
        self._wake.set()

    def _leave_pages(self) -> None:
        """Leave pages as they are: they offer to restore the tasks that they show.

        Their end with the process is no news to those who read them after it.
        """
        for view in tuple(self._views):
            if view.outlives_process:
                self.detach(view)

    # --- on the feed's own thread ----------------------------------------------------

    def give_way(self) -> None:
        """Yield to a running cell if this thread has worked for a while."""
        if time.monotonic() > self._turn_ends:
            self._pause.wait(BREAK)
            self._turn_ends = time.monotonic() + TURN

    def count_output(self, size: int) -> None:
        """Account for output that was sent."""
        now = time.monotonic()
        self._free_at = max(self._free_at, now) + size / BYTES_PER_SECOND

    def get_free_at(self) -> float:
        """Return the monotonic time from which output may be sent."""
        return self._free_at

    def _run(self) -> None:
        due = time.monotonic()
        while True:
            self._wake.wait(max(0.0, due - time.monotonic()))
            self._pause.wait(COALESCE)
            self._wake.wait(0)  # what has come since then is taken now
            with self._lock:
                changed, views = self._take_changed(), self._order_views()
                if not views:
                    self._thread = None
                    registry.event_log.unwatch(self.note)
                    return
            due = min(self._serve(view, changed) for view in views)

    def _take_changed(self) -> set[str]:
        changed = set()
        while self._changed:
            changed.add(self._changed.popitem()[0])
        return changed

    def _order_views(self) -> tuple[View, ...]:
        """Return the views, another one first each time, as it sends output first.

        The budget may not suffice for all.
        """
        views = tuple(self._views)
        self._turn += 1
        first = self._turn % len(views) if views else 0
        return views[first:] + views[:first]

    def _serve(self, view: View, changed: set[str]) -> float:
        now = time.monotonic()
        self._turn_ends = now + TURN
        try:
            if changed:
                view.note(changed)
            return view.push(now)
        except Exception:
            logging.getLogger("ipycron").exception("a view could not be updated")
            return now + 10
