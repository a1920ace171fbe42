"""What a service that starts reads of the runs before it."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from history_rows import BEGAN, make_run, make_task, write

from ipycron.errors import HistoryError
from ipycron.runlog.last_runs import MAX_SUMMARY, LastRuns, read_last_runs
from ipycron.runlog.rows import RunOutcome

NOTHING = LastRuns((), {})


@pytest.fixture
def path(tmp_path):
    """Where the history is to be."""
    return tmp_path / "history.sqlite"


def read(path, *, limit=20):
    """Return the last runs of the task of these rows."""
    return read_last_runs(path, {"t1": "report"}, limit, patience=60)["t1"]


def test_last_runs_are_oldest_first_and_all_are_counted(path):
    """Also in several lives; slots count as many as a row stands for."""
    write(
        path,
        make_task(),
        make_task("next"),
        make_run(0),
        make_run(1, "failed"),
        make_run(2, "missed", missed_count=30),
        make_run(3, "overlap"),
        make_run(4, "stopped", started_at=BEGAN),
        make_run(5, task="next"),
    )
    runs, counts = read(path, limit=2)
    assert [run.execution.id for run in runs] == ["run-4", "run-5"]
    expected = {"finished": 2, "failed": 1, "missed": 30, "overlap": 1, "stopped": 1}
    assert counts == expected


def test_last_runs_are_those_of_the_task_not_of_its_name(path):
    """Another notebook, or the task that this one has replaced, is another task."""
    write(
        path,
        make_task(),
        make_task("other", task_id="t2", origin="/other.ipynb"),
        make_run(0),
        make_run(1, "failed", task="other"),
    )
    runs, counts = read(path)
    assert [run.execution.id for run in runs] == ["run-0"]
    assert counts == {"finished": 1}
    both = {"t1": "report", "t2": "report", "t3": "nobody"}
    found = read_last_runs(path, both, 20, patience=60)
    assert [run.outcome for run in found["t2"].runs] == ["failed"]
    assert found["t3"] == NOTHING


def test_last_run_is_as_it_was_remembered(path):
    """Result or error, attempts and the reason why there was no further one."""
    failed = {"error_type": "ValueError", "error": "no", "attempt": 3, "attempts": 3}
    write(
        path,
        make_task(),
        make_run(0, summary="42", started_at=BEGAN, finished_at=BEGAN + 2, pid=7),
        make_run(1, "timed_out", summary="the deadline", **failed),
        make_run(2, "failed", id="run-1/1", run="run-1"),
        make_run(3, "cancelled", summary="Cancel: nothing new", slot=None),
        make_run(4, "failed", error_type="E", error="x" * 9999),
    )
    first, second, third, last = read(path).runs
    assert (first.summary, first.is_ok) == ("42", True)
    run = first.execution
    assert (run.date, run.started_at, run.finished_at) == (BEGAN, BEGAN, BEGAN + 2)
    assert (run.pid, run.reason, run.attempt) == (7, "scheduled", 1)
    assert (second.summary, second.is_ok) == ("ValueError: no", False)
    assert (second.remark, second.execution.attempt) == ("the deadline", 3)
    assert (third.is_ok, third.execution.date) == (True, BEGAN + 180)
    assert len(last.summary) == MAX_SUMMARY


def test_run_that_was_lost_has_failed_if_it_had_begun(path):
    """One that was still waiting for its turn was never seen as a run."""
    write(
        path,
        make_task(),
        make_run(0, "lost", started_at=BEGAN, error="the process is gone"),
        make_run(1, "lost"),
        make_run(2, "stopped"),
        make_run(3, "running", started_at=BEGAN),
    )
    runs, counts = read(path)
    (run,) = runs
    assert (run.is_ok, run.summary) == (False, "SupervisorLost: the process is gone")
    assert counts.pop(RunOutcome.RUNNING) == 1
    assert counts == {"lost": 1}


def test_rows_that_are_not_ours_are_left_out(path):
    """Any file may be where the history should be; the service must start."""
    rows = (make_run(0), make_run(1), make_run(2), make_run(3))
    write(path, make_task(), *rows, make_run(4, summary="whole"))
    with closing(sqlite3.connect(path)) as connection:
        for number, column, value in (
            (0, "trigger", "of a newer version"),
            (1, "at", "nowhere"),
            (2, "id", b"\xff"),
            (3, "outcome", "of a newer version"),
            (4, "summary", b"\xff"),
            (4, "missed_count", 2**62),
        ):
            of_run = f"UPDATE runs SET {column} = ? WHERE slot = ?"
            connection.execute(of_run, (value, BEGAN + 60 * number))
            if column == "at":
                connection.execute(
                    "UPDATE runs SET slot = 1e300 WHERE at = ?", (value,)
                )
        connection.commit()
    runs, _ = read(path)
    assert [(run.execution.id, run.summary) for run in runs] == [("run-4", "")]


def test_there_need_not_be_a_file_and_it_may_be_damaged(path):
    """Without one there were no runs; a damaged one is an error that says so."""
    assert read(path) == NOTHING
    write(path, make_task(), make_run(0))
    path.write_bytes(path.read_bytes()[:100] + b"no page of a database" * 1000)
    with pytest.raises(HistoryError, match="damaged"):
        read(path)


def test_tasks_that_are_not_read_in_time_are_left_out(path):
    """What is known of the others is not lost by that."""
    write(path, make_task(), make_run(0))
    assert read_last_runs(path, {"t1": "report"}, 20, patience=-1) == {}
