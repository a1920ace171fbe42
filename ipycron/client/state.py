"""A task's state as its scheduler reports it, kept in the client.

The scheduler may be in another process; nothing here is guessed. Written on the
client's loop, read in any thread.
"""

from __future__ import annotations

import math
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from ipycron.client.executions import (
    MAX_RUNS,
    Execution,
    History,
    PastRun,
    is_begun,
)
from ipycron.client.output import Output
from ipycron.errors import RemoteError
from ipycron.process.wire.outcome import Unserializable
from ipycron.process.wire.printable import show_controls
from ipycron.process.wire.protocol import Displayed
from ipycron.scheduling.bounds import find_end
from ipycron.scheduling.events import (
    Event,
    Notice,
    Outcome,
    ScheduledExecution,
    Status,
)
from ipycron.scheduling.plan import (
    correct_pause,
    count_slots,
    find_start,
    plan_outage,
    plan_pause_of,
)
from ipycron.scheduling.small_map import NOTHING, SmallMap

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import tzinfo

    from ipycron.client.executions import RunLike
    from ipycron.client.recovery import Action
    from ipycron.process.service.protocol import PastState, TaskState
    from ipycron.process.wire.payload import Payload
    from ipycron.process.wire.protocol import Streamed
    from ipycron.scheduling.events import AttemptBegan, Pause, SkipReason
    from ipycron.scheduling.plan import Beat, Outage
    from ipycron.scheduling.ports import Schedule

ENDS = (Event.EXECUTION_FINISHED, Event.EXECUTION_FAILED)
"""The events that close a run."""
_IS_STARTED_AFTER = MappingProxyType(
    {
        Event.TASK_STARTED: True,
        Event.TASK_RESTARTED: True,
        Event.TASK_STOPPED: False,
        Event.TASK_FAILED: False,
        Event.TASK_DESTROYED: False,
    }
)
_PAUSING = (Event.TASK_PAUSED, Event.TASK_RESUMED, Event.TASK_DESTROYED)
"""The events after which the pause is the one that they name, or none."""
MAX_COUNTED = 10_000
"""Missed slots that the client counts itself, which blocks its loop for 50 ms."""
_EARLY = 100  # pieces of output kept for the first run


class ObservedState:
    """A task's status, its runs in progress and its history.

    Args:
        task_id: the task's.
        zone: the zone of the instants shown.
        runs_left: the limit of scheduled runs, None without one.
        defer: calls a function soon, off the client's loop.

    Attributes:
        passed: the latest instant at which the task's scheduler is known to have read
            the clock, Unix seconds. It is in the future if the clock was set back.
        last_end: when the last slot was done with, Unix seconds; see `find_end`.
        pause: the pause that was reported last; None if the task is not paused.
        last_pause: the same, or the one that has ended last: it may have done so while
            there was no scheduler to skip its slots.
    """

    __slots__ = (
        "_defer",
        "_early",
        "_is_limit_told",
        "_is_started",
        "_queued",
        "_running",
        "_task_id",
        "_zone",
        "history",
        "last_end",
        "last_pause",
        "last_run",
        "passed",
        "pause",
        "runs_left",
        "status",
        "stop_by",
    )

    def __init__(
        self,
        task_id: str,
        *,
        zone: tzinfo,
        runs_left: int | None,
        defer: Callable[[Callable[[], object]], None],
    ) -> None:
        self._task_id = task_id
        self._zone = zone
        self._defer = defer
        self._running: SmallMap[str, Execution] = NOTHING
        self._queued: SmallMap[str, Execution] = NOTHING
        # Whether its start was reported and its stop was not.
        self._is_started = False
        self._is_limit_told = False
        self._early: tuple[tuple[Streamed | Displayed, Payload], ...] = ()
        self.passed: float | None = None
        self.last_end: float | None = None
        self.pause: Pause | None = None
        self.last_pause: Pause | None = None
        self.status = Status.STOPPED
        # When a stop that waits for a run will end it, Unix seconds; None without one.
        self.stop_by: float | None = None
        self.runs_left = runs_left
        self.last_run: Execution | None = None
        self.history = History()

    def move_to(self, zone: tzinfo) -> None:
        """Show the instants of future runs in another zone."""
        self._zone = zone

    def forget_in_child(self) -> None:
        """Show nothing as in progress, in a process that the client forked."""
        self.status = Status.STOPPED
        self._running = self._queued = NOTHING

    def forget_queued(self) -> None:
        """Show no run as waiting that has not begun: nothing will be reported of it.

        The task's scheduler is gone, or has stopped it.
        """
        for run in self.queued:
            if run.started_at is None:
                self._queued = self._queued.remove(run.id)

    @property
    def queued(self) -> tuple[Execution, ...]:
        """The runs that wait for their turn or for a place, oldest first."""
        return self._queued.values()

    @property
    def running(self) -> tuple[Execution, ...]:
        """The runs in progress, oldest first; a snapshot."""
        return self._running.values()

    def follow(self, notice: Notice) -> Execution | None:
        """Apply an event; return the run it is about."""
        self._note_state(notice)
        scheduled = notice.execution
        if scheduled is None:
            self.history.count(notice)
            self._queued = self._queued.remove(notice.run_id or "")
            return None
        run_id = scheduled.id
        execution = self._running.get(run_id) or self._queued.get(run_id)
        if execution is None:
            execution = Execution(scheduled, self._zone)
        elif not is_begun(execution):
            execution.begin(scheduled)
        # Added, then removed: a concurrent reader finds the run in one place or both.
        if notice.event is Event.EXECUTION_QUEUED:
            execution.wait(scheduled)
            if self._queued.get(run_id) is None:
                self._queued = self._queued.add(run_id, execution)
            self._running = self._running.remove(run_id)
            return execution
        if notice.event is Event.EXECUTION_STARTED:
            self._open(execution)
        elif notice.event in ENDS:
            assert notice.outcome is not None
            self._close(execution, scheduled, notice.outcome)
        elif notice.event is Event.EXECUTION_RETRY:
            execution.rest(notice)
        if self._queued:
            self._queued = self._queued.remove(run_id)
        return execution

    def follow_attempt(self, began: AttemptBegan) -> None:
        """Show that an attempt which was queued has begun."""
        self.status, run_id = began.status, began.execution.id
        execution = self._queued.get(run_id)
        if execution is not None:
            execution.go_on(began.execution)
            self._running = self._running.add(run_id, execution)
            self._queued = self._queued.remove(run_id)

    def take_over(self, state: TaskState, zone: tzinfo) -> None:
        """Show a state that another process has followed up to now.

        What is known of its runs already stays, such as their results.
        """
        self._zone = zone
        self.status, self.runs_left = state.status, state.runs_left
        self._is_started = state.status in (Status.IDLE, Status.RUNNING)
        self.passed, self.last_end = state.passed, state.last_end
        self.pause = state.pause
        if state.pause is not None:
            self.last_pause = state.pause
        self._running = self._list_runs(self._running, state.running)
        self._queued = self._list_runs(self._queued, state.queued)
        self.recall(state.runs, state.counts)

    def recall(self, states: Sequence[PastState], counts: Mapping[str, int]) -> None:
        """Remember runs that ended before this process followed the task.

        Args:
            states: the last ones, oldest first; those that are known stay as they are.
            counts: of all runs and slots, as `History.read_counts` returns them.
        """
        runs: list[PastRun] = []
        newest = self.last_run
        for past in states:
            run = self.history.find(past.execution.id)
            if run is None:
                newest, run = self._make_past(past)
            else:
                newest = self.last_run
            runs.append(run)
        self.last_run = newest
        self.history.recall(runs)
        self.history.raise_counts(counts)

    def _list_runs(
        self,
        known: SmallMap[str, Execution],
        runs: Sequence[ScheduledExecution],
    ) -> SmallMap[str, Execution]:
        listed: SmallMap[str, Execution] = NOTHING
        for scheduled in runs:
            run = known.get(scheduled.id) or Execution(scheduled, self._zone)
            listed = listed.add(run.id, run)
        return listed

    def _make_past(self, past: PastState) -> tuple[Execution, PastRun]:
        outcome = Outcome(
            is_ok=past.is_ok,
            value=_make_value(past),
            summary=show_controls(past.summary),
            manner=past.manner,
            remark=show_controls(past.remark),
        )
        execution = Execution(past.execution, self._zone)
        execution.finish(past.execution, outcome)
        return execution, PastRun.of(execution, outcome, is_recalled=True)

    def _note_state(self, notice: Notice) -> None:
        self.status = notice.status
        self.runs_left = notice.runs_left
        self.passed = find_start(notice.triggered_at, self.passed)
        self.last_end = find_end(notice) or self.last_end
        if notice.execution is None:
            self._note_task_state(notice)

    def _note_task_state(self, notice: Notice) -> None:
        """Follow an event that is not about a run."""
        event = notice.event
        if event in _PAUSING:
            self._note_pause(notice)
        if not _IS_STARTED_AFTER.get(event, True):  # no run waits through a stop
            self.forget_queued()
        self._is_started = _IS_STARTED_AFTER.get(event, self._is_started)
        self._is_limit_told |= event is Event.EXECUTION_MAX_REACHED

    def recount(self, since: float, now: float) -> None:
        """Follow a clock that was ahead and is right: slots after `since` come (C3)."""
        self.passed = None
        if self.last_end is not None:
            self.last_end = min(self.last_end, now)
        if self.pause is not None:
            self.pause = self.last_pause = correct_pause(self.pause, since)
        elif self.last_pause is not None and not self.last_pause.is_over(now):
            self.last_pause = None  # none of the slots to come is in it

    def _note_pause(self, notice: Notice) -> None:
        ended, self.pause = self.pause, notice.pause
        self.last_pause = notice.pause
        if self.pause is None and ended is not None:
            self.last_pause = replace(ended, until=math.ceil(notice.date))

    def _open(self, execution: Execution) -> None:
        self._running = self._running.add(execution.id, execution)
        if self._early:
            early, self._early = self._early, ()
            for message, payload in early:
                _add_output(execution, message, payload)

    def _close(
        self, execution: Execution, scheduled: ScheduledExecution, outcome: Outcome
    ) -> None:
        execution.finish(scheduled, outcome)
        self.last_run = execution
        run = self.history.add(execution, outcome)
        self._running = self._running.remove(scheduled.id)
        if not run.is_ok:
            # Replaces the error by its traceback's text, soon and in another thread.
            self._defer(lambda: run.traceback_text)

    def follow_runs(self, runs: Sequence[tuple[ScheduledExecution, Outcome]]) -> None:
        """Apply runs that have ended one after the other, all successfully."""
        self.history.count_finished(len(runs[:-MAX_RUNS]))
        for scheduled, outcome in runs[-MAX_RUNS:]:
            execution = Execution(scheduled, self._zone)
            execution.finish(scheduled, outcome)
            self.last_run = execution
            self.history.add(execution, outcome)

    def describe_run(
        self, execution: ScheduledExecution, outcome: Outcome
    ) -> tuple[Notice, Notice]:
        """Return the notices of a run that no scheduler has reported."""
        begin, end = execution.started_at, execution.finished_at
        assert begin is not None
        assert end is not None
        ended = Notice(
            event=Event.EXECUTION_FINISHED,
            task_id=self._task_id,
            status=Status.IDLE,
            date=execution.date,
            triggered_at=end,
            execution=execution,
            outcome=outcome,
            runs_left=self.runs_left,
        )
        started = replace(
            ended,
            event=Event.EXECUTION_STARTED,
            status=Status.RUNNING,
            triggered_at=begin,
            execution=replace(execution, finished_at=None),
            outcome=None,
        )
        return started, ended

    def find_output(self, execution_id: str) -> Output:
        """Return the output of a run; an unused one if the run was forgotten."""
        run = self._find_begun(execution_id)
        return Output() if run is None else run.output

    def _find_begun(self, run_id: str) -> Execution | None:
        run = self._running.get(run_id)
        if run is None:
            run = self._queued.get(run_id)
        return run if run is not None and is_begun(run) else None

    def add_output(self, message: Streamed | Displayed, payload: Payload) -> None:
        """Add to the output of a run, even after its end."""
        run_id = message.execution_id
        execution = self._find_begun(run_id) or self.history.find(run_id)
        if execution is None:
            # What a file prints while it loads is shown with its first run.
            self._early = (*self._early[1 - _EARLY :], (message, payload))
            return
        _add_output(execution, message, payload)

    # --- what no scheduler reports ----------------------------------------------------

    def describe_loss(
        self, now: float, outcome: Outcome, *, open_control: Action | None
    ) -> list[Notice]:
        """Return what the end of the supervisor means for the task.

        Runs in progress have failed. Its open control is done, unless it was a start.

        Args:
            now: the instant of the loss.
            outcome: the error.
            open_control: its last unanswered control, if any.
        """
        ends = [
            self._describe_run_end(execution, now, outcome)
            for execution in (*self.running, *self.queued)
            if execution.started_at is not None
        ]
        changes: list[Event] = []
        if self._is_started and self.runs_left == 0:
            changes = [Event.TASK_STOPPED, Event.TASK_DESTROYED]
            if not self._is_limit_told:
                changes.insert(0, Event.EXECUTION_MAX_REACHED)
        elif open_control in ("stop", "destroy"):
            changes = [Event.TASK_STOPPED] if self._is_started else []
            if open_control == "destroy":
                changes.append(Event.TASK_DESTROYED)
        return [*ends, *(self.describe_end(event, now) for event in changes)]

    def _describe_run_end(
        self, execution: Execution, now: float, outcome: Outcome
    ) -> Notice:
        run = replace(execution.cut_short(now), finished_at=now)
        return Notice(
            event=Event.EXECUTION_FAILED,
            task_id=self._task_id,
            status=Status.IDLE,
            date=run.date,
            triggered_at=now,
            execution=run,
            outcome=outcome,
            runs_left=self.runs_left,
        )

    def describe_pause(self, pause: Pause | None, now: float) -> Notice | None:
        """Return the notice of a pause or a resume that no scheduler reports, if any.

        Args:
            pause: the one that was requested; None to resume.
            now: the instant of the request.
        """
        current = self.pause
        if current is not None and current.is_over(now):
            current = None
        if pause is not None and current is not None:
            pause = replace(pause, since=current.since)
        if pause == current:
            return None
        return Notice(
            event=Event.TASK_RESUMED if pause is None else Event.TASK_PAUSED,
            task_id=self._task_id,
            status=self.status,
            date=now,
            triggered_at=now,
            runs_left=self.runs_left,
            pause=pause,
        )

    def describe_missed(
        self, outage: Outage, schedule: Schedule, excluded: Schedule | None = None
    ) -> list[Notice]:
        """Return the slots of a time in which the task had no scheduler.

        Args:
            outage: that time.
            schedule: the slots that run.
            excluded: those that do not, if there may be any; also in a pause.
        """
        until = outage.until
        beats: list[tuple[Beat, Schedule, SkipReason | None]] = []
        if excluded is not None:
            beats = [(plan_outage(outage, excluded), excluded, "excluded")]
        outage = replace(outage, pause=self.last_pause)
        skipped = plan_pause_of(outage, schedule, now=until)
        beats += [
            (skipped, schedule, "paused"),
            (plan_outage(outage, schedule), schedule, None),
        ]
        found = (self._describe_beat(*beat, until=until) for beat in beats)
        return sorted(chain.from_iterable(found), key=lambda notice: notice.date)

    def _describe_beat(
        self,
        beat: Beat,
        schedule: Schedule,
        skip: SkipReason | None,
        *,
        until: float,
    ) -> list[Notice]:
        counts = [(slot, 1) for slot in beat.missed]
        if beat.gap is not None:
            # Bounded: this blocks the client's loop.
            count, newest, _ = count_slots(schedule, beat.gap, limit=MAX_COUNTED)
            counts.append((newest, count))
        return [
            Notice(
                event=Event.EXECUTION_SKIPPED if skip else Event.EXECUTION_MISSED,
                task_id=self._task_id,
                status=self.status,
                date=slot,
                triggered_at=until,
                reason=skip,
                missed_count=None if skip and count == 1 else count,
                runs_left=self.runs_left,
            )
            for slot, count in counts
        ]

    def describe_return(self, now: float) -> Notice:
        """Return the notice of a task that is scheduled again, by another process."""
        return Notice(
            event=Event.TASK_RESTARTED,
            task_id=self._task_id,
            status=self.status,
            date=now,
            triggered_at=now,
            runs_left=self.runs_left,
        )

    def describe_end(
        self, event: Event, now: float, outcome: Outcome | None = None
    ) -> Notice:
        """Return the notice of an end that no scheduler reports."""
        is_destroyed = event is Event.TASK_DESTROYED
        return Notice(
            event=event,
            task_id=self._task_id,
            status=Status.DESTROYED if is_destroyed else Status.STOPPED,
            date=now,
            triggered_at=now,
            outcome=outcome,
            runs_left=self.runs_left,
        )


def _make_value(past: PastState) -> Any:
    """Return what stands for the result or the error of a run that ended before."""
    if past.is_ok:
        text, reason = past.summary, "it ended before this process followed the task"
        return Unserializable(type_name="", text=text, reason=reason)
    name, _, message = past.summary.partition(": ")
    return RemoteError(
        type_name=name,
        message=message,
        traceback_text=f"{past.summary}\n",
        reason="it ended before this process followed the task",
    )


def _add_output(
    execution: RunLike, message: Streamed | Displayed, payload: Payload
) -> None:
    if isinstance(message, Displayed):
        execution.output.display(payload)
    else:
        execution.output.write(
            message.stream,
            bytes(payload.open()),
            message.dropped,
            message.dropped_lines,
        )
