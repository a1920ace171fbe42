"""A run has one row in one file, wherever the history is moved meanwhile (H1)."""

import contextlib
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import pytest
from history_rows import BEGAN, make_task
from polling import SECONDS, eventually

from ipycron.runlog import keeper as keeper_module
from ipycron.runlog import session
from ipycron.runlog.keeper import HistoryKeeper
from ipycron.runlog.schema import APPLICATION_ID, MIGRATIONS, VERSION
from ipycron.runlog.settings import OFF, make_settings
from ipycron.runlog.store import open_store
from ipycron.scheduling.events import (
    Event,
    Notice,
    Outcome,
    Pending,
    ScheduledExecution,
)

PROGRAM = """
import json, os, signal, sys, time
from pathlib import Path
import ipycron
from ipycron.client.registry import registry

kind, end, *stories = sys.argv[1:]
ipycron.set_history("0.a.sqlite")

def work(ctx):
    Path("begun").touch()
    while not Path("gate").exists():
        time.sleep(0.01)

def wait(name):
    deadline = time.monotonic() + 30
    while not Path(name).exists():
        assert time.monotonic() < deadline, name
        time.sleep(0.01)

background = {"background": kind == "background"}
task = ipycron.create_task("0 0 1 1 *", work, name="moved", **background)
task.start().result(20)
for number, story in enumerate(stories):
    ipycron.set_history(f"{number}.a.sqlite")
    run = task.execute()
    wait("begun")
    while not [row for row in ipycron.history() if row.outcome == "running"]:
        time.sleep(0.01)
    for name in story:
        ipycron.set_history(None if name == "-" else f"{number}.{name}.sqlite")
    registry.client.flush_history(20)  # its supervisor has been told, too
    if end == "kill":
        os.kill(0, signal.SIGKILL)
    Path("gate").touch()
    run.result(20)
    registry.client.flush_history(20)  # an inline run's row follows its result
    Path("gate").unlink()
    Path("begun").unlink()
ipycron.shutdown()
"""
STORIES = {
    "b": {"b": "finished"},
    "-": {"a": "finished"},
    "bc": {"c": "finished"},
    "-c": {"c": "finished"},
    "b-": {"b": "finished"},
    "--": {"a": "finished"},
    "ba": {"a": "finished"},
    "-a": {"a": "finished"},
    "aba-b": {"b": "finished"},
}
"""Which files are set, one after another, while a run is in progress that began with
the file `a`, "-" for none; and where its row is afterwards."""


def run(folder, *arguments):
    """Run the program; return its exit code."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=folder,
        timeout=120,
        start_new_session=True,
        check=False,
    ).returncode


def open_as_the_next(path):
    """Open a file as the next process does; while another one writes, again."""

    def is_opened():
        with contextlib.suppress(sqlite3.OperationalError):
            open_store(path, now=BEGAN, tell=print).close()
            return True
        return False

    eventually(is_opened, "nobody writes")


def read(path):
    """Return the outcomes in a file that is opened as the next process opens it."""
    if not path.exists():
        return []
    open_as_the_next(path)
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT outcome, name FROM runs").fetchall()
    assert {name for _, name in rows} <= {"moved", "report"}
    return [outcome for outcome, _ in rows]


def read_all(folder, number):
    """Return the outcomes of a story's files that have any; one row each."""
    found = {name: read(folder / f"{number}.{name}.sqlite") for name in "abc"}
    return {
        name: rows[0] if len(rows) == 1 else rows
        for name, rows in found.items()
        if rows
    }


@pytest.mark.parametrize("kind", ["background", "inline"])
def test_run_has_one_row_wherever_the_history_moves(tmp_path, kind):
    """In the newest file; without one, where it began. Nowhere it counts as lost."""
    assert run(tmp_path, kind, "end", *STORIES) == 0
    found = {story: read_all(tmp_path, n) for n, story in enumerate(STORIES)}
    assert found == STORIES


@pytest.mark.parametrize("kind", ["background", "inline"])
def test_run_is_lost_in_one_file_when_everything_is_killed(tmp_path, kind):
    """In the one that was used last."""
    assert run(tmp_path, kind, "kill", "b") == -signal.SIGKILL
    eventually(lambda: read_all(tmp_path, 0) == {"b": "lost"}, "the supervisor is gone")


# --- one process's rows ---------------------------------------------------------------


@pytest.fixture
def told():
    """What the keeper has said."""
    return []


@pytest.fixture
def paths(tmp_path):
    """Two files, in folders of their own."""
    return [tmp_path / "before" / "rows.sqlite", tmp_path / "after" / "rows.sqlite"]


@pytest.fixture
def keeper(paths, told, monkeypatch):
    """The history of a process with a task, in the first file.

    It moves while its caller waits, also on a slow disk.
    """
    monkeypatch.setattr(keeper_module, "REDIRECT_TIMEOUT", SECONDS)
    keeper = HistoryKeeper(told.append)
    keeper.use(make_settings(paths[0], keep_days=1e6))
    keeper.recorder.declare(make_task(key="life", task_id="life", name="report"))
    yield keeper
    keeper.close(SECONDS)


def execute(**said):
    """Return the execution of a slot."""
    return ScheduledExecution(id="run", reason="scheduled", date=BEGAN, **said)


def wait_in_line(keeper, *, is_dropped=False):
    """Record that the run waits, or waits no more."""
    keeper.recorder.note_pending(
        Pending(task_id="life", execution=execute(), is_dropped=is_dropped)
    )


def note(keeper, event, outcome=None):
    """Record what becomes of the run; return the notice."""
    is_over = outcome is not None
    notice = Notice(
        event=event,
        task_id="life",
        status="idle" if is_over else "running",
        date=BEGAN,
        triggered_at=BEGAN,
        execution=execute(started_at=BEGAN, finished_at=BEGAN + 1 if is_over else None),
        outcome=outcome,
    )
    keeper.recorder.note(notice)
    return notice


def test_run_that_waits_is_moved_and_begins_in_the_new_file(keeper, paths):
    """Queued, running, finished: one row."""
    wait_in_line(keeper)
    keeper.flush(SECONDS)
    assert read(paths[0]) == ["queued"]
    keeper.use(make_settings(paths[1], keep_days=1e6))
    assert (read(paths[0]), read(paths[1])) == ([], ["queued"])
    note(keeper, Event.EXECUTION_STARTED)
    note(keeper, Event.EXECUTION_FINISHED, Outcome(is_ok=True, summary="42"))
    keeper.flush(SECONDS)
    assert (read(paths[0]), read(paths[1])) == ([], ["finished"])


def test_files_may_follow_one_another_at_once(keeper, tmp_path):
    """As where a notebook's cell sets two: the row leaves the first one, too.

    Every switch of threads is tried that a loop meets.
    """
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for turn in range(60):
            files = [tmp_path / f"{turn}.{name}.sqlite" for name in "abc"]
            keeper.use(make_settings(files[0], keep_days=1e6))
            note(keeper, Event.EXECUTION_STARTED)
            keeper.flush(SECONDS)
            for file in files[1:]:
                keeper.use(make_settings(file, keep_days=1e6), waits=False)
            note(keeper, Event.EXECUTION_FINISHED, Outcome(is_ok=True))
            keeper.flush(SECONDS)
            assert [read(file) for file in files] == [[], [], ["finished"]], turn
    finally:
        sys.setswitchinterval(interval)


def test_run_that_waits_is_dropped_where_it_began_without_a_history(keeper, paths):
    """What follows it leaves no row, as there is no history any more."""
    wait_in_line(keeper)
    keeper.use(OFF)
    wait_in_line(keeper, is_dropped=True)
    keeper.close(SECONDS)
    assert read(paths[0]) == ["stopped"]


def test_row_goes_later_where_the_earlier_file_cannot_be_written(
    keeper, paths, told, monkeypatch
):
    """Another program holds it for longer than anybody waits."""
    monkeypatch.setattr(keeper_module, "REDIRECT_TIMEOUT", 0.3)
    monkeypatch.setattr(session, "BUSY_PATIENCE", 60)
    note(keeper, Event.EXECUTION_STARTED)
    keeper.flush(SECONDS)
    with closing(sqlite3.connect(paths[0], isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        keeper.use(make_settings(paths[1], keep_days=1e6))
        note(keeper, Event.EXECUTION_FINISHED, Outcome(is_ok=True))
    eventually(lambda: read(paths[0]) == [], "the row is gone")
    keeper.close(SECONDS)
    assert (read(paths[0]), read(paths[1])) == ([], ["finished"])
    assert told == []


def test_row_goes_later_where_the_earlier_file_is_out_of_reach(
    keeper, paths, told, monkeypatch
):
    """As with a disk that is not there or read-only: it is said, and tried again."""
    monkeypatch.setattr(keeper_module, "REDIRECT_TIMEOUT", 0.3)
    note(keeper, Event.EXECUTION_STARTED)
    keeper.flush(SECONDS)
    folder = paths[0].parent
    aside = folder.rename(folder.with_name("aside"))
    folder.touch()
    keeper.use(make_settings(paths[1], keep_days=1e6))
    eventually(lambda: told, "the warning")
    folder.unlink()
    aside.rename(folder)
    eventually(lambda: read(paths[0]) == [], "the row is gone")
    note(keeper, Event.EXECUTION_FINISHED, Outcome(is_ok=True))
    keeper.close(SECONDS)
    assert (read(paths[0]), read(paths[1])) == ([], ["finished"])


def fail_attempt(keeper, number):
    """Record that an attempt of the run has failed."""
    keeper.recorder.note(
        Notice(
            event=Event.EXECUTION_RETRY,
            task_id="life",
            status="running",
            date=BEGAN,
            triggered_at=BEGAN,
            execution=execute(started_at=BEGAN, attempt=number),
            outcome=Outcome(
                is_ok=False, summary=f"ValueError: {number}", value=ValueError()
            ),
        )
    )


def read_errors(path):
    """Return the outcome of each run, with the errors of its attempts."""
    if not path.exists():
        return {}
    open_as_the_next(path)
    with closing(sqlite3.connect(path)) as connection:
        runs = "SELECT id, outcome FROM runs WHERE run IS NULL"
        found = {name: [outcome] for name, outcome in connection.execute(runs)}
        attempts = "SELECT run, error, output FROM runs WHERE run IS NOT NULL"
        for name, *said in connection.execute(attempts + " ORDER BY attempt"):
            found.setdefault(name, []).append(tuple(said))
    return found


@pytest.mark.parametrize("is_told", [False, True])
def test_attempts_move_with_their_run(keeper, paths, is_told):
    """Whether they were written before or not; and once more, back again."""
    note(keeper, Event.EXECUTION_STARTED)
    keeper.recorder.add_output("run", b"said", 0, 0)
    fail_attempt(keeper, 1)
    if is_told:
        keeper.flush(SECONDS)
    keeper.use(make_settings(paths[1], keep_days=1e6))
    fail_attempt(keeper, 2)
    keeper.flush(SECONDS)
    expected = {"run": ["running", ("1", "said"), ("2", None)]}
    assert (read_errors(paths[0]), read_errors(paths[1])) == ({}, expected)
    keeper.use(make_settings(paths[0], keep_days=1e6))
    note(keeper, Event.EXECUTION_FINISHED, Outcome(is_ok=True))
    keeper.close(SECONDS)
    expected["run"][0] = "finished"
    assert (read_errors(paths[0]), read_errors(paths[1])) == (expected, {})


@pytest.mark.parametrize("is_told", [False, True])
def test_attempts_move_later_where_the_earlier_file_cannot_be_written(
    keeper, paths, told, monkeypatch, is_told
):
    """A slow disk, or another program: no attempt stays where its run is not."""
    monkeypatch.setattr(keeper_module, "REDIRECT_TIMEOUT", 0.3)
    monkeypatch.setattr(session, "BUSY_PATIENCE", 60)
    note(keeper, Event.EXECUTION_STARTED)
    keeper.flush(SECONDS)
    fail_attempt(keeper, 1)
    if is_told:
        keeper.flush(SECONDS)
    with closing(sqlite3.connect(paths[0], isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        keeper.use(make_settings(paths[1], keep_days=1e6))
        fail_attempt(keeper, 2)
    keeper.flush(SECONDS)
    expected = {"run": ["running", ("1", None), ("2", None)]}
    assert (read_errors(paths[0]), read_errors(paths[1])) == ({}, expected)
    note(keeper, Event.EXECUTION_FINISHED, Outcome(is_ok=True))
    keeper.close(SECONDS)
    expected["run"][0] = "finished"
    assert (read_errors(paths[0]), read_errors(paths[1])) == ({}, expected)
    assert told == []


def test_attempts_move_at_the_end_where_the_earlier_file_cannot_be_written(
    keeper, paths, monkeypatch
):
    """The rows that it hands over then are written, too."""
    monkeypatch.setattr(keeper_module, "REDIRECT_TIMEOUT", 0.3)
    note(keeper, Event.EXECUTION_STARTED)
    fail_attempt(keeper, 1)
    keeper.flush(SECONDS)
    with closing(
        sqlite3.connect(paths[0], isolation_level=None, check_same_thread=False)
    ) as other:
        other.execute("BEGIN IMMEDIATE")
        keeper.use(make_settings(paths[1], keep_days=1e6))
        note(keeper, Event.EXECUTION_FINISHED, Outcome(is_ok=True))
        later = threading.Timer(0.5, other.execute, ["ROLLBACK"])
        later.start()
        keeper.close(SECONDS)
        later.join()
    expected = {"run": ["finished", ("1", None)]}
    assert (read_errors(paths[0]), read_errors(paths[1])) == ({}, expected)


def test_attempts_stay_with_their_run_without_a_history(keeper, paths):
    """It ends where it began, with those that come after."""
    note(keeper, Event.EXECUTION_STARTED)
    fail_attempt(keeper, 1)
    keeper.use(OFF)
    fail_attempt(keeper, 2)
    note(keeper, Event.EXECUTION_FINISHED, Outcome(is_ok=True))
    keeper.close(SECONDS)
    assert read_errors(paths[0]) == {"run": ["finished", ("1", None), ("2", None)]}


def test_traceback_that_comes_late_makes_no_row_in_the_new_file(keeper, paths):
    """It belongs to a run that was over before."""
    note(keeper, Event.EXECUTION_STARTED)
    place = keeper.recorder.place
    failure = Outcome(is_ok=False, summary="ValueError: no", value=ValueError("no"))
    notice = note(keeper, Event.EXECUTION_FAILED, failure)
    keeper.use(make_settings(paths[1], keep_days=1e6))
    keeper.recorder.add_traceback(notice, "Traceback", place)
    keeper.close(SECONDS)
    assert (read(paths[0]), read(paths[1])) == (["failed"], [])


def write_as_before(path):
    """Make a file of schema 1 in which a process that is gone left a run open."""
    path.parent.mkdir(mode=0o700)
    with closing(sqlite3.connect(path)) as old:
        old.executescript(MIGRATIONS[0])
        old.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        old.execute("PRAGMA user_version = 1")
        old.execute("INSERT INTO writers VALUES ('gone', 'h', 'b', 1, '1', 0, NULL, 0)")
        old.execute(
            "INSERT INTO tasks VALUES ('before', 't', 'report', NULL, 'function', "
            "'* * * * *', 'UTC', 's', NULL, ?, 'gone', NULL, NULL, NULL)",
            (BEGAN - 60,),
        )
        old.execute(
            "INSERT INTO runs (id, task, slot, trigger, at, outcome, attempt, writer, "
            "name) VALUES ('old', 'before', ?1, 'scheduled', ?1, 'running', 1, 'gone', "
            "'report')",
            (BEGAN - 60,),
        )
        old.commit()
    path.chmod(0o600)


def test_file_of_an_older_version_is_resumed_in_and_moved_from(keeper, paths, told):
    """The open row of the earlier version's process is lost there, and only this one.

    The slot that was skipped runs after all, in one row, which moves.
    """
    write_as_before(paths[0])
    paused = {"event": Event.EXECUTION_SKIPPED, "reason": "paused", "status": "idle"}
    keeper.recorder.note(
        Notice(task_id="life", date=BEGAN, triggered_at=BEGAN, **paused)
    )
    keeper.flush(SECONDS)
    assert read(paths[0]) == ["lost", "paused"]
    keeper.recorder.note_pending(
        Pending(task_id="life", execution=execute(), was_skipped=True)
    )
    keeper.flush(SECONDS)
    assert read(paths[0]) == ["lost", "queued"]
    keeper.use(make_settings(paths[1], keep_days=1e6))
    assert (read(paths[0]), read(paths[1])) == (["lost"], ["queued"])
    keeper.use(make_settings(paths[0], keep_days=1e6))
    note(keeper, Event.EXECUTION_STARTED)
    note(keeper, Event.EXECUTION_FINISHED, Outcome(is_ok=True))
    keeper.close(SECONDS)
    assert (read(paths[0]), read(paths[1])) == (["lost", "finished"], [])
    assert told == []
    with closing(sqlite3.connect(paths[0])) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
        facts = connection.execute("SELECT key, facts FROM tasks ORDER BY key")
        assert facts.fetchall() == [("before", None), ("life", None)]
