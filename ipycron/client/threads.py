"""Threads for inline functions: reused, as many as the functions need.

Not `concurrent.futures`: its pools refuse work as soon as the main thread has ended,
which is when a script that only schedules stays alive for its tasks (A12).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    # Wakes a thread: the waiting thread acquires it, the waking one releases it.
    Wakeup = threading.Lock

MIN_THREADS = 2
GROW_AFTER = 0.002
"""Seconds without progress after which threads are added for the waiting calls.

A few threads then serve a thousand short calls at one second; calls that block get a
thread each.
"""
BUSY_SHARE = 0.5
"""Processors that this process must use to count as busy."""
BUSY_FACTOR = 0.1
"""The weight of a second while the process is busy: more threads help calls that wait
for something; calls that compute only compete for the interpreter."""
IDLE_SECONDS = 10.0


class Stall:
    """Decides, at each check, whether waiting calls need more threads.

    Args:
        begun: calls begun so far.
        now: monotonic seconds.
        used: processor seconds that this process has used.
    """

    def __init__(self, *, begun: int, now: float, used: float) -> None:
        self._begun, self._now, self._used = begun, now, used
        self._seconds = 0.0

    def check(self, *, begun: int, now: float, used: float, threads: int) -> bool:
        """Return whether to add threads, at a check while calls wait.

        As long as there are as many new calls as threads between two checks, no call
        occupies its thread for long.
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

    One thread is woken at a time, the one that became idle last, and wakes the next if
    there is more to do: thirty threads woken for thirty short calls would compete with
    the scheduling thread.
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
        """Start the permanent threads. Idempotent.

        Python 3.12 starts no thread after the main thread has ended: these serve all
        calls of a script that stays alive for its tasks.
        """
        with self._lock:
            missing = max(0, MIN_THREADS - self._threads)
            self._threads += missing
        # Without the lock: a signal handler may run here and wait for the client's
        # loop, which may wait for the lock.
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
        """End the threads once their calls have ended, without waiting for them."""
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
        """Wake an idle thread unless one is waking; return whether one is waking."""
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
            del call  # an idle thread must not keep its last call alive

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
                        wakeup.acquire()  # it was woken just after the timeout

    def _begin(self) -> Callable[[], None]:
        call = self._calls.popleft()
        self._begun += 1
        if self._calls and not self._wake():
            self._ensure_watch()
        return call

    # --- on a thread of its own -----------------------------------------------------

    def _grow(self) -> None:
        """Add threads while calls wait and none begins; end when none waits."""
        pause = threading.Event()
        stall = Stall(begun=self._begun, now=time.monotonic(), used=time.process_time())
        while True:
            pause.wait(GROW_AFTER)
            with self._lock:
                if not self._calls:
                    self._watch = None
                    return
                is_over = stall.check(
                    begun=self._begun,
                    now=time.monotonic(),
                    used=time.process_time(),
                    threads=self._threads,
                )
                if is_over and not self._idle:
                    # Double them: a thousand blocked calls need ten rounds.
                    for _ in range(min(len(self._calls), max(1, self._threads))):
                        self._add_thread()


def _start_thread(work: Callable[[], None], name: str) -> threading.Thread | None:
    """Return a new thread, or None if none can be started; see `prepare`."""
    thread = threading.Thread(target=work, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return None
    return thread
