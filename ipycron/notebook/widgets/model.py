"""The data model for the browser: tasks and runs as plain, bounded values.

Instants are Unix seconds, durations seconds. Nothing here is HTML: the browser inserts
every text as text.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

from ipycron.api.run_list import find_remark
from ipycron.api.task import get_record
from ipycron.api.text_table import explain_start
from ipycron.client.executions import Execution, read_instants, read_slots
from ipycron.client.history import judge_past
from ipycron.client.jobs import OnExecutor
from ipycron.notebook.display.tracebacks import read_errors
from ipycron.notebook.display.words import (
    clean,
    describe_schedule,
    find_begun,
    find_start_error,
    format_status,
    format_summary,
    is_queued,
    one_line,
    say_trouble,
)
from ipycron.process.wire.outcome import UNSENT
from ipycron.scheduling.plan import find_start

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ipycron.api.task import Task
    from ipycron.client.event_log import Item
    from ipycron.client.executions import History, PastRun, PastSlot, RunLike
    from ipycron.notebook.display.tracebacks import ErrorText
    from ipycron.runlog.glances import Glance
    from ipycron.runlog.records import RunRecord


MAX_NAME = 300
MAX_SUMMARY = 300
MAX_TRACEBACK = 40_000
"""Characters of a traceback that are shown: from its beginning and its end."""
MAX_TROUBLE = 4_000
"""Characters of the reason why a task did not start."""
MARKS = 20
"""Runs and slots in the strip of a task: the last ones."""

Mark = tuple[str, float, float | None, str, int]
"""A run or slot in a strip: its id; its place in time, Unix seconds; seconds that it
took, None without a run; its outcome; how many slots it stands for."""

WAITS = 5
"""Queued runs that a list shows."""
FIRES = 3
"""Slots sent in advance: the browser counts on by itself while the kernel is busy."""


class RunRow(TypedDict):
    """One run in a list.

    Attributes:
        state: "queued", "running", or its outcome.
        unsent: present and true if its result could not travel.
        slots: present for a row that stands for several slots: how many.
        attempt: which attempt this is, or how many there were; absent for the first.
        summary: its result or error; in progress, the error of the attempt before, and
            nothing if that was snoozed.
        next: when the next attempt is due, or has begun; absent for the first.
        remark: of a `RunInfo`, why no further attempt followed a failed one; absent
            without retries.
    """

    id: str
    reason: str
    date: float
    started: float | None
    duration: float | None
    state: str
    summary: str
    unsent: NotRequired[bool]
    slots: NotRequired[int]
    attempt: NotRequired[int]
    next: NotRequired[float]
    remark: NotRequired[str]


class ErrorInfo(TypedDict):
    """One error of a traceback; the last one raised comes first.

    Attributes:
        title: the first line that states the error, and the line after the last.
        frames: the same for each frame, and its library, if any.
        relation: how it relates to the previous error.
    """

    title: tuple[int, int]
    frames: list[tuple[int, int, str]]
    relation: str


class RunInfo(RunRow):
    """The run whose output is shown.

    Attributes:
        traceback: the text of the error; None without one.
        errors: which lines of it show what; empty if unknown.
        shows_result: whether its result is part of the output.
    """

    pid: int | None
    traceback: str | None
    errors: list[ErrorInfo]
    shows_result: bool


class Counts(TypedDict):
    """The number of runs and slots by outcome."""

    finished: int
    failed: int
    stopped: int
    replaced: int
    cancelled: int
    missed: int
    skipped: int


class PauseInfo(TypedDict):
    """A pause: when it ends, None for no end, and why."""

    until: float | None
    note: str


class TaskRow(TypedDict):
    """One task.

    Attributes:
        status: `Task.status`, or "starting" or "stopping".
        pause: None if it is not paused.
        stop_by: when a stop that waits for a run will end it; None if there is none.
        trouble: why it does not run: the error of the last start, or that the service
            of a kept task is gone; None if it runs.
        fires: the next slots, empty if it is not armed.
        queued: how many runs wait for their turn, or for a place in a pool.
        waits: the first of these: those with attempts before, then the oldest.
        marks: its last runs and slots, oldest first.
        cell: the front end's id of the cell that created it; absent if unknown.
    """

    id: str
    name: str
    pattern: str
    words: str
    zone: str
    job: str
    place: str
    status: str
    pause: PauseInfo | None
    stop_by: float | None
    trouble: str | None
    fires: list[float]
    runs_left: int | None
    running: list[RunRow]
    queued: int
    waits: list[RunRow]
    last: RunRow | None
    marks: list[Mark]
    counts: Counts
    cell: NotRequired[str]


class EventRow(TypedDict):
    """One event of the log."""

    number: int
    event: str
    at: float
    date: float
    task: str
    name: str
    run: str | None
    duration: float | None
    summary: str
    reason: str | None
    missed: int | None
    stopped: bool


def describe_task(task: Task, now: float, past: Iterable[Mark] = ()) -> TaskRow:
    """Return the row of a task at an instant.

    Args:
        task: the task.
        now: Unix seconds.
        past: marks of its runs and slots that the history's file has.
    """
    history = task.history
    runs, queued = list(history), task.queued
    row = TaskRow(
        id=task.id,
        name=clean(task.name, MAX_NAME),
        pattern=clean(task.pattern, MAX_NAME),
        words=describe_schedule(task),
        zone=task.timezone,
        job=clean(task.source.label, MAX_NAME),
        place=_find_place(task),
        status=format_status(task),
        pause=_describe_pause(task),
        stop_by=get_record(task).observed.stop_by,
        trouble=_describe_trouble(task),
        fires=find_fires(task, now),
        runs_left=task.runs_left,
        running=[describe_run(run) for run in task.running],
        queued=len(queued),
        waits=[describe_run(run) for run in _choose_waits(queued) if run.is_queued],
        last=describe_run(runs[-1]) if runs else None,
        marks=find_marks(history, past),
        counts=Counts(
            finished=history.finished,
            failed=history.failed,
            stopped=history.stopped,
            replaced=history.replaced,
            cancelled=history.cancelled,
            missed=history.missed,
            skipped=history.skipped,
        ),
    )
    if (cell := get_record(task).cell) is not None:
        row["cell"] = cell
    return row


def _choose_waits(queued: Sequence[Execution]) -> Sequence[Execution]:
    begun = find_begun(queued)
    return [*begun, *(run for run in queued if run not in begun)][:WAITS]


def _find_place(task: Task) -> str:
    if isinstance(task.source, OnExecutor):
        return "executor"
    if task.is_kept:
        return "service"
    return "worker" if task.is_background else "inline"


def _describe_pause(task: Task) -> PauseInfo | None:
    pause = get_record(task).pause
    if pause is None:
        return None
    return PauseInfo(until=pause.until, note=clean(one_line(pause.note), MAX_NAME))


def _describe_trouble(task: Task) -> str | None:
    error = find_start_error(task)
    if error is None:
        return None
    return clean(say_trouble(error, format_summary(explain_start(error))), MAX_TROUBLE)


def find_fires(task: Task, now: float, count: int = FIRES) -> list[float]:
    """Return the next slots of an armed task; none for any other."""
    if task.next_run is None:
        return []
    if task.runs_left is not None:
        count = min(count, task.runs_left)
    record = get_record(task)
    after = find_start(now, record.observed.passed)
    if record.pause is not None and record.pause.until is not None:
        after = max(after, record.pause.until - 1)
    return [instant.timestamp() for instant in record.find_slots(count, after)]


def describe_run(run: RunLike) -> RunRow:
    """Return a run as one line of a list."""
    date, begin, end = read_instants(run)
    took = None if begin is None or end is None else _round(end - begin, 10_000)
    row = RunRow(
        id=run.id,
        reason=run.reason,
        date=_round(date),
        started=None if begin is None else _round(begin),
        duration=took,
        state=run.outcome or ("queued" if is_queued(run) else "running"),
        summary=clean(
            run.summary if run.is_ok else format_summary(run.summary), MAX_SUMMARY
        ),
    )
    if run.is_ok and run.summary.startswith(UNSENT):
        row["unsent"] = True
    if run.attempt > 1:
        row["attempt"] = run.attempt
    if isinstance(run, Execution) and (following := run.next_attempt_at) is not None:
        row["next"] = following.timestamp()
    return row


def describe_shown(run: RunLike) -> RunInfo:
    """Return the run whose output is shown, with its traceback if it failed."""
    text = run.traceback_text if run.outcome == "failed" else None
    traceback, errors = _describe_traceback(text)
    info = RunInfo(
        **describe_run(run),
        pid=run.pid,
        traceback=traceback,
        errors=errors,
        shows_result=False,
    )
    if run.remark and not run.is_ok:
        info["remark"] = clean(run.remark, MAX_SUMMARY)
    return info


def _describe_traceback(text: str | None) -> tuple[str | None, list[ErrorInfo]]:
    """Return as much of a traceback as is shown, and what is in it."""
    if text is None:
        return None, []
    shown = _cut_traceback(text)
    return shown, [_describe_error(error) for error in read_errors(shown)]


def _describe_error(error: ErrorText) -> ErrorInfo:
    return ErrorInfo(
        title=(error.first, error.end),
        frames=[(frame.first, frame.end, frame.library) for frame in error.frames],
        relation=error.relation,
    )


def describe_event(item: Item) -> EventRow:
    """Return a line of the event log."""
    took = item.duration
    return EventRow(
        number=item.number,
        event=item.event,
        at=_round(item.at),
        date=_round(item.date),
        task=item.task_id,
        name=clean(item.name, MAX_NAME),
        run=item.run_id,
        duration=took if took is None else _round(took, 10_000),
        summary=clean(format_summary(item.summary), MAX_SUMMARY),
        reason=item.reason,
        missed=item.missed_count,
        stopped=item.is_stopped,
    )


def _cut_traceback(text: str) -> str:
    if len(text) > MAX_TRACEBACK:
        half = MAX_TRACEBACK // 2
        left_out = len(text) - MAX_TRACEBACK
        text = f"{text[:half]}\n… {left_out:,} characters left out …\n{text[-half:]}"
    return clean(text, 2 * MAX_TRACEBACK)


def find_marks(history: History, past: Iterable[Mark] = ()) -> list[Mark]:
    """Return the last marks of what is remembered and of what the file has."""
    marks = {mark[0]: mark for mark in past}
    marks |= {slot.id: _mark_slot(slot) for slot in read_slots(history)}
    marks |= {run.id: _mark_run(run) for run in history}
    return sorted(marks.values(), key=itemgetter(1))[-MARKS:]


def _mark_run(run: PastRun) -> Mark:
    date, begin, end = read_instants(run)
    if begin is None or end is None:  # the task was never started
        return run.id, _round(date), None, str(judge_past(run)), 1
    return run.id, _round(begin), _round(end - begin, 10_000), str(judge_past(run)), 1


def _mark_slot(slot: PastSlot) -> Mark:
    return slot.id, _round(slot.date), None, str(slot.outcome), slot.slots


def mark_glance(glance: Glance) -> Mark:
    """Return the mark of a run or slot that the file has."""
    run_id, outcome = clean(glance.id, MAX_NAME), clean(glance.outcome, MAX_NAME)
    return run_id, _round(glance.at), _find_duration(glance), outcome, glance.slots


def _find_duration(glance: Glance) -> float | None:
    if glance.started_at is None or glance.finished_at is None:
        return None
    return _round(glance.finished_at - glance.started_at, 10_000)


def describe_glance(glance: Glance) -> RunRow:
    """Return a run or slot that the file has as one line of a list."""
    slot, started = glance.slot, glance.started_at
    row = RunRow(
        id=clean(glance.id, MAX_NAME),
        reason=clean(glance.trigger, MAX_NAME),
        date=_round(glance.at if slot is None else slot),
        started=None if started is None else _round(started),
        duration=_find_duration(glance),
        state=clean(glance.outcome, MAX_NAME),
        summary=clean(format_summary(glance.summary), MAX_SUMMARY),
    )
    if glance.slots > 1:
        row["slots"] = glance.slots
    if glance.attempts > 1:
        row["attempt"] = glance.attempts
    return row


def describe_record(record: RunRecord) -> RunInfo:
    """Return a run or slot that the file has, to be shown with its output."""
    started, slot = record.started_at, record.slot
    error = ": ".join(text for text in (record.error_type, record.error) if text)
    traceback, errors = _describe_traceback(record.traceback or None)
    info = RunInfo(
        id=clean(record.id, MAX_NAME),
        reason=clean(record.trigger, MAX_NAME),
        date=_round((slot or record.at).timestamp()),
        started=None if started is None else _round(started.timestamp()),
        duration=record.duration,
        state=clean(str(record.outcome), MAX_NAME),
        summary=clean(format_summary(error or record.summary or ""), MAX_SUMMARY),
        pid=record.pid,
        traceback=traceback,
        errors=errors,
        shows_result=False,
    )
    if record.missed_count is not None and record.missed_count > 1:
        info["slots"] = record.missed_count
    if record.attempts is not None and record.attempts > 1:
        info["attempt"] = record.attempts
    if remark := find_remark(record):
        info["remark"] = clean(remark, MAX_SUMMARY)
    return info


def describe_slot(slot: PastSlot) -> RunInfo:
    """Return a slot that did not run, to be shown like a run."""
    info = RunInfo(
        id=slot.id,
        reason="scheduled",
        date=_round(slot.date),
        started=None,
        duration=None,
        state=str(slot.outcome),
        summary=clean(format_summary(slot.summary), MAX_SUMMARY),
        pid=None,
        traceback=None,
        errors=[],
        shows_result=False,
    )
    if slot.slots > 1:
        info["slots"] = slot.slots
    return info


def _round(seconds: float, parts: int = 1000) -> float:
    """Round seconds to milliseconds; `round` takes five times as long."""
    return int(seconds * parts + 0.5) / parts


class Deltas:
    """Remembers the rows that were sent and finds what differs.

    A delta is a row's `id` with the fields that changed, as they are now. Of `marks`
    only the new ones are sent, as `more`; the browser adds those that it lacks, since a
    page loaded in between has some of them.
    """

    def __init__(self) -> None:
        self._rows: dict[str, TaskRow] = {}
        self._runs: tuple[str, set[str]] = ("", set())

    def find(self, rows: Iterable[TaskRow]) -> list[dict[str, Any]]:
        """Return a delta for each row that differs; new rows are sent whole."""
        deltas = (self._find(row) for row in rows)
        return [delta for delta in deltas if delta is not None]

    def _find(self, row: TaskRow) -> dict[str, Any] | None:
        known = self._rows.get(row["id"])
        self._rows[row["id"]] = row
        now: dict[str, Any] = dict(row)
        if known is None:
            return now
        before: dict[str, Any] = dict(known)
        delta = {name: now[name] for name in now if now[name] != before[name]}
        if "marks" in delta:
            sent = set(before["marks"])
            delta["more"] = [mark for mark in delta.pop("marks") if mark not in sent]
        return {"id": row["id"], **delta} if delta else None

    def forget(self, ids: Iterable[str]) -> list[str]:
        """Return the tasks that were sent and are no longer among `ids`."""
        present = set(ids)
        gone = [task_id for task_id in self._rows if task_id not in present]
        for task_id in gone:
            del self._rows[task_id]
        return gone

    def find_runs(self, task_id: str, runs: list[RunRow]) -> list[RunRow]:
        """Return the runs of a task that were not sent; all if the task has changed."""
        sent = self._runs[1] if self._runs[0] == task_id else set()
        self._runs = task_id, {run["id"] for run in runs}
        return [run for run in runs if run["id"] not in sent]
