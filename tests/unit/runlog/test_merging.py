"""What is held until it is written."""

from __future__ import annotations

import msgspec
import pytest
from history_rows import BEGAN, make_run, make_task

from ipycron.runlog import merging
from ipycron.runlog.merging import NOT_WRITTEN, Pending
from ipycron.runlog.rows import RunOutcome, TaskEnd


def make_pending(*changes):
    """Return pending changes that were added together."""
    pending = Pending()
    pending.add(changes)
    return pending


def write(pending):
    """Return what would be written, as if it has been."""
    changes = list(pending.changes)
    pending.clear()
    return changes


def test_run_that_is_over_before_it_is_written_is_one_row():
    """In its place among the others, with what both rows say."""
    first = make_run(1, "running", pid=7)
    pending = make_pending(make_task(), first, make_run(2), make_run(1, summary="42"))
    run = make_run(1, pid=7, summary="42")
    assert pending.changes == [make_task(), run, make_run(2)]
    assert pending.running == {}


def test_closing_row_says_what_the_open_one_said_before():
    """The open one is on the disk; but there might be a new file by now."""
    pending = make_pending(make_run(1, "running", pid=7))
    write(pending)
    pending.add([make_run(1)])
    assert pending.changes == [make_run(1, pid=7)]


def test_second_row_of_a_closed_run_is_not_merged():
    """The file decides which of the two counts."""
    pending = make_pending(make_run(1), make_run(1, "running"), make_run(1, "failed"))
    assert [c.outcome.value for c in pending.changes] == ["finished", "failed"]


def test_new_file_is_told_what_is_alive():
    """Before everything else: lives first, each row once."""
    pending = make_pending(
        make_task("over"),
        make_task("a"),
        make_task("b"),
        TaskEnd(key="over", at=BEGAN, end="destroyed"),
        TaskEnd(key="b", at=BEGAN, end="stopped"),
        make_run(1, "running"),
        make_run(2, "running"),
    )
    write(pending)
    again = make_task("b", pattern="@daily")
    pending.add([again, make_run(2), make_run(3, "running")])
    pending.add_known()
    assert pending.changes == [
        *(make_task("a"), make_run(1, "running")),
        *(again, make_run(2), make_run(3, "running")),
    ]
    pending.add([make_run(3)])
    assert pending.changes[-1] == make_run(3)


def test_run_whose_end_was_dropped_is_lost():
    """It would run for ever."""
    pending = make_pending(make_run(1, "running", pid=7))
    write(pending)
    pending.add_dropped("run-1")
    pending.add_dropped("unknown")
    lost = make_run(1, "lost", pid=7, error=NOT_WRITTEN)
    assert pending.changes == [lost]
    assert pending.running == {}


def test_oldest_texts_are_dropped_when_they_are_too_long(monkeypatch):
    """The rows stay."""
    monkeypatch.setattr(merging, "MAX_TEXT", 25)
    rows = [make_run(n, output="x" * 7, traceback="y" * 3) for n in range(4)]
    pending = make_pending(make_task(), *rows)
    pending.trim()
    bare = [msgspec.structs.replace(r, output=None, traceback=None) for r in rows]
    assert pending.changes == [make_task(), *bare[:2], *rows[2:]]


@pytest.mark.parametrize("outcome", [o for o in RunOutcome if o.value != "running"])
def test_only_the_last_of_a_runs_open_rows_is_held(outcome):
    """It may wait before it runs, and end in any way."""
    queued = make_run(1, "queued", summary="waits")
    pending = make_pending(queued, make_run(1, "running", pid=7), make_run(1, outcome))
    assert pending.changes == [make_run(1, outcome, pid=7, summary="waits")]


def test_names_are_those_of_the_lives():
    """One for each run; a run of an unknown life has none."""
    pending = make_pending(make_task(), make_run(1), make_run(2), make_run(3, task="x"))
    assert list(pending.list_names()) == ["report", "report"]
