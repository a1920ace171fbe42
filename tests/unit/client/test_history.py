"""A task's history is bounded, in number and in size."""

from __future__ import annotations

import gc
import weakref
from datetime import UTC

from ipycron.client.event_log import MAX_ITEMS, EventLog
from ipycron.client.executions import (
    MAX_OUTPUT_BYTES,
    MAX_RUNS,
    Execution,
    History,
    PastRun,
)
from ipycron.client.history import ClientHistory
from ipycron.process.wire.outcome import encode_error
from ipycron.scheduling.events import Event, Notice, Outcome, Status
from ipycron.scheduling.events import ScheduledExecution as Scheduled


def _run(number: int, size: int = 0) -> Execution:
    scheduled = Scheduled(
        id=f"run{number}",
        reason="scheduled",
        date=number,
        started_at=number,
        finished_at=number + 0.5,
    )
    execution = Execution(scheduled, UTC)
    for _ in range(size // 500_000):
        execution.output.write("stdout", b"x" * 250_000, 0)
        execution.output.write("stderr", b"x" * 250_000, 0)
    return execution


def _notice(event: Event, number: int = 0, **facts) -> Notice:
    return Notice(
        event=event,
        task_id="t",
        status=Status.IDLE,
        date=number,
        triggered_at=number,
        **facts,
    )


def test_history_keeps_the_newest_runs_when_there_are_many():
    """Twenty runs are kept; all are counted."""
    history = History()
    for number in range(MAX_RUNS + 5):
        history.add(_run(number), Outcome(is_ok=number % 5 > 0, value=ValueError()))

    assert next(run.id for run in history) == "run5"
    assert len(history) == MAX_RUNS
    assert (history.finished, history.failed) == (20, 5)
    assert history[-1].duration == 0.5
    assert history.find("run24") is history[-1]
    assert history.find("run1") is None
    assert repr(history) == "<History: 20 of 25 runs>"
    assert repr(History()) == "<History: 0 runs>"


def test_history_forgets_old_runs_when_their_output_is_large():
    """The output of all kept runs is bounded; the last run is always kept."""
    history = History()
    for number in range(12):
        history.add(_run(number, 500_000), Outcome(is_ok=True))

    assert sum(run.output.size for run in history) <= MAX_OUTPUT_BYTES
    assert len(history) == MAX_OUTPUT_BYTES // 500_000


def test_history_forgets_old_runs_when_late_output_is_large():
    """Output written after a run's end counts towards the next run."""
    history = History()
    most = MAX_OUTPUT_BYTES // 500_000
    for number in range(most):
        history.add(_run(number, 500_000), Outcome(is_ok=True))
    history.add(_run(most), Outcome(is_ok=True))
    assert history[0].id == "run0"
    history[-1].output.write("stdout", b"x" * 250_000, 0)
    history.add(_run(most + 1), Outcome(is_ok=True))
    assert history[0].id == "run1"
    assert sum(run.output.size for run in history) <= MAX_OUTPUT_BYTES


def _recalled(number):
    outcome = Outcome(is_ok=True)
    execution = _run(number)
    execution.finish(execution._scheduled, outcome)
    return PastRun.of(execution, outcome, is_recalled=True)


def test_history_recalls_runs_in_their_order_and_counts_the_new_ones():
    """Those before a run that is remembered were counted when they ended."""
    history = History()
    history.recall([_recalled(number) for number in range(5)])
    assert [run.id for run in history] == [f"run{number}" for number in range(5)]
    assert history.total == 5
    known = history.add(_run(5, 500_000), Outcome(is_ok=True))
    for number in range(6, 6 + MAX_OUTPUT_BYTES // 500_000):
        history.add(_run(number, 500_000), Outcome(is_ok=True))
    first, total = int(history[0].id[3:]), history.total
    assert first > 5, "the output of the newer ones is too large"
    assert known not in list(history)
    runs = [history.find(f"run{number}") or _recalled(number) for number in range(20)]
    history.recall(runs)
    assert [run.id for run in history] == [f"run{number}" for number in range(20)]
    assert history.total == total + sum(number >= total for number in range(20))


def test_history_keeps_runs_that_a_service_has_forgotten():
    """A service that was started again has no runs of a task with history=False."""
    history = History()
    history.add(_run(1), Outcome(is_ok=True))
    history.recall([])
    history.recall([_recalled(2)])
    assert [run.id for run in history] == ["run1", "run2"]
    assert history.total == 2


def test_history_keeps_the_text_of_an_error_and_not_the_error():
    """An exception's frames may hold large objects: they are released."""

    class _Big:
        pass

    def fail():
        big = _Big()
        alive.append(weakref.ref(big))
        raise ValueError("no")

    alive = []
    run = None
    try:
        fail()
    except ValueError as error:
        run = History().add(_run(1), Outcome(is_ok=False, value=error))

    assert run is not None
    assert "ValueError: no" in (run.traceback_text or "")
    gc.collect()
    assert alive[0]() is None


def test_history_reads_the_traceback_of_a_worker_and_leaves_the_payload():
    """The worker's traceback is shown as text; the error can still be decoded."""
    payload, _ = encode_error(ValueError("no"), 10_000, "worker's traceback")
    run = History().add(_run(1), Outcome(is_ok=False, value=payload))

    assert run.traceback_text == "worker's traceback"
    assert payload.size > 0


def test_event_log_keeps_problems_when_a_busy_schedule_floods_it():
    """A failure is still listed after ten thousand ordinary events."""
    log = EventLog()
    log.post("t", "report", _notice(Event.EXECUTION_FAILED, 1))
    for number in range(10_000):
        log.post("t", "report", _notice(Event.EXECUTION_STARTED, number))

    items = log.read()

    assert items[0].event == "execution:failed"
    assert len(items) == 1 + MAX_ITEMS
    assert [item.number for item in log.read(9_999)] == [10_000, 10_001]


def test_event_log_notifies_watchers_once_and_not_after_they_left():
    """Watching twice has the same effect as watching once."""
    log = EventLog()
    told: list[str] = []
    log.watch(told.append)
    log.watch(told.append)
    log.post("t", "report", _notice(Event.TASK_STARTED))
    log.unwatch(told.append)
    log.notify("other")

    assert told == ["t"]


def test_history_counts_every_missed_slot_of_a_notice():
    """One notice may report many slots."""
    history = History()
    history.count(_notice(Event.EXECUTION_MISSED, missed_count=7))
    history.count(_notice(Event.EXECUTION_MISSED))
    history.count(_notice(Event.EXECUTION_SKIPPED, reason="not-elected"))

    assert (history.missed, history.skipped) == (8, 1)


def test_slots_that_a_lost_supervisor_has_not_written_are_recorded():
    """Those that it has just reported; nothing of it is written twice."""
    history = ClientHistory(print)
    noted = []
    history._keeper.recorder.note = noted.append
    missed = _notice(Event.EXECUTION_MISSED, 1)
    history.follow(missed)
    history.follow(_notice(Event.EXECUTION_STARTED, 2))
    history.note_passed_over()
    assert noted == [missed]
    history.note_passed_over()
    assert noted == [missed]
