"""Rows as they come."""

from __future__ import annotations

import pytest
from history_rows import BEGAN, make_run, make_task

from ipycron.runlog.following import LATENESS, Follower
from ipycron.runlog.store import open_store
from ipycron.scheduling.clock import SystemClock

NOW = SystemClock().now()
"""When this module was loaded: the tests may run many minutes later."""


def make(number, outcome="finished", **said):
    """Return a run of so many minutes before now, in the past as real ones are."""
    at = NOW - 100_000 + 60 * number
    return make_run(number, outcome, **({"slot": at, "at": at} | said))


@pytest.fixture
def path(tmp_path):
    """Where the history is to be."""
    return tmp_path / "history.sqlite"


@pytest.fixture
def store(path):
    """A writer with a task that has run, and runs."""
    store = open_store(path, now=BEGAN, tell=print)
    store.apply([make_task(), make_task("other", name="nightly")])
    store.apply([make(0), make(1, "running"), make(2)])
    yield store
    store.close()


def read(follower):
    """Return the ids of what is new, and what became of it."""
    return [(run.id, str(run.outcome)) for run in follower.read()]


def test_only_what_ends_from_now_on_is_told_and_once(store, path):
    """Neither what was over before, nor what is still open, nor other tasks."""
    follower = Follower(path, "report")
    assert read(follower) == []
    store.apply([make(3, "running"), make(4, task="other")])
    assert read(follower) == []
    store.apply([make(3, finished_at=NOW, output="hi"), make(5, "missed")])
    slot, run = follower.read()
    assert (slot.id, run.id, run.output) == ("run-5", "run-3", "hi")
    assert read(follower) == []


def test_runs_are_told_in_the_order_of_their_ends(store, path):
    """As they would have printed."""
    follower = Follower(path, "report")
    store.apply([make(n, finished_at=NOW - n) for n in (3, 4, 5)])
    assert read(follower) == [(f"run-{n}", "finished") for n in (5, 4, 3)]


def test_run_that_began_long_ago_is_told_when_it_ends(store, path):
    """However many others have ended since."""
    follower = Follower(path, "report")
    for first in (100, 200):
        store.apply([make(first + n) for n in range(20)])
        assert len(read(follower)) == 20
    store.apply([make(1, "failed")])
    assert read(follower) == [("run-1", "failed")]
    assert read(follower) == []


def test_row_that_comes_late_is_told(store, path):
    """A writer may have had to wait for another one."""
    follower = Follower(path, "report")
    newest = make(500)
    store.apply([newest])
    assert read(follower) == [("run-500", "finished")]
    store.apply([make(0, id="late", at=newest.at - LATENESS + 1)])
    assert read(follower) == [("late", "finished")]
    assert read(follower) == []


def test_row_of_the_future_hides_none_of_the_present(store, path):
    """A clock that was wrong for a moment."""
    now = SystemClock().now()
    follower = Follower(path, "report")
    store.apply([make(0, id="future", at=now * 4)])
    assert read(follower) == [("future", "finished")]
    store.apply([make(0, id="now", at=now)])
    assert read(follower) == [("now", "finished")]


def test_nothing_is_told_twice_or_left_out_while_a_task_runs_on(store, path):
    """A look at any moment of any number of runs."""
    follower, told = Follower(path, "report"), []
    for number in range(10, 200):
        store.apply([make(number, "running")])
        if number % 3 == 0:
            told += read(follower)
        store.apply([make(number - number % 7, "finished")])
        store.apply([make(number, "finished")])
    told += read(follower)
    assert sorted(told) == sorted(
        (f"run-{n}", "finished") for n in range(7, 200) if n > 9 or n == 7
    )


def test_file_may_come_later_and_be_replaced(path):
    """It is followed by its name."""
    follower = Follower(path, "report")
    assert read(follower) == []
    for number in range(2):
        store = open_store(path, now=BEGAN, tell=print)
        store.apply([make_task(), make(number)])
        assert read(follower) == [(f"run-{number}", "finished")]
        store.close()
        for file in path.parent.iterdir():
            file.unlink()
        assert read(follower) == []
