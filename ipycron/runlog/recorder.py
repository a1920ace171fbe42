"""Makes rows of what a scheduler reports: a row for every slot and call (H1).

Runs on the loop of the process that schedules and does nothing slow: the rows go to a
writer's queue.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import msgspec

from ipycron.errors import ExecutionTimeout, SupervisorLost, WorkerCrashed
from ipycron.runlog.output import OutputLog, show_surrogates
from ipycron.runlog.rows import OPEN, Resumed, RunOutcome, RunRow, TaskEnd, name_count
from ipycron.scheduling.events import Event
from ipycron.scheduling.plan import Recounted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ipycron.runlog.rows import Change, TaskRow
    from ipycron.scheduling.events import (
        AttemptBegan,
        Notice,
        Outcome,
        Pending,
        ScheduledExecution,
    )

HEAD_BYTES = 16 * 1024
TAIL_BYTES = 48 * 1024
"""Bytes kept of what a run writes, stdout and stderr together."""

ORPHANED = "the process that had scheduled it was gone"
"""The error of a run in progress when the client was gone; its worker was ended."""

_SKIPPED = {
    "not-elected": RunOutcome.NOT_ELECTED,
    "coordinator-error": RunOutcome.COORDINATOR_ERROR,
    "paused": RunOutcome.PAUSED,
    "excluded": RunOutcome.EXCLUDED,
    "superseded": RunOutcome.SUPERSEDED,
}

_ENDS = {
    Event.TASK_STARTED: None,
    Event.TASK_STOPPED: "stopped",
    Event.TASK_DESTROYED: "destroyed",
}


class Recorder:
    """Records the tasks of one scheduler, each from its declaration on.

    Args:
        put: takes a row, at once.

    Attributes:
        lock: held while a row is handed on, so that each goes to one place, whole.
        place: the number of the place to which the rows go.
    """

    def __init__(self, put: Callable[[Change], None]) -> None:
        self.lock = threading.RLock()  # a signal handler may start a task
        self.place = 0
        self._take = put
        self._in_progress: dict[str, RunRow] = {}  # as they were last
        self._tasks: dict[str, TaskRow] = {}
        self._new: set[str] = set()  # lives that are not written yet
        self._stopped: set[str] = set()  # by the user
        self._outputs: dict[str, OutputLog | None] = {}
        # What the attempt in progress wrote, if it is not the run's first one.
        self._attempts: dict[str, OutputLog | None] = {}
        # How many attempts have ended, of runs that go on.
        self._ended: dict[str, int] = {}
        self._has_end_in_common = False
        self._end: str | None = None

    def declare(self, task: TaskRow) -> None:
        """Record a task from now on; nothing is written before its first row."""
        self._tasks[task.task_id] = task
        self._new.add(task.task_id)

    def knows(self, task_id: str) -> bool:
        """Return whether a task is recorded: it was declared, and not destroyed."""
        return task_id in self._tasks

    @property
    def open_ids(self) -> tuple[str, ...]:
        """The ids of the runs that are not over."""
        return tuple(self._in_progress)

    def begin_anew(self) -> None:
        """Note that the rows go to a new place from now on, which knows no task yet."""
        self.place += 1
        self._new = set(self._tasks)

    def repeat_open(self) -> None:
        """Give the rows of the runs in progress once more, for a new place."""
        for row in list(self._in_progress.values()):
            self._put(row)

    def expect_end(self, *, is_clean: bool) -> None:
        """Note that the tasks end with their process from now on, not by the user.

        Args:
            is_clean: whether the process was asked to end; after any other end the
                tasks count as interrupted.
        """
        self._has_end_in_common = True
        self._end = "shutdown" if is_clean else None

    @property
    def _is_interrupted(self) -> bool:
        """Whether what is stopped is stopped by nobody's wish."""
        return self._has_end_in_common and self._end is None

    def note(
        self,
        notice: Notice,
        output: OutputLog | None = None,
        attempt_output: OutputLog | None = None,
    ) -> None:
        """Record an event.

        Args:
            notice: the event.
            output: what the run wrote, or the attempt of an `execution:retry`, unless
                `add_output` was told.
            attempt_output: what the last attempt of a run wrote, likewise.
        """
        if notice.task_id not in self._tasks:
            return
        match notice.event:
            case Event.EXECUTION_STARTED:
                self._open(notice)
            case Event.EXECUTION_FINISHED | Event.EXECUTION_FAILED:
                self._close(notice, output, attempt_output)
            case Event.EXECUTION_QUEUED if notice.execution is not None:
                self._note_queued(notice.task_id, notice.execution)
            case Event.EXECUTION_RETRY if notice.outcome is not None:
                self._end_attempt(notice, output)
            case (
                Event.EXECUTION_MISSED
                | Event.EXECUTION_SKIPPED
                | Event.EXECUTION_OVERLAP
            ):
                self._pass_over(notice)
            case Event.TASK_STARTED | Event.TASK_STOPPED | Event.TASK_DESTROYED:
                self._note_life(notice)

    def note_answers(
        self, task_id: str, answers: Sequence[tuple[ScheduledExecution, Outcome]]
    ) -> None:
        """Record calls that have returned and that no scheduler has reported."""
        if task_id not in self._tasks:
            return
        for run, outcome in answers:
            self._put(
                _make_row(
                    task_id,
                    run,
                    RunOutcome.FINISHED,
                    started_at=run.started_at,
                    finished_at=run.finished_at,
                    pid=run.pid,
                    summary=outcome.summary,
                    output_left_out=0,
                )
            )

    def note_past(
        self, task_id: str, run: ScheduledExecution, outcome: RunOutcome, summary: str
    ) -> None:
        """Record a run whose scheduler is gone, and perhaps its row with it."""
        if task_id not in self._tasks:
            return
        name, _, line = summary.partition(": ")
        is_ok = outcome in (RunOutcome.FINISHED, RunOutcome.CANCELLED)
        self._put(
            _make_row(
                task_id,
                run,
                outcome,
                started_at=run.started_at,
                finished_at=run.finished_at,
                pid=run.pid,
                **({"summary": summary} if is_ok else {"error_type": name}),
                error=None if is_ok else line,
            )
        )

    def add_traceback(self, notice: Notice, text: str, place: int) -> None:
        """Add to a failure that was recorded at a place, if that is still the place."""
        run, outcome = notice.execution, notice.outcome
        assert run is not None
        assert outcome is not None
        row = _make_row(notice.task_id, run, judge(outcome), traceback=text)
        task = self._tasks.get(notice.task_id)
        if task is not None:
            row = msgspec.structs.replace(row, task=task.key)
        with self.lock:
            if place != self.place:
                return
            if notice.event is not Event.EXECUTION_RETRY:
                self._take(row)
            if notice.event is Event.EXECUTION_RETRY or run.attempt > 1:
                name = name_attempt(run)
                self._take(msgspec.structs.replace(row, id=name, run=run.id))

    def note_pending(self, pending: Pending | Recounted) -> None:
        """Record a run that waits or was dropped while it did; or a recount."""
        if pending.task_id not in self._tasks:
            return
        if isinstance(pending, Recounted):
            self.note_recount(pending)
            return
        run = pending.execution
        outcome = RunOutcome.STOPPED if pending.is_dropped else RunOutcome.QUEUED
        error = None
        if pending.is_dropped and self._is_interrupted:
            outcome, error = RunOutcome.LOST, ORPHANED
        row = _make_row(pending.task_id, run, outcome, error=error)
        self._put(
            Resumed(row=row, before=pending.before) if pending.was_skipped else row
        )

    def _note_queued(self, task_id: str, run: ScheduledExecution) -> None:
        """Record that an attempt waits; that a whole run does is known already."""
        if run.started_at is not None:
            self._put(_make_row(task_id, run, RunOutcome.QUEUED))

    def note_attempt(self, began: AttemptBegan) -> None:
        """Record that an attempt which was queued has begun."""
        if began.task_id in self._tasks:
            run = began.execution
            row = _make_row(began.task_id, run, RunOutcome.RUNNING, pid=run.pid)
            self._put(row)

    def note_recount(self, recounted: Recounted) -> None:
        """Leave no slot after it to the rows there are; also of an earlier life."""
        key, since = recounted.task_id, recounted.since
        with self.lock:
            for row in list(self._in_progress.values()):
                is_slot = row.task == key and row.trigger != "backfill"
                if is_slot and row.slot is not None and row.slot > since:
                    self._in_progress[row.id] = msgspec.structs.replace(row, slot=None)
            task = self._tasks.get(key)  # None: the life of an earlier process
            if task is not None and key in self._new:
                self._new.discard(key)  # the task's earlier lives are found by it
                self._take(task)
            if task is not None and task.key != key:
                recounted = msgspec.structs.replace(recounted, task_id=task.key)
            self._take(recounted)

    def add_output(
        self, run_id: str, data: bytes, dropped: int, dropped_lines: int
    ) -> None:
        """Keep what a run in progress wrote; see `OutputLog.append`."""
        if run_id in self._outputs:
            log = self._outputs[run_id] or OutputLog(HEAD_BYTES, TAIL_BYTES)
            self._outputs[run_id] = log
            log.append(data, dropped, dropped_lines)
        if run_id in self._attempts:
            own = self._attempts[run_id] or OutputLog(HEAD_BYTES, TAIL_BYTES)
            self._attempts[run_id] = own
            own.append(data, dropped, dropped_lines)

    def _open(self, notice: Notice) -> None:
        run = notice.execution
        assert run is not None
        self._outputs[run.id] = None
        self._put(
            _make_row(
                notice.task_id,
                run,
                RunOutcome.RUNNING,
                started_at=run.started_at,
                pid=run.pid,
            )
        )

    def _close(
        self, notice: Notice, output: OutputLog | None, own: OutputLog | None
    ) -> None:
        run, outcome = notice.execution, notice.outcome
        assert run is not None
        assert outcome is not None
        whole = self._outputs.pop(run.id, None) or output
        row = _make_closed(notice.task_id, run, outcome, whole)
        rows = [msgspec.structs.replace(row, attempts=run.attempt)]
        own = self._attempts.pop(run.id, None) or own
        if run.attempt > max(1, self._ended.pop(run.id, 0)):
            rows.insert(0, _make_attempt(notice.task_id, run, outcome, own))
        is_orphan = self._is_interrupted and _is_cut(outcome)
        for row in rows:
            self._put(_orphan(row) if is_orphan else row)

    def _end_attempt(self, notice: Notice, output: OutputLog | None) -> None:
        """Record an attempt that has failed, and that its run goes on."""
        run, outcome = notice.execution, notice.outcome
        assert run is not None
        assert outcome is not None
        own = self._attempts.get(run.id) if run.attempt > 1 else self._outputs[run.id]
        self._attempts[run.id], self._ended[run.id] = None, run.attempt
        self._put(_make_attempt(notice.task_id, run, outcome, own or output))
        following = msgspec.structs.replace(run, attempt=run.attempt + 1)
        self._put(_make_row(notice.task_id, following, RunOutcome.RUNNING))

    def _pass_over(self, notice: Notice) -> None:
        """Put the row of a slot that did not run."""
        outcome = judge_slot(notice)
        if outcome is None:
            return
        values: dict[str, str | int | None] = {}
        if notice.outcome is None:
            values["missed_count"] = notice.missed_count
        elif notice.outcome.is_ok:
            values["summary"] = notice.outcome.summary
        else:
            values = describe_error(notice.outcome)
        self._put(
            RunRow(
                id=identify_slot(notice),
                task=notice.task_id,
                slot=notice.date,
                trigger="scheduled",
                at=notice.date,
                outcome=outcome,
                **values,  # type: ignore[arg-type] # checked by the callers' tests
            )
        )

    def _note_life(self, notice: Notice) -> None:
        key, end = notice.task_id, _ENDS[notice.event]
        if end is None:
            self._stopped.discard(key)
        elif self._has_end_in_common:
            end = self._end
        else:
            self._stopped.add(key)
        # What the user has stopped stays stopped when the process ends, and a task that
        # was never started leaves nothing.
        is_news = notice.event is Event.TASK_STARTED or (
            key not in self._new
            and not (self._has_end_in_common and key in self._stopped)
        )
        if is_news:
            self._put(TaskEnd(key=key, at=notice.triggered_at, end=end))
        if notice.event is Event.TASK_DESTROYED:
            self._stopped.discard(key)
            del self._tasks[key]

    def _put(self, change: RunRow | Resumed | TaskEnd) -> None:
        """Hand over a row, made with the task's id, and before its first one the life.

        A task that is kept has the same id in all of its lives.
        """
        row = change.row if isinstance(change, Resumed) else change
        task_id = row.key if isinstance(row, TaskEnd) else row.task
        with self.lock:
            task = self._tasks.get(task_id)  # None: a run outlasts its task
            if task is not None and task_id in self._new:
                self._new.discard(task_id)
                self._take(task)
            if isinstance(change, RunRow):
                change = row = self._take_slot(change)
            if task is not None and task.key != task_id:
                change = name_life(change, task.key)
            self._take(change)
            if isinstance(row, TaskEnd):
                return
            if row.outcome in OPEN:
                self._in_progress[row.id] = row
            else:
                self._in_progress.pop(row.id, None)

    def _take_slot(self, row: RunRow) -> RunRow:
        """Return a row without a slot if a recount took it from its run."""
        known = self._in_progress.get(row.run or row.id)
        if known is None or known.slot == row.slot:
            return row
        return msgspec.structs.replace(row, slot=known.slot)


def name_life(
    change: RunRow | Resumed | TaskEnd, key: str
) -> RunRow | Resumed | TaskEnd:
    """Return a change that was made with a task's id with the life that it is of."""
    if isinstance(change, TaskEnd):
        return msgspec.structs.replace(change, key=key)
    if isinstance(change, Resumed):
        row = msgspec.structs.replace(change.row, task=key)
        return msgspec.structs.replace(change, row=row)
    return msgspec.structs.replace(change, task=key)


def _make_row(
    task_id: str,
    run: ScheduledExecution,
    outcome: RunOutcome,
    **values: str | float | None,
) -> RunRow:
    return RunRow(
        id=run.id,
        task=task_id,
        slot=None if run.reason == "invoked" else run.date,
        trigger=run.reason,
        at=run.date if run.started_at is None else run.started_at,
        outcome=outcome,
        attempt=run.attempt,
        **values,  # type: ignore[arg-type] # as above
    )


def _make_closed(
    task_id: str, run: ScheduledExecution, outcome: Outcome, output: OutputLog | None
) -> RunRow:
    """Return the row of a run that has ended."""
    details = outcome.details
    return _make_row(
        task_id,
        run,
        judge(outcome),
        started_at=run.started_at,
        finished_at=run.finished_at,
        pid=run.pid,
        summary=outcome.summary if outcome.is_ok else outcome.remark or None,
        output=None if output is None else show_surrogates(str(output)),
        output_left_out=0 if output is None else output.left_out,
        **({} if outcome.is_ok else describe_error(outcome)),
        cpu_seconds=None if details is None else details.cpu_seconds,
        peak_memory=None if details is None else details.peak_memory,
    )


def _make_attempt(
    task_id: str, run: ScheduledExecution, outcome: Outcome, output: OutputLog | None
) -> RunRow:
    """Return the row of one attempt, which stands under its run's."""
    own = msgspec.structs.replace(run, started_at=run.begun_at)
    row = _make_closed(task_id, own, outcome, output)
    return msgspec.structs.replace(row, id=name_attempt(run), run=run.id)


def _is_cut(outcome: Outcome) -> bool:
    """Return whether a run was ended while it ran, or before its job ran again.

    A run of which an attempt has failed has failed, whatever ends it before the next.
    """
    is_snoozed = outcome.manner == "cancelled" and bool(outcome.remark)
    return outcome.manner == "stopped" or is_snoozed


def _orphan(row: RunRow) -> RunRow:
    """Return the row of a run that was ended with its client, by nobody's wish."""
    return msgspec.structs.replace(
        row,
        outcome=RunOutcome.LOST,
        error_type=None,
        error=ORPHANED,
        summary=None,
        traceback=None,
        exit_code=None,
        signal=None,
    )


def name_attempt(run: ScheduledExecution) -> str:
    """Return the id of an attempt's row."""
    return f"{run.id}/{run.attempt}"


_WORDS: dict[type, RunOutcome] = {
    ExecutionTimeout: RunOutcome.TIMED_OUT,
    WorkerCrashed: RunOutcome.CRASHED,
    SupervisorLost: RunOutcome.LOST,
}


def judge(outcome: Outcome) -> RunOutcome:
    """Return the word for how a run ended."""
    if outcome.manner != "plain":
        return RunOutcome(outcome.manner)
    if outcome.is_ok:
        return RunOutcome.FINISHED
    return next(
        (word for kind, word in _WORDS.items() if isinstance(outcome.value, kind)),
        RunOutcome.FAILED,
    )


def judge_slot(notice: Notice) -> RunOutcome | None:
    """Return what became of a slot that did not run; None for any other event."""
    if notice.event is Event.EXECUTION_MISSED:
        return RunOutcome.MISSED
    if notice.event is Event.EXECUTION_SKIPPED:
        return _SKIPPED[notice.reason or "not-elected"]
    is_overlap = notice.event is Event.EXECUTION_OVERLAP and notice.is_skipped
    return RunOutcome.OVERLAP if is_overlap else None


def identify_slot(notice: Notice) -> str:
    """Return the id of the row of a slot that did not run."""
    count, since = notice.missed_count or 1, notice.missed_since
    if count > 1 and since is not None:
        return name_count(notice.task_id, since, notice.date)
    return notice.run_id or f"{notice.task_id}:{notice.date:.0f}"


def describe_error(outcome: Outcome) -> dict[str, str | int | None]:
    """Return the columns that tell of a failure.

    The value of a worker's error is not decoded: that would run users' code.
    """
    details, error = outcome.details, outcome.value
    name, _, line = outcome.summary.partition(": ")
    values: dict[str, str | int | None] = {"error_type": name, "error": line}
    if details is not None:
        values["traceback"] = details.traceback
    if isinstance(error, WorkerCrashed):
        values["exit_code"], values["signal"] = error.exit_code, error.signal_name
    return {
        key: show_surrogates(v) if isinstance(v, str) else v
        for key, v in values.items()
    }
