"""The client's view of a task, and its conclusions when a supervisor is lost."""

import math
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC

import pytest
from history_rows import make_task

import ipycron
from ipycron.api.task import get_record
from ipycron.client.executions import MAX_RUNS, read_slots
from ipycron.client.state import MAX_COUNTED, ObservedState
from ipycron.process.wire.payload import Payload
from ipycron.process.wire.protocol import Streamed
from ipycron.runlog.recorder import Recorder
from ipycron.runlog.rows import RunRow
from ipycron.scheduling.events import (
    AttemptBegan,
    Event,
    Notice,
    Outcome,
    Pause,
    ScheduledExecution,
    Status,
)
from ipycron.scheduling.plan import Outage
from ipycron.testing import Every
from ipycron.triggers.exclusions import Calendar, Excluded, Exclusions, Included

LOST = Outcome.of_error(RuntimeError("gone"))


class Told:
    """An observed state, and a shorthand for feeding it events."""

    def __init__(self, runs_left=None):
        self.deferred = []
        self.observed = ObservedState(
            "t", zone=UTC, runs_left=runs_left, defer=self.deferred.append
        )

    def tell(
        self, event, status, *, run=None, runs_left=None, is_ok=None, attempt=None
    ):
        """Feed an event; of a queued run, with the attempt that waits, if any."""
        outcome = None if is_ok is None else Outcome(is_ok=is_ok, value=ValueError())
        execution = None
        if run is not None:
            is_first = event is Event.EXECUTION_QUEUED
            finished_at = None if is_ok is None else 2.0
            execution = ScheduledExecution(
                id=run,
                reason="scheduled",
                date=1,
                started_at=None if is_first and attempt is None else 1,
                finished_at=finished_at,
                attempt=attempt or 1,
            )
        return self.observed.follow(
            Notice(
                event=event,
                task_id="t",
                status=status,
                date=1,
                triggered_at=1,
                execution=execution,
                outcome=outcome,
                runs_left=runs_left,
            )
        )

    def lose(self, open_control=None):
        """Return the events and the resulting state after a loss."""
        notices = self.observed.describe_loss(9.0, LOST, open_control=open_control)
        for notice in notices:
            self.observed.follow(notice)
        return [str(notice.event) for notice in notices]


@pytest.fixture
def told():
    """The observed state of a started task."""
    told = Told()
    told.tell(Event.TASK_STARTED, Status.IDLE)
    return told


def test_run_is_in_progress_from_start_to_end(told):
    """`running` contains a run until it ends; then it is the last run."""
    run = told.tell(Event.EXECUTION_STARTED, Status.RUNNING, run="r1")
    assert told.observed.running == (run,)
    assert told.observed.status is Status.RUNNING
    end = told.tell(Event.EXECUTION_FINISHED, Status.IDLE, run="r1", is_ok=True)
    assert end is run is told.observed.last_run
    assert told.observed.running == ()
    assert (run.is_ok, run.duration) == (True, 1.0)


def test_traceback_of_a_failure_is_read_elsewhere(told):
    """Users' exceptions are never inspected on the client's loop."""
    told.tell(Event.EXECUTION_STARTED, Status.RUNNING, run="r1")
    told.tell(Event.EXECUTION_FAILED, Status.IDLE, run="r1", is_ok=False)
    (read,) = told.deferred
    assert "ValueError" in read()


def test_output_belongs_to_the_run_that_made_it(told):
    """Early output is kept for the first run, late output for the last."""

    def write(run, text):
        told.observed.add_output(
            Streamed("t", run, "stdout", 0), Payload(text.encode())
        )

    write("", "loading ")
    run = told.tell(Event.EXECUTION_STARTED, Status.RUNNING, run="r1")
    write("r1", "running ")
    told.tell(Event.EXECUTION_FINISHED, Status.IDLE, run="r1", is_ok=True)
    write("r1", "late")
    assert run.output.stdout == "loading running late"
    run = told.tell(Event.EXECUTION_STARTED, Status.RUNNING, run="r2")
    assert run.output.stdout == ""


def test_loss_fails_the_runs_and_no_more_when_another_takes_over(told):
    """The task stays started: the next supervisor resumes it."""
    run = told.tell(Event.EXECUTION_STARTED, Status.RUNNING, run="r1")
    assert told.lose() == ["execution:failed"]
    assert told.observed.status is Status.IDLE
    assert run.is_ok is False
    assert not math.isnan(run.duration)


@pytest.mark.parametrize(
    ("open_control", "events", "status"),
    [
        (None, [], Status.IDLE),
        ("start", [], Status.IDLE),
        ("stop", ["task:stopped"], Status.STOPPED),
        ("destroy", ["task:stopped", "task:destroyed"], Status.DESTROYED),
    ],
)
def test_latest_request_counts_when_the_supervisor_is_lost(
    told, open_control, events, status
):
    """A task that was being stopped is stopped; other tasks are resumed."""
    assert told.lose(open_control) == events
    assert told.observed.status is status


@pytest.mark.parametrize(
    ("open_control", "events"),
    [(None, []), ("start", []), ("stop", []), ("destroy", ["task:destroyed"])],
)
def test_loss_means_little_to_a_task_that_is_not_started(open_control, events):
    """A stopped task is not stopped again."""
    assert Told().lose(open_control) == events


def test_limit_is_reported_once_when_the_last_run_is_lost():
    """A lost last run counts; the limit is reported only once."""
    ends = ["task:stopped", "task:destroyed"]
    told = Told(runs_left=1)
    told.tell(Event.TASK_STARTED, Status.IDLE, runs_left=1)
    told.tell(Event.EXECUTION_STARTED, Status.RUNNING, run="r1", runs_left=0)
    assert told.lose() == ["execution:failed", "execution:max_reached", *ends]
    told = Told(runs_left=1)
    told.tell(Event.TASK_STARTED, Status.IDLE, runs_left=1)
    told.tell(Event.EXECUTION_MAX_REACHED, Status.IDLE, runs_left=0)
    assert told.lose() == ends


def test_task_whose_start_was_reported_is_not_starting(monkeypatch):
    """The completion of the start is done a moment later: it is one or the other."""
    task = ipycron.create_task("0 0 1 1 *", print)
    record = get_record(task)
    # A start that nobody answers.
    monkeypatch.setattr(record.client, "control", lambda *_, **__: None)
    start = task.start()
    assert (task.is_starting, task.is_started) == (True, False)
    record.observed.follow(
        Notice(
            event=Event.TASK_STARTED,
            task_id=task.id,
            status=Status.IDLE,
            date=1,
            triggered_at=1,
        )
    )
    assert (task.is_starting, task.is_started) == (False, True)
    assert not start.done()
    ipycron.shutdown(0)


def test_start_may_end_while_another_thread_asks_for_it():
    """As a panel's thread does, at any moment."""
    task = ipycron.create_task("0 0 1 1 *", print)
    is_over = threading.Event()

    def ask():
        while not is_over.is_set():
            assert task.is_starting in {True, False}

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    with ThreadPoolExecutor() as pool:
        asking = pool.submit(ask)
        try:
            for _ in range(300):
                task.start().result(20)
                task.stop().result(20)
        finally:
            is_over.set()
            sys.setswitchinterval(interval)
        asking.result(20)
    ipycron.shutdown(0)


def test_slots_without_a_supervisor_are_paused_or_missed():
    """A task that could not be resumed tells of each slot what it was."""
    observed = Told().observed
    pause = observed.describe_pause(Pause(since=100, until=220), 100)
    observed.follow(pause)
    outage = Outage(since=0, until=300)
    notices = observed.describe_missed(outage, Every(60))
    shown = [(n.date, str(n.event), n.reason, n.missed_count) for n in notices]
    assert shown == [
        (60, "execution:missed", None, 1),
        (120, "execution:skipped", "paused", None),
        (180, "execution:skipped", "paused", None),
        (240, "execution:missed", None, 1),
        (300, "execution:missed", None, 1),
    ]


def test_pause_that_began_and_ended_without_a_supervisor_divides_the_outage():
    """Its slots were paused, the others were missed."""
    observed = Told().observed
    observed.follow(observed.describe_pause(Pause(since=70), 70))
    observed.follow(observed.describe_pause(None, 199.5))
    assert observed.pause is None
    assert observed.last_pause == Pause(since=70, until=200)
    notices = observed.describe_missed(Outage(since=0, until=250), Every(60))
    assert sorted((n.date, n.reason) for n in notices if n.reason) == [
        (120, "paused"),
        (180, "paused"),
    ]
    assert [n.date for n in notices if not n.reason] == [60, 240]


@pytest.mark.parametrize("is_paused", [False, True])
def test_excluded_slots_without_a_supervisor_are_told_as_such(is_paused):
    """Also in a pause, as a scheduler does it; many of them in one."""
    observed = Told().observed
    if is_paused:
        observed.follow(observed.describe_pause(Pause(since=0), 0))
    calendar = Calendar(Exclusions(spans=((100, 220), (70_000, 10**9))), UTC)
    schedule = Included(Every(60), calendar)
    excluded = Excluded(Every(60), calendar, 300)
    notices = observed.describe_missed(Outage(since=0, until=300), schedule, excluded)
    assert [n.date for n in notices] == [60, 120, 180, 240, 300]
    told = [(n.date, n.missed_count) for n in notices if n.reason == "excluded"]
    assert told == [(120, None), (180, None)]
    others = {n.reason for n in notices} - {"excluded"}
    assert others == {"paused" if is_paused else None}
    excluded = Excluded(Every(60), calendar, 700_000)
    outage = Outage(since=70_000, until=700_000)
    found = observed.describe_missed(outage, schedule, excluded)
    assert sum(n.missed_count or 1 for n in found) > MAX_COUNTED
    assert {n.reason for n in found} == {"excluded"}
    assert len(found) <= 101


def test_pause_that_no_scheduler_reports_is_described_once():
    """A change keeps its beginning; the same again, and the end of none, is nothing."""
    observed = Told().observed
    assert observed.describe_pause(None, 5) is None
    observed.follow(observed.describe_pause(Pause(since=10, until=99, note="a"), 10))
    assert observed.describe_pause(Pause(since=20, until=99, note="a"), 20) is None
    changed = observed.describe_pause(Pause(since=20, note="b"), 20)
    assert changed.pause == Pause(since=10, note="b")
    renewed = observed.describe_pause(Pause(since=200), 200)
    assert renewed.pause == Pause(since=200), "the first one ended at 99"
    assert observed.describe_pause(None, 200) is None
    observed.follow(observed.describe_pause(None, 50))
    assert observed.pause is None


@pytest.mark.parametrize(
    ("said", "outcome", "slots"),
    [
        ({"event": Event.EXECUTION_MISSED, "missed_count": 120}, "missed", 120),
        ({"event": Event.EXECUTION_MISSED}, "missed", 1),
        ({"event": Event.EXECUTION_SKIPPED, "reason": "paused"}, "paused", 1),
        ({"event": Event.EXECUTION_SKIPPED}, "not_elected", 1),
        ({"event": Event.EXECUTION_OVERLAP, "is_skipped": True}, "overlap", 1),
        ({"event": Event.EXECUTION_OVERLAP}, None, 0),
        ({"event": Event.TASK_STARTED}, None, 0),
    ],
)
def test_slot_that_did_not_run_is_remembered_as_the_history_has_it(
    said, outcome, slots
):
    """By the same id: a view that reads the file, too, shows it once."""
    observed = Told().observed
    notice = Notice(
        task_id="t", status=Status.IDLE, date=60.0, triggered_at=61.0, **said
    )
    observed.follow(notice)
    rows = []
    recorder = Recorder(rows.append)
    recorder.declare(make_task("t", task_id="t"))
    recorder.note(notice)

    remembered = [
        (slot.id, slot.outcome, slot.slots) for slot in read_slots(observed.history)
    ]
    assert remembered == ([("t:60", outcome, slots)] if outcome else [])
    recorded = [row.id for row in rows if isinstance(row, RunRow)]
    assert recorded == [run_id for run_id, *_ in remembered]


def test_slots_that_did_not_run_are_remembered_in_part():
    """A task that is paused for a year is not a leak."""
    observed = Told().observed
    for number in range(1000):
        observed.follow(
            Notice(
                event=Event.EXECUTION_MISSED,
                task_id="t",
                status=Status.IDLE,
                date=float(number),
                triggered_at=float(number),
            )
        )
    assert [slot.date for slot in read_slots(observed.history)] == list(
        range(1000 - MAX_RUNS, 1000)
    )


def test_run_that_is_queued_before_the_start_is_reported_waits_on():
    """A call on a task that is being started may wait for a place at once."""
    told = Told()
    told.tell(Event.EXECUTION_QUEUED, Status.STOPPED, run="r1")
    told.tell(Event.TASK_STARTED, Status.IDLE)
    assert [run.id for run in told.observed.queued] == ["r1"]
    told.tell(Event.TASK_STOPPED, Status.STOPPED)
    assert told.observed.queued == ()


def fail_attempt(told, error="ValueError: no"):
    """Have the first attempt of r1 fail, and the next one be due at 5; return r1."""
    run = told.tell(Event.EXECUTION_STARTED, Status.RUNNING, run="r1")
    told.observed.follow(
        Notice(
            event=Event.EXECUTION_RETRY,
            task_id="t",
            status=Status.RUNNING,
            date=1,
            triggered_at=2,
            execution=ScheduledExecution(
                id="r1", reason="scheduled", date=1, started_at=1, finished_at=2
            ),
            outcome=Outcome(is_ok=False, summary=error) if error else None,
            next_attempt_at=5,
        )
    )
    return run


def go_on(told, attempt=2):
    """Have the queued attempt of r1 begin at 7."""
    execution = ScheduledExecution(
        id="r1",
        reason="scheduled",
        date=1,
        started_at=1,
        attempt=attempt,
        attempt_started_at=7,
    )
    told.observed.follow_attempt(
        AttemptBegan(task_id="t", status=Status.RUNNING, execution=execution)
    )


def test_attempt_that_is_due_is_queued_until_it_begins(told):
    """The run is the same one, and goes on where it was: its output is its own."""

    def write(text):
        told.observed.add_output(
            Streamed("t", "r1", "stdout", 0), Payload(text.encode())
        )

    run = fail_attempt(told)
    write("first ")
    told.tell(Event.EXECUTION_QUEUED, Status.IDLE, run="r1", attempt=2)
    assert (told.observed.running, told.observed.queued) == ((), (run,))
    assert (run.is_queued, run.attempt, run.summary) == (True, 2, "ValueError: no")
    assert repr(run).endswith("queued>")
    assert told.observed.status is Status.IDLE
    write("late ")
    go_on(told)
    assert (told.observed.running, told.observed.queued) == ((run,), ())
    assert told.observed.status is Status.RUNNING
    assert not run.is_queued
    assert run.next_attempt_at.timestamp() == 7
    write("second")
    assert run.output.stdout == "first late second"
    told.tell(Event.EXECUTION_FINISHED, Status.IDLE, run="r1", is_ok=True)
    assert (told.observed.running, told.observed.queued) == ((), ())
    assert told.observed.last_run is run


def test_run_that_ends_while_its_attempt_is_queued_is_shown_as_over(told):
    """By a stop, a pause, the next slot or a newer run."""
    run = fail_attempt(told)
    told.tell(Event.EXECUTION_QUEUED, Status.IDLE, run="r1", attempt=2)
    told.tell(Event.EXECUTION_FAILED, Status.IDLE, run="r1", is_ok=False)
    assert (told.observed.running, told.observed.queued) == ((), ())
    assert (run.is_queued, run.is_ok) == (False, False)
    go_on(told)  # of a run that is over nothing is shown
    assert told.observed.running == ()


@pytest.mark.parametrize(
    ("error", "attempt", "begun"),
    [("ValueError: no", 2, 1), ("ValueError: no", 3, 2), ("", 1, 1)],
)
def test_loss_fails_a_run_whose_attempt_is_queued(told, error, attempt, begun):
    """It has begun: it ends once, with the attempts that there were."""
    fail_attempt(told, error)
    told.tell(Event.EXECUTION_QUEUED, Status.IDLE, run="waits")
    told.tell(Event.EXECUTION_QUEUED, Status.IDLE, run="r1", attempt=attempt)
    told.observed.forget_queued()
    assert [run.id for run in told.observed.queued] == ["r1"]
    (notice,) = told.observed.describe_loss(9.0, LOST, open_control=None)
    assert notice.execution.attempt == begun
    assert (notice.execution.started_at, notice.execution.finished_at) == (1, 9)
    assert told.lose() == ["execution:failed"]
    assert (told.observed.running, told.observed.queued) == ((), ())
    assert told.observed.history[-1].attempt == begun


@pytest.mark.parametrize(("now", "begun"), [(4, 1), (9, 2)])
def test_loss_counts_the_attempts_that_have_begun(told, now, begun):
    """One between two attempts was in its first one."""
    fail_attempt(told)
    (notice,) = told.observed.describe_loss(now, LOST, open_control=None)
    assert notice.execution.attempt == begun
