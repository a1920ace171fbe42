"""Slots that are to come once more: what did not run has one row, the new one (H1)."""

import msgspec
import pytest
from history_rows import BEGAN, make_run, make_task, read, read_counts

from ipycron.runlog.recorder import Recorder
from ipycron.runlog.rows import RunOutcome, TaskEnd, name_count
from ipycron.runlog.store import Store, open_store
from ipycron.scheduling.plan import Recounted
from ipycron.testing import Every

COUNTED = name_count("life", BEGAN, BEGAN + 600)


@pytest.fixture
def store(tmp_path):
    """An empty file, open for writing."""
    store = open_store(tmp_path / "history.sqlite", now=BEGAN, tell=print)
    yield store
    store.close()


def make_recount(number, schedule=None):
    """Return a recount `number` minutes after `BEGAN`, and half a minute."""
    since = BEGAN + 60 * number + 30
    return Recounted(task_id="life", since=since, schedule=schedule or Every(60))


@pytest.mark.parametrize("is_batch", [True, False])
def test_rows_of_later_slots_that_did_not_run_are_deleted(store, is_batch):
    """Runs, calls, backfills and other tasks' rows stay."""
    rows = [
        make_task(),
        make_task("other", name="other"),
        make_run(1, "missed"),
        *(
            make_run(number, outcome, id=outcome)
            for number, outcome in enumerate(
                ("missed", "overlap", "not_elected", "paused", "stopped", "lost"), 2
            )
        ),
        make_run(9, "finished", started_at=BEGAN + 540, id="ran"),
        make_run(10, "running", started_at=BEGAN + 600, id="runs"),
        make_run(11, "lost", started_at=BEGAN + 600, id="vanished"),
        make_run(12, "queued", id="a", trigger="backfill"),
        make_run(13, "stopped", id="b", trigger="invoked", slot=None),
        make_run(14, "missed", id="c", task="other"),
    ]
    for batch in [[*rows, make_recount(1)]] if is_batch else [rows, [make_recount(1)]]:
        assert store.apply(batch) == 0
    left = {"run-1", "ran", "runs", "vanished", "a", "b", "c"}
    assert set(read(store, "id")) == left


def test_row_of_many_slots_stands_for_those_before(store):
    """Those after it are to come; a slot with its own row is not counted."""
    store.apply([make_task(), make_run(10, "missed", id=COUNTED, missed_count=9)])
    store.apply([make_run(3, started_at=BEGAN + 900)])
    store.apply([make_recount(4)])
    assert read_counts(store) == [(3, 3, None), (4, 4, 3)]
    store.apply([make_recount(3)])
    assert read_counts(store) == [(2, 2, 2), (3, 3, None)]


@pytest.mark.parametrize("number", [-5, 0])
def test_row_of_many_slots_goes_when_all_of_them_are_to_come(store, number):
    """None is left without a slot of its own."""
    store.apply([make_task(), make_run(10, "paused", id=COUNTED, missed_count=10)])
    store.apply([make_recount(number)])
    assert read_counts(store) == []


def test_row_of_many_slots_stays_when_the_schedule_is_broken(store):
    """It has no slot to come, and the other rows of the batch are written."""

    class Broken:
        def find_next(self, after):
            raise ValueError(after)

    store.apply([make_task(), make_run(10, "missed", id=COUNTED, missed_count=10)])
    assert store.apply([make_recount(4, Broken()), make_run(4)]) == 0
    assert read_counts(store) == [(4, 4, None), (10, 10, 10)]


@pytest.mark.parametrize("is_batch", [True, False])
def test_newest_slot_is_one_that_has_been_reached(store, is_batch):
    """Also when a run of a later one ends, whose row was there before."""
    run = {"started_at": BEGAN + 600, "id": "ran"}
    ahead = [make_task(), make_run(1), make_run(10, "running", **run)]
    later = [make_recount(2), make_run(10, finished_at=BEGAN + 700, **run)]
    for batch in [[*ahead, *later]] if is_batch else [ahead, later]:
        store.apply(batch)
    assert read(store, "last_slot", table="tasks") == [BEGAN + 150]
    store.apply([make_run(3)])
    assert read(store, "last_slot", table="tasks") == [BEGAN + 180]


def test_begun_runs_lose_their_slots_and_keep_all_else(store):
    """With their attempts, also those that end later; a backfill chose its slot."""
    began = {"started_at": BEGAN + 600}
    store.apply(
        [
            make_task(),
            make_run(10, "running", id="ran", **began),
            make_run(10, "failed", id="ran/1", run="ran", **began),
            make_run(12, "finished", id="past", trigger="backfill", **began),
        ]
    )
    store.apply([make_recount(1)])
    store.apply([make_run(10, "finished", id="ran", summary="done", **began)])
    rows = read(store, "id, slot, outcome, started_at, summary", order="id")
    assert rows == [
        ("past", BEGAN + 720, "finished", BEGAN + 600, None),
        ("ran", None, "finished", BEGAN + 600, "done"),
        ("ran/1", None, "failed", BEGAN + 600, None),
    ]
    store.apply([make_run(10, "finished", id="ran/2", run="ran", **began)])
    store.apply([make_run(12, "finished", id="past", trigger="backfill", **began)])
    assert read(store, "last_slot", table="tasks") == [BEGAN + 90]


def test_run_that_began_before_the_correction_was_noticed_has_no_slot(store):
    """Its slot was one of the clock that was ahead, its start one of the right one."""
    store.apply([make_task(), make_run(10, id="r", started_at=BEGAN + 80)])
    store.apply([make_recount(1)])
    assert read(store, "id, slot") == [("r", None)]


def test_row_of_many_excluded_slots_stands_for_those_before(store):
    """They are counted by what is excluded, not by what runs."""
    row = make_run(10, "excluded", id=COUNTED, missed_count=5)
    recount = Recounted(
        task_id="life", since=BEGAN + 270, schedule=Every(60), excluded=Every(120)
    )
    store.apply([make_task(), row, recount])
    assert read_counts(store) == [(4, 4, 2)]


def test_row_of_many_slots_stays_when_their_schedule_is_not_known(store):
    """That of an earlier life, which had another one."""
    store.apply([make_task(), make_run(10, "missed", id=COUNTED, missed_count=10)])
    recount = Recounted(task_id="life", since=BEGAN + 270, schedule=None)
    store.apply([recount, make_run(11, "missed")])
    assert read_counts(store) == [(10, 10, 10), (11, 11, None)]


def test_life_was_not_declared_after_the_recount(store):
    """Else it would be the newest of its name until then. Nor has it ended later."""
    later = BEGAN + 86_400
    store.apply([make_task(declared_at=later)])
    store.apply([TaskEnd(key="life", at=later + 5, end="shutdown"), make_recount(1)])
    told = read(store, "declared_at, ended_at, last_slot", table="tasks")
    assert told == [(BEGAN + 90,) * 3]


def apply_killed(store, *changes):
    """Write what a process wrote that was killed."""
    other = Store(store.path, now=BEGAN)
    other.apply(changes)
    other.close()
    store.connection.execute(
        "UPDATE writers SET vanished = ? WHERE id = ?", (BEGAN, other.writer)
    )


def test_rows_of_all_lives_that_are_over_are_recounted(store):
    """Each of a clock that was ahead, whether it was killed or has ended."""
    apply_killed(store, make_task("killed"), make_run(10, "missed", task="killed"))
    store.apply([make_task("done"), make_run(20, id="ran", task="done", started_at=1)])
    store.apply([TaskEnd(key="done", at=BEGAN + 1300, end="destroyed"), make_task()])
    store.apply([make_recount(1)])
    assert read(store, "id, slot") == [("ran", None)]
    told = read(store, "key, declared_at, last_slot", table="tasks", order="key")
    assert told == [(key, BEGAN, BEGAN + 90) for key in ("done", "killed", "life")]


def test_lives_that_go_on_and_those_of_others_recount_their_own(store):
    """A process of the same task corrects itself; other notebooks are other tasks."""
    living = Store(store.path, now=BEGAN)
    living.apply([make_task("alive"), make_run(10, "missed", task="alive")])
    for key, facts in (("origin", {"origin": "b.ipynb"}), ("name", {"name": "b"})):
        row = make_run(10, "missed", id=key, task=key)
        apply_killed(store, make_task(key, **facts), row)
    store.apply([make_task(origin="a.ipynb"), make_recount(1)])
    assert set(read(store, "id")) == {"run-10", "origin", "name"}
    living.close()


def test_row_of_many_slots_of_another_schedule_is_not_counted_by_this_one(store):
    """Its own schedule decides how many they were; those after the recount go."""
    counted = name_count("other", BEGAN, BEGAN + 600)
    apply_killed(
        store,
        make_task("other", schedule="another"),
        make_run(10, "missed", id=counted, task="other", missed_count=10),
        make_run(12, "missed", task="other"),
    )
    store.apply([make_task(), make_recount(4)])
    assert read_counts(store) == [(10, 10, 10)]


def test_newest_slot_of_a_life_that_ended_in_the_same_batch_is_recounted(store):
    """Whatever was written together."""
    store.apply(
        [
            make_task("done"),
            make_run(10, "missed", task="done"),
            TaskEnd(key="done", at=BEGAN + 650, end="destroyed"),
            make_task(),
            make_recount(1),
        ]
    )
    told = read(store, "last_slot, ended_at", table="tasks", order="key")
    assert told == [(BEGAN + 90, BEGAN + 90), (BEGAN + 90, None)]


@pytest.mark.parametrize("key", ["life", "life.2"], ids=["ordinary", "kept"])
def test_recount_of_a_task_reaches_the_rows_of_its_present_life(store, key):
    """A kept task has one id in all of its lives; other lives' rows stay."""
    changes = []
    recorder = Recorder(changes.append)
    recorder.declare(make_task(key, task_id="life"))
    for number in (1, 10):
        recorder._put(make_run(number, "missed", task="life"))
    run = make_run(11, "running", started_at=BEGAN + 660, task="life", id="ran")
    recorder._put(run)
    store.apply([make_task("life.1"), make_run(9, "missed", task="life.1"), *changes])
    del changes[:]
    recorder.note_pending(make_recount(4))
    recorder._put(msgspec.structs.replace(run, outcome=RunOutcome.FINISHED))
    store.apply(changes)
    assert {change.task_id for change in changes[:1]} == {key}
    assert read(store, "id, slot, task", order="id") == [
        ("ran", None, key),
        ("run-1", BEGAN + 60, key),
        ("run-9", BEGAN + 540, "life.1"),
    ]


@pytest.mark.parametrize("key", ["earlier", "life.1"], ids=["ordinary", "kept"])
def test_recount_of_an_earlier_life_reaches_its_rows(store, key):
    """As when a task starts and the clock was ahead in its last life."""
    changes = []
    recorder = Recorder(changes.append)
    recorder.declare(make_task("life.2", task_id="life"))
    store.apply([make_task(key), make_run(1, task=key)])
    store.apply([make_run(9, "missed", task=key)])
    store.apply([make_run(10, "finished", id="r", task=key, started_at=BEGAN + 600)])
    recorder.note_recount(msgspec.structs.replace(make_recount(4), task_id=key))
    recorder._put(make_run(5, "missed", task="life"))
    store.apply(changes)
    assert read(store, "id, slot, task", order="id") == [
        ("r", None, key),
        ("run-1", BEGAN + 60, key),
        ("run-5", BEGAN + 300, "life.2"),
    ]
    assert read(store, "last_slot", table=f"tasks WHERE key = '{key}'") == [BEGAN + 270]
