"""The history of one process that schedules: what it records, and where that goes."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ipycron.errors import HistoryError
from ipycron.runlog.recorder import Recorder
from ipycron.runlog.settings import OFF, find_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipycron.runlog.rows import Change
    from ipycron.runlog.settings import HistorySettings
    from ipycron.runlog.writer import HistoryWriter


READERS_PATIENCE = 10.0
"""Seconds that a reader waits for the rows of its own runs: a disk may be that slow."""
REDIRECT_TIMEOUT = 2.0
"""Seconds for the last rows to be written to a file that is no longer used."""


class HistoryKeeper:
    """Keeps the history of one process. Its file is opened when there is a row.

    What that needs is imported on a thread of its own: it takes 20 ms, in which runs
    may be due.

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
        self.recorder = Recorder(self._put)

    @property
    def lost(self) -> int:
        """How many rows could not be written."""
        return 0 if self._writer is None else self._writer.lost

    @property
    def waiting(self) -> int:
        """How many rows wait since the file cannot be written; 0 while it can be."""
        return 0 if self._writer is None else self._writer.waiting

    def use(self, settings: HistorySettings) -> None:
        """Write there from now on, and not where the environment says.

        What was recorded before is in the earlier file on return, unless others keep
        it busy for longer than `REDIRECT_TIMEOUT`.
        """
        self._wait_for_writer()
        with self._lock:
            before, self._writer, self._settings = self._writer, None, settings
        self.recorder.redirect(self._put)
        if before is not None:
            before.close(REDIRECT_TIMEOUT)

    def flush(self, timeout: float) -> None:
        """Return once all rows so far are written, or after `timeout` seconds."""
        self._wait_for_writer(timeout)
        if self._writer is not None:
            self._writer.flush(timeout)

    def close(self, timeout: float) -> None:
        """Write what is left and take nothing more. May be repeated."""
        self._is_over = True
        self._wait_for_writer(timeout)
        if self._writer is not None:
            self._writer.close(timeout)

    def close_in_child(self) -> None:
        """Keep nothing in a process that this one forked."""
        self._lock = threading.RLock()
        self._is_over = True
        self._writer = self._opening = None
        self._early = []

    def _put(self, change: Change) -> None:
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
        opening = self._opening
        if opening is not None:
            opening.join(timeout)
