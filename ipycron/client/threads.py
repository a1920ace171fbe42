"""Threads for inline functions: reused, as many as the functions need.

Not `concurrent.futures`: its pools refuse work as soon as the main thread has ended,
which is when a script that only schedules lives on for its tasks (A12).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    # Wakes a waiting thread: acquired by it, released by the thread that wakes it.
    Wakeup = threading.Lock

MIN_THREADS = 2
GROW_AFTER = 0.002
"""Seconds without progress after which threads are added for the calls that wait.

Short calls, a thousand at one second, are then served by few threads; calls that
block get a thread each.
"""
BUSY_SHARE = 0.5
"""Processors in use by this process from which on it counts as busy."""
BUSY_FACTOR = 0.1
"""What a second counts for meanwhile: more threads help calls that wait for
something; those that compute only take the interpreter from one another."""
IDLE_SECONDS = 10.0


class Stall:
    """Decides, look by look, whether waiting calls need more threads.

    Args:
        begun: calls begun so far.
        now: monotonic seconds.
        used: seconds of processor that this process has used.
    """

    def __init__(self, *, begun: int, now: float, used: float) -> None:
        self._begun, self._now, self._used = begun, now, used
        self._seconds = 0.0

    def look(self, *, begun: int, now: float, used: float, threads: int) -> bool:
        """Return whether threads are to be added, at a look while calls wait.

        As long as there are as many beginnings as threads between two looks, no call
        holds its thread for long.
        """
        progress, elapsed, in_use = (
            begun - self._begun,
            now - self._now,
            used - self._used,
        )
        self._begun, self._now, self._used = begun, now, used
        is_busy = in_use > BUSY_SHARE * elapsed
        self._seconds += elapsed * (BUSY_FACTOR if is_busy else 1.0)
        if progress >= threads:
            self._seconds = 0.0
        is_over = self._seconds >= GROW_AFTER
        if is_over:
            self._seconds = 0.0
        return is_over


class ThreadPool:
    """Runs calls on daemon threads; grows when calls wait, shrinks when idle.

    One thread is woken at a time, the one that fell idle last, and wakes the next
    where there is more to do: thirty threads that are woken for thirty short calls
    would take turns with the thread that schedules.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._calls: deque[Callable[[], None]] = deque()
        self._begun = 0
        self._threads = 0
        self._idle: list[Wakeup] = []
        self._is_waking = False
        self._is_closed = False
        self._watch: threading.Thread | None = None

    def prepare(self) -> None:
        """Start the threads that stay. May be repeated.

        Python 3.12 starts no thread once the main thread has ended: these serve all
        calls of a script that lives on for its tasks.
        """
        with self._lock:
            missing = max(0, MIN_THREADS - self._threads)
            self._threads += missing
        # Not with the lock: a signal's handler that comes here may wait for the
        # client's loop, and that for the lock.
        for _ in range(missing):
            if _start_thread(self._work, "ipycron-job") is None:
                with self._lock:
                    self._threads -= 1

    def submit(self, call: Callable[[], None]) -> None:
        """Run `call` on a thread soon. It must not raise."""
        with self._lock:
            self._calls.append(call)
            if self._wake():
                return
            if self._threads < MIN_THREADS:
                self._add_thread()
                if not self._threads:
                    self._calls.pop()
                    raise RuntimeError("no thread can be started, and there is none")
            else:
                self._ensure_watch()

    def has_waiting(self) -> bool:
        """Return whether calls wait for a thread."""
        return bool(self._calls)

    def close(self) -> None:
        """Let the threads end when their calls have. Nothing is waited for."""
        with self._lock:
            self._is_closed = True
            for wakeup in self._idle:
                wakeup.release()
            self._idle.clear()

    # --- with the lock held ---------------------------------------------------------

    def _add_thread(self) -> None:
        if _start_thread(self._work, "ipycron-job") is not None:
            self._threads += 1

    def _wake(self) -> bool:
        """Wake an idle thread unless one is on its way; return whether one is."""
        if not self._is_waking and self._idle:
            self._is_waking = True
            self._idle.pop().release()
        return self._is_waking

    def _ensure_watch(self) -> None:
        if self._watch is None:
            self._watch = _start_thread(self._grow, "ipycron-pool")

    # --- on a job's thread ----------------------------------------------------------

    def _work(self) -> None:
        wakeup = threading.Lock()
        wakeup.acquire()
        while (call := self._take(wakeup)) is not None:
            call()
            del call  # the last call of an idle thread must not live on

    def _take(self, wakeup: Wakeup) -> Callable[[], None] | None:
        """Return the next call; None when the thread is to end."""
        while True:
            with self._lock:
                if self._calls:
                    return self._begin()
                if self._is_closed:
                    self._threads -= 1
                    return None
                self._idle.append(wakeup)
            is_woken = wakeup.acquire(timeout=IDLE_SECONDS)
            with self._lock:
                if wakeup in self._idle:
                    self._idle.remove(wakeup)
                    if self._threads > MIN_THREADS:
                        self._threads -= 1
                        return None
                else:
                    self._is_waking = False
                    if not is_woken:
                        wakeup.acquire()  # it rang a moment too late

    def _begin(self) -> Callable[[], None]:
        call = self._calls.popleft()
        self._begun += 1
        if self._calls and not self._wake():
            self._ensure_watch()
        return call

    # --- on a thread of its own -----------------------------------------------------

    def _grow(self) -> None:
        """Add threads while calls wait and none begins; ends when none waits."""
        pause = threading.Event()
        stall = Stall(begun=self._begun, now=time.monotonic(), used=time.process_time())
        while True:
            pause.wait(GROW_AFTER)
            with self._lock:
                if not self._calls:
                    self._watch = None
                    return
                is_over = stall.look(
                    begun=self._begun,
                    now=time.monotonic(),
                    used=time.process_time(),
                    threads=self._threads,
                )
                if is_over and not self._idle:
                    # As many again: a thousand blocked calls need ten rounds.
                    for _ in range(min(len(self._calls), max(1, self._threads))):
                        self._add_thread()


def _start_thread(work: Callable[[], None], name: str) -> threading.Thread | None:
    """Return a new thread, or None where none can be started: see `prepare`."""
    thread = threading.Thread(target=work, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return None
    return thread
