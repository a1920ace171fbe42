"""Threads for calls that may block, or never return."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_Call = tuple["Future[Any]", "Callable[[], Any]"]


class CallThreads:
    """Makes calls in a few daemon threads, which end when no call is waiting.

    Not a `ThreadPoolExecutor`: the interpreter joins its threads at exit, and one
    call that never returns would keep the process alive. With all threads stuck,
    further calls wait; a waiting call that is cancelled is never made.

    Args:
        limit: threads at one time.
    """

    def __init__(self, *, limit: int = 16) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._waiting: deque[_Call] = deque()
        self._count = 0

    def submit(self, function: Callable[[], Any]) -> Future[Any]:
        """Call `function` in a thread, as soon as one is free."""
        future: Future[Any] = Future()
        with self._lock:
            self._waiting.append((future, function))
            if self._count == self._limit:
                return future
            self._count += 1
        try:
            threading.Thread(
                target=self._serve, name="ipycron-coordinator", daemon=True
            ).start()
        except RuntimeError:  # the system has no thread to give
            with self._lock:
                self._count -= 1
            future.cancel()
            raise
        return future

    def _serve(self) -> None:
        while True:
            with self._lock:
                # Decided under the lock that `submit` holds, so that no call is
                # left behind by a thread that is about to end.
                if not self._waiting:
                    self._count -= 1
                    return
                future, function = self._waiting.popleft()
            _make_call(future, function)
            # An idle thread would keep the last call's objects alive.
            del future, function


def _make_call(future: Future[Any], function: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function()
    except BaseException as error:  # noqa: BLE001 - a thread's border: it is handed on
        future.set_exception(error)
    else:
        future.set_result(result)
