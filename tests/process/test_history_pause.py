"""The rows of a long pause of which slots are caught up on, in real processes (H1)."""

import pytest
from history_books import list_slots
from shifted_night import run_night

PROGRAM = """
mode, victim = said
catch_up = "latest" if mode == "latest" else ipycron.CatchUp("all", window=1000)
task.pause().result(20)
wait("execution:skipped", 1)
shift("3000")
wait("longest", 1000)
if victim == "supervisor":
    ipycron.history("night")  # the row of the count is on the disk then
    lose_supervisor()
    wait("execution:skipped", seen["execution:skipped"] + 3)
task.resume(catch_up=catch_up).result(20)
wait("catch_up", 1 if mode == "latest" else 100)
"""


@pytest.mark.parametrize(
    ("kind", "mode", "victim"),
    [
        ("background", "latest", "nobody"),
        ("background", "all", "supervisor"),
        ("inline", "all", "nobody"),
    ],
)
def test_slot_that_runs_after_a_long_pause_is_in_one_row(tmp_path, kind, mode, victim):
    """It is no longer in the count of those that were skipped."""
    rows = run_night(tmp_path, PROGRAM, kind, mode, victim)
    counts = [row["missed_count"] for row in rows if row["outcome"] == "paused"]
    assert max(filter(None, counts)) > 1000
    caught = [row for row in rows if row["trigger"] == "catch_up"]
    assert len(caught) == (1 if mode == "latest" else 100)
    slots = list_slots(rows)
    assert sorted(slots) == list(range(min(slots), max(slots) + 1))
