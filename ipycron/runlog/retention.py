"""How much of the history is kept: in small steps, between which others may write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipycron.runlog.rows import FAILURES, OPEN
from ipycron.runlog.store import to_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ipycron.runlog.settings import HistorySettings
    from ipycron.runlog.store import Store

CHUNK = 50
"""Runs that are deleted in one transaction, which takes a few milliseconds at most."""
PAGES = 100
"""Pages that are given back to the file system in one transaction."""
EVERY_ROWS = 500
"""Rows after which the tasks that wrote them are looked at."""
EVERY_SECONDS = 3600.0
"""Seconds after which all tasks are looked at, if anything is written then."""
_SPARE = 1024
"""Free pages that are kept for the next rows: 4 MiB."""
_DAY = 86400.0


class Retention:
    """Decides what goes, and when it is looked for.

    Of each task name the newest `keep_runs` stay, for `keep_days`; its last success and
    its last failure stay in any case. What is open stays. If the file is too large all
    the same, the oldest runs go, whatever they are.

    Args:
        settings: how much is kept.
    """

    def __init__(self, settings: HistorySettings) -> None:
        self._settings = settings
        self._touched: set[str] = set()
        self._rows = 0
        self._looked_at: float | None = None
        self._steps: Iterator[None] | None = None
        self._now = 0.0

    def count(self, names: Iterable[str]) -> None:
        """Take note of rows that were written, by the names of their tasks."""
        for name in names:
            self._rows += 1
            self._touched.add(to_text(name))

    def step(self, store: Store, now: float) -> bool:
        """Do one small part of what is due; return whether there may be more.

        Args:
            store: the file, which may be another one each time.
            now: Unix seconds.

        Raises:
            sqlite3.Error: as `Store`. The rest is looked for anew later.
        """
        self._now = now
        if self._steps is None and not self._begin(store):
            return False
        assert self._steps is not None  # for mypy: begun above
        try:
            next(self._steps)
        except StopIteration:
            self._steps = None
            return False
        except BaseException:
            self._steps = None
            raise
        return True

    def forget(self) -> None:
        """Stop in the middle: the file is closed. What is left is found later."""
        self._steps = None

    def _begin(self, store: Store) -> bool:
        last = self._looked_at
        if last is None or abs(self._now - last) >= EVERY_SECONDS:
            self._looked_at = self._now
            self._steps = self._purge_all(store)
        elif self._rows >= min(EVERY_ROWS, self._settings.keep_runs):
            self._steps = self._purge_names(store, sorted(self._touched))
        elif _measure(store) > self._settings.max_bytes:
            self._steps = _shrink(store, self._settings.max_bytes)
            return True
        else:
            return False
        self._rows = 0
        self._touched.clear()
        return True

    def _purge_all(self, store: Store) -> Iterator[None]:
        yield from self._purge_names(store, _list_names(store))
        yield from _purge_lives(store, self._now - _DAY * self._settings.keep_days)

    def _purge_names(self, store: Store, names: Iterable[str]) -> Iterator[None]:
        for name in names:
            before = _find_bound(store, name, self._settings, self._now)
            yield from _delete(store, _OLD_OF_NAME, {"name": name, "before": before})
        yield from _shrink(store, self._settings.max_bytes)


def purge(store: Store, *, name: str | None = None, before: float | None = None) -> int:
    """Delete closed runs for the user, whatever would be kept; return how many.

    What is deleted is overwritten: it may have been printed by mistake. The file
    becomes smaller, too.

    Args:
        store: the file, open for writing.
        name: only this task's.
        before: only those before this instant, in Unix seconds.

    Raises:
        sqlite3.Error: if the file cannot be written; what was deleted is deleted.
    """
    values = {"name": None if name is None else to_text(name), "before": before}
    connection = store.connection
    (total,) = connection.execute(_COUNT.format(_CHOSEN), values).fetchone()
    connection.execute("PRAGMA secure_delete = on")
    try:
        for _ in _delete(store, _CHOSEN, values):
            pass
        for _ in _vacuum(store, spare=0):
            pass
        # What was deleted is in the log, too. If somebody reads, it goes later.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        connection.execute("PRAGMA secure_delete = off")
    return int(total)


def _list_names(store: Store) -> Iterator[str]:
    """Yield all names that have runs, one look into the index each."""
    statement = "SELECT name FROM runs WHERE run IS NULL AND name {} ? LIMIT 1"
    row = store.connection.execute(statement.format(">="), ("",)).fetchone()
    while row is not None:
        yield row[0]
        row = store.connection.execute(statement.format(">"), row).fetchone()


def _find_bound(
    store: Store, name: str, settings: HistorySettings, now: float
) -> float:
    """Return the instant before which the task's runs are too many or too old."""
    oldest = store.connection.execute(
        "SELECT at FROM runs WHERE run IS NULL AND name = ? ORDER BY at DESC "
        "LIMIT 1 OFFSET ?",
        (name, settings.keep_runs - 1),
    ).fetchone()
    too_old = now - _DAY * settings.keep_days
    return too_old if oldest is None else max(too_old, oldest[0])


def _delete(
    store: Store, which: str, values: dict[str, str | float | None]
) -> Iterator[None]:
    """Delete runs and their attempts, `CHUNK` of them in each step."""
    statement = f"SELECT id FROM runs WHERE {which} LIMIT {CHUNK}"  # noqa: S608 - ours
    while True:
        found = store.connection.execute(statement, values).fetchall()
        if not found:
            return
        with store.transaction():
            store.connection.executemany("DELETE FROM runs WHERE id = ?", found)
            store.connection.executemany("DELETE FROM runs WHERE run = ?", found)
        yield


def _purge_lives(store: Store, before: float) -> Iterator[None]:
    """Delete lives that are over and without runs, then writers without lives.

    A task that was only stopped may be started again as long as its process is there.

    The newest life of a name stays for as long as runs do, for tasks that come back.
    """
    last = ""
    while True:
        found = store.connection.execute(_NEXT_LIFE, {"key": last}).fetchone()
        if found is None:
            break
        (last,) = found
        with store.transaction():
            values = {"key": last, "before": before}
            store.connection.execute(_DELETE_LIFE, values)
        yield
    with store.transaction():
        store.connection.execute(_DELETE_WRITERS)


def _shrink(store: Store, max_bytes: int) -> Iterator[None]:
    """Delete the oldest runs until the file is small enough, then make it so."""
    size = _ask(store, "page_size")
    while (
        _ask(store, "page_count") - _ask(store, "freelist_count")
    ) * size > max_bytes:
        if not _delete_oldest(store):
            break
        yield
    is_large = _measure(store) > max_bytes
    yield from _vacuum(store, spare=0 if is_large else _SPARE)


def _delete_oldest(store: Store) -> bool:
    """Delete the oldest runs that need not be kept, else the oldest; False if none."""
    for which in (_OLDEST, _OLDEST_OF_ALL):
        for _ in _delete(store, which, {}):
            return True
    return False


def _vacuum(store: Store, *, spare: int) -> Iterator[None]:
    """Give free pages back to the file system, if there are more than to spare."""
    if _ask(store, "freelist_count") <= spare:
        return
    while free := _ask(store, "freelist_count"):
        # It takes a step for each page, and `execute` takes one only.
        store.connection.executescript(f"PRAGMA incremental_vacuum({PAGES})")
        if _ask(store, "freelist_count") >= free:
            break
        yield
    # The file itself becomes shorter when the log is taken into it.
    store.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def _measure(store: Store) -> int:
    """Return the file's size in bytes, once its log is taken into it."""
    return _ask(store, "page_count") * _ask(store, "page_size")


def _ask(store: Store, what: str) -> int:
    return int(store.connection.execute(f"PRAGMA {what}").fetchone()[0])


def _list(values: Iterable[str]) -> str:
    return ", ".join(f"'{value}'" for value in sorted(values))


_CLOSED = f"run IS NULL AND outcome NOT IN ({_list(OPEN)})"
_SORTS = f"('finished', {_list(FAILURES)})"
# A newer one of the same sort: not the last success, nor the last failure.
_FOLLOWED = (
    f"(outcome NOT IN {_SORTS} OR EXISTS (SELECT 1 FROM runs AS newer "  # noqa: S608 - ours
    "WHERE newer.run IS NULL AND newer.name = runs.name AND newer.at > runs.at "
    "AND (newer.outcome = 'finished') = (runs.outcome = 'finished') "
    f"AND newer.outcome IN {_SORTS}))"
)
_OLD_OF_NAME = f"{_CLOSED} AND name = :name AND at < :before AND {_FOLLOWED}"
_OLDEST = f"{_CLOSED} AND {_FOLLOWED} ORDER BY at"
_OLDEST_OF_ALL = f"{_CLOSED} ORDER BY at"
_CHOSEN = (
    f"{_CLOSED} AND (:name IS NULL OR name = :name) "
    "AND (:before IS NULL OR at < :before)"
)
_COUNT = "SELECT count(*) FROM runs WHERE {}"
_NEXT_LIFE = "SELECT key FROM tasks WHERE key > :key ORDER BY key LIMIT 1"
_DELETE_LIFE = """
    DELETE FROM tasks WHERE key = :key
    AND NOT EXISTS (
        SELECT 1 FROM runs WHERE run IS NULL AND name = tasks.name AND task = tasks.key
    )
    AND EXISTS (
        SELECT 1 FROM writers WHERE id = tasks.writer
        AND coalesce(ended, vanished, CASE WHEN ending IN ('destroyed', 'shutdown')
            THEN ended_at END) < CASE WHEN EXISTS (
            SELECT 1 FROM tasks AS newer WHERE newer.name = tasks.name
            AND newer.declared_at > tasks.declared_at
        ) THEN 1e999 ELSE :before END
    )
"""
_DELETE_WRITERS = """
    DELETE FROM writers WHERE coalesce(ended, vanished) IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM tasks WHERE writer = writers.id)
"""
