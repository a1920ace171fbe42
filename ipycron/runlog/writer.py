"""Takes rows to the disk, on a thread of its own.

Whoever schedules only appends to a queue. The thread sleeps while there is nothing,
gathers for a moment what comes, and writes it in one transaction. Whatever is wrong
with the disk or the file, runs go on: rows wait while there is room, and what could not
be written is counted.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections import deque
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from ipycron.runlog.merging import Pending
from ipycron.runlog.rows import OPEN, RunRow
from ipycron.runlog.session import Session, Written

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipycron.runlog.rows import Change
    from ipycron.runlog.settings import HistorySettings

GATHER = 0.15
"""Seconds for which rows are gathered: with the time that it takes to write them, no
row is in memory only for longer than 200 ms. Most of the cost is one of each batch."""
MAX_ROWS = 20_000
"""Rows that wait, at most, while the file cannot be written."""
STEP_PAUSE = 0.02
"""Seconds between two steps of retention."""


class HistoryWriter:
    """Writes changes to the history; `put` costs its caller next to nothing.

    Nothing is opened, and there is no thread, before the first change. In a forked
    child the writer is inert: it takes nothing and writes nothing.

    Args:
        settings: where to, and how much is kept. Without a path nothing is written.
        warn: called on the writer's thread with a line for the user; about what cannot
            be written at most once a minute.
        now: the clock of the file, in Unix seconds.

    Attributes:
        path: the file; None without one.
    """

    def __init__(
        self,
        settings: HistorySettings,
        *,
        warn: Callable[[str], None],
        # Other processes compare with it, so it must be this machine's clock.
        now: Callable[[], float] = time.time,  # noqa: TID251
    ) -> None:
        self.path = path = settings.file
        self._session = (
            None if path is None else Session(path, settings, warn=warn, now=now)
        )
        self._changes: SimpleQueue[Change | _Request] = SimpleQueue()
        self._pending = Pending()
        self._overflow = 0
        # Closing rows that found no room, by id: their open rows are on the disk.
        self._dropped: deque[str] = deque(maxlen=MAX_ROWS)
        self._thread: threading.Thread | None = None
        self._starting = threading.RLock()  # a signal handler may put, too
        self._is_closed = False
        # Released to end a wait early.
        self._hurry = threading.Lock()
        self._hurry.acquire()
        # The thread's own:
        self._waiting: list[_Request] = []
        self._has_more = False  # for retention to do
        self._is_over = False

    @property
    def is_off(self) -> bool:
        """Whether there is no file to write to."""
        return self._session is None

    @property
    def lost(self) -> int:
        """How many rows could not be written, so far."""
        return self._overflow + (self._session.lost if self._session else 0)

    @property
    def waiting(self) -> int:
        """How many rows wait since the file cannot be written; 0 while it can be."""
        if self._session is None or self._session.pause is None:
            return 0
        return len(self._pending) + self._changes.qsize()

    def put(self, change: Change) -> None:
        """Have a change written soon. Never blocks, never raises; for any thread."""
        session = self._session
        if session is None:
            return
        # A life is always taken: without it its runs would have no name.
        limit = MAX_ROWS if type(change) is RunRow else sys.maxsize
        is_over = self._is_closed or session.is_off
        if is_over or self._changes.qsize() + len(self._pending) >= limit:
            self._drop(change)
            return
        self._changes.put(change)
        if type(change) is RunRow and change.trigger == "catch_up":
            # What the next life of the task would catch up on again.
            with contextlib.suppress(RuntimeError):  # as in `_request`
                self._hurry.release()
        if self._thread is None:
            self._start()

    def flush(self, timeout: float) -> bool:
        """Write what was put before; return whether it is in the file now.

        Args:
            timeout: seconds. Less is waited where it is clear that it cannot be done.
        """
        return self._request(_Request(timeout, is_last=False))

    def close(self, timeout: float) -> bool:
        """Write the rest, say that this writer has ended, and close the file.

        What is put later, or cannot be written in time, is lost. May be called twice.

        Args:
            timeout: seconds for all of it.

        Returns:
            Whether the rest was written.
        """
        if self._is_closed:
            return True
        self._is_closed = True
        return self._request(_Request(timeout, is_last=True))

    def _drop(self, change: Change) -> None:
        if type(change) is RunRow:
            self._overflow += 1
            if change.outcome not in OPEN:
                self._dropped.append(change.id)

    def _request(self, request: _Request) -> bool:
        thread = self._thread
        if thread is None or not thread.is_alive():
            # In a forked child what is here is its parent's.
            is_inert = self._session is None or self._session.is_off
            return is_inert or self._changes.empty()
        if thread is threading.current_thread():  # whoever is warned may read
            return False
        self._changes.put(request)
        with contextlib.suppress(RuntimeError):  # another request has released it
            self._hurry.release()
        if not request.done.acquire(timeout=request.find_rest()):
            return False
        if request.is_last:
            thread.join(request.find_rest())
        return request.is_written

    def _start(self) -> None:
        with self._starting:
            if self._thread is not None or self._is_closed:
                return
            thread = threading.Thread(
                target=self._run, name="ipycron-history", daemon=True
            )
            self._thread = thread
            try:
                thread.start()
            except RuntimeError:  # no more threads; the next change tries again
                self._thread = None

    def _run(self) -> None:
        """Write until the last request is settled; the thread's main function."""
        session = self._session
        assert session is not None  # for mypy: `put` has asked
        while not self._is_over:
            try:
                self._gather(session)
                self._write_once(session)
            except Exception as error:  # noqa: BLE001 - the thread must not end by it
                session.drop(self._pending, error)
                self._settle(self._waiting, Written.NO)

    def _gather(self, session: Session) -> None:
        """Wait until there is something to do, and take all changes that are there."""
        gathered: list[Change | _Request] = []
        if session.pause is not None:
            pause = min(session.pause, GATHER) if self._waiting else session.pause
            self._hurry.acquire(timeout=pause)
        else:
            with contextlib.suppress(Empty):
                step = STEP_PAUSE if self._has_more else None
                gathered.append(self._changes.get(timeout=step))
            if gathered and not isinstance(gathered[0], _Request):
                self._hurry.acquire(timeout=GATHER)
        with contextlib.suppress(Empty):
            while True:
                gathered.append(self._changes.get_nowait())
        self._waiting += [c for c in gathered if isinstance(c, _Request)]
        self._pending.add(c for c in gathered if not isinstance(c, _Request))

    def _write_once(self, session: Session) -> None:
        written = self._write(session)
        settled = [r for r in self._waiting if r.is_over(written)]
        if any(request.is_last for request in settled):
            self._finish(session, written)
        self._settle(settled, written)
        is_idle = written is Written.YES and not self._is_over
        self._has_more = is_idle and session.tidy()

    def _settle(self, settled: list[_Request], written: Written) -> None:
        self._waiting = [r for r in self._waiting if r not in settled]
        for request in settled:
            self._is_over |= request.is_last
            request.settle(written)

    def _write(self, session: Session) -> Written:
        written = session.write(self._pending)
        if written is Written.YES and self._dropped:
            with contextlib.suppress(IndexError):
                while True:
                    self._pending.add_dropped(self._dropped.popleft())
            written = session.write(self._pending)
        return written

    def _finish(self, session: Session, written: Written) -> None:
        if written is Written.YES:
            session.end()
        else:
            session.give_up(self._pending)


class _Request:
    """Somebody waits until what was put before is in the file."""

    def __init__(self, timeout: float, *, is_last: bool) -> None:
        self.is_last = is_last
        self.is_written = False
        self.done = threading.Lock()  # released once it is settled
        self.done.acquire()
        self._deadline = time.monotonic() + timeout

    def find_rest(self) -> float:
        """Return the seconds that are left."""
        return max(0.0, self._deadline - time.monotonic())

    def is_over(self, written: Written) -> bool:
        """Return whether more attempts would not help, or not in time."""
        return written is not Written.BUSY or not self.find_rest()

    def settle(self, written: Written) -> None:
        """Wake who waits."""
        self.is_written = written is Written.YES
        self.done.release()
