"""Which events are logged, at which level, with which text."""

import logging
from datetime import UTC, datetime
from types import SimpleNamespace

import msgspec
import pytest

from ipycron.client.announce import is_logged, log_event
from ipycron.client.event_log import MAX_ITEMS, EventLog
from ipycron.client.executions import History
from ipycron.client.listeners import Listeners
from ipycron.scheduling.events import Event, Notice, Outcome, Status

SLOT = datetime(2026, 3, 1, 9, tzinfo=UTC)
logger = logging.getLogger("test.journal")


@pytest.fixture
def task():
    """The part of a task that its journal uses."""
    options = SimpleNamespace(suppress_missed_warning=False, skips_overlap=True)
    return SimpleNamespace(
        name="report",
        logger=logger,
        is_kept=False,
        options=options,
        listeners=Listeners(),
        observed=SimpleNamespace(history=History()),
    )


def make_notice(event, **facts):
    """Return a notice of an event."""
    return Notice(
        event=event, task_id="t", status=Status.IDLE, date=1, triggered_at=1, **facts
    )


def log(task, event, reason=None, **facts):
    """Log an event as the client does."""
    context = SimpleNamespace(
        date_local_iso=SLOT.isoformat(),
        error=ValueError("no"),
        missed_count=facts.get("missed_count"),
        execution=SimpleNamespace(
            id="1",
            reason=facts.get("run", "scheduled"),
            summary="ValueError: no",
            is_stopped=facts.get("is_stopped", False),
        ),
        attempt=1,
        next_attempt_at=SLOT,
    )
    log_event(task, make_notice(event, reason=reason), context)


def texts(caplog):
    """Return level and text of the log records."""
    return [(record.levelname, record.getMessage()) for record in caplog.records]


def test_missed_execution_is_a_warning_unless_heard_or_suppressed(task, caplog):
    """One slot is named, many are counted; with a named listener, no warning."""
    log(task, Event.EXECUTION_MISSED, missed_count=1)
    log(task, Event.EXECUTION_MISSED, missed_count=7)
    at = "2026-03-01T09:00:00+00:00"
    assert texts(caplog) == [
        ("WARNING", f"task 'report': missed the execution at {at}"),
        ("WARNING", f"task 'report': missed 7 executions, the last at {at}"),
    ]
    caplog.clear()
    task.listeners.add("*", print)
    log(task, Event.EXECUTION_MISSED)
    assert len(caplog.records) == 1
    task.listeners.add("execution:missed", print)
    log(task, Event.EXECUTION_MISSED)
    assert len(caplog.records) == 1
    task.listeners.clear()
    task.options.suppress_missed_warning = True
    log(task, Event.EXECUTION_MISSED)
    assert len(caplog.records) == 1


def test_overlap_is_a_warning_where_it_is_skipped(task, caplog):
    """An overlapping run that is allowed to start is only a debug record."""
    caplog.set_level(logging.DEBUG)
    log(task, Event.EXECUTION_OVERLAP)
    task.options.skips_overlap = False
    log(task, Event.EXECUTION_OVERLAP)
    assert [level for level, _ in texts(caplog)] == ["WARNING", "DEBUG"]


@pytest.mark.parametrize(
    ("event", "facts", "expected"),
    [
        (Event.TASK_RESTARTED, {}, ("WARNING", "the worker died and was replaced")),
        (Event.EXECUTION_FAILED, {}, ("ERROR", "a run failed: ValueError: no")),
        (Event.EXECUTION_FAILED, {"run": "invoked"}, ("DEBUG", "execution:failed")),
        (Event.EXECUTION_FAILED, {"run": "catch_up"}, ("ERROR", "a run failed")),
        (Event.EXECUTION_FAILED, {"run": "backfill"}, ("ERROR", "a run failed")),
        (Event.TASK_FAILED, {}, ("ERROR", "stopped: ValueError: no")),
        (
            Event.EXECUTION_SKIPPED,
            {"reason": "coordinator-error"},
            ("ERROR", "not run, the coordinator failed: ValueError: no"),
        ),
        (
            Event.EXECUTION_SKIPPED,
            {"reason": "not-elected"},
            ("DEBUG", "execution:skipped"),
        ),
        (Event.TASK_STARTED, {}, ("DEBUG", "task:started")),
    ],
)
def test_event_is_logged_at_its_level(task, caplog, event, facts, expected):
    """Failures are errors with a traceback, restarts warnings, the rest debug."""
    caplog.set_level(logging.DEBUG)
    log(task, event, **facts)
    level, text = expected
    (record,) = caplog.records
    assert record.levelname == level
    assert record.getMessage().startswith(f"task 'report': {text}")
    assert (record.exc_info is not None) == (level == "ERROR")


@pytest.mark.parametrize("event", Event)
def test_quiet_events_are_skipped_unless_debugging(task, caplog, event):
    """Most events create no record, which is known before a context is made."""
    logger.setLevel(logging.INFO)
    is_quiet = event not in {
        *(Event.EXECUTION_MISSED, Event.EXECUTION_OVERLAP, Event.EXECUTION_SKIPPED),
        *(Event.EXECUTION_FAILED, Event.EXECUTION_RETRY),
        *(Event.TASK_FAILED, Event.TASK_RESTARTED),
    }
    assert is_logged(task, make_notice(event)) == (not is_quiet)
    logger.setLevel(logging.DEBUG)
    assert is_logged(task, make_notice(event))
    logger.setLevel(logging.NOTSET)


def test_paused_slot_is_no_problem_and_no_record(task, caplog):
    """The user wanted it, every second perhaps."""
    caplog.set_level(logging.INFO)
    notice = make_notice(Event.EXECUTION_SKIPPED, reason="paused", missed_count=3)
    assert not is_logged(task, notice)
    log(task, notice.event, reason="paused", missed_count=3)
    assert caplog.records == []
    events = EventLog()
    for _ in range(MAX_ITEMS):
        events.post("t", "report", notice)
    events.post("t", "report", make_notice(Event.TASK_FAILED))
    for _ in range(MAX_ITEMS):
        events.post("t", "report", notice)
    assert "task:failed" in [item.event for item in events.read()]


@pytest.mark.parametrize(
    ("before", "level"),
    [
        ((False, "ValueError: yesterday"), "DEBUG"),
        ((False, "KeyError: no"), "ERROR"),
        ((True, "ValueError('a result')"), "ERROR"),
    ],
)
def test_failure_is_an_error_unless_the_run_before_failed_alike(
    task, caplog, before, level
):
    """Consecutive failures with the same type of error are one incident."""
    caplog.set_level(logging.DEBUG)
    is_ok, summary = before
    past = SimpleNamespace(id="0", is_ok=is_ok, summary=summary)
    this = SimpleNamespace(id="1", is_ok=False, summary="ValueError: no")
    task.observed.history._runs = (past, this)
    log(task, Event.EXECUTION_FAILED)
    assert [name for name, _ in texts(caplog)] == [level]


def test_run_that_a_stop_ended_is_not_an_error(task, caplog):
    """The user asked for the stop."""
    caplog.set_level(logging.DEBUG)
    log(task, Event.EXECUTION_FAILED, is_stopped=True)
    assert [name for name, _ in texts(caplog)] == ["DEBUG"]


def test_failed_attempt_is_a_warning_in_one_line(task, caplog):
    """However long its error is: the run's end has the whole of it."""
    outcome = Outcome(is_ok=False, summary="ValueError: no")
    notice = msgspec.structs.replace(
        make_notice(Event.EXECUTION_RETRY), outcome=outcome
    )
    context = SimpleNamespace(
        error=ValueError("no" * 100_000), attempt=2, next_attempt_at=SLOT
    )
    log_event(task, notice, context)
    (level, text) = texts(caplog)[0]
    assert level == "WARNING"
    assert text.startswith("task 'report': attempt 2 failed, the next one is at ")
    assert text.endswith(": ValueError: no")
