"""`why`: field by field, from the task or from the history."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from house import drain
from polling import SECONDS

import ipycron
from ipycron import at, create_task, every, why
from ipycron.errors import InvalidOption, UnknownTask
from ipycron.scheduling.clock import SystemClock

pytestmark = pytest.mark.usefixtures("supervisor")
BERLIN = "Europe/Berlin"


def declare(trigger="30 9 * * mon-fri", **options):
    """Return a task that is not started."""
    return create_task(trigger, int, name="report", timezone=BERLIN, **options)


def test_fields_say_what_matches():
    """Each beside what the clock shows."""
    declare()
    answer = why("report", "2999-12-07 09:30")
    assert not answer.is_slot
    assert answer.verdict == "it will not run: no slot"
    reasons = dict(answer.reasons)
    assert reasons["minute"] == "30: matches 30"
    assert reasons["day of week"] == "Saturday: does not match mon-fri"
    assert reasons["slot before"] == "2999-12-06 09:30:00+01:00"
    assert reasons["slot after"] == "2999-12-09 09:30:00+01:00"
    assert "report at 2999-12-07 09:30:00+01:00: it will not run" in str(answer)
    assert "<td" in answer._repr_html_()


@pytest.mark.parametrize(
    ("options", "instant", "verdict"),
    [
        ({"exclude": "2999-12-06"}, "2999-12-06 09:30", "excluded (2999-12-06)"),
        ({"end": "2999-12-01"}, "2999-12-06 09:30", "end (2999-12-01 23:59:59+01:00"),
        ({"start": "2999-12-09"}, "2999-12-06 09:30", "start (2999-12-09 00:00:00"),
        ({}, "2999-12-06 09:30", "state (stopped)"),
    ],
)
def test_slot_that_will_not_run_has_a_reason(options, instant, verdict):
    """The first of them is in the verdict."""
    declare(**options)
    answer = why("report", instant)
    assert answer.is_slot
    assert answer.verdict.startswith(f"it will not run: {verdict}")


def test_slot_that_will_run_has_none():
    """Nor one that is moved there."""
    task = declare()
    task.start().result(SECONDS)
    assert why(task, "2999-12-06 09:30").verdict == "it will run"
    task.pause(note="holidays").result(SECONDS)
    answer = why(task, "2999-12-06 09:30")
    assert answer.verdict == "it will not run: paused (holidays)"
    task.destroy().result(SECONDS)
    moved = declare(exclude="2999-12-06", on_excluded="next")
    moved.start().result(SECONDS)
    answer = why(moved, "2999-12-07")
    assert (answer.is_slot, answer.verdict) == (False, "it will run")


def test_clock_changes_are_explained():
    """A skipped time, and one that is shown twice."""
    declare("30 2 * * *")
    answer = why("report", "2027-03-28 03:00")
    assert answer.is_slot
    assert "right after the gap" in dict(answer.reasons)["clock"]
    answer = why("report", "2027-10-31T02:30+01:00")
    assert not answer.is_slot
    assert "for the second time" in dict(answer.reasons)["clock"]


@pytest.mark.parametrize(
    ("trigger", "label", "text"),
    [
        ("0 9 1 * mon", "days", "one of the two day fields is enough (day_or)"),
        ("@daily", "hour", "9: does not match 0"),
        (every("1h", anchor="2026-12-01"), "elapsed", "1800 s after a slot"),
        ("0 9 * * * | @every 2h", "part", "0 9 * * *: does not fire"),
        ("RRULE:FREQ=DAILY;BYHOUR=9", "means", "Every day at 09:00"),
        ("H 9 * * *", "hour", "9: matches 9"),
    ],
)
def test_every_trigger_is_explained(trigger, label, text):
    """As far as it has parts."""
    declare(trigger)
    reasons = why("report", "2999-12-07 09:30").reasons
    assert any(label == one and text in other for one, other in reasons)


def test_what_happened_is_in_the_history():
    """Also for another process, which knows the task by its rows."""
    slot = datetime.fromtimestamp(int(SystemClock().now()), UTC) + timedelta(seconds=2)
    task = ipycron.schedule(at(slot), int, name="once at an instant")
    ended = ipycron.wait(task, timeout=SECONDS)
    drain()
    assert ended
    answer = why("once at an instant", slot)
    assert answer.verdict == "it has a row: finished"
    assert dict(answer.reasons)["history"] == "finished, scheduled"
    program = [sys.executable, "-m", "ipycron.cli", "why", "once at an instant"]
    done = subprocess.run(
        [*program, slot.isoformat()], capture_output=True, check=False, env=os.environ
    )
    assert b"it has a row: finished" in done.stdout, done.stderr
    done = subprocess.run([*program, "soon"], capture_output=True, check=False)
    assert done.returncode == 2
    assert b"expected an instant" in done.stderr


def test_unknown_task_and_nonsense_are_refused():
    """With the names that there are."""
    declare()
    with pytest.raises(UnknownTask, match="Did you mean 'report'"):
        why("reprot", "2999-12-06")
    with pytest.raises(InvalidOption, match="instant: got 'soon'"):
        why("report", "soon")
