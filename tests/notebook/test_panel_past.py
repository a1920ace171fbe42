"""Views show what the history's file has, and wait for it nowhere."""

from __future__ import annotations

import json
import sqlite3
import threading
from contextlib import closing

import comm
import pytest
from history_rows import make_run, make_task, write
from hostile_texts import TEXTS
from polling import eventually
from recording_comm import RecordingComm, click, wait_for_end

import ipycron
from ipycron.api import functions as api
from ipycron.api.task import get_record
from ipycron.client.registry import registry
from ipycron.notebook.display.feed import Feed
from ipycron.notebook.widgets.card import make_card
from ipycron.notebook.widgets.filed import NOT_KEPT, OFF, PAGE
from ipycron.notebook.widgets.model import MARKS
from ipycron.notebook.widgets.overview import panel
from ipycron.notebook.widgets.past import GONE, PastReader
from ipycron.process.service.protocol import PastState
from ipycron.runlog import reading
from ipycron.scheduling.clock import SystemClock
from ipycron.scheduling.events import ScheduledExecution

YEARLY = "0 0 1 1 *"
WORDS = "finished", "failed", "timed_out", "missed", "overlap"
PATIENCE = 60.0
"""Seconds for what a view looks for by itself, some seconds apart."""


@pytest.fixture(autouse=True)
def recording(monkeypatch):
    """Have widgets send to a record; end tasks, views and their thread afterwards."""
    monkeypatch.setattr(comm, "create_comm", RecordingComm)
    monkeypatch.setattr(registry, "_singles", {})
    yield
    api.shutdown()
    feed, reader = registry.get_single(Feed), registry.get_single(PastReader)
    for view in tuple(feed._views):
        view.close()
    eventually(lambda: not reader._is_running)


@pytest.fixture
def path(tmp_path, monkeypatch):
    """The file that this process reads and writes."""
    path = tmp_path / "history.sqlite"
    monkeypatch.setenv("IPYCRON_HISTORY", str(path))
    return path


@pytest.fixture
def now():
    """The present."""
    return SystemClock().now()


@pytest.fixture
def filled(path, now):
    """Two pages and a half of runs, the newest an hour ago, of an earlier process."""
    return fill(path, now, 5 * PAGE // 2)


def fill(path, now, number):
    """Write that many runs and slots of ``report``."""
    runs = []
    for back in range(number):
        at, outcome = now - 3600 - 60 * back, WORDS[back % len(WORDS)]
        has_run = outcome not in ("missed", "overlap")
        said = {"started_at": at, "finished_at": at + 2} if has_run else {}
        if has_run:
            said |= {"output": f"output of {back}\n", "pid": 4711}
        if outcome == "failed":
            said |= {
                "error_type": "ValueError",
                "error": "no luck",
                "traceback": "Traceback (most recent call last):\nValueError: no luck",
            }
        runs.append(make_run(id=f"r{back}", outcome=outcome, at=at, slot=at, **said))
    return write(path, make_task(), *runs)


def make_report(**options):
    """Return a started task of the name that the file knows."""
    options = {"name": "report"} | options
    task = api.create_task(YEARLY, lambda: None, **options)
    task.start().result(20)
    return task


def describe(view):
    """Return the snapshot as JSON, without the events of earlier tests' tasks."""
    state = view.get_state("state")["state"]
    return json.dumps({name: state[name] for name in state if name != "events"})


def read_marks(view, task):
    """Return the marks of a task as the page has them."""
    marks = {}
    for _, message in view.comm.find("state"):
        for row in message.get("tasks", ()):
            if row["id"] == task.id:
                new = [*row.get("marks", ()), *row.get("more", ())]
                marks |= {mark[0]: mark for mark in new}
    return sorted(marks.values(), key=lambda mark: mark[1])[-MARKS:]


def list_ids(count):
    """Return the ids of the newest runs in the file, oldest first."""
    return [f"r{number}" for number in reversed(range(count))]


def ask_older(view, task, before=None):
    """Ask for a page of older runs; return it."""
    command_id = click(view, "older", task.id, before=before)
    assert wait_for_end(view, command_id) is None
    return view.comm.find("older")[-1][1]


def show_run(view, run_id):
    """Open a run; return what the page is sent of it, and its text."""
    view.ui = {**view.ui, "run": run_id}

    def find():
        shown = [m for _, m in view.comm.find("output") if m["run"]["id"] == run_id]
        return shown[-1] if shown else None

    message = eventually(find, run_id)
    return message["run"], "".join(value for _, value in message["items"])


# --- strips --------------------------------------------------------------------------


@pytest.mark.parametrize("make_view", [make_card, lambda _: panel()])
def test_strip_has_the_runs_of_earlier_processes_and_this_one(filled, make_view):
    """The last twenty, each once, though those of this process are in the file, too."""
    task = make_report()
    task.execute().result(20)
    ipycron.history("report")  # the row is written
    view = make_view(task)
    click(view, "hello")

    eventually(lambda: len(read_marks(view, task)) == MARKS)
    marks = read_marks(view, task)
    assert [mark[0] for mark in marks[:-1]] == [
        f"r{n}" for n in range(MARKS - 2, -1, -1)
    ]
    assert marks[-1][0] == task.last_run.id
    words = [mark[3] for mark in marks[-6:]]
    assert words == ["overlap", "missed", "timed_out", "failed", "finished", "finished"]
    assert [mark[2] is None for mark in marks[-6:]] == [True, True, *[False] * 4]
    task.execute().result(20)
    eventually(lambda: read_marks(view, task)[-1][0] == task.last_run.id)
    assert [mark[0] for mark in read_marks(view, task)[:-1]] == [
        m[0] for m in marks[1:]
    ]


def test_strip_of_a_page_that_is_loaded_later_is_whole(filled):
    """The snapshot has what was read, and is small nevertheless."""
    task = make_report()
    view = panel()
    click(view, "hello")
    eventually(lambda: len(read_marks(view, task)) == MARKS)
    ask_older(view, task)

    state = describe(view)
    (row,) = json.loads(state)["tasks"]
    assert [mark[0] for mark in row["marks"]] == list_ids(MARKS)
    assert f"r{MARKS}" not in state
    assert len(state) < 8000


def test_nothing_is_read_before_a_page_is_there(filled):
    """Nbclient and papermill show no strips: a task costs no look at the file."""
    task = make_report()
    view = panel()
    eventually(lambda: view.comm.find("state"))
    assert not registry.get_single(PastReader)._is_running
    assert read_marks(view, task) == []


@pytest.mark.parametrize("options", [{"history": False}, {"name": None}])
def test_strip_of_a_task_without_a_past_has_its_own_runs_only(filled, options):
    """`history=False`, or no name: an id says nothing of earlier processes."""
    task = make_report(**options)
    view = panel()
    click(view, "hello")
    task.execute().result(20)
    eventually(lambda: read_marks(view, task))
    assert [mark[3] for mark in read_marks(view, task)] == ["finished"]


def test_strip_has_slots_that_did_not_run_without_a_history(monkeypatch):
    """They are remembered; without the file there are only fewer."""
    monkeypatch.setenv("IPYCRON_HISTORY", "off")
    task = api.schedule("* * * * * *", lambda: None, name="report")
    task.pause().result(20)
    view = panel()
    click(view, "hello")
    marks = eventually(lambda: [m for m in read_marks(view, task) if m[3] == "paused"])
    assert all(mark[2] is None and mark[4] >= 1 for mark in marks)


# --- a past run -----------------------------------------------------------------------


def test_run_of_an_earlier_process_is_opened_from_the_file(filled):
    """With its output, error and traceback, like one of this process."""
    task = make_report()
    view = make_card(task)
    click(view, "hello")
    run, text = show_run(view, "r1")

    assert text == "output of 1\n"
    assert (run["state"], run["summary"]) == ("failed", "ValueError: no luck")
    assert run["traceback"].endswith("ValueError: no luck")
    assert (run["duration"], run["pid"]) == (2.0, 4711)
    run, text = show_run(view, "r2")
    assert (run["state"], run["traceback"], text) == (
        "timed_out",
        None,
        "output of 2\n",
    )
    run, text = show_run(view, "r3")
    assert (run["state"], run["duration"], text) == ("missed", None, "")
    task.execute().result(20)
    view.ui = {**view.ui, "run": None}
    newest = eventually(
        lambda: [
            m for _, m in view.comm.find("output") if m["run"]["id"] == task.last_run.id
        ]
    )
    assert newest[-1]["reset"]


def recall(task, run_id, now):
    """Have a task know a run as a client that attaches to the service does."""
    run = ScheduledExecution(
        id=run_id, reason="scheduled", date=now, started_at=now, finished_at=now + 1
    )
    state = PastState(execution=run, is_ok=False, summary="ValueError: no luck")
    get_record(task).observed.recall([state], {})


@pytest.mark.parametrize("is_opened", [True, False])
def test_run_before_a_kept_task_was_known_has_its_output_from_the_file(
    filled, now, is_opened
):
    """The service tells no client what a run wrote that is over: the history has it."""
    task = make_report()
    recall(task, "r1", now)
    view = make_card(task)
    if is_opened:
        view.ui = {**view.ui, "run": "r1"}

    def find():
        shown = [m for _, m in view.comm.find("output") if m["run"]["id"] == "r1"]
        text = "".join(value for m in shown for _, value in m["items"])
        return shown[-1]["run"] if text == "output of 1\n" else None

    info = eventually(find)
    assert "Traceback" in info["traceback"]
    assert not view.comm.find("note")


@pytest.mark.parametrize("is_kept", [True, False])
def test_run_that_the_file_does_not_have_either_is_shown_as_it_is_known(
    filled, now, is_kept
):
    """With its error in one line, and without a word about the file."""
    task = make_report(history=is_kept)
    recall(task, "nowhere", now)
    view = make_card(task)
    info, text = show_run(view, "nowhere")
    reader = registry.get_single(PastReader)
    eventually(lambda: not reader._is_running)
    assert (info["summary"], text) == ("ValueError: no luck", "")
    assert not view.comm.find("note")


@pytest.mark.parametrize("run_id", ["nobody", "", "r1' OR 1=1 --", "\0", "other"])
def test_run_that_is_not_there_gives_way_to_the_newest(filled, run_id):
    """Purged, or another task's: one line says so."""
    write(filled, make_task("o", name="private"), make_run(id="other", task="o"))
    task = make_report()
    task.execute().result(20)
    view = make_card(task)
    view.ui = {"run": run_id or None}
    shown = eventually(lambda: view.comm.find("output"))
    assert {m["run"]["id"] for _, m in shown} == {task.last_run.id}
    if run_id:
        (note,) = [m for _, m in eventually(lambda: view.comm.find("note"))]
        assert (note["text"], note["task"]) == (GONE, task.id)


def test_slot_that_did_not_run_can_be_opened(path):
    """From memory: its row may not be written yet, or never will be."""
    slots = []
    task = api.schedule("* * * * * *", lambda: None, name="report")
    task.on("execution:skipped", slots.append)
    task.pause(note="tea").result(20)
    eventually(lambda: slots)
    view = make_card(task)
    click(view, "hello")
    marks = eventually(lambda: [m for m in read_marks(view, task) if m[3] == "paused"])
    run, text = show_run(view, marks[0][0])
    assert (run["state"], run["started"], text) == ("paused", None, "")
    task.stop().result(20)


def test_run_that_waits_for_its_turn_can_be_opened_and_goes_on(monkeypatch):
    """From memory: without a history, too."""
    monkeypatch.setenv("IPYCRON_HISTORY", "off")
    gate = threading.Event()
    task = api.create_task(YEARLY, gate.wait, overlap="queue", name="report")
    task.start().result(20)
    calls = [task.execute() for _ in range(2)]
    (waiting,) = eventually(lambda: task.queued)
    view = make_card(task)
    click(view, "hello")
    run, _ = show_run(view, waiting.id)
    assert (run["state"], run["started"]) == ("queued", None)
    gate.set()
    for call in calls:
        call.result(20)
    eventually(lambda: show_run(view, waiting.id)[0]["state"] == "finished")
    assert not view.comm.find("note")


@pytest.mark.parametrize("kind", TEXTS)
def test_hostile_texts_of_the_file_are_plain_and_bounded(path, now, kind):
    """Any program may have written them: they are texts, as JSON carries them."""
    text = TEXTS[kind].encode("utf-8", "replace").decode()
    run = make_run(
        id="r0",
        outcome="failed",
        at=now - 60,
        started_at=now - 60,
        finished_at=now,
        output=text,
        error_type="ValueError",
        error=text,
        traceback=f"Traceback (most recent call last):\nValueError: {text}",
    )
    write(path, make_task(), run)
    task = make_report()
    view = make_card(task)
    click(view, "hello")
    shown, _ = show_run(view, "r0")
    assert shown["state"] == "failed"
    assert len(shown["summary"]) <= 300
    page = ask_older(view, task)
    assert json.loads(json.dumps(page))["runs"][0]["id"] == "r0"
    assert len(page["runs"][0]["summary"]) <= 300


# --- older runs -----------------------------------------------------------------------


def test_older_runs_come_a_page_at_a_time(filled):
    """Until there are none, which one line says."""
    task = make_report()
    view = panel()
    ids, before = [], None
    for size, is_last in ((PAGE, False), (PAGE, False), (PAGE // 2, True)):
        page = ask_older(view, task, before)
        ids += [run["id"] for run in page["runs"]]
        before = page["next"]
        assert (len(page["runs"]), before is None) == (size, is_last)
        assert bool(page["note"]) == is_last
    assert ids == [f"r{number}" for number in range(5 * PAGE // 2)]


def test_older_runs_say_what_each_was(filled):
    """When, how long, what of, in the words of the history."""
    task = make_report()
    newest = ask_older(panel(), task)["runs"][:4]

    assert [run["state"] for run in newest] == list(WORDS[:4])
    assert [run["summary"] for run in newest] == ["", "ValueError: no luck", "", ""]
    assert [run["duration"] for run in newest] == [2.0, 2.0, 2.0, None]


def test_run_of_several_attempts_says_how_many(path, now):
    """In the list and where it is opened; the attempts are no runs."""
    said = {"at": now - 60, "slot": now - 60}
    write(
        path,
        make_task(),
        make_run(id="r0/1", run="r0", outcome="failed", **said),
        make_run(id="r0/2", run="r0", attempt=2, **said),
        make_run(id="r0", attempt=2, attempts=2, **said),
    )
    task = make_report()
    view = make_card(task)
    click(view, "hello")
    (row,) = ask_older(view, task)["runs"]
    assert (row["id"], row["attempt"]) == ("r0", 2)
    assert show_run(view, "r0")[0]["attempt"] == 2


def test_failure_of_the_file_says_why_no_attempt_followed(path, now):
    """Where it is opened; what a success says is its result."""
    said = {"at": now - 60, "slot": now - 60, "attempts": 3}
    why = "no further attempt: all 3 are used up"
    failure = {"outcome": "failed", "error": "no", "summary": why}
    write(path, make_task(), make_run(id="r0", **failure, **said))
    write(path, make_run(id="r1", outcome="finished", summary="42", **said))
    view = make_card(make_report())
    click(view, "hello")
    assert show_run(view, "r0")[0]["remark"] == why
    assert "remark" not in show_run(view, "r1")[0]


@pytest.mark.parametrize(
    ("value", "options", "note"),
    [("off", {}, OFF), (None, {"history": False}, NOT_KEPT)],
)
def test_older_runs_that_are_not_kept_are_explained(
    filled, monkeypatch, value, options, note
):
    """One plain line, and no error."""
    if value is not None:
        monkeypatch.setenv("IPYCRON_HISTORY", value)
    page = ask_older(panel(), make_report(**options))
    assert (page["runs"], page["next"], page["note"]) == ([], None, note)


def test_older_runs_of_a_file_that_cannot_be_read_are_explained(path):
    """As everywhere: what is wrong with it, in one line."""
    path.write_bytes(b"no database at all, but long enough to be one. " * 50)
    note = ask_older(panel(), make_report(history=True))["note"]
    assert note.startswith(f"history: {path}: ")
    assert "\n" not in note


@pytest.mark.parametrize(
    "before", [[], [1], "x", [None, None], {"at": 1}, [1, 2], True, [1.0, "r", 3]]
)
def test_older_runs_from_nowhere_are_the_newest(filled, before):
    """What a page sends is checked like anything from outside."""
    page = ask_older(panel(), make_report(), before)
    assert page["runs"][0]["id"] == "r0"


def test_older_runs_of_a_task_that_is_gone_are_refused(filled):
    """The page's button does not wait for ever."""
    view = panel()
    assert wait_for_end(view, click(view, "older", "nobody")) == "this task is gone"


def test_view_goes_on_while_the_file_is_locked(filled, monkeypatch):
    """A lock, a slow disk: runs are shown, buttons work; the answer comes later."""
    monkeypatch.setattr(reading, "_PATIENCE", PATIENCE)  # longer than the rest takes
    with closing(sqlite3.connect(filled, isolation_level=None)) as connection:
        # As on a network: readers wait for who writes. Before the task has a writer,
        # whose connection would keep the mode as it is.
        mode = connection.execute("PRAGMA journal_mode = DELETE").fetchone()
        assert mode == ("delete",)
        connection.execute("BEGIN EXCLUSIVE")
        task = make_report()
        view = panel()
        click(view, "hello")
        older = click(view, "older", task.id)
        run = click(view, "run", task.id)
        assert wait_for_end(view, run) is None
        eventually(lambda: len(read_marks(view, task)) == 1)
        connection.execute("ROLLBACK")
    assert wait_for_end(view, older) is None
    assert [m["id"] for _, m in view.comm.find("done")] == [run, older]
    assert ask_older(view, task)["runs"]


# --- the last 24 hours ----------------------------------------------------------------


def read_day(view):
    """Return the last 24 hours as the page has them; None before they are sent."""
    day = None
    for _, message in view.comm.find("state"):
        news = message.get("day")
        if news is None:
            continue
        if news["whole"]:
            day = {"rows": {}}
        day = day | news | {"rows": day["rows"]}
        for task_id, steps in news["rows"].items():
            day["rows"].setdefault(task_id, {}).update(dict(steps))
    return day


def sum_up(day, task):
    """Return the counts of a task over all steps."""
    return [sum(counts) for counts in zip(*day["rows"][task.id].values(), strict=True)]


def open_day(view):
    """Show the last 24 hours; return them when they are there."""
    view.ui = {**view.ui, "day": True}
    click(view, "hello")
    return eventually(lambda: read_day(view))


def test_day_counts_what_happened_and_goes_on(filled, monkeypatch):
    """Runs of earlier processes and of this one, by what became of them."""
    monkeypatch.setattr("ipycron.notebook.widgets.day.REFRESH", 0.5)  # seconds
    task = make_report()
    view = panel()
    before = open_day(view)
    counts = sum_up(before, task)
    assert counts == [50, 100, 0, 50, 50]
    assert (before["step"], before["steps"], before["note"]) == (1800, 48, "")
    assert max(before["rows"][task.id]) < 48
    task.execute().result(20)
    after = [51, 100, 0, 50, 50]
    eventually(lambda: sum_up(read_day(view), task) == after, seconds=PATIENCE)
    # Only what is new was sent.
    last = [m["day"] for _, m in view.comm.find("state") if "day" in m][-1]
    if last["start"] == before["start"]:
        assert not last["whole"]
        assert len(last["rows"][task.id]) == 1


def test_day_of_a_task_of_every_second_is_small(path, now):
    """As large as that of any other, and what is not kept is said."""
    runs = [make_run(n, at=now - n, id=f"r{n}") for n in range(20_000)]
    write(path, make_task(), *runs)
    # Not started: its writer would delete what is not kept.
    task = api.create_task(YEARLY, print, name="report")
    day = open_day(panel())
    assert sum(sum_up(day, task)) == 20_000
    assert len(json.dumps(day)) < 3000
    assert now - 1000 <= day["kept"][task.id] <= now - 990


def test_day_is_not_read_while_it_is_closed_and_in_no_snapshot(filled):
    """A folded part costs nothing, and a saved notebook does not have it."""
    task = make_report()
    view = panel()
    click(view, "hello")
    eventually(lambda: len(read_marks(view, task)) == MARKS)
    assert read_day(view) is None
    open_day(view)
    assert "kept" not in describe(view)


def test_day_is_sent_whole_to_each_page(filled):
    """A page that is loaded later has nothing of what was sent before."""
    task = make_report()
    view = panel()
    open_day(view)
    view.comm.sent.clear()
    click(view, "hello")
    day = eventually(lambda: read_day(view))
    assert day["whole"]
    assert sum_up(day, task) == [50, 100, 0, 50, 50]


@pytest.mark.parametrize("is_off", [True, False])
def test_day_without_a_history_says_why(filled, monkeypatch, is_off):
    """Off, or a file that cannot be read: one line."""
    if is_off:
        monkeypatch.setenv("IPYCRON_HISTORY", "off")
    else:  # before the task has a writer, who would see its own log
        filled.write_bytes(b"no database at all, but long enough to be one. " * 50)
    task = make_report()
    day = open_day(panel())
    assert task.id not in day["rows"]
    assert day["note"] == OFF or day["note"].startswith(f"history: {filled}: ")


def test_day_leaves_out_tasks_that_keep_no_history(filled):
    """The rows of its name are of a time when it kept one."""
    task = make_report(history=False)
    assert open_day(panel())["rows"].get(task.id) is None


# --- rows that could not be written ---------------------------------------------------


def test_panel_says_how_many_rows_are_not_in_the_file(tmp_path, monkeypatch, caplog):
    """Those of this process and of its supervisor; until they are written."""
    folder = tmp_path / "not yet a folder"
    folder.write_text("in the way")
    monkeypatch.setenv("IPYCRON_HISTORY", str(folder / "history.sqlite"))
    inline = make_report()
    worker = api.schedule(YEARLY, print, background=True, name="worker")
    view = panel()
    click(view, "hello")

    def read():
        found = [m["behind"] for _, m in view.comm.find("state") if "behind" in m]
        return found[-1] if found else (0, 0)

    inline.execute().result(20)
    worker.execute().result(20)
    # Each has a life, its start and a run: what both rows of a run say is one row.
    eventually(lambda: tuple(read()) == (6, 0), read, PATIENCE)
    assert registry.running_client.history.lost == 0
    folder.unlink()
    inline.execute().result(20)
    eventually(lambda: ipycron.history("report"), seconds=PATIENCE)
    eventually(lambda: ipycron.history("worker"), seconds=PATIENCE)
    eventually(lambda: tuple(read()) == (0, 0), read, PATIENCE)
    assert "history" in caplog.text
