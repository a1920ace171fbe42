"""What a task that is declared again is told about its last life."""

from __future__ import annotations

import os
from contextlib import closing

import msgspec
import pytest
from history_rows import BEGAN, make_run, make_task

from ipycron.errors import HistoryError
from ipycron.runlog.lives import LastLife, find_last_lives, find_life, find_since
from ipycron.runlog.rows import TaskEnd
from ipycron.runlog.store import Store

ALIVE = LastLife(
    key="life",
    task_id="t1",
    origin=None,
    schedule="* * * * * UTC",
    declared_at=BEGAN,
    last_slot=None,
    ended_at=None,
    end=None,
    is_alive=True,
)


@pytest.fixture
def path(tmp_path):
    """The file that is asked."""
    return tmp_path / "history.sqlite"


@pytest.fixture
def store(path):
    """Its writer, in this process."""
    with closing(Store(path, now=BEGAN)) as store:
        yield store


def find_last_life(path, name, origin, **given):
    """Return the newest life, or None."""
    lives = find_last_lives(path, name, origin, **given)
    return lives[0] if lives else None


def make_life(declared_at, last_slot=None, **said):
    """Return a life that has ended by itself."""
    facts = {"declared_at": declared_at, "last_slot": last_slot, "is_alive": False}
    return msgspec.structs.replace(ALIVE, **{**facts, **said})


@pytest.mark.parametrize(
    ("lives", "since"),
    [
        ([make_life(10.0)], 10.0),
        ([make_life(10.0, 60.0)], 60.0),
        ([make_life(100.0, 90.0)], 100.0),  # it caught up on an older slot
        ([make_life(100.0), make_life(10.0, 60.0)], 60.0),
        ([make_life(100.0, 120.0), make_life(10.0, 60.0)], 120.0),
        ([make_life(200.0), make_life(100.0), make_life(10.0, 60.0)], 60.0),
        ([make_life(100.0), make_life(10.0)], 10.0),
        ([make_life(100.0), make_life(10.0, 60.0, schedule="other")], 100.0),
        ([make_life(100.0), make_life(10.0, 60.0, is_alive=True)], 100.0),
        ([make_life(100.0), make_life(10.0, 60.0, end="stopped")], 100.0),
        ([make_life(100.0), make_life(10.0, 60.0, end="destroyed")], 100.0),
        ([make_life(100.0), make_life(10.0, 60.0, end="shutdown")], 100.0),
    ],
)
def test_life_that_was_killed_at_once_passes_on_what_it_owed(lives, since):
    """Until one of its slots has a row, nothing that was due before it is settled."""
    assert find_since(lives, catches_up=False) == since


def test_slots_after_a_clean_end_are_passed_on_where_they_are_caught_up_on():
    """They are owed then (C1)."""
    lives = [make_life(100.0), make_life(10.0, 60.0, end="shutdown")]
    assert find_since(lives, catches_up=True) == 60.0


def test_task_has_no_last_life_when_it_is_declared_first(path):
    """Nor is there a file then, and asking makes none."""
    assert find_last_life(path, "report", None) is None
    assert not path.exists()
    Store(path, now=BEGAN).close()
    assert find_last_life(path, "report", None) is None


@pytest.mark.parametrize(
    ("at", "pattern"),
    [(None, "third"), (250.0, "second"), (200.0, "second"), (199.0, "first")],
)
def test_life_of_an_instant_is_the_newest_by_then(store, path, at, pattern):
    """Of that name; the first one for what was before it."""
    for number, name in enumerate(("first", "second", "third"), 1):
        life = make_task(name, pattern=name, declared_at=100.0 * number, facts=name)
        store.apply([life])
    store.apply([make_task("other", name="other", declared_at=240.0)])
    life = find_life(path, "report", at)
    assert (life.pattern, life.facts, life.end) == (pattern, pattern, None)
    assert find_life(path, "report", 50.0).pattern == "first"
    assert find_life(path, "missing", at) is None


def test_life_says_how_it_has_ended(store, path):
    """By the user, with its process, or not at all."""
    store.apply([make_task()])
    assert (find_life(path, "report").end, find_life(path, "report").pid) == (
        None,
        os.getpid(),
    )
    store.apply([TaskEnd(key="life", at=BEGAN + 5, end="stopped")])
    life = find_life(path, "report")
    assert (life.end, life.ended_at) == ("stopped", BEGAN + 5)
    store.apply([TaskEnd(key="life", at=BEGAN + 6, end=None)])
    assert find_life(path, "report").end is None
    store.end(BEGAN + 7)
    life = find_life(path, "report")
    assert (life.end, life.ended_at) == ("shutdown", BEGAN + 7)
    store.connection.execute("UPDATE writers SET ended = NULL, vanished = 9.0")
    life = find_life(path, "report")
    assert (life.end, life.ended_at) == ("vanished", 9.0)


def test_last_life_is_the_newest_of_the_name_besides_this_one(store, path):
    """Whatever the order in which they were written."""
    store.apply(
        [
            make_task("this", declared_at=BEGAN + 3),
            make_task("last", declared_at=BEGAN + 2),
            make_task("first", declared_at=BEGAN + 1),
            make_task("other", name="other", declared_at=BEGAN + 9),
        ]
    )
    assert find_last_life(path, "report", None, besides="this").key == "last"
    assert find_last_life(path, "report", None).key == "this"
    assert find_last_life(path, "missing", None) is None


@pytest.mark.parametrize(
    ("then", "now", "is_same"),
    [
        ("/a.ipynb", "/a.ipynb", True),
        ("/a.ipynb", "/b.ipynb", False),
        (None, "/b.ipynb", True),
        ("/a.ipynb", None, True),
        (None, None, True),
        ("/\udcff.py", "/\udcff.py", True),
    ],
)
def test_life_of_another_notebook_is_another_task(store, path, then, now, is_same):
    """Where both are known."""
    store.apply([make_task(origin=then)])
    assert (find_last_life(path, "report", now) is not None) is is_same


def test_life_tells_its_newest_slot_and_that_it_is_alive(store, path):
    """Whatever became of the slot, and whether it is over."""
    store.apply([make_task()])
    assert find_last_life(path, "report", None) == ALIVE
    store.apply([make_run(1, "missed"), make_run(4, "running"), make_run(2)])
    expected = msgspec.structs.replace(ALIVE, last_slot=BEGAN + 240)
    assert find_last_life(path, "report", None) == expected


@pytest.mark.parametrize("end", ["stopped", "destroyed", "shutdown"])
def test_life_tells_how_it_ended(store, path, end):
    """And is not alive then, though its process may be."""
    store.apply([make_task(), TaskEnd(key="life", at=BEGAN + 7, end=end)])
    life = find_last_life(path, "report", None)
    assert (life.end, life.ended_at, life.is_alive) == (end, BEGAN + 7, False)


@pytest.mark.parametrize(
    "change",
    ["pid = 4194305", "started = '1'", "boot = 'x/y'", "ended = 1", "vanished = 1"],
)
def test_life_is_not_alive_when_its_process_is_gone(store, path, change):
    """Killed: it has no end, and is not alive."""
    store.apply([make_task()])
    store.connection.execute(f"UPDATE writers SET {change}")
    life = find_last_life(path, "report", None)
    assert (life.end, life.is_alive) == (None, False)


def test_life_may_be_alive_when_its_process_is_elsewhere(store, path):
    """On a machine that nothing is known of."""
    store.apply([make_task()])
    store.connection.execute("UPDATE writers SET host = 'elsewhere', boot = 'x/y'")
    assert find_last_life(path, "report", None).is_alive


def test_file_that_cannot_be_read_is_an_error_with_a_way_out(path):
    """One of another program, and a damaged one."""
    path.write_text("notes\n" * 1000)
    with pytest.raises(HistoryError, match=r"not an SQLite database.*IPYCRON_HISTORY"):
        find_last_life(path, "report", None)
    path.unlink()
    with closing(Store(path, now=BEGAN)) as store:
        store.apply([make_task()])
    with path.open("r+b") as content:
        content.seek(4096)
        content.write(b"\xa5" * 4096 * 8)
    with pytest.raises(HistoryError, match="malformed"):
        find_last_life(path, "report", None)
