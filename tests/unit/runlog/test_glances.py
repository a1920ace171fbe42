"""What views read of many runs: their last ones, pages, the counts of a day."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from history_rows import BEGAN, make_run, make_task, write

from ipycron.errors import HistoryError
from ipycron.runlog.glances import (
    KINDS,
    Steps,
    find_kind,
    read_days,
    read_last,
    read_page,
)
from ipycron.runlog.rows import OPEN, RunOutcome

HOUR = 3600


@pytest.fixture
def path(tmp_path):
    """Where the history is to be."""
    return tmp_path / "history.sqlite"


def count(path, names=("report",), *, keep_runs=1000):
    """Return the days of tasks in two half hours."""
    return read_days(path, names, Steps(BEGAN, HOUR / 2, 2), keep_runs=keep_runs)


def test_last_runs_of_each_name_are_newest_first_and_over(path):
    """What is in progress is no mark; a name without rows is left out."""
    write(
        path,
        make_task(),
        make_task("other", name="nightly"),
        *(make_run(number) for number in range(5)),
        make_run(5, "running"),
        make_run(6, "queued"),
        make_run(7, "missed", task="other", missed_count=120),
    )
    found = read_last(path, ["report", "nightly", "nobody"], 3)

    assert [glance.id for glance in found["report"]] == ["run-4", "run-3", "run-2"]
    assert [(g.outcome, g.slots) for g in found["nightly"]] == [("missed", 120)]
    assert set(found) == {"report", "nightly"}


def test_glance_of_a_failure_has_its_error_and_of_a_success_its_result(path):
    """One text each, as the lists of card and panel show it."""
    write(
        path,
        make_task(),
        make_run(0, started_at=BEGAN, finished_at=BEGAN + 2, summary="42"),
        make_run(1, "failed", error_type="ValueError", error="no", summary=None),
        make_run(2, "crashed", error_type="WorkerCrashed"),
    )
    newest = read_last(path, ["report"], 9)["report"]

    assert [g.summary for g in newest] == ["WorkerCrashed", "ValueError: no", "42"]
    assert (newest[-1].started_at, newest[-1].finished_at) == (BEGAN, BEGAN + 2)


def test_glance_of_a_run_has_the_number_of_its_attempts(path):
    """They are one run; each has a row of its own, which is no mark."""
    write(
        path,
        make_task(),
        make_run(0, "failed", id="r/1", run="r"),
        make_run(0, id="r/2", run="r", attempt=2),
        make_run(0, id="r", attempt=2, attempts=2),
        make_run(1, id="plain"),
    )
    newest = read_last(path, ["report"], 9)["report"]

    assert [(g.id, g.attempts) for g in newest] == [("plain", 1), ("r", 2)]
    assert count(path)["report"].counts == {0: [2, 0, 0, 0, 0]}


def test_pages_have_each_run_once_where_many_are_at_one_instant(path):
    """The place of a row is not its own: twenty calls may have the same."""
    runs = [make_run(n, id=f"run-{n:02}", at=BEGAN + n // 10) for n in range(30)]
    write(path, make_task(), *runs)
    seen, before = [], None
    while page := read_page(path, "report", before, 7):
        seen += [glance.id for glance in page]
        before = page[-1].at, page[-1].id

    assert seen == [f"run-{n:02}" for n in reversed(range(30))]


def test_pages_of_a_file_that_is_not_there_are_empty(path):
    """Nothing has happened yet."""
    assert read_page(path, "report", None, 100) == []
    assert read_last(path, ["report"], 20) == {}
    assert count(path) == {}


def test_file_of_somebody_else_cannot_be_read(path):
    """One error says so, whatever was asked."""
    path.write_text("no database, but long enough to be taken for one" * 20)
    for ask in (
        lambda: read_page(path, "report", None, 100),
        lambda: read_last(path, ["report"], 20),
        lambda: count(path),
    ):
        with pytest.raises(HistoryError):
            ask()


def test_day_counts_what_became_of_slots_in_steps(path):
    """The first instant belongs to a step, the one after the last to none."""
    write(
        path,
        make_task(),
        make_run(0),
        make_run(1, "failed"),
        make_run(29, "timed_out"),
        make_run(30, "stopped"),
        make_run(31, "paused"),
        make_run(32, "running"),
        make_run(60),
    )
    (day,) = count(path).values()

    assert KINDS == ("finished", "failed", "stopped", "missed", "skipped")
    assert day.counts == {0: [1, 2, 0, 0, 0], 1: [0, 0, 1, 0, 1]}
    assert day.since is None


def test_day_counts_every_slot_of_a_row_that_stands_for_many(path):
    """A gap of a night is one row and many slots."""
    write(
        path,
        make_task(),
        make_run(1, "missed", missed_count=500),
        make_run(2, "missed"),
        make_run(3, "paused", missed_count=7),
    )
    assert count(path)["report"].counts == {0: [0, 0, 0, 501, 7]}


def test_day_says_from_when_on_rows_are_kept(path):
    """Before that, nothing is known: it is not that nothing has happened."""
    write(path, make_task(), *(make_run(number) for number in range(20)))

    assert count(path, keep_runs=20)["report"].since == BEGAN
    assert count(path, keep_runs=5)["report"].since == BEGAN + 15 * 60
    assert count(path, keep_runs=21)["report"].since is None


def test_day_of_a_task_of_every_second_is_a_few_numbers(path):
    """What a view gets does not grow with the number of runs."""
    runs = [make_run(n, at=BEGAN + n) for n in range(HOUR)]
    write(path, make_task(), *runs)
    (day,) = count(path, keep_runs=100_000).values()
    assert day.counts == {0: [1800, 0, 0, 0, 0], 1: [1800, 0, 0, 0, 0]}


@pytest.mark.parametrize("outcome", sorted(set(RunOutcome) - OPEN))
def test_every_outcome_is_of_a_kind(outcome):
    """Also one that a newer version writes."""
    assert find_kind(outcome) in KINDS
    assert find_kind("unheard of") == "skipped"


def test_glance_of_nonsense_is_readable(path):
    """SQLite's columns take values of any type; a view must not fail by one."""
    write(path, make_task(), make_run(0))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "UPDATE runs SET trigger = x'00ff', outcome = 7, started_at = 'soon', "
            "finished_at = 1e300, missed_count = 'many', "
            "attempts = 'some', summary = 3.5"
        )
    (glance,) = read_page(path, "report", None, 100)

    assert (glance.outcome, glance.slots, glance.summary) == ("7", 1, "3.5")
    assert glance.attempts == 1
    assert glance.started_at is None
    assert glance.finished_at is None
    assert count(path)["report"].counts == {0: [0, 0, 0, 0, 1]}
