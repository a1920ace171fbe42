"""The history's file: what a row becomes, and whose file it is."""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing

import pytest
from history_rows import BEGAN, make_run, make_task, read

from ipycron.errors import HistoryError
from ipycron.runlog import file
from ipycron.runlog.lives import find_life
from ipycron.runlog.rows import RunOutcome, TaskEnd
from ipycron.runlog.schema import APPLICATION_ID, MIGRATIONS, VERSION
from ipycron.runlog.store import VANISHED, Store, open_store, to_text

OPEN = ("queued", "running")
CLOSED = tuple(o.value for o in RunOutcome if o.value not in OPEN)


@pytest.fixture
def path(tmp_path):
    """The file that is written."""
    return tmp_path / "state" / "ipycron" / "history.sqlite"


@pytest.fixture
def store(path):
    """A history, open for writing."""
    with closing(Store(path, now=BEGAN)) as store:
        yield store


def test_file_is_private_when_it_is_created(store, path):
    """Its folder is for its user only, and so are the file and what belongs to it."""
    store.apply([make_task(), make_run()])
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    names = {p.name: stat.S_IMODE(p.stat().st_mode) for p in path.parent.iterdir()}
    assert names == dict.fromkeys(
        (path.name, f"{path.name}-wal", f"{path.name}-shm"), 0o600
    )


def test_file_becomes_private_when_others_may_read_it(store, path):
    """Permissions that somebody gave to others are taken away at the next opening."""
    store.close()
    path.chmod(0o644)
    Store(path, now=BEGAN).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_row_keeps_what_a_later_one_does_not_say(store):
    """None is "not known", not "nothing"."""
    store.apply([make_task(), make_run(outcome="running", pid=7, started_at=BEGAN)])
    store.apply([make_run(summary="42", finished_at=BEGAN + 1)])
    columns = "outcome, pid, started_at, finished_at, summary, name"
    assert read(store, columns) == [("finished", 7, BEGAN, BEGAN + 1, "42", "report")]


@pytest.mark.parametrize("later", OPEN)
@pytest.mark.parametrize("first", CLOSED)
def test_closed_row_is_not_opened_again(store, first, later):
    """A message that comes late opens nothing, not even a lost run."""
    store.apply([make_run(outcome=first), make_run(outcome=later, error="late")])
    assert read(store, "outcome, error") == [(first, None)]


@pytest.mark.parametrize("first", [o for o in CLOSED if o != "lost"])
def test_closed_row_keeps_its_outcome(store, first):
    """What happened first is what happened, with all that was said about it."""
    other = "failed" if first != "failed" else "finished"
    store.apply([make_run(outcome=first), make_run(outcome=other, error="other")])
    assert read(store, "outcome, error") == [(first, None)]


def test_closed_row_takes_more_about_the_same_outcome(store):
    """Its output may come after its end."""
    store.apply([make_run(summary="42"), make_run(output="text")])
    assert read(store, "summary, output") == [("42", "text")]


@pytest.mark.parametrize("outcome", [o for o in CLOSED if o != "lost"])
def test_lost_row_becomes_what_it_really_was(store, path, outcome):
    """A process that was believed to have vanished may report its runs nevertheless."""
    store.apply([make_run(outcome="running")])
    store.end(BEGAN)
    with closing(Store(path, now=BEGAN)) as other:
        assert read(other, "outcome, error") == [("lost", VANISHED)]
    store.apply([make_run(outcome=outcome)])
    assert read(store, "outcome, error") == [(outcome, None)]


def test_open_row_of_a_present_process_stays_open(store, path):
    """Another writer of the same process, or of another one, closes nothing."""
    store.apply([make_run(outcome="running")])
    Store(path, now=BEGAN).close()
    assert read(store, "outcome") == ["running"]


def test_run_keeps_its_name_when_its_life_is_gone(store):
    """The life of a process that was believed to have vanished may be deleted."""
    store.apply([make_task(), make_run(outcome="running")])
    store.connection.execute("DELETE FROM tasks")
    store.apply([make_run()])
    assert read(store, "outcome, name") == [("finished", "report")]


def test_life_says_how_it_ended_until_it_is_started_again(store):
    """An end of None takes back the one before."""
    store.apply([make_task(), TaskEnd(key="life", at=BEGAN + 5, end="stopped")])
    assert read(store, "ended_at, ending", "tasks") == [(BEGAN + 5, "stopped")]
    store.apply([TaskEnd(key="life", at=BEGAN + 9, end=None)])
    assert read(store, "ended_at, ending", "tasks") == [(None, None)]


def test_life_that_is_declared_again_keeps_its_end_and_its_slot(store):
    """A new pattern changes the row of the life in place."""
    end = TaskEnd(key="life", at=BEGAN, end="stopped")
    store.apply([make_task(), make_run(3), end, make_task(pattern="@daily")])
    columns = "pattern, ending, last_slot"
    assert read(store, columns, "tasks") == [("@daily", "stopped", BEGAN + 180)]


def test_life_remembers_its_newest_slot_when_runs_arrive_in_any_order(store):
    """A run of the past does not take it back, and a call has none."""
    store.apply([make_task(), make_run(5), make_run(2), make_run(9, slot=None)])
    store.apply([make_run(1, trigger="backfill")])
    assert read(store, "last_slot", "tasks") == [BEGAN + 300]


def test_batch_is_written_as_a_whole_or_not_at_all(store):
    """An error in the middle leaves no half of it."""
    store.apply([make_run(1)])

    class Interrupted(BaseException):
        """As Ctrl-C would be."""

    def interrupt():
        yield make_run(2)
        raise Interrupted

    with pytest.raises(Interrupted):
        store.apply(interrupt())
    assert read(store, "id") == ["run-1"]
    store.apply([make_run(3)])
    assert read(store, "id") == ["run-1", "run-3"]


@pytest.mark.parametrize(
    "row",
    [
        make_run(at=float("nan")),
        make_run(peak_memory=1 << 70),
        make_run(summary=object()),
        make_run(trigger=None),
        "no row",
    ],
    ids=["no number", "too large", "not a text", "missing", "not a row"],
)
def test_row_that_cannot_be_stored_is_refused_alone(store, row):
    """The rest of its batch is stored."""
    assert store.apply([make_task(), row, make_run(1)]) == 1
    assert read(store, "id") == ["run-1"]


@pytest.mark.parametrize(
    "name",
    [
        'it\'s "a" `name`; DROP TABLE runs;--',
        "two\nlines\r\x00\x1b[31m",
        "n" * 10_000,
        "\ud800x\udfff",
        "",
        "报告 🕰",
    ],
    ids=["quotes", "newlines", "long", "lone surrogates", "empty", "unicode"],
)
def test_name_is_found_again(store, name):
    """A name is whatever the user has written."""
    store.apply([make_task(name=name), make_run()])
    statement = "SELECT name FROM runs WHERE run IS NULL AND name = ?"
    assert store.connection.execute(statement, [to_text(name)]).fetchone() == (
        to_text(name),
    )
    assert name.isprintable() is False or to_text(name) == name


@pytest.mark.parametrize(
    "prepare",
    [
        "CREATE TABLE notes (text)",
        "PRAGMA user_version = 7",
        "PRAGMA application_id = 7",
        "CREATE TABLE runs (id); CREATE TABLE tasks (key); PRAGMA user_version = 1",
    ],
)
def test_database_of_another_program_is_left_alone(tmp_path, prepare):
    """Not a byte of it changes, nor is anything put beside it."""
    path = tmp_path / "theirs.db"
    with closing(sqlite3.connect(path)) as theirs:
        theirs.executescript(prepare)
    before = path.read_bytes()
    for opening in (Store, open_store):
        with pytest.raises(HistoryError, match="the database of another program"):
            opening(path, now=BEGAN, **({} if opening is Store else {"tell": print}))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_log_of_another_program_is_left_alone(tmp_path):
    """SQLite would take it into their file when the last connection is closed."""
    path = tmp_path / "theirs.db"
    with closing(sqlite3.connect(path)) as theirs:
        theirs.executescript("PRAGMA journal_mode = wal; CREATE TABLE notes (text)")
        theirs.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        theirs.executescript("INSERT INTO notes VALUES ('kept')")
        files = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
        (tmp_path / "copy").mkdir()
        for name, content in files.items():
            (tmp_path / "copy" / name).write_bytes(content)
    with pytest.raises(HistoryError, match="another program"):
        Store(tmp_path / "copy" / path.name, now=BEGAN)
    after = {p.name: p.read_bytes() for p in (tmp_path / "copy").iterdir()}
    assert after == files


@pytest.mark.parametrize("content", [b"x", b"hello\n", b"a,b\n" * 5000, bytes(8192)])
def test_file_that_is_no_database_is_left_alone(tmp_path, content):
    """A path by mistake costs nobody's file."""
    path = tmp_path / "notes.csv"
    path.write_bytes(content)
    with pytest.raises(HistoryError, match="this is not an SQLite database"):
        open_store(path, now=BEGAN, tell=print)
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_path_that_is_no_file_is_refused(tmp_path):
    """A folder, or a pipe that would block, is not opened."""
    import os  # noqa: PLC0415

    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(HistoryError, match="not a regular file"):
            Store(path, now=BEGAN)


def test_newer_file_is_read_but_not_written_to(store, path):
    """An older ipycron does not know what its tables mean."""
    store.apply([make_run()])
    store.connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    store.close()
    before = path.read_bytes()
    with pytest.raises(HistoryError, match="a newer ipycron has written it"):
        open_store(path, now=BEGAN, tell=print)
    with closing(file.connect_to_read(path, busy=1)) as reader:
        assert reader.execute("SELECT id FROM runs").fetchall() == [("run-0",)]
    assert path.read_bytes() == before


def test_file_of_the_first_version_is_brought_up_to_date(path):
    """What is in it stays; lives have room for their facts from then on."""
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as old:
        old.executescript(MIGRATIONS[0])
        old.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        old.execute("PRAGMA user_version = 1")
        old.execute(
            "INSERT INTO tasks (key, task_id, name, kind, pattern, zone, schedule, "
            "declared_at, writer) VALUES ('old', 't0', 'report', 'cell', '@daily', "
            "'UTC', '', 1.0, 'w')"
        )
        old.commit()
    assert find_life(path, "report").facts is None  # read as it is
    with closing(Store(path, now=BEGAN)) as store:
        assert store.apply([make_task(facts="{}"), make_run()]) == 0
        ask = store.connection.execute
        assert ask("PRAGMA user_version").fetchone() == (VERSION,)
        facts = dict(ask("SELECT key, facts FROM tasks"))
        assert facts == {"old": None, "life": "{}"}


def test_empty_file_is_begun(path):
    """`touch` made it, or a process that was killed before its first commit."""
    path.parent.mkdir(parents=True)
    path.touch()
    with closing(Store(path, now=BEGAN)) as store:
        assert store.apply([make_run()]) == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_file_says_whose_it_is_before_its_log_is_read(store):
    """The header names us and the schema, and free pages can be given back."""
    ask = store.connection.execute
    assert ask("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert ask("PRAGMA user_version").fetchone() == (VERSION,)
    assert ask("PRAGMA journal_mode").fetchone() == ("wal",)
    assert ask("PRAGMA synchronous").fetchone() == (1,)  # normal
    assert ask("PRAGMA auto_vacuum").fetchone() == (2,)  # incremental


def test_rollback_journal_is_used_on_a_network(path, monkeypatch):
    """A log in shared memory would not be shared with other machines."""
    monkeypatch.setattr(file, "is_network", lambda folder: folder == path.parent)
    with closing(Store(path, now=BEGAN)) as store:
        store.apply([make_run()])
        journal = store.connection.execute("PRAGMA journal_mode").fetchone()
        assert journal == ("delete",)
        assert store.connection.execute("PRAGMA synchronous").fetchone() == (2,)  # full


def test_file_with_a_log_goes_on_without_on_a_network(store, path, monkeypatch):
    """A home folder may move to a server."""
    store.apply([make_run()])
    store.close()
    monkeypatch.setattr(file, "is_network", lambda _folder: True)
    with closing(Store(path, now=BEGAN)) as moved:
        assert moved.connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert read(moved, "id") == ["run-0"]


def overwrite_middle(path):
    """Damage pages of the tables, but not the header."""
    size = path.stat().st_size
    with path.open("r+b") as content:
        content.seek(4096)
        content.write(b"\xa5" * (size - 4096))


def test_damaged_file_is_set_aside_and_a_new_one_begun(store, path):
    """Under a name that is said, with all that belonged to it."""
    store.apply([make_task(), *map(make_run, range(500))])
    store.close()
    overwrite_middle(path)
    damaged = path.read_bytes()
    told = []
    with closing(open_store(path, now=BEGAN, tell=told.append)) as new:
        new.apply([make_task(), make_run()])
        assert read(new, "id") == ["run-0"]
    aside = path.with_name("history.sqlite.corrupt-20940115T080000")
    assert told == [
        f"history: {path} was damaged. It is now {aside}, and a new one is begun."
    ]
    assert aside.read_bytes() == damaged
    assert stat.S_IMODE(aside.stat().st_mode) == 0o600


def test_file_is_opened_while_its_log_is_taken_into_it(store, path):
    """First comes the page that says how many there will be."""
    store.apply([make_task()])
    store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    small = path.read_bytes()
    store.apply([*map(make_run, range(500))])
    store.connection.execute("PRAGMA wal_checkpoint(FULL)").fetchall()
    large = path.read_bytes()
    log = path.with_name(path.name + "-wal").read_bytes()
    half = path.with_name("half.sqlite")
    half.write_bytes(large[:4096] + small[4096:])
    half.with_name("half.sqlite-wal").write_bytes(log)
    told = []
    with closing(open_store(half, now=BEGAN, tell=told.append)) as other:
        assert len(read(other, "id")) == 500
    assert told == []


def test_damaged_file_does_not_replace_an_earlier_one(path):
    """Two in one second have two names."""
    for _ in range(3):
        Store(path, now=BEGAN).close()
        overwrite_middle(path)
        open_store(path, now=BEGAN, tell=print).close()
    assert len(list(path.parent.glob("history.sqlite.corrupt-*"))) == 3


def test_file_without_its_tables_is_set_aside(store, path):
    """Somebody has tidied up."""
    store.connection.executescript("DROP TABLE runs")
    store.close()
    told = []
    with closing(open_store(path, now=BEGAN, tell=told.append)) as new:
        assert new.apply([make_run()]) == 0
    assert len(told) == 1


def test_file_is_not_set_aside_twice(store, path):
    """Another process has done it: what is there now is the new one."""
    earlier = store.identity
    store.close()
    path.rename(path.with_name("moved"))
    with closing(Store(path, now=BEGAN)) as new:
        assert file.set_aside(path, earlier, BEGAN) is None
        assert new.is_current


def test_store_notices_that_its_file_is_gone(store, path):
    """Deleted, or replaced by another one."""
    assert store.is_current
    path.unlink()
    assert not store.is_current
    Store(path, now=BEGAN).close()
    assert not store.is_current


def test_log_of_a_deleted_file_is_not_given_to_the_new_one(store, path):
    """SQLite would take its pages for those of the new file."""
    store.apply([make_task(), *map(make_run, range(100))])
    path.unlink()  # and not its log
    with closing(Store(path, now=BEGAN)) as new:
        assert read(new, "id") == []
        assert new.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_store_of_a_deleted_file_does_no_harm_to_the_new_one(store, path):
    """Closing it, it must not remove the log that others write by now."""
    store.apply([make_task(), *map(make_run, range(100))])
    path.unlink()
    with closing(Store(path, now=BEGAN)) as new:
        new.apply([make_task(), *map(make_run, range(3))])
        store.apply([make_run(500)])
        store.close()
        assert new.is_current
        with closing(Store(path, now=BEGAN)) as third:
            third.apply([make_run(3)])
            assert len(read(third, "id")) == len(read(new, "id")) == 4
            ask = third.connection.execute
            assert ask("PRAGMA integrity_check").fetchone() == ("ok",)


def test_year_of_minutes_is_queried_by_name_and_day_by_an_index(store):
    """Newest first, without sorting and without looking at other rows."""
    for where in ("name = 'report' AND at >= 1 AND at < 2", "at >= 1 AND at < 2"):
        plan = store.connection.execute(
            f"EXPLAIN QUERY PLAN SELECT * FROM runs WHERE run IS NULL AND {where} "
            "ORDER BY at DESC LIMIT 100"
        ).fetchall()
        assert [step[3].split(" (")[0] for step in plan] in (
            ["SEARCH runs USING INDEX runs_by_name"],
            ["SEARCH runs USING INDEX runs_by_time"],
        )
