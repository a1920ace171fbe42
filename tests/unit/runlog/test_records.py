"""A row as its user sees it."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime, timedelta

import pytest
from history_rows import BEGAN, make_run, make_task, write
from hostile_texts import TEXTS

from ipycron.runlog.reading import Query, read_history
from ipycron.runlog.records import FIELDS, RunRecord, find_zone, to_plain
from ipycron.runlog.rows import RunOutcome


@pytest.fixture
def read(tmp_path):
    """Write one run of one task; return it as it is read."""

    def read_one(zone="UTC", name="report", **said):
        path = tmp_path / "history.sqlite"
        write(path, make_task(zone=zone, name=name), make_run(**said))
        return read_history(path, Query())[0]

    return read_one


def test_record_has_everything_that_was_written(read):
    """Each value is found under its own name: none is swapped with another."""
    said = {
        "attempt": 2,
        "attempts": 3,
        "error_type": "ValueError",
        "error": "no luck",
        "traceback": "Traceback …",
        "exit_code": 4,
        "signal": "SIGKILL",
        "pid": 5,
        "cpu_seconds": 0.25,
        "peak_memory": 6,
        "summary": "a result",
        "output": "hello\n",
        "output_left_out": 7,
        "missed_count": 8,
    }
    record = read(outcome="failed", started_at=BEGAN, finished_at=BEGAN + 1.5, **said)
    assert {name: getattr(record, name) for name in said} == said
    assert (record.id, record.task_name, record.task_id) == ("run-0", "report", "t1")
    assert (record.origin, record.kind, record.code_hash) == (None, "function", None)
    assert (record.pattern, record.trigger) == ("* * * * *", "scheduled")
    assert record.outcome is RunOutcome.FAILED
    assert record.host
    begin = datetime.fromtimestamp(BEGAN, UTC)
    assert record.at == record.slot == record.started_at == begin
    assert record.finished_at - begin == timedelta(seconds=1.5)
    assert record.duration == 1.5


def test_record_is_immutable_and_plain(read):
    """It can be compared, hashed and pickled, and shows public names only."""
    record = read()
    with pytest.raises(AttributeError):
        record.outcome = "finished"
    copy = pickle.loads(pickle.dumps(record))
    assert (copy, hash(copy)) == (record, hash(record))
    assert {n for n in dir(RunRecord) if not n.startswith("_")} == set(FIELDS)
    assert [name for name, _ in record.__rich_repr__()] == list(FIELDS)


@pytest.mark.parametrize(
    ("zone", "offset"),
    [
        ("Europe/Berlin", 1),
        ("UTC", 0),
        ("UTC+05:30", 5.5),
        ("UTC-03:00", -3),
        ("-0800", -8),
        ("Mars/Phobos", 0),
        ("", 0),
        ("Europe", 0),
        ("../../etc/passwd", 0),
        ("a\0b", 0),
        ("z" * 10_000, 0),
        ("UTC+99:99", 0),
    ],
)
def test_instants_are_in_the_tasks_zone_as_far_as_it_is_known(read, zone, offset):
    """A zone that this machine does not have is no reason to fail."""
    at = read(zone=zone).at
    assert at.timestamp() == BEGAN
    assert at.utcoffset() == timedelta(hours=offset)


def test_zone_is_read_once():
    """A list of a thousand runs asks for it three thousand times."""
    assert find_zone("Europe/Berlin") is find_zone("Europe/Berlin")


def test_instants_that_are_missing_are_none(read):
    """A slot that did not run has neither start nor end."""
    record = read(outcome="missed", missed_count=3)
    assert (record.started_at, record.finished_at, record.duration) == (None,) * 3
    call = read(id="call", slot=None, at=BEGAN + 1, trigger="invoked")
    assert (call.id, call.slot) == ("call", None)


def test_repr_is_one_short_line(read):
    """Whose run it was, when and how it ended."""
    assert repr(read()) == "<RunRecord 'report' 2094-01-15 08:00:00+00:00 finished>"
    failed = read(id="2", at=BEGAN + 1, outcome="failed", error="no luck")
    assert repr(failed).endswith("08:00:01+00:00 failed: 'no luck'>")


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_repr_is_safe_whatever_the_texts_are(read, text):
    """Nothing in a name or an error moves the cursor or fills the screen."""
    said = repr(read(name=text, outcome="failed", error=text))
    assert said.isprintable()
    assert len(said) < 800


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_plain_form_is_json_with_every_attribute(read, text):
    """In a stable order; instants have their offset."""
    record = read(zone="Asia/Tokyo", outcome="failed", error=text, output=text)
    plain = json.loads(json.dumps(to_plain(record)))
    assert tuple(plain) == FIELDS
    assert plain["error"] == plain["output"] == text
    assert plain["at"] == "2094-01-15T17:00:00+09:00"
    assert plain["finished_at"] is None
