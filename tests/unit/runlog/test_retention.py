"""How much of the history is kept."""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing

import pytest
from history_rows import BEGAN, make_run, make_task, read

from ipycron.runlog.retention import CHUNK, Retention, purge
from ipycron.runlog.rows import TaskEnd
from ipycron.runlog.settings import HistorySettings
from ipycron.runlog.store import Store

DAY = 86400
FOR_EVER = HistorySettings(path=None, keep_runs=10**9, keep_days=math.inf)


@pytest.fixture
def store(tmp_path):
    """A history, open for writing."""
    with closing(Store(tmp_path / "history.sqlite", now=BEGAN)) as store:
        yield store


def tidy(store, now=BEGAN, names=(), **settings):
    """Do all that is due at `now`; return in how many steps."""
    fields = {"path": None, "keep_runs": 10**9, "keep_days": math.inf} | settings
    retention = Retention(HistorySettings(**fields))
    retention.count(names)
    steps = 1
    while retention.step(store, now):
        steps += 1
    return steps


def read_ids(store):
    """Return the numbers of the runs that are left."""
    return [int(name.removeprefix("run-")) for name in read(store, "id", order="at")]


def test_newest_runs_of_each_task_are_kept(store):
    """However many the others have, and in whatever order they were written."""
    other = [make_run(n, task="b") for n in range(100, 103)]
    rows = [make_run(n) for n in reversed(range(20))]
    store.apply([make_task(), make_task("b", name="other"), *other, *rows])
    tidy(store, keep_runs=5)
    assert read_ids(store) == [15, 16, 17, 18, 19, 100, 101, 102]


def test_runs_of_all_lives_count_as_one_tasks(store):
    """A kernel that restarts does not double what is kept."""
    store.apply([make_task(), make_task("again")])
    store.apply([make_run(n, task=("life", "again")[n % 2]) for n in range(20)])
    tidy(store, keep_runs=5)
    assert read_ids(store) == [15, 16, 17, 18, 19]


def test_old_runs_go(store):
    """But the last success and the last failure of the task."""
    outcomes = ["failed", "finished", "failed", "finished", "missed", "running"]
    store.apply([make_task(), *(make_run(n, o) for n, o in enumerate(outcomes))])
    tidy(store, BEGAN + 31 * DAY, keep_days=30)
    assert read_ids(store) == [2, 3, 5]


@pytest.mark.parametrize("outcome", ["failed", "timed_out", "crashed", "lost"])
def test_last_failure_is_kept_when_it_is_among_many_successes(store, outcome):
    """Of whatever sort it is; one failure, not one of each sort."""
    store.apply([make_task(), make_run(0, "failed"), make_run(1, outcome)])
    store.apply([make_run(n) for n in range(2, 2 + 3 * CHUNK)])
    tidy(store, keep_runs=2)
    assert read_ids(store) == [1, 3 * CHUNK, 3 * CHUNK + 1]


def test_last_success_is_kept_when_nothing_else_succeeds(store):
    """And skipped slots are not kept for long."""
    store.apply([make_task(), make_run(0)])
    store.apply([make_run(n, "missed") for n in range(1, 200)])
    tidy(store, keep_runs=3)
    assert read_ids(store) == [0, 197, 198, 199]


def test_attempts_go_with_their_run(store):
    """And do not count as runs."""
    store.apply([make_task()])
    for n in range(4):
        tries = [
            make_run(n, "failed", id=f"{n}.{k}", run=f"run-{n}", attempt=k)
            for k in (1, 2, 3)
        ]
        store.apply([make_run(n), *tries])
    tidy(store, keep_runs=2)
    assert read(store, "id", order="id") == [
        *("2.1", "2.2", "2.3", "3.1", "3.2", "3.3", "run-2", "run-3")
    ]


def test_open_runs_stay(store):
    """They are not over, and their rows will come."""
    store.apply([make_task(), make_run(0, "running"), make_run(1, "queued")])
    store.apply([make_run(n) for n in range(2, 9)])
    tidy(store, BEGAN + 99 * DAY, keep_runs=1, keep_days=1)
    assert read_ids(store) == [0, 1, 8]


def test_work_is_done_in_small_steps(store):
    """Between two of them rows can be written."""
    store.apply([make_task(), *map(make_run, range(10 * CHUNK))])
    retention = Retention(HistorySettings(path=None, keep_runs=1, keep_days=math.inf))
    left = 10 * CHUNK
    while retention.step(store, BEGAN):
        assert not store.connection.in_transaction
        now_left = store.connection.execute("SELECT count(*) FROM runs").fetchone()[0]
        assert left - now_left <= CHUNK
        left = now_left
    assert left == 1


def test_names_of_any_sort_are_looked_at(store):
    """The empty one and lone surrogates too."""
    names = ["", "it's", "two\nlines", "\ud800", "n" * 10_000]
    for number, name in enumerate(names):
        store.apply([make_task(f"l{number}", name=name)])
        rows = [make_run(100 * number + n, task=f"l{number}") for n in range(9)]
        store.apply(rows)
    tidy(store, keep_runs=1)
    assert read_ids(store) == [8, 108, 208, 308, 408]


def test_only_names_with_new_rows_are_looked_at_in_between(store):
    """All of them once an hour."""
    lives = [make_task("a", name="a"), make_task("b", name="b")]
    store.apply(lives)
    settings = HistorySettings(path=None, keep_runs=2, keep_days=math.inf)
    retention = Retention(settings)

    def add(start):
        rows = [make_run(n, task="ab"[n % 2]) for n in range(start, start + 10)]
        store.apply(rows)

    def run(now):
        while retention.step(store, now):
            pass
        return read_ids(store)

    add(0)
    assert run(BEGAN) == [6, 7, 8, 9]
    add(10)
    assert len(run(BEGAN + 1)) == 14  # nothing was said about new rows
    retention.count(["a", "a"])
    assert run(BEGAN + 2) == [7, 9, 11, 13, 15, 16, 17, 18, 19]
    assert run(BEGAN + 3600) == [16, 17, 18, 19]


def fill(store, count, size=20_000):
    """Write runs whose outputs take room."""
    store.apply([make_task()])
    for n in range(0, count, 50):
        store.apply([make_run(k, output="x" * size) for k in range(n, n + 50)])


def test_file_shrinks_when_it_is_too_large(store):
    """The oldest runs go, and the file itself becomes smaller."""
    fill(store, 400)
    store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert store.path.stat().st_size > 8_000_000
    tidy(store, max_bytes=2 << 20)
    left = read_ids(store)
    assert 50 <= len(left) < 110
    assert left == list(range(400 - len(left), 400))
    assert store.path.stat().st_size <= 2 << 20
    assert store.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_file_shrinks_before_many_rows_were_written(store):
    """A few with long outputs may be too many."""
    retention = Retention(HistorySettings(path=None, max_bytes=2 << 20, keep_days=1e9))
    while retention.step(store, BEGAN):
        pass
    fill(store, 200)
    while retention.step(store, BEGAN):
        pass
    pages, size = (
        store.connection.execute(f"PRAGMA {what}").fetchone()[0]
        for what in ("page_count", "page_size")
    )
    assert pages * size <= 2 << 20


def test_last_success_and_failure_go_last_when_the_file_is_too_large(store):
    """As long as there is anything else."""
    store.apply([make_task("a", name="a"), make_run(-2, task="a", output="x" * 20_000)])
    fill(store, 400)
    tidy(store, max_bytes=2 << 20)
    first, second = read_ids(store)[:2]
    assert first == -2
    assert second > 300


def test_file_stays_small_when_only_last_successes_are_left(store):
    """The cap is for everything: a name for each run leads to many last runs."""
    store.apply([make_task(f"l{n}", name=f"n{n}") for n in range(400)])
    store.apply([make_run(n, task=f"l{n}", output="x" * 20_000) for n in range(400)])
    tidy(store, max_bytes=2 << 20)
    left = read_ids(store)
    assert 20 <= len(left) < 110
    assert left[-1] == 399


def test_free_pages_are_kept_for_the_next_rows(store):
    """A file that is not too large is not made smaller for a few of them."""
    fill(store, 100)
    tidy(store, keep_runs=50)
    assert store.connection.execute("PRAGMA freelist_count").fetchone()[0] > 200


def kill(store):
    """Make this process's lives those of one that vanished."""
    store.connection.execute("UPDATE writers SET started = '1'")
    store.close()
    return Store(store.path, now=BEGAN)


def test_lives_without_runs_go_but_the_newest_of_a_name(store):
    """Catch-up asks for the newest one."""
    lives = [make_task(f"l{n}", declared_at=BEGAN + n) for n in range(5)]
    store.apply([*lives, make_run(0, task="l1")])
    with closing(kill(store)) as other:
        tidy(other)
        assert read(other, "key", "tasks", "key") == ["l1", "l4"]


def test_newest_life_goes_when_it_has_been_over_for_long(store):
    """And nothing of it is left; names may be made up for each run."""
    end = TaskEnd(key="life", at=BEGAN, end="shutdown")
    store.apply([make_task(), end])
    tidy(store, BEGAN + 29 * DAY, keep_days=30)
    assert read(store, "key", "tasks") == ["life"]
    tidy(store, BEGAN + 31 * DAY, keep_days=30)
    assert read(store, "key", "tasks") == []


def test_stopped_life_stays_as_long_as_its_process_is_there(store):
    """It may be started again; a destroyed one is over."""
    for end in ("stopped", "destroyed"):
        store.apply([make_task(end), TaskEnd(key=end, at=BEGAN, end=end)])
    store.apply([make_task("new", declared_at=BEGAN + 9)])
    tidy(store, BEGAN + 999 * DAY)
    assert read(store, "key", "tasks", "key") == ["new", "stopped"]
    with closing(kill(store)) as other:
        tidy(other)
        assert read(other, "key", "tasks", "key") == ["new"]


def test_life_stays_as_long_as_its_process_writes(store):
    """A task that has not run yet has not ended."""
    lives = [make_task(f"l{n}", declared_at=BEGAN + n) for n in range(3)]
    store.apply(lives)
    tidy(store, BEGAN + 999 * DAY, keep_days=1)
    assert read(store, "key", "tasks", "key") == ["l0", "l1", "l2"]


def test_writers_go_with_their_last_life(store):
    """But not this one, nor one that is present."""
    store.end(BEGAN)
    store.close()
    with closing(Store(store.path, now=BEGAN)) as second:
        second.apply([make_task()])
        with closing(Store(store.path, now=BEGAN)) as third:
            tidy(third)
            writers = read(third, "id", "writers", "since")
            assert set(writers) == {second.writer, third.writer}


def test_purge_deletes_what_would_be_kept(store):
    """The user decides, by name and by time; open runs stay."""
    store.apply([make_task(), make_task("b", name="it's")])
    rows = [make_run(n, task=("life", "b")[n % 2]) for n in range(200)]
    store.apply([*rows, make_run(300, "running")])
    assert purge(store, name="it's", before=BEGAN + 60 * 100) == 50
    assert read_ids(store) == [*range(0, 100, 2), *range(100, 200), 300]
    assert purge(store, before=BEGAN) == 0
    assert purge(store) == 150
    assert read_ids(store) == [300]


def test_purge_leaves_nothing_in_the_file(store):
    """A password that was printed is gone from the disk, too."""
    secret = "hunter2-" * 2000
    store.apply([make_task(), *(make_run(n, output=secret) for n in range(50))])
    purge(store)
    for path in store.path.parent.iterdir():
        assert b"hunter2-" not in path.read_bytes(), path
    assert store.path.stat().st_size < 100_000


def test_retention_stops_when_others_are_busy_and_goes_on_later(store):
    """It waits for nobody for long."""
    store.apply([make_task(), *map(make_run, range(10))])
    retention = Retention(HistorySettings(path=None, keep_runs=1))
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            retention.step(store, BEGAN)
    retention.count(["report"])
    while retention.step(store, BEGAN):
        pass
    assert read_ids(store) == [9]
