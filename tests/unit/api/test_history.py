"""`history()`: its arguments, and the list that it returns."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from history_rows import BEGAN, make_run, make_task, write
from hostile_texts import TEXTS

import ipycron
from ipycron import History, RunOutcome, RunRecord
from ipycron.api import run_list
from ipycron.api.history import check_known, find_run
from ipycron.errors import HistoryError, InvalidOption, UnknownRun
from ipycron.runlog import reading
from ipycron.runlog.ids import abbreviate
from ipycron.runlog.records import FIELDS
from ipycron.runlog.store import open_store


@pytest.fixture
def path(tmp_path, monkeypatch):
    """The file that this process reads."""
    path = tmp_path / "history.sqlite"
    monkeypatch.setenv("IPYCRON_HISTORY", str(path))
    return path


@pytest.fixture
def filled(path):
    """Seven runs of two tasks in two zones."""
    other = make_task("other", name="nightly", zone="Europe/Berlin")
    write(path, make_task(), other)
    for n in range(4):
        end = BEGAN + 60 * n + n + 1
        said = {"started_at": BEGAN + 60 * n, "finished_at": end}
        write(path, make_run(n, summary=str(n), id=f"{n}" * 32, **said))
    write(path, make_run(4, "missed", missed_count=3, id="life:4"))
    said = {"error_type": "ValueError", "error": "no luck", "task": "other"}
    write(path, make_run(5, "failed", id="a" * 32, started_at=BEGAN, **said))
    return write(path, make_run(6, "timed_out", id="b" * 32, started_at=BEGAN, **said))


def test_history_is_empty_where_there_is_no_file(path):
    """The first program of a user asks before anything has happened."""
    found = ipycron.history()
    assert (len(found), list(found), bool(found)) == (0, [], False)
    assert repr(found) == "<History: nothing>"
    assert not path.exists()


def test_history_says_so_when_it_is_off(monkeypatch):
    """An empty list alone would mislead."""
    monkeypatch.setenv("IPYCRON_HISTORY", "off")
    found = ipycron.history()
    assert found == []
    assert repr(found) == "<History: nothing, it is off (IPYCRON_HISTORY)>"
    assert "it is off" in found._repr_html_()


def test_history_is_an_immutable_list(filled):
    """Newest first: length, index, slice, iteration, membership, comparison."""
    found = ipycron.history()
    assert len(found) == 7
    assert found[0].outcome == "timed_out"
    assert found[-1].id == "0" * 32
    assert isinstance(found[1:3], History)
    assert list(found[1:3]) == [found[1], found[2]]
    assert found[0] in found
    assert found.index(found[2]) == 2
    assert next(reversed(found)).id == "0" * 32
    assert found == ipycron.history() == list(found) == found[:]
    assert hash(found) == hash(ipycron.history())
    assert found != found[1:]
    assert found != "history"
    assert all(isinstance(run, RunRecord) for run in found)
    with pytest.raises(TypeError):
        found[0] = found[1]
    with pytest.raises(AttributeError):
        found.extra = 1
    with pytest.raises(IndexError):
        found[7]


@pytest.mark.parametrize(
    ("said", "count"),
    [
        ({"name": "report"}, 5),
        ({"name": ["report", "nightly", "report"]}, 7),
        ({"name": ("nobody",)}, 0),
        ({"name": []}, 0),
        ({"name": iter(["nightly"])}, 2),
        ({"outcome": "failed"}, 1),
        ({"outcome": RunOutcome.FAILED}, 1),
        ({"outcome": "failures"}, 2),
        ({"outcome": ["failures", "missed"]}, 3),
        ({"outcome": {RunOutcome.FINISHED, RunOutcome.MISSED}}, 5),
        ({"outcome": []}, 0),
        ({"limit": None}, 7),
        ({"limit": 3}, 3),
        ({"limit": 2**63 - 1}, 7),
        ({"since": date(2094, 1, 16)}, 0),
        ({"since": "2094-01-15T08:05:00+00:00"}, 2),
        ({"until": datetime(2094, 1, 15, 8, 5, tzinfo=UTC)}, 5),
        ({"since": datetime(2094, 1, 15, 9, 5, tzinfo=ZoneInfo("Europe/Berlin"))}, 2),
    ],
)
def test_history_is_asked_by_name_time_outcome_and_number(filled, said, count):
    """Alone; the combinations are tested where they are asked."""
    assert len(ipycron.history(**said)) == count


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({"name": 5}, "name: got 5, expected the name of a task, or several"),
        ({"name": [b"x"]}, "expected the name of a task"),
        ({"outcome": "faild"}, "Did you mean 'failed'?"),
        ({"outcome": ["failed", 5]}, "outcome: got 5, expected one of queued, running"),
        ({"outcome": 5}, "outcome: got 5, expected one of"),
        ({"limit": 0}, "limit: got 0, expected a whole number ≥ 1, or None"),
        ({"limit": True}, "limit: got True"),
        ({"since": 90}, "since: got 90, expected a datetime"),
        ({"until": "tomorrow"}, "until: got 'tomorrow', expected a datetime"),
        ({"since": "1h", "until": "2h"}, "since: got '1h', expected an instant before"),
    ],
)
def test_argument_that_makes_no_sense_is_refused(path, said, text):
    """Before the file is opened."""
    with pytest.raises(InvalidOption) as caught:
        ipycron.history(**said)
    assert text in str(caught.value)


def test_limit_is_a_hundred_and_said_if_there_are_more(path):
    """A figure of the newest hundred is not mistaken for one of all."""
    write(path, make_task(), *(make_run(n) for n in range(101)))
    found = ipycron.history()
    assert (len(found), found.is_complete) == (100, False)
    assert repr(found).splitlines()[0] == "<History: 100 runs, limit=100>"
    assert ipycron.history(limit=101).is_complete
    everything = ipycron.history(limit=None)
    assert everything.is_complete
    assert repr(everything).splitlines()[0] == "<History: 101 runs>"
    assert repr(everything).splitlines()[-1] == "… 1 more"
    assert "… 1 more" in everything._repr_html_()


def test_table_has_a_row_for_each(filled):
    """When, whose, what became of it, how long, with what result, and its id."""
    head, names, *rows = repr(ipycron.history("report")).splitlines()
    assert head == "<History: 5 runs>"
    assert re.split(" {2,}", names) == list(run_list.HEADS)
    assert rows[0] == "2094-01-15 08:04:00  report  missed (3 slots)"
    assert re.split(" {2,}", rows[1])[2:] == ["finished", "4.00 s", "3", "33333333"]
    failed = repr(ipycron.history("nightly", outcome="failed"))
    assert "2094-01-15 09:05:00  nightly" in failed
    assert "ValueError: no luck  aaaaaaaa" in failed


def test_table_names_the_zones_if_there_are_several(filled):
    """Instants are in each task's own."""
    rows = repr(ipycron.history()).splitlines()[2:]
    assert rows[0].startswith("2094-01-15 09:06:00 CET  nightly")
    assert rows[-1].startswith("2094-01-15 08:00:00 UTC  report")


@pytest.mark.parametrize("width", [80, 60, 200])
def test_table_fits_the_terminal(filled, monkeypatch, width):
    """What is cut is the result and the name; time and id stay whole."""
    write(filled, make_task("long", name="n" * 300))
    write(filled, make_run(9, "failed", task="long", error="e" * 300, id="c" * 32))
    monkeypatch.setattr(run_list, "find_room", lambda: width)
    lines = repr(ipycron.history(["n" * 300])).splitlines()[1:]
    assert max(map(len, lines)) <= max(width, 80)
    assert lines[1].startswith("2094-01-15 08:09:00  nnn")
    assert lines[1].endswith("…  cccccccc")


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_table_is_safe_whatever_the_texts_are(path, text):
    """In a terminal and on a page."""
    write(path, make_task(name=text), make_run(outcome="failed", error=text))
    write(path, make_run(1, summary=text))
    found = ipycron.history()
    for line in (*repr(found).splitlines(), *repr(found.summary()).splitlines()):
        assert line.isprintable()
        assert len(line) < 150
    for page in (found, found[0], found[1], found.summary()):
        html = page._repr_html_()
        for evil in ("<script", "<img", "</style", "<style", "\x1b", "\x07", "\u202e"):
            assert evil not in html


def test_ids_are_as_short_as_they_can_be():
    """Eight characters, or as many as tell one from another."""
    assert abbreviate([]) == []
    assert abbreviate(["a" * 32, "a" * 32]) == ["a" * 8] * 2
    assert abbreviate(["a" * 32, "a" * 31 + "b"]) == ["a" * 32, "a" * 31 + "b"]
    assert abbreviate(["short", "short2", ""]) == ["short", "short2", ""]


def test_frame_has_the_attributes_as_columns(filled):
    """With types that do not depend on what there is."""
    frame = ipycron.history("nightly").to_pandas()
    assert tuple(frame.columns) == FIELDS
    assert list(frame["outcome"]) == ["timed_out", "failed"]
    assert str(frame["at"].dt.tz) == "Europe/Berlin"
    assert frame["at"][1] == pd.Timestamp("2094-01-15 09:05", tz="Europe/Berlin")
    assert frame["finished_at"].isna().all()
    mixed = ipycron.history().to_pandas()
    assert str(mixed["at"].dt.tz) == "UTC"
    assert mixed["missed_count"].sum() == 3
    assert mixed["duration"].max() == 4


def test_frame_of_nothing_has_the_same_columns(filled):
    """Code that works on Monday works on an empty Sunday."""
    nothing = ipycron.history("nobody").to_pandas()
    assert len(nothing) == 0
    assert nothing.dtypes.equals(ipycron.history("report").to_pandas().dtypes)
    figures = ipycron.history("nobody").summary().to_pandas()
    assert len(figures) == 0
    assert figures.dtypes.equals(ipycron.history("report").summary().to_pandas().dtypes)


def test_missing_pandas_is_said_with_what_to_do(filled):
    """In a process that has none."""
    program = (
        "import sys; sys.modules['pandas'] = None; import ipycron\n"
        "try: ipycron.history().to_pandas()\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == (
        "to_pandas() needs pandas, which is not installed: pip install pandas\n"
    )


def test_summary_has_the_figures_of_each_task(filled):
    """By name, in alphabetical order."""
    nightly, report = ipycron.history().summary()
    assert (nightly.task_name, nightly.runs, nightly.failures) == ("nightly", 2, 2)
    assert (nightly.success_rate, nightly.p50, nightly.p95) == (0.0, None, None)
    assert (nightly.missed, nightly.last_success) == (0, None)
    assert (report.runs, report.failures, report.missed) == (4, 0, 3)
    assert (report.success_rate, report.p50) == (1.0, 2.5)
    assert report.p95 == pytest.approx(3.85)
    assert report.last_success == datetime.fromtimestamp(BEGAN + 184, UTC)


def test_summary_counts_stopped_and_open_runs_as_neither(path):
    """A run that a stop ended has not failed; one in progress is not over."""
    outcomes = ["finished", "failed", "stopped", "running", "replaced", "overlap"]
    write(path, make_task())
    write(path, *(make_run(n, outcome) for n, outcome in enumerate(outcomes)))
    write(path, make_run(1, "queued", id="waits"))
    (task,) = ipycron.history(limit=None, outcome=outcomes).summary()
    assert (task.runs, task.failures, task.success_rate) == (4, 1, 0.5)
    assert task.missed == 0


def test_summary_is_an_immutable_list_and_a_table(filled):
    """As `History` is."""
    summary = ipycron.history().summary()
    assert summary == ipycron.history().summary() == list(summary)
    assert summary[:1] == summary[0:1]
    assert hash(summary) == hash(ipycron.history().summary())
    head, nightly, report = repr(summary).splitlines()
    assert head.split()[:3] == ["task", "runs", "failed"]
    assert nightly.split() == ["nightly", "2", "2", "0", "%", "0"]
    assert report.startswith("report   4     0       100 %    2.50 s  3.85 s  3")
    assert "<table " in summary._repr_html_()
    assert repr(ipycron.history("nobody").summary()) == "<HistorySummary: no tasks>"


def test_success_is_never_rounded_up_to_a_hundred(path):
    """A hundred per cent means that nothing has failed."""
    write(path, make_task(), make_run(0, "failed"))
    write(path, *(make_run(n) for n in range(1, 3000)))
    assert " 99.9 % " in repr(ipycron.history(limit=None).summary())


def test_run_is_found_by_its_id(filled):
    """By its beginning, if that is one run's alone."""
    assert find_run("report", "3").id == "3" * 32
    assert find_run("nightly", "a" * 32).id == "a" * 32
    write(filled, make_run(7, "failed", id="33"), make_run(8, id="3" * 31 + "x"))
    assert find_run("report", "33").id == "33"
    with pytest.raises(UnknownRun) as caught:
        find_run("report", "3")
    assert str(caught.value).startswith("'3' may be several runs of")
    assert "33 (2094-01-15 08:07:00 failed), 3333" in str(caught.value)
    assert len(caught.value.candidates) == 3


def test_run_is_found_by_what_the_table_shows(path):
    """Ids of one scheduler differ at their ends; `-1` is not `-12`."""
    ids = [f"{head}-{n}" for head in ("4e7348111776e8c9", "4e73ffff") for n in (1, 12)]
    said = {"started_at": BEGAN}
    rows = [make_run(n, id=each, **said) for n, each in enumerate(ids)]
    write(path, make_task(), *rows)
    table = repr(ipycron.history("report")).splitlines()[2:]
    shown = [row.split()[-1] for row in table]
    assert shown == ["4e73f-12", "4e73f-1", "4e734-12", "4e734-1"]
    assert [find_run("report", each).id for each in shown] == ids[::-1]
    assert find_run("report", ids[0]).id == ids[0]
    for text in ("4e73-1", "-12"):
        with pytest.raises(UnknownRun, match=f"'{text}' may be several runs of"):
            find_run("report", text)
    for text in ("%", "4e73_", "4e7348111776e8c9-2", "-", "-\N{SUPERSCRIPT TWO}"):
        with pytest.raises(UnknownRun, match="the history has no run"):
            find_run("report", text)


@pytest.mark.parametrize(
    ("name", "prefix", "text"),
    [
        (
            "report",
            "zz",
            "the history has no run 'zz' of 'report'",
        ),
        ("reprot", "3", "no task called 'reprot'. Did you mean 'report'?"),
        ("", "", "the history has no task called ''"),
    ],
)
def test_run_that_is_not_there_is_said_to_be_unknown(filled, name, prefix, text):
    """And what may have been meant."""
    with pytest.raises(UnknownRun) as caught:
        find_run(name, prefix)
    assert text in str(caught.value)


def test_many_candidates_are_not_all_listed(path):
    """An error is one line, even with a thousand runs."""
    write(path, make_task(), *(make_run(n, id=f"ab{n:030}") for n in range(1000)))
    with pytest.raises(UnknownRun) as caught:
        find_run("report", "ab")
    assert len(str(caught.value)) < 600
    assert str(caught.value).endswith(", …. Give more of the id.")


def test_names_are_known_or_refused(filled):
    """Before an empty table is shown."""
    check_known(["report", "nightly"])
    with pytest.raises(UnknownRun, match="'report'"):
        check_known(["nightly", "repot"])


def test_file_that_cannot_be_read_is_an_error(path):
    """Not an empty list."""
    path.write_bytes(b"no database" * 100)
    with pytest.raises(HistoryError, match=r"history\.sqlite: "):
        ipycron.history()


def test_now_is_until(filled):
    """What is until an hour ago is not from the future."""
    assert ipycron.history(until=timedelta(hours=1)) == []


# --- purge_history ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "count", "left"),
    [
        ({}, 7, 0),
        ({"name": "report"}, 5, 2),
        ({"name": ["report", "nightly"]}, 7, 0),
        ({"name": []}, 0, 7),
        ({"name": "nobody"}, 0, 7),
        ({"before": "2094-01-15T08:05:00+00:00"}, 5, 2),
        ({"name": "nightly", "before": "2094-01-15T08:06:00+00:00"}, 1, 6),
        ({"before": "7d"}, 0, 7),
    ],
)
def test_history_is_purged_by_name_and_time(filled, said, count, left):
    """What is left is what was not asked for; the number is what is gone."""
    assert ipycron.purge_history(**said) == count
    assert len(ipycron.history()) == left
    assert ipycron.purge_history(**said) == 0


def test_run_that_is_not_over_stays(path):
    """Its end would be the end of nothing."""
    store = open_store(path, now=BEGAN, tell=print)
    store.apply([make_task(), make_run(0), make_run(1, "running")])
    assert ipycron.purge_history() == 1
    store.apply([make_run(1)])
    store.close()
    assert [run.outcome for run in ipycron.history()] == ["finished"]


def test_own_rows_are_put_on_the_disk_before_purging(path, monkeypatch):
    """Else they would come back a moment later."""
    write(path, make_task())
    monkeypatch.setattr(reading, "before_reading", [lambda: write(path, make_run())])
    assert ipycron.purge_history() == 1


def test_purging_makes_no_file(path):
    """There is nothing to delete."""
    assert ipycron.purge_history() == 0
    assert not any(path.parent.iterdir())


def test_purging_waits_for_other_writers(filled):
    """A transaction of theirs takes a moment, and is no failure."""
    store = open_store(filled, now=BEGAN, tell=print)
    purged = []
    with store.transaction():
        purger = threading.Thread(
            target=lambda: purged.append(ipycron.purge_history("report"))
        )
        purger.start()
    purger.join()
    store.close()
    assert purged == [5]


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({"name": 5}, "name: got 5, expected the name of a task, or several"),
        ({"before": 5}, "before: got 5, expected a datetime"),
    ],
)
def test_purge_that_makes_no_sense_is_refused(filled, said, text):
    """And nothing is deleted."""
    with pytest.raises(InvalidOption, match=re.escape(text)):
        ipycron.purge_history(**said)
    assert len(ipycron.history()) == 7


def test_purge_without_a_history_is_an_error(path, monkeypatch):
    """Nothing was deleted, wherever it may be."""
    path.write_bytes(b"no database" * 100)
    with pytest.raises(HistoryError, match="not an SQLite database"):
        ipycron.purge_history()
    monkeypatch.setenv("IPYCRON_HISTORY", "off")
    with pytest.raises(HistoryError, match="is off"):
        ipycron.purge_history()


def test_damaged_file_is_not_purged(filled):
    """It is said to be damaged; the next writer sets it aside."""
    data = filled.read_bytes()
    filled.write_bytes(data[:4096] + b"\xa5" * (len(data) - 4096))
    with pytest.raises(HistoryError, match="damaged"):
        ipycron.purge_history()
