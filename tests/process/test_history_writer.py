"""The thread that takes rows to the disk, and what it does about a bad file."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from history_rows import BEGAN, make_run, make_task
from leaks import find_descriptors
from polling import SECONDS, eventually

from ipycron.runlog import keeper as keeper_module
from ipycron.runlog import session, writer
from ipycron.runlog.keeper import HistoryKeeper
from ipycron.runlog.merging import NOT_WRITTEN
from ipycron.runlog.rows import TaskEnd
from ipycron.runlog.schema import VERSION
from ipycron.runlog.settings import OFF, make_settings
from ipycron.runlog.writer import HistoryWriter
from ipycron.scheduling.events import Event, Notice


@pytest.fixture
def path(tmp_path):
    """The file."""
    return tmp_path / "state" / "history.sqlite"


@pytest.fixture
def told():
    """The lines for the user."""
    return []


@pytest.fixture
def make(path, told):
    """Make writers that are closed at the end."""
    writers = []

    def make(**settings):
        settings = {"keep_days": 1e6, "keep_runs": 10**6} | settings
        settings = make_settings(path, **settings)
        writers.append(HistoryWriter(settings, warn=told.append))
        return writers[-1]

    yield make
    for each in writers:
        each.close(SECONDS)


def ask(path, what):
    """Return what the file answers; one column without its tuples."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as reader:
        rows = reader.execute(f"SELECT {what}").fetchall()
    return [row[0] if len(row) == 1 else row for row in rows]


def read_ids(path):
    """Return the ids of the runs, none if there is no file."""
    try:
        return ask(path, "id FROM runs ORDER BY rowid")
    except sqlite3.OperationalError:
        return []


def test_nothing_is_begun_before_there_is_something_to_write(make, path):
    """No thread, no folder."""
    history = make()
    threads = threading.active_count()
    assert history.flush(1)
    assert threading.active_count() == threads
    assert history.close(1)
    assert not path.parent.exists()


def test_row_is_on_the_disk_soon(make, path):
    """Without being asked to."""
    make().put(make_run())
    eventually(lambda: read_ids(path) == ["run-0"], "the row")


def test_history_that_is_off_takes_nothing():
    """And loses nothing."""
    history = HistoryWriter(OFF, warn=print)
    history.put(make_run())
    assert history.flush(1)
    assert history.close(1)
    assert history.lost == 0


def test_flush_waits_for_all_that_was_put(make, path):
    """Also from several threads at once."""
    history = make()

    def put(first):
        for n in range(first, first + 500):
            history.put(make_run(n))

    threads = [threading.Thread(target=put, args=[500 * k]) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert history.flush(SECONDS)
    assert len(read_ids(path)) == 2000
    assert history.lost == 0


def test_close_writes_the_rest_and_says_that_the_writer_has_ended(make, path):
    """Nothing can be put after it, and that is counted."""
    history = make()
    history.put(make_task())
    history.put(make_run())
    assert history.close(SECONDS)
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert read_ids(path) == ["run-0"]
    assert ask(path, "count(*) FROM writers WHERE ended IS NOT NULL") == [1]
    history.put(make_run(1))
    history.put(TaskEnd(key="life", at=BEGAN, end="shutdown"))
    assert history.close(SECONDS)
    assert (history.lost, read_ids(path)) == (1, ["run-0"])


def test_thread_sleeps_while_there_is_nothing(make):
    """Not a single wake-up."""
    history = make()
    history.put(make_run())
    assert history.flush(SECONDS)
    number = history._thread.native_id

    def count():
        status = Path(f"/proc/self/task/{number}/status").read_text()
        return [line for line in status.splitlines() if "ctxt_switches" in line]

    def is_still():
        before = count()
        threading.Event().wait(0.5)
        return before == count()

    eventually(is_still, "half a second without a wake-up")


def test_writer_may_be_used_in_a_signal_handler(make, path):
    """At any line, also of `put` itself."""
    history = make()
    numbers = iter(range(10**6, 2 * 10**6))

    def handle(*_):
        history.put(make_run(next(numbers)))

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        for n in range(20_000):
            history.put(make_run(n))
            history.flush(0) if n % 500 == 0 else None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert history.flush(SECONDS)
    handled = next(numbers) - 10**6
    assert len(read_ids(path)) + history.lost == 20_000 + handled


def test_deleted_file_is_begun_anew_with_what_is_alive(make, path):
    """Lives, and the runs that are open."""
    history = make()
    history.put(make_task())
    history.put(make_run(1, "running", pid=7))
    assert history.flush(SECONDS)
    for found in path.parent.iterdir():
        found.unlink()
    history.put(make_run(2))
    assert history.flush(SECONDS)
    assert ask(path, "name, id, pid, outcome FROM runs ORDER BY id") == [
        ("report", "run-1", 7, "running"),
        ("report", "run-2", None, "finished"),
    ]
    assert ask(path, "key FROM tasks") == ["life"]


def test_rows_are_kept_when_the_log_is_deleted(make, path):
    """Somebody has tidied up; the file itself is still there."""
    history = make()
    history.put(make_task())
    for n in range(10):
        history.put(make_run(n))
        assert history.flush(SECONDS)
        if n % 3 == 1:
            for suffix in ("-wal", "-shm"):
                path.with_name(path.name + suffix).unlink()
    history.put(make_run(10))
    assert history.flush(SECONDS)
    assert read_ids(path) == [f"run-{n}" for n in range(11)]
    assert history.close(SECONDS)
    assert ask(path, "* FROM pragma_integrity_check") == ["ok"]


def test_deleted_folder_is_made_again(make, path):
    """With everything in it."""
    history = make()
    history.put(make_run(1))
    assert history.flush(SECONDS)
    path.parent.rename(path.parent.with_name("trash"))
    history.put(make_run(2))
    assert history.flush(SECONDS)
    assert read_ids(path) == ["run-2"]


def test_file_that_is_damaged_while_open_is_set_aside(make, path, told):
    """The rows of the moment are in the new one."""
    history = make()
    history.put(make_task())
    for n in range(2000):
        history.put(make_run(n))
    assert history.flush(SECONDS)
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    size = path.stat().st_size
    with path.open("r+b") as content:
        content.seek(4096)
        content.write(b"\xa5" * (size - 4096))

    def is_replaced():
        history.put(make_run(10_000 + len(told)))
        history.flush(SECONDS)
        return any("was damaged. It is now" in line for line in told)

    eventually(is_replaced, lambda: told)
    assert ask(path, "name FROM runs") == ["report"]
    assert history.lost == 0
    assert len(list(path.parent.glob("*.corrupt-*[0-9]"))) == 1


def test_disk_that_damages_every_file_is_not_filled_with_them(make, path, told):
    """One is set aside, then rows wait and it is said."""
    history = make()

    def damage():
        with closing(sqlite3.connect(path)) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        size = path.stat().st_size
        with path.open("r+b") as content:
            content.seek(4096)
            content.write(b"\xa5" * (size - 4096))

    for number in range(5):
        history.put(make_run(number))
        history.flush(SECONDS)
        with contextlib.suppress(sqlite3.DatabaseError):
            damage()
    assert len(list(path.parent.glob("*.corrupt-*[0-9]"))) == 1
    assert "was damaged. It is now" in told[0]
    assert "malformed" in told[1]
    assert len(told) == 2


def test_rows_wait_while_another_process_writes(make, path, told, monkeypatch):
    """However long, without a word if it is short."""
    monkeypatch.setattr(session, "BUSY_PATIENCE", 60)  # longer than this test
    history = make()
    history.put(make_run(1))
    assert history.flush(SECONDS)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        history.put(make_run(2))
        assert not history.flush(1)
        assert read_ids(path) == ["run-1"]
    eventually(lambda: read_ids(path) == ["run-1", "run-2"], "the row that waited")
    assert (history.lost, told) == (0, [])


def test_long_wait_for_others_is_said_once(make, path, told, monkeypatch):
    """With the way out, and when it is over."""
    monkeypatch.setattr(session, "BUSY_PATIENCE", 0.5)
    history = make()
    history.put(make_run(1))
    assert history.flush(SECONDS)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        history.put(make_run(2))
        eventually(lambda: told, "the warning")
        assert not history.flush(1)
    assert history.flush(SECONDS)
    first, second = told
    assert first == (
        f"history: {path}: database is locked. Another program holds it open in a "
        "transaction: end that. Rows that wait: 1; lost: 0."
    )
    assert second == f"history: {path} is written again. Rows that were lost: 0."


def test_reader_in_a_transaction_blocks_nobody(make, path):
    """It goes on seeing what was there when it began."""
    history = make()
    history.put(make_run(1))
    assert history.flush(SECONDS)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM runs").fetchone() == (1,)
        for n in range(2, 3000):
            history.put(make_run(n, output="x" * 1000))
        assert history.flush(SECONDS)
        assert reader.execute("SELECT count(*) FROM runs").fetchone() == (1,)
    assert len(read_ids(path)) == 2999


def test_close_gives_up_when_others_are_busy_for_too_long(make, path):
    """What is not written then is counted."""
    history = make()
    history.put(make_run(1))
    assert history.flush(SECONDS)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        history.put(make_run(2))
        assert not history.close(0.5)
        eventually(lambda: not history._thread.is_alive(), "the end of the thread")
    assert history.lost == 1


def test_rows_without_room_are_counted(make, path, told, monkeypatch):
    """And a run whose end was dropped does not run for ever."""
    monkeypatch.setattr(writer, "MAX_ROWS", 100)
    history = make()
    history.put(make_task())
    history.put(make_run(0, "running"))
    assert history.flush(SECONDS)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for n in range(1, 151):
            history.put(make_run(n))
        history.put(make_task("new", name="new"))
        history.put(make_run(0))
    assert history.flush(SECONDS)
    lost = history.lost
    assert lost > 0  # up to 51: the thread may have taken some in its hands
    assert len(read_ids(path)) == 152 - lost
    assert ask(path, "outcome, error FROM runs WHERE id = 'run-0'") == [
        ("lost", NOT_WRITTEN)
    ]
    assert ask(path, "key FROM tasks") == ["life", "new"]


def test_database_of_another_program_turns_the_history_off(make, path, told):
    """Said once; nothing of it changes."""
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as theirs:
        theirs.execute("CREATE TABLE notes (text)")
    before = path.read_bytes()
    history = make()
    for n in range(3):
        history.put(make_run(n))
        assert not history.flush(SECONDS)
    (line,) = told
    assert line == (
        f"history: {path}: this is the database of another program, and is left as it "
        "is. Set IPYCRON_HISTORY to a path of its own, or to off."
    )
    assert history.lost == 3
    assert path.read_bytes() == before
    assert not history.close(SECONDS)


def test_newer_file_turns_the_history_off(make, path, told):
    """Said once."""
    older = make()
    older.put(make_run(0))
    assert older.close(SECONDS)
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("PRAGMA user_version = 99")
    history = make()
    for n in range(1, 4):
        history.put(make_run(n))
        assert not history.flush(SECONDS)
    assert len(told) == 1
    said = f"a newer ipycron has written it (schema 99, expected at most {VERSION})"
    assert said in told[0]
    assert (history.lost, read_ids(path)) == (3, ["run-0"])


def test_nonsense_does_not_end_the_thread(make, path, told):
    """It is dropped with its batch, and said; what comes later is written."""
    history = make()
    history.put(make_run(id=["not", "a", "text"]))
    eventually(lambda: told, "the warning")
    assert told[0].startswith("history: TypeError: unhashable")
    history.put(make_run(1))
    assert history.flush(SECONDS)
    assert read_ids(path) == ["run-1"]


def test_attempts_become_rare_while_the_file_cannot_be_written(path, monkeypatch):
    """However many rows come: nothing is tried for each of them."""
    attempts = []
    path.parent.write_text("a file in the way")
    history = HistoryWriter(make_settings(path), warn=print)
    write = history._session.write

    def count(pending):
        attempts.append(len(pending))
        return write(pending)

    monkeypatch.setattr(history._session, "write", count)
    deadline = time.monotonic() + 3
    number = 0
    while time.monotonic() < deadline:
        history.put(make_run(number := number + 1))
        threading.Event().wait(0.01)
    assert 2 <= len(attempts) <= 7
    path.parent.unlink()
    assert history.flush(SECONDS)
    assert len(read_ids(path)) == number
    assert history.close(SECONDS)


@pytest.mark.parametrize("row", [make_run(at=float("nan")), make_run(pid=1 << 80), 7])
def test_row_that_cannot_be_stored_does_not_hold_up_others(make, path, row):
    """It is counted, and said."""
    history = make()
    history.put(row)
    history.put(make_run(1))
    assert history.flush(SECONDS)
    assert read_ids(path) == ["run-1"]
    assert history.lost == 1


def test_error_in_the_listener_does_no_harm(path):
    """Warnings go to somebody's logging."""

    def fail(line):
        raise RuntimeError(line)

    path.parent.mkdir()
    path.mkdir()
    history = HistoryWriter(make_settings(path), warn=fail)
    history.put(make_run(1))
    assert not history.flush(SECONDS)
    history.close(SECONDS)


def test_listener_may_read_the_history(path):
    """It does not wait for the thread that it is called on."""
    path.parent.mkdir()
    path.mkdir()
    answers = []
    history = HistoryWriter(
        make_settings(path), warn=lambda _line: answers.append(history.flush(SECONDS))
    )
    history.put(make_run(1))
    assert not history.flush(SECONDS / 2)
    assert answers == [False]
    history.close(SECONDS)


def test_retention_keeps_the_newest(make, path):
    """The writer's thread does it by itself."""
    history = make(keep_runs=10)
    history.put(make_task())
    for n in range(1000):
        history.put(make_run(n))
    assert history.flush(SECONDS)
    newest = [f"run-{n}" for n in range(990, 1000)]
    eventually(lambda: read_ids(path) == newest, "ten runs")


def test_retention_keeps_pace(make, path, monkeypatch):
    """While rows come without a pause."""
    monkeypatch.setattr(writer, "GATHER", 0.02)
    history = make(keep_runs=10)
    history.put(make_task())
    counts = []
    for n in range(10_000):
        history.put(make_run(n))
        if n % 500 == 499:
            assert history.flush(SECONDS)
            counts.append(ask(path, "count(*) FROM runs")[0])
    assert max(counts[10:]) < 5000


def test_forked_child_is_inert(make, path):
    """It has neither its parent's connection nor its thread; its parent goes on."""
    history = make()
    history.put(make_task())
    history.put(make_run(1))
    for n in range(2, 22):
        child = os.fork()  # noqa: TID251 - as users' code may
        if not child:
            code = 1
            try:
                history.put(make_run(1000 + n))
                history.put(make_task("child"))
                is_settled = history.flush(1) and history.close(1)
                # A child that reads must not depend on what was open in its parent.
                is_read = isinstance(read_ids(path), list)
                is_closed = not any(str(path) in d for d in find_descriptors())
                code = 0 if is_settled and is_read and is_closed else 2
            finally:
                os._exit(code)
        history.put(make_run(n))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert history.flush(SECONDS)
    assert read_ids(path) == [f"run-{n}" for n in range(1, 22)]
    assert ask(path, "count(*) FROM writers") == [1]
    assert history.lost == 0


def test_row_costs_less_than_promised(make):
    """Under 60 µs of CPU, of which the caller pays a few."""
    history = make(keep_runs=100)
    history.put(make_task())
    rows = [
        make_run(n, pid=1, started_at=1.0, finished_at=2.0, output="line\n" * 20)
        for n in range(20_000)
    ]
    began = time.process_time()
    for row in rows:
        history.put(row)
    assert history.flush(SECONDS)
    used = time.process_time() - began
    assert used / len(rows) < 60e-6


def test_rows_are_written_where_they_belong_when_the_history_moves(
    tmp_path, told, monkeypatch
):
    """What was recorded before is in the earlier file, though others use it."""
    monkeypatch.setattr(keeper_module, "REDIRECT_TIMEOUT", SECONDS)
    monkeypatch.setattr(session, "BUSY_PATIENCE", 60)
    keeper = HistoryKeeper(told.append)
    paths = [tmp_path / "before.sqlite", tmp_path / "after.sqlite"]
    before, after = (make_settings(path, keep_days=1e6) for path in paths)
    keeper.use(before)
    keeper.recorder.declare(make_task(key="life", task_id="life", name="report"))
    note_missed(keeper, 1)
    keeper.flush(SECONDS)
    with closing(
        sqlite3.connect(paths[0], isolation_level=None, check_same_thread=False)
    ) as other:
        other.execute("BEGIN IMMEDIATE")
        note_missed(keeper, 2)
        release = threading.Timer(0.6, lambda: other.execute("COMMIT"))
        release.start()
        keeper.use(after)
        release.join()
    note_missed(keeper, 3)
    keeper.close(SECONDS)
    counts = [ask(path, "count(*) FROM runs") for path in paths]
    assert (counts, keeper.lost, told) == ([[2], [1]], 0, [])


def note_missed(keeper, number):
    """Record a slot."""
    date = BEGAN + number
    keeper.recorder.note(
        Notice(
            event=Event.EXECUTION_MISSED,
            task_id="life",
            status="idle",
            date=date,
            triggered_at=date,
        )
    )
