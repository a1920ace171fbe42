"""Threads for inline functions: reused, as many as the functions need.

Not `concurrent.futures`: its pools refuse work as soon as the main thread has ended,
which is when a script that only schedules lives on for its tasks (A12).
"""

from __future__ import annotations

import collections
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MIN_THREADS = 2
GROW_AFTER = 0.002
"""Seconds a call may wait in the queue before a thread is added for it.

Short calls, a thousand at one second, are then served by few threads; calls that
block get a thread each.
"""
IDLE_SECONDS = 10.0


class ThreadPool:
    """Runs calls on daemon threads; grows when calls wait, shrinks when idle."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._calls: collections.deque[tuple[float, Callable[[], None]]]
        self._calls = collections.deque()
        self._threads = 0
        self._idle = 0
        self._is_closed = False
        self._watch: threading.Thread | None = None

    def prepare(self) -> None:
        """Start the threads that stay. May be repeated.

        Python 3.12 starts no thread once the main thread has ended: these serve all
        calls of a script that lives on for its tasks.
        """
        with self._condition:
            for _ in range(MIN_THREADS - self._threads):
                self._add_thread()

    def submit(self, call: Callable[[], None]) -> None:
        """Run `call` on a thread soon. It must not raise."""
        with self._condition:
            self._calls.append((time.monotonic(), call))
            if self._idle:
                self._condition.notify()
            elif self._threads < MIN_THREADS:
                self._add_thread()
                if not self._threads:
                    self._calls.pop()
                    raise RuntimeError("no thread can be started, and there is none")
            elif self._watch is None:
                self._watch = _start_thread(self._grow, "ipycron-pool")

    def _add_thread(self) -> None:
        if _start_thread(self._work, "ipycron-job") is not None:
            self._threads += 1

    def _grow(self) -> None:
        """Add threads while calls wait; ends when none waits."""
        pause = threading.Event()
        while True:
            pause.wait(GROW_AFTER)
            with self._condition:
                if not self._calls:
                    self._watch = None
                    return
                waited = time.monotonic() - self._calls[0][0]
                if waited >= GROW_AFTER and not self._idle:
                    # As many again: a thousand blocked calls need ten rounds.
                    for _ in range(min(len(self._calls), max(1, self._threads))):
                        self._add_thread()

    def _work(self) -> None:
        while (call := self._take()) is not None:
            call()
            del call  # the last call of an idle thread must not live on

    def _take(self) -> Callable[[], None] | None:
        with self._condition:
            is_wanted = True
            while not self._calls and is_wanted and not self._is_closed:
                self._idle += 1
                is_notified = self._condition.wait(IDLE_SECONDS)
                self._idle -= 1
                is_wanted = is_notified or self._threads <= MIN_THREADS
            if self._calls:
                return self._calls.popleft()[1]
            self._threads -= 1
            return None

    def close(self) -> None:
        """Let the threads end when their calls have. Nothing is waited for."""
        with self._condition:
            self._is_closed = True
            self._condition.notify_all()


def _start_thread(work: Callable[[], None], name: str) -> threading.Thread | None:
    """Return a new thread, or None where none can be started: see `prepare`."""
    thread = threading.Thread(target=work, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return None
    return thread
