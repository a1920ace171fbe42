"""`why`: field by field, from the task or from the history."""

import contextlib
import math
import os
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from history_rows import make_run, make_task, write
from house import drain
from polling import SECONDS, eventually

import ipycron
from ipycron import at, create_task, every, why
from ipycron.client.facts import write_facts
from ipycron.errors import InvalidOption, UnknownTask
from ipycron.scheduling.clock import SystemClock
from ipycron.scheduling.policy import Policy

pytestmark = pytest.mark.usefixtures("supervisor")
BERLIN = "Europe/Berlin"
PAST = 1_765_440_000
"""The first of many slots that are over: 2025-12-11 08:00 UTC."""


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
    # However late a busy machine is: this is about a run.
    task = ipycron.schedule(at(slot), int, name="once at an instant", tolerance=SECONDS)
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


OTHER = """
import sys, ipycron
task = ipycron.schedule(
    ipycron.every("1h", anchor="2026-12-01T00:00+00:00"), int, name=sys.argv[1],
    timezone="Europe/Berlin", start="2999-12-01", end="2999-12-24", pool=None,
    exclude=["2999-12-06", "22:00-06:00"], retry=2, overlap="queue",
)
task.execute().result()
print("ready", flush=True)
sys.stdin.readline()
{end}
"""


@pytest.fixture
def elsewhere(request):
    """Start a process with a task; return it and the name, when it has a row."""
    started, name = [], request.node.name

    def start(end=""):
        program = [sys.executable, "-c", OTHER.format(end=end), name]
        pipe = subprocess.PIPE
        process = subprocess.Popen(program, stdin=pipe, stdout=pipe, env=os.environ)
        started.append(process)
        assert process.stdout.readline() == b"ready\n"
        eventually(lambda: bool(ipycron.history(name)))
        return process, name

    yield start
    for process in started:
        process.kill()
        process.wait(SECONDS)
        process.stdin.close()
        process.stdout.close()


def test_task_of_another_process_is_explained_like_ones_own(elsewhere):
    """Its interval, bounds, exclusions and policies; not what only it knows."""
    process, name = elsewhere()
    answer = why(name, "2999-12-07 09:30")
    assert (answer.is_slot, answer.verdict) == (False, "it will not run: no slot")
    assert "1800 s after a slot" in dict(answer.reasons)["elapsed"]
    for instant, verdict in (
        ("2999-12-06 09:00", "excluded (2999-12-06; 22:00-06:00)"),
        ("2999-12-07 23:00", "excluded (2999-12-06; 22:00-06:00)"),
        ("2999-11-07 09:00", "start (2999-12-01 00:00:00+01:00: this is before)"),
        ("2999-12-25 09:00", "end (2999-12-24 23:59:59+01:00: this is after)"),
    ):
        answer = why(name, instant)
        assert answer.is_slot
        assert answer.verdict == f"it will not run: {verdict}"
    answer = why(name, "2999-12-07 09:00")
    assert answer.verdict == "it will run, as far as the history says"
    reasons = dict(answer.reasons)
    assert reasons["policies"] == "overlap queue, retry 2"
    assert str(process.pid) in reasons["not known"]
    answer = why(name, "2001-01-01")
    assert "declared" in dict(answer.reasons)


@pytest.mark.parametrize(
    ("end", "verdict"),
    [
        ("task.stop().result(); sys.stdin.readline()", "ended (stopped at "),
        ("task.destroy().result(); sys.stdin.readline()", "ended (destroyed at "),
        ("ipycron.shutdown()", "ended (with its process at "),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            "ended (its process vanished",
        ),
    ],
)
def test_task_of_a_life_that_is_over_will_not_run(elsewhere, end, verdict):
    """However it has ended."""
    process, name = elsewhere(end)
    process.stdin.write(b"\n")
    process.stdin.flush()
    said = eventually(
        lambda: verdict in (text := why(name, "2999-12-07 09:00").verdict) and text
    )
    assert said.startswith("it will not run: ")


def test_task_of_an_older_version_says_what_is_not_known(elsewhere):
    """Its row has no bounds and no exclusions."""
    _, name = elsewhere()
    path = os.environ["IPYCRON_HISTORY"]
    with contextlib.closing(sqlite3.connect(path)) as found:
        for facts in (None, "{", '{"trigger": ["Unheard", 3]}'):
            found.execute("UPDATE tasks SET facts = ?", (facts,))
            found.commit()
            answer = why(name, "2999-12-06 09:00")
            assert answer.verdict == "it will run, as far as the history says"
            unknown = [text for label, text in answer.reasons if label == "not known"]
            assert unknown[0].startswith("start, end, exclude and the policies")


def test_schedule_that_counts_from_a_run_counts_from_its_row(tmp_path, monkeypatch):
    """Not from when the other process has declared it."""
    path = tmp_path / "history.sqlite"
    monkeypatch.setenv("IPYCRON_HISTORY", str(path))
    ended = math.floor(SystemClock().now()) + 0.5
    trigger = every("1h", after_finish=True).begin(PAST, UTC)
    facts = write_facts(trigger, Policy())
    write(path, make_task(name="after", declared_at=ended - 9e6, facts=facts))
    write(path, make_run(0, started_at=ended - 9, finished_at=ended, at=ended - 9))
    slot = datetime.fromtimestamp(math.ceil(ended) + 3600, UTC)
    assert why("after", slot).is_slot
    assert not why("after", slot + timedelta(hours=1)).is_slot


def test_slot_of_a_long_gap_has_its_row(tmp_path, monkeypatch):
    """The row of a gap stands for all of its slots, and for no other."""
    path = tmp_path / "history.sqlite"
    monkeypatch.setenv("IPYCRON_HISTORY", str(path))

    def make(number, outcome, **said):
        slot = PAST + 60 * number
        return make_run(number, outcome, slot=slot, at=slot, **said)

    write(path, make_task(name="gap", declared_at=PAST))
    write(path, make(9_999, "missed", missed_count=5_000), make(7_000, "finished"))
    for minute, verdict in (
        (9_999, "it has a row: missed"),
        (9_998, "it has a row: missed, with 4,999 other slots"),
        (5_000, "it has a row: missed, with 4,999 other slots"),
        (4_999, "a slot, of which the history has no row"),
        (7_000, "it has a row: finished"),
        (10_000, "a slot, of which the history has no row"),
        (-1, "it did not run: declared"),
    ):
        answer = why("gap", datetime.fromtimestamp(PAST + 60 * minute, UTC))
        assert answer.verdict.startswith(verdict), minute
        assert len(answer.verdict) == len(verdict) or minute == -1


def test_unknown_task_and_nonsense_are_refused():
    """With the names that there are."""
    declare()
    with pytest.raises(UnknownTask, match="Did you mean 'report'"):
        why("reprot", "2999-12-06")
    with pytest.raises(InvalidOption, match="instant: got 'soon'"):
        why("report", "soon")
