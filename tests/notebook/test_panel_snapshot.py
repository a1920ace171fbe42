"""Messages to the browser are plain, small, and contain only changes."""

from __future__ import annotations

import json
import re
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from polling import eventually

from ipycron import Snooze, notebook
from ipycron.api import functions as api
from ipycron.client.executions import Execution
from ipycron.cron import CronExpression
from ipycron.notebook.widgets.model import (
    MAX_NAME,
    WAITS,
    Deltas,
    clean,
    describe_run,
    describe_shown,
    describe_task,
)
from ipycron.notebook.widgets.pane import find_newest
from ipycron.notebook.widgets.timeline import (
    BUCKETS,
    HORIZONS,
    From,
    find_marks,
    find_pace,
    fit_horizon,
)
from ipycron.runlog.glances import find_kind
from ipycron.runlog.rows import OPEN, RunOutcome
from ipycron.scheduling.events import ScheduledExecution
from ipycron.scheduling.retry import Retry

START = int(datetime(2026, 11, 24, 8, 0, tzinfo=UTC).timestamp())
HOUR = 3600
VIEW = Path(notebook.__file__).parent / "widgets" / "view"


def _fail():
    raise ValueError("no")


def _work():
    """Do nothing: a job."""


@pytest.fixture
def make_task():
    """Return a function that creates stopped tasks; the client ends with the test."""

    def make(expression="0 9 * * *", **options):
        return api.create_task(expression, _work, timezone="UTC", **options)

    yield make
    api.shutdown()


def test_snapshot_of_a_stopped_task_is_plain_json(make_task):
    """All fields are present, and can be encoded as JSON."""
    row = describe_task(make_task(name="report", max_executions=3), START)

    assert json.loads(json.dumps(row)) == {
        "id": row["id"],
        "name": "report",
        "pattern": "0 9 * * *",
        "words": "At 09:00",
        "zone": "UTC",
        "job": "_work",
        "place": "inline",
        "status": "stopped",
        "trouble": None,
        "fires": [],
        "runs_left": 3,
        "running": [],
        "queued": 0,
        "waits": [],
        "last": None,
        "marks": [],
        "stop_by": None,
        "pause": None,
        "counts": {
            "finished": 0,
            "failed": 0,
            "stopped": 0,
            "replaced": 0,
            "cancelled": 0,
            "missed": 0,
            "skipped": 0,
        },
    }


def test_snapshot_tells_the_next_fires_of_a_started_task(make_task):
    """The browser counts down by itself, past the next slot, to the limit."""
    task = make_task(max_executions=2)
    task.start().result(20)

    assert describe_task(task, START)["fires"] == [START + HOUR, START + 25 * HOUR]


def test_snapshot_of_a_paused_task_has_the_fires_after_its_pause(make_task):
    """The browser counts down to what will run, and says why nothing does before."""
    task = make_task()
    task.start().result(30)
    task.pause("2999-03-01 09:00", "no\n network").result(30)
    until = datetime(2999, 3, 1, 9, tzinfo=UTC).timestamp()
    row = json.loads(json.dumps(describe_task(task, START)))
    assert row["pause"] == {"until": until, "note": "no network"}
    assert row["fires"][:2] == [until, until + 24 * HOUR]
    task.pause().result(30)
    row = describe_task(task, START)
    assert row["pause"] == {"until": None, "note": ""}
    assert row["fires"] == []


def test_snapshot_tells_when_the_next_attempt_begins(make_task):
    """The browser counts down to it, and shows the error of the one before."""
    retry = Retry(2, delay=3600, past_next=True)  # also an hour before nine
    task = api.create_task("0 9 * * *", _fail, retry=retry, name="retried")
    retried = threading.Event()
    task.on("execution:retry", lambda _: retried.set())
    task.start().result(5)
    task.execute()
    assert retried.wait(20)
    (run,) = describe_task(task, START)["running"]
    assert (run["state"], run["attempt"]) == ("running", 2)
    assert run["next"] == task.running[0].next_attempt_at.timestamp()
    assert run["summary"] == "ValueError: no"
    task.stop().result(5)
    info = describe_shown(task.history[-1])
    assert info["remark"] == "no further attempt: ended by the stop of the task"
    assert "attempt" not in info


@pytest.mark.usefixtures("make_task")
def test_snapshot_of_a_snoozed_run_has_no_error():
    """That of an earlier attempt is not why it waits."""

    def put_off(ctx):
        if ctx.attempt == 1:
            raise ValueError("no")
        raise Snooze(3600)

    retry = Retry(2, delay=0.01, past_next=True)  # also in the last hour of a year
    task = api.create_task("@yearly", put_off, retry=retry)
    events = []
    task.on("execution:retry", events.append)
    task.start().result(5)
    task.execute()
    eventually(lambda: len(events) == 2)
    (run,) = describe_task(task, START)["running"]
    assert (run["state"], run["attempt"], run["summary"]) == ("running", 2, "")
    assert run["next"] >= run["started"] + 3600


@pytest.mark.usefixtures("make_task")
def test_snapshot_counts_the_runs_that_wait():
    """They are not running, and are seen."""
    gate = threading.Event()
    task = api.create_task("0 9 * * *", gate.wait, overlap="queue", name="queued")
    task.start().result(5)
    calls = [task.execute() for _ in range(4)]
    eventually(lambda: len(task.queued) == 3, "the others wait")
    row = describe_task(task, START)
    assert (len(row["running"]), row["queued"]) == (1, 3)
    assert [run["state"] for run in row["waits"]] == ["queued"] * 3
    calls += [task.execute() for _ in range(20)]
    eventually(lambda: len(task.queued) == 23)
    row = describe_task(task, START)
    assert (row["queued"], len(row["waits"])) == (23, WAITS)
    gate.set()
    for call in calls:
        call.result(20)


@pytest.mark.usefixtures("make_task")
def test_snapshot_tells_of_an_attempt_that_waits_for_a_place():
    """It is queued, before runs that have not begun; its output is still shown."""
    gates = {name: threading.Event() for name in ("first", "held")}

    def fetch(ctx):
        print("asking")  # noqa: T201 - what is shown
        if ctx.attempt == 1:
            gates["first"].wait(20)
            raise ConnectionError("no answer")

    retry = Retry(1, delay=0.01)
    api.set_pool("due", 1)
    task = api.create_task("@yearly", fetch, pool="due", retry=retry, name="due")
    holder = api.create_task("@yearly", gates["held"].wait, pool="due", name="holder")
    for each in (task, holder):
        each.start().result(20)
    calls = [task.execute()]
    eventually(lambda: task.running)
    calls.append(holder.execute())
    eventually(lambda: holder.queued)
    calls += [task.execute() for _ in range(WAITS)]
    eventually(lambda: len(task.queued) == WAITS)
    gates["first"].set()
    eventually(lambda: len(task.queued) == WAITS + 1)
    row = describe_task(task, START)
    assert (row["status"], row["running"], row["queued"]) == ("idle", [], WAITS + 1)
    waits = row["waits"]
    assert len(waits) == WAITS
    assert (waits[0]["state"], waits[0]["attempt"]) == ("queued", 2)
    assert waits[0]["summary"] == "ConnectionError: no answer"
    assert waits[0]["next"] >= waits[0]["started"]
    assert [run["started"] for run in waits[1:]] == [None] * (WAITS - 1)
    assert find_newest(task).output.stdout == "asking\n"
    gates["held"].set()
    for call in calls:
        call.exception(20)
    api.set_pool("due", None)


def test_snapshot_tells_the_last_run(make_task):
    """When, how long, and how it ended; and the same in a mark of the strip."""
    task = make_task()
    task.start().result(20)
    task.execute().result(20)
    row = describe_task(task, START)

    assert row["last"]["state"] == "finished"
    assert row["last"]["reason"] == "invoked"
    last = row["last"]
    assert row["marks"] == [
        (last["id"], last["started"], last["duration"], "finished", 1)
    ]
    assert row["counts"]["finished"] == 1


@pytest.mark.parametrize(
    ("text", "limit", "cleaned"),
    [
        ("plain", 10, "plain"),
        ("x" * 12, 10, "x" * 9 + "…"),
        ("\ud800", 10, "?"),
        ("<script>\u202e", 20, "<script>\u202e"),
    ],
)
def test_clean_makes_texts_that_json_can_carry(text, limit, cleaned):
    """Lone surrogates would break the kernel's sender."""
    assert clean(text, limit) == cleaned
    cleaned.encode()


def test_snapshot_cuts_a_name_of_ten_thousand_characters(make_task):
    """One task must not make every message large."""
    row = describe_task(make_task(name="n" * 10_000), START)

    assert len(row["name"]) == MAX_NAME


def _row(task_id="a", **fields):
    return {"id": task_id, "name": "n", "status": "idle", "marks": [], **fields}


def test_deltas_send_a_new_row_whole_and_then_what_changed():
    """An unchanged row is not sent."""
    deltas = Deltas()

    assert deltas.find([_row()]) == [_row()]
    assert deltas.find([_row()]) == []
    assert deltas.find([_row(status="running")]) == [{"id": "a", "status": "running"}]


def test_run_that_ends_while_it_is_described_is_of_one_moment():
    """The loop may write while the feed reads: no run of 0 s that took 5."""
    fact = ScheduledExecution(id="r", reason="invoked", date=1, started_at=2)
    later = ScheduledExecution(
        id="r", reason="invoked", date=1, started_at=2, finished_at=7
    )

    class Ending(Execution):
        """Has ended the next time it is read."""

        looks = 0

        def __getattribute__(self, name):
            if name == "_scheduled":
                Ending.looks += 1
                return fact if Ending.looks == 1 else later
            return super().__getattribute__(name)

    row = describe_run(Ending(fact, UTC))
    assert (row["date"], row["started"], row["duration"]) == (1, 2, None)


def test_deltas_send_only_the_marks_that_are_new():
    """Twenty marks per task and second would be most of the traffic."""
    first, second = ("r1", 1.0, 0.1, "finished", 1), ("r2", 2.0, 0.1, "failed", 1)
    deltas = Deltas()
    deltas.find([_row(marks=[first])])

    assert deltas.find([_row(marks=[first, second])]) == [{"id": "a", "more": [second]}]


def test_deltas_say_once_which_rows_are_gone():
    """The ids may come from a generator."""
    deltas = Deltas()
    deltas.find([_row("a"), _row("b"), _row("c")])

    assert deltas.forget(task_id for task_id in ("a", "c")) == ["b"]
    assert deltas.forget(["a", "c"]) == []


def test_deltas_send_the_runs_of_another_task_whole():
    """Opening another row starts over."""
    deltas = Deltas()
    one, two = {"id": "1"}, {"id": "2"}

    assert deltas.find_runs("a", [one]) == [one]
    assert deltas.find_runs("a", [one, two]) == [two]
    assert deltas.find_runs("b", [one]) == [one]


class CountingSchedule:
    """Due every minute; counts its calls."""

    def __init__(self):
        self.asked = 0

    def find_next(self, after):
        """Return the next whole minute."""
        self.asked += 1
        return int(after) // 60 * 60 + 60


def _find(expression, horizon=6 * HOUR, limit=None):
    return list(find_marks(CronExpression(expression, "UTC"), START, horizon, limit))


def test_timeline_marks_single_slots():
    """Slots that can be distinguished are separate marks."""
    assert _find("0 * * * *") == [hour * HOUR for hour in range(7)]
    assert _find("30 9 * * *") == [HOUR + HOUR // 2]


def test_timeline_draws_a_dense_schedule_as_one_band():
    """A slot every second is a band, found with a few hundred calls."""
    (band,) = _find("* * * * * *")

    step = 6 * HOUR // BUCKETS
    assert band[0] == 0
    assert 6 * HOUR - step <= band[1] <= 6 * HOUR


def test_timeline_breaks_a_band_where_the_schedule_rests():
    """Every minute for two hours a day: two bands in two days."""
    marks = _find("* 9-10 * * *", horizon=48 * HOUR)

    assert [mark[0] for mark in marks] == [HOUR, 25 * HOUR]


def test_timeline_ends_with_the_runs_that_are_left():
    """A task with two runs left has two marks."""
    assert _find("0 * * * *", limit=2) == [0, HOUR]
    assert _find("* * * * *", limit=3) == [(0, 120)]


def test_timeline_of_a_paused_task_begins_with_the_end_of_its_pause():
    """A slot at that moment is one of them; the limit counts from there."""
    schedule = From(CronExpression("0 * * * *", "UTC"), START + 3 * HOUR)
    marks = find_marks(schedule, START, 24 * HOUR, 2)
    assert marks == (3 * HOUR, 4 * HOUR)
    assert fit_horizon([(schedule, None)], START) == 6 * HOUR
    assert find_pace(schedule, START + 3 * HOUR) == "every hour"


def test_timeline_of_an_expression_that_is_far_away_is_empty():
    """Without slots in the next hours there are no marks."""
    assert _find("0 0 1 1 *") == []


@pytest.mark.parametrize(
    ("expression", "pace"),
    [
        ("* * * * * *", "every second"),
        ("*/5 * * * * *", "every 5 s"),
        ("*/7 * * * * *", "every 4 s to 7 s"),
        ("* * * * *", "every minute"),
        ("0 0 * * * *", "every hour"),
        ("*/20 * * * *", "every 20 min"),
        ("0 0 * * *", "every day"),
    ],
)
def test_timeline_shows_how_often_a_band_fires(expression, pace):
    """Marks too dense to distinguish are described in words."""
    schedule = CronExpression(expression, "UTC")
    assert find_pace(schedule, schedule.find_next(START)) == pace


def test_timeline_shows_no_pace_of_what_ends():
    """Nothing follows the last slot."""

    class Once:
        def find_next(self, _):
            return None

    assert find_pace(Once(), START) == ""


@pytest.mark.parametrize(
    ("expressions", "hours"),
    [
        ([], 1),
        (["* * * * * *", "*/5 * * * *"], 1),
        (["* * * * *", "0 */2 * * *"], 6),
        (["* * * * *", "5 8 * * *"], 24),  # due in five minutes, then in a day
        (["@daily", "@weekly"], 7 * 24),
        (["@daily", "@yearly"], 24),
        (["@monthly", "@yearly"], 31 * 24),
        (["@yearly"], 366 * 24),
    ],
)
def test_timeline_reaches_as_far_as_its_tasks(expressions, hours):
    """It shows a daily task; a yearly one does not squeeze the others."""
    schedules = [(CronExpression(text, "UTC"), None) for text in expressions]
    assert fit_horizon(schedules, START) == hours * HOUR
    assert hours * HOUR in HORIZONS


def test_timeline_of_a_last_run_reaches_no_further():
    """Slots after a task's last run do not count."""
    assert fit_horizon([(CronExpression("5 8 * * *", "UTC"), 1)], START) == HOUR
    assert fit_horizon([(CronExpression("@yearly", "UTC"), 0)], START) == HOUR


def test_timeline_is_not_found_again_each_second():
    """A panel needs it for every task at every update."""
    schedule = CountingSchedule()
    first = find_marks(schedule, START, HOUR)
    asked = schedule.asked

    assert find_marks(schedule, START, HOUR) == first
    assert schedule.asked == asked
    find_marks(schedule, START + HOUR, HOUR)
    assert schedule.asked > asked


def read_table(name, script):
    """Return a table of the page's script: words by words."""
    text = (VIEW / script).read_text(encoding="utf-8")
    (body,) = re.findall(
        rf"^const {name} = {{\n(.*?)^}};", text, re.DOTALL | re.MULTILINE
    )
    return dict(re.findall(r'^  (\w+): "([^"]*)",$', body, re.MULTILINE))


@pytest.mark.parametrize("outcome", RunOutcome)
def test_page_shows_an_outcome_as_the_kernel_counts_it(outcome):
    """A strip and the last 24 hours agree, and each kind has a shape."""
    kind = read_table("KINDS", "charts.js").get(outcome, "skipped")
    assert kind == (str(outcome) if outcome in OPEN else find_kind(outcome))
    assert kind in read_table("ICONS", "dom.js")
    if outcome not in OPEN:
        style = (VIEW / "style.css").read_text(encoding="utf-8")
        assert f'[data-kind="{kind}"]' in style
