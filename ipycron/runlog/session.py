"""The history's file as a writer finds it: whole, busy, full, damaged, deleted."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
import weakref
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from ipycron.errors import HistoryError
from ipycron.runlog import file
from ipycron.runlog.retention import Retention
from ipycron.runlog.rows import RunRow
from ipycron.runlog.store import Store, begin_anew, make_writer

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipycron.runlog.merging import Pending
    from ipycron.runlog.settings import HistorySettings

RETRY = (0.1, 5.0)
"""Seconds until the next attempt to write, at first and at most; doubled each time."""
WARN_EVERY = 60.0
"""Seconds between two warnings."""
ANEW_EVERY = 60.0
"""Seconds between two damaged files that are set aside."""
BUSY_PATIENCE = 5.0
"""Seconds for which others may be busy with the file before it is worth a warning."""
_TIDY_STEPS = 20
"""Steps of retention at a time: some milliseconds, for which a write may have to wait,
and a thousand rows after each batch, so that it keeps pace with what is written."""
_FORK_PATIENCE = 5.0
"""Seconds that a fork waits for the transaction in progress."""

_abandoned: list[object] = []
"""Connections that a forked child must neither use nor close."""


class Written(Enum):
    """What became of a batch."""

    YES = "yes"
    BUSY = "busy"  # others write; it is tried again at once
    NO = "no"


class Session:
    """Writes batches for one thread, and opens the file as often as that takes.

    Args:
        path: of the file.
        settings: how much is kept.
        warn: called with a line for the user.
        now: Unix seconds, for rows and names of files.

    Attributes:
        is_off: whether it is certain that nothing can be written.
        lost: rows that were given up.
        pause: seconds until the next attempt; None after a success.
    """

    def __init__(
        self,
        path: Path,
        settings: HistorySettings,
        *,
        warn: Callable[[str], None],
        now: Callable[[], float],
    ) -> None:
        self.is_off = False
        self.lost = 0
        self.pause: float | None = None
        # The file itself: its log is beside it, not beside a link to it.
        self._path = Path(os.path.realpath(path))
        self._now = now
        self._writer = make_writer()
        self._has_been_open = False
        self._store: Store | None = None
        self._identity: file.Identity = None  # of the file that was opened last
        self._anew_at: float | None = None
        self._retention = Retention(settings)
        # Held while the file is used: a fork finds it closed.
        self._using = threading.RLock()
        self._warn = warn
        self._lines: list[str] = []
        self._warned_at: float | None = None
        self._failed_at: float | None = None
        self._has_said = False  # that it cannot be written, since then
        self._lost_before = 0
        _close_over_fork(self)

    def write(self, pending: Pending) -> Written:
        """Write what is pending, and keep it if that is not possible now."""
        if self.is_off:
            self._lose(pending)
            return Written.NO
        if not pending:
            return Written.YES
        try:
            with self._using:
                self._apply(pending)
            self._succeed()
        except HistoryError as error:
            self.is_off = True
            self._lose(pending)
            self._lines.append(str(error))
            return Written.NO
        except (sqlite3.Error, OSError) as error:
            return self._fail(error, pending)
        finally:
            self._tell()
        return Written.YES

    def drop(self, pending: Pending, error: Exception) -> None:
        """Give up what is pending: nothing would become of it but this error again."""
        self._lose(pending)
        self._say(f"history: {type(error).__name__}: {error}")
        self._tell()

    def tidy(self) -> bool:
        """Take a few steps of retention; return whether there may be more to do."""
        try:
            with self._using:
                return self._tidy()
        finally:
            self._tell()

    def _tidy(self) -> bool:
        store = self._store
        if store is None:
            return False
        try:
            for _ in range(_TIDY_STEPS):
                if not self._retention.step(store, self._now()):
                    return False
        except (sqlite3.Error, OSError) as error:
            if file.is_corrupt(error):
                self._begin_anew()
            return False  # anything else the next batch meets and reports
        return True

    def end(self) -> None:
        """Say that everything is written, and close the file."""
        with self._using:
            if self._store is not None:
                with contextlib.suppress(sqlite3.Error):
                    self._store.end(self._now())
            self._close()

    def give_up(self, pending: Pending) -> None:
        """Close the file without what is pending."""
        self._lose(pending)
        with self._using:
            self._close()

    def _apply(self, pending: Pending) -> None:
        if self._store is not None and not self._store.is_current:
            self._close()
        try:
            self._write(pending)
        except sqlite3.DatabaseError as error:
            if not file.is_corrupt(error) or not self._begin_anew():
                raise
            self._write(pending)

    def _begin_anew(self) -> bool:
        """Set a damaged file aside, unless that was done a moment ago.

        A disk that damages every file would soon be full of them.
        """
        self._close()
        now = time.monotonic()
        if self._anew_at is not None and now - self._anew_at < ANEW_EVERY:
            return False
        self._anew_at = now
        tell = self._lines.append
        begin_anew(self._path, self._identity, now=self._now(), tell=tell)
        return True

    def _write(self, pending: Pending) -> None:
        store = self._store
        if store is None:
            self._identity = file.identify(self._path)
            store = Store(self._path, now=self._now(), writer=self._writer)
            self._store, self._identity = store, store.identity
            if self._has_been_open and store.is_new:
                pending.add_known()
            self._has_been_open = True
        refused = store.apply(pending.changes)
        if refused:
            self.lost += refused
            self._say(f"history: rows that the database refused: {refused}.")
        self._retention.count(pending.list_names())
        pending.clear()

    def _succeed(self) -> None:
        if self._has_said:
            lost = self.lost - self._lost_before
            self._lines.append(
                f"history: {file.show(self._path)} is written again. "
                f"Rows that were lost: {lost}."
            )
        self._failed_at = self.pause = None
        self._has_said = False
        self._lost_before = self.lost

    def _fail(self, error: Exception, pending: Pending) -> Written:
        is_busy = file.is_busy(error)
        first, longest = RETRY
        if self.pause is None or is_busy:
            self.pause = first  # others are done soon, and the attempt has waited
        else:
            self.pause = min(2 * self.pause, longest)
        now = time.monotonic()
        if self._failed_at is None:
            self._failed_at = now
        pending.trim()
        if not is_busy:
            with self._using:
                self._close()
        if not is_busy or now - self._failed_at >= BUSY_PATIENCE:
            self._has_said |= self._say(
                f"{file.explain(self._path, error)} Rows that wait: {len(pending)}; "
                f"lost: {self.lost}."
            )
        return Written.BUSY if is_busy else Written.NO

    def _lose(self, pending: Pending) -> None:
        self.lost += sum(type(change) is RunRow for change in pending.changes)
        pending.clear()

    def _say(self, line: str) -> bool:
        """Warn, unless there has been a warning in the last minute."""
        now = time.monotonic()
        if self._warned_at is not None and now - self._warned_at < WARN_EVERY:
            return False
        self._warned_at = now
        self._lines.append(line)
        return True

    def _tell(self) -> None:
        # Not while the file is used: whoever listens may fork.
        lines, self._lines = self._lines, []
        for line in lines:
            with contextlib.suppress(Exception):  # a listener's error is its own
                self._warn(line)

    def _close(self) -> None:
        store, self._store = self._store, None
        self._retention.forget()
        if store is not None:
            with contextlib.suppress(sqlite3.Error):
                store.close()


def _close_over_fork(session: Session) -> None:
    """Have the file closed before each fork; it is opened again by the next batch.

    A child that had its parent's connection, or only SQLite's tables of its parent's
    locks, could not open the file for reading either.

    Source: https://www.sqlite.org/howtocorrupt.html, 2.6.
    """
    if not hasattr(os, "register_at_fork"):
        return
    # The hooks stay until the process ends, so they must not keep the session.
    reference = weakref.ref(session)
    held: list[Session] = []

    def before() -> None:
        session = reference()
        if session is not None and session._using.acquire(timeout=_FORK_PATIENCE):  # noqa: SLF001 - a method in all but place
            held.append(session)
            session._close()  # noqa: SLF001

    def after_in_parent() -> None:
        if held:
            held.pop()._using.release()  # noqa: SLF001

    def after_in_child() -> None:
        session = reference()
        if session is None:
            return
        session.is_off = True
        if not held:
            _abandoned.append(session._store)  # noqa: SLF001
            session._using = threading.RLock()  # noqa: SLF001
        after_in_parent()

    os.register_at_fork(
        before=before, after_in_parent=after_in_parent, after_in_child=after_in_child
    )
