"""Questions to the file of the history, and files of every kind."""

from __future__ import annotations

import math
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from contextlib import closing
from pathlib import Path

import pytest
from history_rows import BEGAN, make_run, make_task, write
from polling import eventually

from ipycron.errors import HistoryError
from ipycron.runlog import reading
from ipycron.runlog.reading import (
    Query,
    find_runs,
    read_attempts,
    read_history,
    read_outcomes,
)
from ipycron.runlog.records import FIELDS
from ipycron.runlog.rows import RunOutcome
from ipycron.runlog.schema import VERSION
from ipycron.runlog.store import open_store


@pytest.fixture
def path(tmp_path):
    """Where the history is to be."""
    return tmp_path / "history.sqlite"


def ids(path, **said):
    """Return the numbers of the runs that a question finds."""
    return [int(run.id[4:]) for run in read_history(path, Query(**said))]


@pytest.fixture
def filled(path):
    """Six runs of two tasks, one after the other, of every second outcome."""
    write(path, make_task(), make_task("other", name="nightly"))
    runs = [
        make_run(n, "failed" if n % 3 == 0 else "finished", task=task)
        for n, task in enumerate(["life", "other"] * 3)
    ]
    return write(path, *runs)


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({}, [5, 4, 3, 2, 1, 0]),
        ({"limit": 2}, [5, 4]),
        ({"names": ("report",)}, [4, 2, 0]),
        ({"names": ("report",), "limit": 2}, [4, 2]),
        ({"names": ("report", "nightly")}, [5, 4, 3, 2, 1, 0]),
        ({"names": ("nightly", "report"), "limit": 3}, [5, 4, 3]),
        ({"names": ("nightly", "nobody")}, [5, 3, 1]),
        ({"names": ()}, []),
        ({"since": BEGAN + 120}, [5, 4, 3, 2]),
        ({"until": BEGAN + 120}, [1, 0]),
        ({"since": BEGAN + 60, "until": BEGAN + 180}, [2, 1]),
        ({"outcomes": frozenset({"failed"})}, [3, 0]),
        ({"outcomes": frozenset({"failed", "finished"}), "limit": 1}, [5]),
        ({"outcomes": frozenset()}, []),
        ({"names": ("report",), "outcomes": frozenset({"failed"})}, [0]),
        ({"names": ("nightly",), "since": BEGAN + 61, "limit": 1}, [5]),
    ],
)
def test_question_is_answered_newest_first(filled, said, found):
    """By name, time, outcome and number, in every combination."""
    assert ids(filled, **said) == found


def test_attempts_are_read_with_their_run_only(path):
    """A run that was retried is one run."""
    write(path, make_task(), make_run(attempts=2))
    tries = [
        make_run(n, "failed", id=f"try-{n}", run="run-0", attempt=n) for n in (1, 2)
    ]
    write(path, *reversed([make_run(0, "failed", id="x", run="other"), *tries]))
    assert ids(path) == [0]
    assert [run.id for run in read_attempts(path, "run-0")] == ["try-1", "try-2"]
    assert find_runs(path, "report", "try", 9) == []


def test_run_is_found_by_the_beginning_of_its_id(path):
    """As people type it; of this task only."""
    write(path, make_task(), make_task("other", name="nightly"))
    names = ("ab1", "ab12", "ac", "%", "_")
    write(path, *(make_run(n, id=name) for n, name in enumerate(names)))
    write(path, make_run(9, id="ab3", task="other"))

    def find(prefix):
        return [run.id for run in find_runs(path, "report", prefix, 9)]

    assert find("ab") == ["ab1", "ab12"]
    assert find("ab12") == ["ab12"]
    assert find("%") == ["%"]
    assert find("ab3") == find("' OR 1=1 --") == []
    assert len(find("")) == 5


def test_outcomes_are_those_of_a_tasks_slots_the_newest_of_each(path):
    """Neither of calls, nor of attempts, nor of other tasks and times."""
    write(path, make_task(), make_task("other", name="nightly"))
    write(
        path,
        make_run(0, "missed", slot=BEGAN, at=BEGAN),
        make_run(1, "failed", slot=BEGAN, at=BEGAN + 500, trigger="backfill"),
        make_run(2, "paused", slot=BEGAN + 60, at=BEGAN + 60),
        make_run(3, "finished", slot=BEGAN + 120, at=BEGAN + 120),
        make_run(4, "failed", slot=None, at=BEGAN + 60, trigger="invoked"),
        make_run(5, "failed", slot=BEGAN + 120, at=BEGAN + 120, run="run-3"),
        make_run(6, "failed", slot=BEGAN + 60, at=BEGAN + 60, task="other"),
    )

    def ask(*period, name="report", keep_runs=1000, path=path):
        return read_outcomes(path, name, *period, keep_runs=keep_runs)

    both = {BEGAN: "failed", BEGAN + 60: "paused"}
    assert ask(BEGAN, BEGAN + 60) == (both, -math.inf)
    assert ask(BEGAN + 61, BEGAN + 120).by_slot == {BEGAN + 120: "finished"}
    assert ask(BEGAN, BEGAN + 60, name="nobody").by_slot == {}
    assert ask(BEGAN, BEGAN + 60, path=path / "none") == ({}, -math.inf)
    # Of five rows: where fewer are kept, older ones may be gone.
    assert ask(BEGAN, BEGAN, keep_runs=6).since == -math.inf
    assert ask(BEGAN, BEGAN, keep_runs=5).since == BEGAN
    assert ask(BEGAN, BEGAN, keep_runs=2).since == BEGAN + 120


HOSTILE = [
    "it's",
    'say "hi"',
    "two\nlines",
    "n" * 10_000,
    "\x1b[2J",
    "a\0b",
    "caf\udce9",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_task_is_found_whatever_its_name_is(path, name):
    """Quotes, lines, controls, what is no text: a name is never part of a query."""
    write(path, make_task(name=name), make_run())
    assert ids(path, names=(name,)) == [0]
    assert len(reading.read_names(path)) == 1


def test_file_that_does_not_exist_is_empty_and_is_not_made(path):
    """Whoever only asks leaves nothing behind, no folder either."""
    deep = path / "no" / "history.sqlite"
    assert read_history(deep, Query()) == []
    assert read_history(path, Query()) == []
    assert not any(path.parent.iterdir())


def test_file_that_is_only_begun_is_empty(path):
    """A writer makes the file before it makes the tables."""
    path.touch()
    assert read_history(path, Query()) == []


def spoil_pages(path):
    """Overwrite all but the first page."""
    data = path.read_bytes()
    path.write_bytes(data[:4096] + b"\xa5" * (len(data) - 4096))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.write_bytes(b"hello" * 1000), "not an SQLite database"),
        (lambda path: (path.unlink(), path.mkdir()), "not a regular file"),
        (spoil_pages, "damaged"),
    ],
)
def test_file_that_is_none_of_ours_is_one_clear_line(filled, spoil, said):
    """What it is, and what happens or what to do."""
    spoil(filled)
    with pytest.raises(HistoryError) as caught:
        read_history(filled, Query())
    text = str(caught.value)
    assert text.startswith(f"history: {filled}: ")
    assert said in text
    assert "\n" not in text
    assert text.count(". ") + text.endswith(".") >= 2


def test_database_of_another_program_is_refused(path):
    """It is left as it is."""
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE runs (id)")
    before = path.read_bytes()
    with pytest.raises(HistoryError, match="another program"):
        read_history(path, Query())
    assert path.read_bytes() == before


def test_newer_file_is_read_as_far_as_it_is_known(filled):
    """Columns that were added are left alone, those that are gone are missing."""
    with closing(sqlite3.connect(filled)) as newer:
        newer.execute(f"PRAGMA user_version = {VERSION + 5}")
        newer.execute("ALTER TABLE runs ADD COLUMN mood TEXT")
        newer.execute("ALTER TABLE runs DROP COLUMN cpu_seconds")
        newer.execute("ALTER TABLE tasks DROP COLUMN kind")
        newer.execute("UPDATE runs SET outcome = 'delegated' WHERE id = 'run-5'")
        newer.commit()
    newest, *_ = read_history(filled, Query())
    assert (newest.outcome, newest.cpu_seconds, newest.kind) == ("delegated", None, "")
    assert newest.pattern == "* * * * *"
    assert "delegated" in repr(newest)


def test_newer_file_without_our_tables_says_what_to_do(path):
    """Not an empty list: something is there."""
    write(path, make_task())
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("DROP TABLE runs")
        newer.execute(f"PRAGMA user_version = {VERSION + 1}")
        newer.commit()
    with pytest.raises(HistoryError, match="Upgrade ipycron"):
        read_history(path, Query())


def test_values_of_any_type_are_read(filled):
    """SQLite stores what it is given; an instant that is none is missing."""
    with closing(sqlite3.connect(filled)) as other:
        other.execute("UPDATE runs SET at = 'soon', started_at = 1e300, slot = x'00'")
        other.execute("UPDATE runs SET output = CAST(x'ff41' AS TEXT)")
        other.execute("DELETE FROM tasks")
        other.execute("DELETE FROM writers")
        other.commit()
    for run in read_history(filled, Query()):
        assert (run.started_at, run.slot, run.output) == (None, None, "\ufffdA")
        assert (run.task_id, run.host, run.at.year) == ("", None, 1970)
        assert all(hasattr(run, name) for name in FIELDS)
        assert repr(run)


def test_own_rows_are_put_on_the_disk_before_reading(path, monkeypatch):
    """What this process has just done is in the answer."""
    write(path, make_task())
    flushed = []

    def flush():
        flushed.append(write(path, make_run(len(flushed))))

    monkeypatch.setattr(reading, "before_reading", [flush])
    assert ids(path) == [0]
    assert ids(path) == [1, 0]


def test_reader_sees_whole_batches_while_a_writer_commits_constantly(path):
    """Neither waits for the other, and no question is answered by half."""
    write(path, make_task())
    ended = threading.Event()

    def write_on():
        store = open_store(path, now=BEGAN, tell=print)
        for number in range(0, 100_000, 2):
            store.apply([make_run(number), make_run(number + 1)])
            if ended.is_set():
                break
        store.close()

    writer = threading.Thread(target=write_on)
    writer.start()
    try:
        counts = []

        def has_seen_many():
            counts.append(len(ids(path)))
            return counts[-1] > 400 and len(set(counts)) > 2

        # On a busy machine hundreds may be written between two looks, or few in a time.
        eventually(has_seen_many, lambda: counts[-9:], 60)
        assert all(count % 2 == 0 for count in counts)
        assert counts == sorted(counts)
    finally:
        ended.set()
        writer.join()


def test_reader_does_not_delay_a_writer(filled):
    """A question that takes long holds no lock that a commit waits for."""
    held = threading.Event()
    asked = threading.Event()

    def read_slowly(connection):
        connection.execute("BEGIN")
        before = connection.execute("SELECT count(*) FROM runs").fetchone()
        asked.set()
        held.wait(20)
        return before, connection.execute("SELECT count(*) FROM runs").fetchone()

    found = []
    reader = threading.Thread(
        target=lambda: found.append(reading.ask(filled, read_slowly))
    )
    reader.start()
    assert asked.wait(20)
    try:
        write(filled, make_run(6))  # fails if the file is locked for 0.25 s
    finally:
        held.set()
        reader.join()
    assert found == [((6,), (6,))]


def test_file_that_is_replaced_is_read_anew(filled, tmp_path):
    """The next question is put to the new file, and the old one is not mixed in."""
    assert len(ids(filled)) == 6
    other = write(tmp_path / "other.sqlite", make_task(), make_run(7))
    for _ in range(20):
        aside = tmp_path / "aside"
        filled.rename(aside)
        assert ids(filled) == []
        other.rename(filled)
        assert ids(filled) == [7]
        filled.rename(other)
        aside.rename(filled)
        assert len(ids(filled)) == 6


def test_file_that_breaks_between_two_looks_is_asked_again(filled, monkeypatch):
    """A writer may be setting it aside just then."""
    good = filled.read_bytes()
    spoil_pages(filled)
    connect, asked = reading.connect_to_read, []

    def connect_then_replace(path, **said):
        connection = connect(path, **said)
        if not asked:
            path.unlink()
            path.write_bytes(good)
        asked.append(path)
        return connection

    monkeypatch.setattr(reading, "connect_to_read", connect_then_replace)
    assert len(ids(filled)) == 6
    assert len(asked) == 2


READ = """
import os, sys, urllib.parse  # nobody may not read where Python is
from pathlib import Path
from ipycron.runlog.reading import Query, read_history
os.setgroups([]); os.setgid(65534); os.setuid(65534)
print(len(read_history(Path(sys.argv[1]), Query())))
"""


@pytest.fixture
def public():
    """A folder that every user may read, as `tmp_path` is not."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        path.chmod(0o755)
        yield path


@pytest.mark.skipif(os.geteuid() != 0, reason="gives its rights away")
@pytest.mark.parametrize("has_log", [False, True])
def test_file_in_a_folder_that_cannot_be_written_is_read(filled, public, has_log):
    """Another user's, or on a read-only file system: nothing is created beside it."""
    path = Path(shutil.copy(filled, public))
    store = open_store(path, now=BEGAN, tell=print) if has_log else None
    for file in public.iterdir():
        file.chmod(0o644)
    before = sorted(public.iterdir())
    done = subprocess.run(
        [sys.executable, "-c", READ, path], capture_output=True, check=False
    )
    if store is not None:
        store.close()
    else:
        assert sorted(public.iterdir()) == before
    assert (done.stdout, done.stderr) == (b"6\n", b"")


def test_outcomes_are_members_of_their_enumeration(filled):
    """They compare with the strings as well."""
    assert all(
        isinstance(run.outcome, RunOutcome) for run in read_history(filled, Query())
    )


@pytest.mark.parametrize(
    ("said", "index"),
    [
        ({"names": ("report",), "since": 0.0, "until": 1e10}, "runs_by_name"),
        ({"names": ("report",), "outcomes": frozenset({"failed"})}, "runs_by_name"),
        ({"names": ("a", "b"), "limit": 5}, "runs_by_name"),
        ({"since": 0.0}, "runs_by_time"),
        ({"outcomes": frozenset({"failed"})}, "runs_by_time"),
        ({}, "runs_by_time"),
    ],
)
def test_rows_come_from_an_index_in_order(filled, said, index):
    """However many there are: none is looked at in vain, and nothing is sorted."""

    class Noting(sqlite3.Connection):
        def execute(self, text, values=()):
            if "FROM runs" in text:
                plan = super().execute(f"EXPLAIN QUERY PLAN {text}", values)
                plans.append([step for *_, step in plan])
            return super().execute(text, values)

    plans = []
    with closing(sqlite3.connect(filled, factory=Noting)) as connection:
        reading._read_runs(connection, Query(**said))
    assert plans
    for first, *others in plans:
        assert f"USING INDEX {index} " in f"{first} "
        assert all("LEFT-JOIN" in step or "SEARCH" in step for step in others)


def test_states_and_single_runs_are_read(filled):
    """For those who follow: no more than they need."""
    assert len(reading.read_states(filled, "report", BEGAN + 60)) == 2
    assert [s.id for s in reading.read_states(filled, "nightly", BEGAN + 300)] == [
        "run-5"
    ]
    assert reading.read_states(filled, "nobody", None) == []
    assert {run.id for run in reading.read_by_id(filled, ["run-0", "no"])} == {"run-0"}
