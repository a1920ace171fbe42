"""Slots that a pause skipped and that run after all: each has one row (H1)."""

import pytest
from history_rows import BEGAN, make_run, make_task, read, read_counts

from ipycron.runlog.rows import Resumed, find_since, name_count
from ipycron.runlog.store import open_store

COUNTED = name_count("life", BEGAN, BEGAN + 3 * 60)


@pytest.fixture
def store(tmp_path):
    """An empty file, open for writing."""
    store = open_store(tmp_path / "history.sqlite", now=BEGAN, tell=print)
    yield store
    store.close()


def make_resumed(number, before=None):
    """Return what makes a slot run after all: a minute each after `BEGAN`."""
    row = make_run(number, "queued", trigger="catch_up")
    return Resumed(row=row, before=None if before is None else BEGAN + 60 * before)


def make_paused(number, **said):
    """Return the row of a slot that a pause skipped."""
    return make_run(number, "paused", **({"id": f"life:{number}"} | said))


@pytest.mark.parametrize("is_batch", [True, False])
def test_row_of_a_skipped_slot_goes_when_the_slot_runs(store, is_batch):
    """Another slot's stays, and so does another task's and what was missed."""
    paused = [
        make_task(),
        make_task("other", name="other"),
        make_paused(0, id="d", task="other"),
        make_paused(0),
        make_paused(1),
        make_run(2, "missed", id="life:2"),
    ]
    resumed = [make_resumed(0), make_resumed(2)]
    for batch in [[*paused, *resumed]] if is_batch else [paused, resumed]:
        assert store.apply(batch) == 0
    assert sorted(read(store, "id")) == ["d", "life:1", "life:2"]


def test_row_of_many_slots_stands_for_one_less(store):
    """Also for the newest: what is left is older than those that run."""
    store.apply([make_task(), make_paused(3, id=COUNTED, missed_count=3)])
    store.apply([make_resumed(2, before=1)])
    assert read_counts(store) == [(3, 3, 2)]
    store.apply([make_resumed(3, before=1)])
    assert read_counts(store) == [(1, 1, 1)]


def test_row_of_many_slots_goes_when_all_of_them_run(store):
    """None is left without a slot of its own."""
    store.apply([make_task(), make_paused(3, id=COUNTED, missed_count=3)])
    store.apply([make_resumed(n) for n in (1, 2, 3)])
    assert read_counts(store) == []


@pytest.mark.parametrize("number", [-5, 0, 4])
def test_slots_before_and_after_a_count_are_not_in_it(store, number):
    """The slot's own row has been purged: nothing is taken from another one."""
    store.apply([make_task(), make_paused(3, id=COUNTED, missed_count=3)])
    store.apply([make_resumed(number)])
    assert read_counts(store) == [(3, 3, 3)]


def test_slot_is_found_among_several_counts(store):
    """A laptop that slept twice, paused."""
    later = name_count("life", BEGAN + 300, BEGAN + 540)
    earlier = make_paused(3, id=COUNTED, missed_count=3)
    store.apply([make_task(), earlier, make_paused(9, id=later, missed_count=4)])
    store.apply([make_resumed(7), make_resumed(2)])
    assert read_counts(store) == [(3, 3, 2), (9, 9, 3)]


@pytest.mark.parametrize("name", ["life:180", "", "..", "a..b", "life:x..9", "r-12"])
def test_other_ids_say_nothing_of_the_slots(name):
    """Any file may be opened."""
    assert find_since(name) is None
