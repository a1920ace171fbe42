"""The state of one task and of each of its runs, and how they may change."""

from __future__ import annotations

import logging
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

import msgspec

from ipycron.scheduling.aio import mark_retrieved
from ipycron.scheduling.bounds import bound, find_end, waits_for_end
from ipycron.scheduling.events import AttemptBegan, Event, Notice, Pending, Status
from ipycron.scheduling.small_map import NOTHING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    from ipycron.scheduling.events import (
        Outcome,
        Pause,
        ScheduledExecution,
        SkipReason,
    )
    from ipycron.scheduling.policy import Policy
    from ipycron.scheduling.pools import Place
    from ipycron.scheduling.ports import Schedule, Timer, Worker
    from ipycron.scheduling.services import Services
    from ipycron.scheduling.small_map import SmallMap
    from ipycron.scheduling.standby import Standby


logger = logging.getLogger("ipycron")


class Phase(StrEnum):
    """A task's phase in its life cycle, from which its `Status` follows."""

    STOPPED = "stopped"
    STARTING = "starting"
    STARTED = "started"
    STOPPING = "stopping"
    DESTROYED = "destroyed"


TRANSITIONS: Mapping[Phase, frozenset[Phase]] = MappingProxyType(
    {
        # started; destroyed while stopped
        Phase.STOPPED: frozenset({Phase.STARTING, Phase.DESTROYED}),
        # loaded; failed to load; stopped or destroyed in the meantime
        Phase.STARTING: frozenset({Phase.STARTED, Phase.STOPPED, Phase.STOPPING}),
        # stopped, destroyed, limit reached, or too many deaths
        Phase.STARTED: frozenset({Phase.STOPPING}),
        # everything is gone
        Phase.STOPPING: frozenset({Phase.STOPPED, Phase.DESTROYED}),
        Phase.DESTROYED: frozenset(),
    }
)


class TaskState:
    """The state of one task of the scheduler.

    All parts of the task read it. Each attribute is written by one class only: the
    phase by `Lifecycle`; the schedule, both slots, the pause and `standby` by `Slots`;
    the runs and the counts by `RunTracker`.

    Attributes:
        phase: changed by `move` only.
        next_slot: the first slot that is not settled; None if there is none.
        settled_slot: the newest slot that ran, was missed or was skipped. It
            survives stop and start: no slot is settled twice, even if the clock
            steps back in between.
        runs: runs in progress and pending runs, by id, oldest first.
        active_count: how many of them are in progress: also between two attempts, but
            not while the next one is queued.
        started_count: scheduled runs started so far, limited by `max_executions`.
        lingering: runs by id that were reported as over although their code is still
            running. They count as overlap, even after a stop and a start.
        standby: the order of the worker that begins the run of `next_slot` by itself,
            or None.
        has_ended: whether no slot is left.
        trigger: the schedule without the task's bounds.
        last_end: when the schedule's last run ended, if it counts from that; else None.
        pause: its pause, which survives stop and start; None if it is not paused.
    """

    __slots__ = (
        "_services",
        "active_count",
        "has_ended",
        "id",
        "last_end",
        "lingering",
        "name",
        "next_slot",
        "pause",
        "phase",
        "policy",
        "runs",
        "schedule",
        "settled_slot",
        "standby",
        "started_count",
        "trigger",
    )

    def __init__(
        self,
        task_id: str,
        *,
        name: str,
        schedule: Schedule,
        policy: Policy,
        services: Services,
    ) -> None:
        self.id = task_id
        self.name = name
        self.trigger = schedule
        self.schedule = bound(schedule, policy)
        self.policy = policy
        self.phase = Phase.STOPPED
        self.next_slot: int | None = None
        self.settled_slot: int | None = None
        self.runs: SmallMap[str, Run] = NOTHING
        self.lingering: SmallMap[str, asyncio.Future[Outcome]] = NOTHING
        self.active_count = 0
        self.started_count = 0
        self.standby: Standby | None = None
        self.pause: Pause | None = None
        self.has_ended = False
        self.last_end: float | None = None
        self._services = services

    @property
    def status(self) -> Status:
        """The status that follows from the phase and the runs."""
        if self.active_count:
            return Status.RUNNING
        if self.phase is Phase.STARTED:
            return Status.IDLE
        if self.phase is Phase.DESTROYED:
            return Status.DESTROYED
        return Status.STOPPED

    @property
    def runs_left(self) -> int | None:
        """Scheduled runs left under `max_executions`; None without a limit."""
        limit = self.policy.max_executions
        return None if limit is None else limit - self.started_count

    @property
    def is_exhausted(self) -> bool:
        """Whether the last of `max_executions` scheduled runs has started."""
        return self.started_count == self.policy.max_executions

    @property
    def busy_run(self) -> str | None:
        """The id of a run that another run would overlap with, or None."""
        return next(iter(self.runs), None) or next(iter(self.lingering), None)

    def linger(self, execution_id: str, end: asyncio.Future[Outcome]) -> None:
        """Note that a run's code is still running, until `end` is done."""
        self.lingering = self.lingering.add(execution_id, end)
        end.add_done_callback(lambda _: self._end_lingering(execution_id))

    def _end_lingering(self, execution_id: str) -> None:
        self.lingering = self.lingering.remove(execution_id)

    def move(self, phase: Phase) -> None:
        """Change the phase, as `TRANSITIONS` allows."""
        if phase not in TRANSITIONS[self.phase]:
            message = f"invalid transition from {self.phase} to {phase}"
            raise RuntimeError(message)
        self.phase = phase

    def emit_missed(
        self,
        slot: float,
        count: int = 1,
        *,
        since: float | None = None,
        run_id: str | None = None,
    ) -> None:
        """Report `count` missed slots, all after `since`.

        `slot` is the newest, of the pending run `run_id`, if there was one.
        """
        self.emit(
            Event.EXECUTION_MISSED,
            date=slot,
            missed_count=count,
            missed_since=since,
            run_id=run_id,
        )

    def emit_superseded(self, run: Run) -> None:
        """Report the slot of a run that waited, and that a newer one replaces."""
        self.emit(
            Event.EXECUTION_SKIPPED,
            date=run.execution.date,
            reason="superseded",
            run_id=run.execution.id,
        )

    def note(self, run: Run, *, is_dropped: bool = False) -> None:
        """Note for the history that a run waits, or was dropped while it did."""
        self.note_execution(run.execution.copy(), is_dropped=is_dropped)

    def note_execution(
        self,
        execution: ScheduledExecution,
        *,
        is_dropped: bool = False,
        was_skipped: bool = False,
        before: int | None = None,
    ) -> None:
        """Note the same of a run that has not been opened; see `Pending`."""
        self._services.note(
            Pending(
                task_id=self.id,
                execution=execution,
                is_dropped=is_dropped,
                was_skipped=was_skipped,
                before=before,
            )
        )

    def note_attempt(self, run: Run) -> None:
        """Report that the code of an attempt that was queued has begun."""
        execution = run.execution.copy()
        began = AttemptBegan(task_id=self.id, status=self.status, execution=execution)
        try:
            self._services.note_attempt(began)
        except Exception:
            logger.exception("a receiver of a queued attempt failed")

    def schedule_goes_on(self, after: float) -> bool:
        """Return whether the trigger has a slot after an instant, excluded or not."""
        return self.trigger.find_next(after) is not None

    def emit_excluded(
        self, slot: float, count: int = 1, *, since: float | None = None
    ) -> None:
        """Report `count` excluded slots; see `emit_missed`."""
        self.emit(
            Event.EXECUTION_SKIPPED,
            date=slot,
            reason="excluded",
            missed_count=count if count > 1 else None,
            missed_since=since,
        )

    def emit_paused(
        self,
        slot: float,
        count: int = 1,
        *,
        since: float | None = None,
        run_id: str | None = None,
    ) -> None:
        """Report `count` slots skipped in a pause; see `emit_missed`."""
        self.emit(
            Event.EXECUTION_SKIPPED,
            date=slot,
            reason="paused",
            missed_count=count if count > 1 else None,
            missed_since=since,
            run_id=run_id,
        )

    def emit(
        self,
        event: Event,
        *,
        now: float | None = None,
        date: float | None = None,
        execution: ScheduledExecution | None = None,
        outcome: Outcome | None = None,
        reason: SkipReason | None = None,
        next_attempt_at: float | None = None,
        missed_count: int | None = None,
        missed_since: float | None = None,
        run_id: str | None = None,
        is_skipped: bool = False,
        pause: Pause | None = None,
    ) -> None:
        """Emit an event of `now`, with the state right after it."""
        if now is None:
            now = self._services.clock.now()
        notice = Notice(
            event=event,
            task_id=self.id,
            status=self.status,
            date=now if date is None else date,
            triggered_at=now,
            execution=None if execution is None else execution.copy(),
            outcome=outcome,
            reason=reason,
            next_attempt_at=next_attempt_at,
            missed_count=missed_count,
            missed_since=missed_since,
            runs_left=self.runs_left,
            run_id=run_id,
            is_skipped=is_skipped,
            pause=pause,
        )
        if waits_for_end(self.trigger):
            self.last_end = find_end(notice) or self.last_end
        try:
            self._services.emit(notice)
        except Exception:
            # The border to the listeners: none of their errors may stop a schedule.
            logger.exception("a receiver of %s failed", event)


class RunStage(StrEnum):
    """The progress of a run."""

    PENDING = "pending"  # in its election, in its random delay, or without a worker
    ACTIVE = "active"  # reported as started
    RESTING = "resting"  # between two attempts
    OVER = "over"  # reported as finished or failed, or given up while pending


class RunObserver(Protocol):
    """Settles a run once its future is done."""

    def settle(self, run: Run) -> None:
        """Close the run with its worker's outcome, or the scheduler's verdict."""


class Run(msgspec.Struct, eq=False, kw_only=True):
    """One run: the execution that is reported, and the scheduler's own state.

    The run itself is its future's callback: a closure would be three more objects per
    run for the garbage collector to traverse, for a thousand runs.

    Attributes:
        observer: settles the run once its future is done.
        latest: the instant, in Unix seconds, after which the run does not begin and its
            slot is missed; None if it may wait indefinitely.
        began: when the code of its newest attempt was started, by the monotonic clock.
        undo: cancels what the pending run is waiting for.
        is_waiting: whether it is waiting for the main worker.
        has_turn: whether other runs of its task have made room for it.
        queued_at: the monotonic time since which it has waited for its turn, or None.
        is_queued: whether its next attempt was reported as queued, and has not begun.
        place: its place in a pool, waited for or held; None without one.
        key: the key of the slot's claim, while this instance holds the claim.
        worker: the worker that runs it.
        future: resolved by the worker with the outcome.
        timer: ends the run after `timeout`.
        verdict: why the scheduler ended the run; reported instead of the worker's
            outcome.
        end: resolved with the outcome, for the caller of `execute`.
        last: the outcome of the attempt before, while it rests.
        deadline: the monotonic time at which all attempts together have taken too long.
        ladder_end: what has ended its attempts: none follows; empty if one may.
    """

    execution: ScheduledExecution
    observer: RunObserver
    latest: float | None = None
    stage: RunStage = RunStage.PENDING
    began: float = 0.0
    undo: Callable[[], object] | None = None
    is_waiting: bool = False
    has_turn: bool = False
    queued_at: float | None = None
    is_queued: bool = False
    place: Place | None = None
    key: str | None = None
    worker: Worker | None = None
    future: asyncio.Future[Outcome] | None = None
    timer: Timer | None = None
    verdict: Exception | None = None
    end: asyncio.Future[Outcome] | None = None
    last: Outcome | None = None
    deadline: float | None = None
    ladder_end: str = ""

    def __call__(self, future: asyncio.Future[Outcome]) -> None:
        """Settle the run; the callback of its future."""
        mark_retrieved(future)
        self.observer.settle(self)

    @property
    def is_scheduled(self) -> bool:
        """Whether the schedule asked for it, so that it counts towards the limit."""
        return self.execution.is_scheduled
