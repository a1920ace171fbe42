"""The history of one process that schedules: what it records, and where that goes."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from ipycron.errors import HistoryError
from ipycron.runlog.recorder import Recorder
from ipycron.runlog.rows import Moved, Moving, Resumed, RunRow
from ipycron.runlog.settings import OFF, find_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipycron.runlog.rows import Change
    from ipycron.runlog.settings import HistorySettings
    from ipycron.runlog.writer import HistoryWriter


READERS_PATIENCE = 10.0
"""Seconds that a reader waits for the rows of its own runs: a disk may be that slow."""
REDIRECT_TIMEOUT = 2.0
"""Seconds for the last rows to be written to a file that is no longer used. If they
are not written by then, that is tried until the process ends."""


class HistoryKeeper:
    """Keeps the history of one process. Its file is opened when there is a row.

    What that needs is imported on a thread of its own: it takes 20 ms, in which runs
    may be due.

    A run has one row in one file, and its attempts have theirs in the same. If another
    file is used while it is in progress, these rows move there. If there is no other
    file, it ends in the one where it began.

    Args:
        warn: called with a line for the user, from any thread.

    Attributes:
        recorder: makes the rows.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._settings: HistorySettings | None = None
        self._lock = threading.RLock()  # a signal handler may start a task
        self._writer: HistoryWriter | None = None
        self._early: list[Change] = []  # what comes before there is a writer
        self._opening: threading.Thread | None = None
        self._is_over = False
        # While there is no history: whoever ends the runs that began before, and these.
        self._last: HistoryWriter | None = None
        self._last_runs: frozenset[str] = frozenset()
        self._former: list[HistoryWriter] = []  # with rows that are not written yet
        self._retiring: threading.Thread | None = None
        self.recorder = Recorder(self._put)

    @property
    def lost(self) -> int:
        """How many rows could not be written."""
        return sum(writer.lost for writer in self._writers)

    @property
    def waiting(self) -> int:
        """How many rows wait since the file cannot be written; 0 while it can be."""
        return sum(writer.waiting for writer in self._writers)

    @property
    def _writers(self) -> list[HistoryWriter]:
        current = [w for w in (self._writer, self._last) if w is not None]
        return [*current, *self._former]

    def use(self, settings: HistorySettings, *, waits: bool = True) -> None:
        """Write there from now on, and not where the environment says.

        What was recorded before is in the earlier file on return, and the rows of runs
        in progress are in the new one, unless a disk or others take longer than
        `REDIRECT_TIMEOUT`.

        Args:
            settings: where.
            waits: whether to wait for that; else it is done on a thread of its own.
        """
        while not self._switch(settings):
            self._wait_for_writer()
        if waits:
            _join(self._retiring, None)

    def flush(self, timeout: float) -> None:
        """Return once all rows so far are written, or after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        _join(self._retiring, timeout)
        self._wait_for_writer(timeout)
        writers = self._writers
        # The present one again: those before may have handed over rows by now.
        again = writers[:1] if self._former else []
        for writer in (*writers, *again):
            writer.flush(max(0.0, deadline - time.monotonic()))

    def close(self, timeout: float) -> None:
        """Write what is left and take nothing more. May be repeated."""
        self._is_over = True
        deadline = time.monotonic() + timeout
        _join(self._retiring, timeout)
        self._wait_for_writer(timeout)
        writers = self._writers
        if writers and self._former:  # of which each may have rows for the present one
            writers[0].flush(max(0.0, deadline - time.monotonic()))
            writers.reverse()
        for writer in writers:
            writer.close(max(0.0, deadline - time.monotonic()))

    def close_in_child(self) -> None:
        """Keep nothing in a process that this one forked."""
        self._lock = self.recorder.lock = threading.RLock()
        self._is_over = True
        self._writer = self._opening = self._last = self._retiring = None
        self._early, self._former = [], []

    def _switch(self, settings: HistorySettings) -> bool:
        """Use another file; return False if one is just being opened."""
        with self.recorder.lock, self._lock:
            if self._opening is not None:
                return False
            before, self._writer, self._settings = self._writer, None, settings
            if before is not None and before.is_off:
                before = None
            runs = self.recorder.open_ids
            self.recorder.begin_anew()
            if settings.path is not None:
                last, self._last = self._last, None
                self.recorder.repeat_open()
                self._retire([w for w in (before, last) if w is not None], runs)
            elif before is not None and runs:
                self._last, self._last_runs = before, frozenset(runs)
            elif before is not None:
                self._retire([before], ())
        return True

    def _retire(self, writers: list[HistoryWriter], runs: tuple[str, ...]) -> None:
        """Have writers finish that are no longer used, one after another.

        Args:
            writers: which.
            runs: the ids of the runs whose rows are the present writer's now.
        """
        if not writers:
            return
        thread = threading.Thread(
            target=self._finish,
            args=(writers, runs, self._retiring),
            name="ipycron-history-moving",
            daemon=True,
        )
        try:
            thread.start()
        except RuntimeError:  # no more threads
            for writer in writers:
                writer.put(Moving(runs=runs, take=self._take))
                writer.put(Moved(runs=runs))
            self._former += writers
        else:
            self._retiring = thread

    def _finish(
        self,
        writers: list[HistoryWriter],
        runs: tuple[str, ...],
        earlier: threading.Thread | None,
    ) -> None:
        """Move the rows of runs away from writers, and close these."""
        _join(earlier, None)
        if runs:  # first, so that no row is nowhere if all of it is killed
            for writer in writers:
                writer.put(Moving(runs=runs, take=self._take))
                writer.flush(REDIRECT_TIMEOUT)
            self._flush_present(REDIRECT_TIMEOUT)
        for writer in writers:
            if runs:
                writer.put(Moved(runs=runs))
            if writer.flush(REDIRECT_TIMEOUT):
                writer.close(REDIRECT_TIMEOUT)
            else:
                self._former.append(writer)

    def _take(self, row: RunRow) -> None:
        """Write the row of an attempt that an earlier file had; on any thread."""
        with self.recorder.lock:
            self._put(row)

    def _flush_present(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while (rest := deadline - time.monotonic()) > 0:
            with self._lock:  # another file may be used at any time
                writer, opening = self._writer, self._opening
            if writer is not None:
                writer.flush(rest)
            if writer is not None or opening is None:
                return
            _join(opening, rest)

    def _put(self, change: Change) -> None:
        if self._last is not None:
            row = change.row if type(change) is Resumed else change
            if type(row) is RunRow and (row.run or row.id) in self._last_runs:
                self._last.put(change)
                return
        writer = self._writer
        if writer is not None:
            writer.put(change)
        elif not self._is_over:
            self._put_early(change)

    def _put_early(self, change: Change) -> None:
        with self._lock:
            if self._writer is not None:
                self._writer.put(change)
                return
            self._early.append(change)
            if self._opening is None:
                self._opening = threading.Thread(
                    target=self._open, name="ipycron-history-opening", daemon=True
                )
                try:
                    self._opening.start()
                except RuntimeError:  # no more threads; the next row tries again
                    self._opening = None

    def _open(self) -> None:
        from ipycron.runlog.writer import HistoryWriter  # noqa: PLC0415 - see the class

        settings = self._settings
        if settings is None:
            try:
                settings = find_settings()
            except HistoryError as error:
                settings = OFF
                self._warn(str(error))
        writer = HistoryWriter(settings, warn=self._warn)
        with self._lock:
            early, self._early = self._early, []
            for change in early:
                writer.put(change)
            self._writer, self._opening = writer, None

    def _wait_for_writer(self, timeout: float | None = None) -> None:
        _join(self._opening, timeout)


def _join(thread: threading.Thread | None, timeout: float | None) -> None:
    if thread is not None and thread is not threading.current_thread():
        thread.join(timeout)
