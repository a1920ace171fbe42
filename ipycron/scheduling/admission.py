"""How the runs of one task begin: at once, in their turn, later, or not at all."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ipycron.errors import (
    ExecutionReplaced,
    OverlapError,
    QueueFull,
)
from ipycron.scheduling.aio import spawn
from ipycron.scheduling.events import Event, Outcome
from ipycron.scheduling.state import Phase, Run, RunStage
from ipycron.scheduling.timetable import LONGEST_SLEEP
from ipycron.scheduling.workers import MainWorkerState

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from ipycron.scheduling.election import Election
    from ipycron.scheduling.events import Reason
    from ipycron.scheduling.pools import AnyPool
    from ipycron.scheduling.ports import TaskObserver, Worker
    from ipycron.scheduling.runs import RunTracker
    from ipycron.scheduling.services import Services
    from ipycron.scheduling.state import TaskState
    from ipycron.scheduling.workers import TaskWorkers


# Seconds, as in `plan`.
_ROUNDING = 1e-6

MAX_QUEUED = 100
"""Manual runs of one task that may wait for their turn; of slots, one does."""

_IN_TURN = ("queue", "replace")
_REPLACING = ("scheduled", "invoked")
"""Runs that replace others: those of the past wait for their turn instead."""

_NOT_BEGUN = (RunStage.PENDING, RunStage.RESTING)


class Admission:
    """Starts the runs of one task, at once or later, or drops them.

    The steps for a slot: overlap check, election, random delay, worker. Before the
    last step the run is pending: it counts as an overlap, and a stop drops it. If no
    step has to wait, all of them are one synchronous call.

    A slot that gets no worker in time is late. So is one that waited while the
    computer was asleep: after each wait the lateness is checked again, by the wall
    clock, before the run begins (C2). The `observer` is notified of late slots, which
    are missed or caught up on, and of each run that is given up.
    """

    __slots__ = (
        "_election",
        "_observer",
        "_services",
        "_state",
        "_takes_turns",
        "_tracker",
        "_workers",
    )

    def __init__(
        self,
        state: TaskState,
        services: Services,
        *,
        observer: TaskObserver,
        workers: TaskWorkers,
        tracker: RunTracker,
        election: Election | None,
    ) -> None:
        self._state = state
        self._services = services
        self._observer = observer
        self._workers = workers
        self._tracker = tracker
        self._election = election
        self._takes_turns = state.policy.overlap_mode in _IN_TURN

    def fire(self, slot: int, lateness: float, execution_id: str | None = None) -> None:
        """Run a slot that is due, or skip it because of earlier runs.

        Args:
            slot: in Unix seconds.
            lateness: seconds since the slot.
            execution_id: the run's id if a worker that stood by has begun it; None for
                a new id.
        """
        policy = self._state.policy
        self._workers.hold()
        if self._state.runs or self._state.lingering:
            is_skipped = policy.skips_overlap or self.is_limit_reserved
            self._state.emit(Event.EXECUTION_OVERLAP, date=slot, is_skipped=is_skipped)
            if is_skipped:
                return
        run = self._tracker.open("scheduled", slot, execution_id)
        if execution_id is not None:
            self._occupy_place(run)
        patience = max(0.0, policy.tolerance - lateness)
        run.latest = self._services.clock.now() + patience
        self._elect_or(self._delay, run)

    def catch_up(self, slot: int, window: float, execution_id: str | None) -> Run:
        """Run a slot of a gap now, without a random delay, within `window` seconds."""
        self._workers.hold()
        run = self._tracker.open("catch_up", slot, execution_id)
        run.latest = slot + window
        self._elect_or(self._take_turn, run)
        return run

    def call(
        self,
        execution_id: str | None,
        end: asyncio.Future[Outcome] | None,
        slot: int | None = None,
    ) -> Run:
        """Open a manual run and begin it, or have it wait for a worker.

        Args:
            execution_id: the run's id; None for a new one.
            end: resolved with the run's outcome.
            slot: of a backfill; None for a call.

        Raises:
            OverlapError: if another run is pending or in progress and overlapping ones
                are skipped.
            QueueFull: if too many runs wait for their turn.
        """
        state = self._state
        busy_run = state.busy_run if state.policy.skips_overlap else None
        if busy_run is not None:
            raise OverlapError(name=state.name, execution_id=busy_run)
        self._check_queues()
        reason: Reason = "invoked" if slot is None else "backfill"
        date = self._services.clock.now() if slot is None else slot
        run = self._tracker.open(reason, date, execution_id, end=end)
        self._take_turn(run)
        return run

    def _check_queues(self) -> None:
        """Refuse a manual run for which there is no room to wait."""
        state = self._state
        if sum(run.queued_at is not None for run in state.runs.values()) >= MAX_QUEUED:
            queue = "the run in progress (overlap='queue')"
            raise QueueFull(name=state.name, queue=queue, limit=MAX_QUEUED)
        pool = self._services.pools.get(state.policy.pool)
        if pool is not None and pool.is_full:
            queue = f"a place in {name_pool(state.policy.pool)}"
            raise QueueFull(name=state.name, queue=queue, limit=pool.waiting)

    def adopt(self, worker: Worker, execution_id: str, date: float) -> None:
        """Follow a manual run that a worker has already begun."""
        run = self._tracker.open("invoked", date, execution_id)
        run.has_turn = True
        self._occupy_place(run)
        self._workers.occupy(worker)
        self._tracker.start(run, worker)

    def serve_waiting(self) -> None:
        """Begin the runs that were waiting for a worker, which is now loaded."""
        for run in self._state.runs.values():
            if run.is_waiting and run.stage in _NOT_BEGUN:
                self._begin(run)

    def begin_later(self, run: Run, seconds: float) -> None:
        """Begin the next attempt of a run after a while."""
        self._call_after(run, seconds, self._take_place)

    def end_ladders(self, why: str, *, is_slot: bool = False) -> None:
        """Have no attempt follow those in progress (Y3).

        Args:
            why: what ends them, for the history.
            is_slot: whether it is the task's next slot, which a policy may outlast.
        """
        self._workers.hold()  # a run that the client has begun is one of them
        if not self._state.runs:
            return
        if is_slot and self._state.policy.retries.past_next:
            return
        for run in self._state.runs.values():
            if run.stage is RunStage.ACTIVE:
                run.ladder_end = run.ladder_end or why
            elif run.stage is RunStage.RESTING:
                undo(run)
                self._tracker.end_ladder(run, why)

    def drop(self, error: BaseException, *, is_missed: bool = False) -> None:
        """Give up every run whose code has not begun.

        Manual runs fail with `error`. Scheduled ones are dropped without an event,
        since the user ended the task before them; with `is_missed`, they are reported
        as missed, as those that catch up always are.
        """
        for run in self._state.runs.values():
            if run.stage is not RunStage.PENDING:
                continue
            undo(run)
            if not run.is_scheduled:
                self._tracker.fail(run, error)
                continue
            if is_missed or run.execution.reason == "catch_up":
                self._miss(run)
            else:
                self._tracker.forget(run)
                self._state.note(run, is_dropped=True)

    def skip_pending(self) -> None:
        """Skip the slots whose code has not begun: the task was paused (C4)."""
        for run in self._state.runs.values():
            if run.stage is RunStage.PENDING and run.is_scheduled:
                undo(run)
                self._tracker.forget(run)
                slot, run_id = run.execution.date, run.execution.id
                self._state.emit_paused(slot, run_id=run_id)

    def drop_after(self, instant: float) -> None:
        """Drop the slots after `instant` whose code has not begun; see `drop`."""
        for run in self._state.runs.values():
            is_pending = run.stage is RunStage.PENDING and run.is_scheduled
            if is_pending and run.execution.date > instant:
                undo(run)
                self._tracker.forget(run)
                self._state.note(run, is_dropped=True)

    def drop_slot(self, slot: int) -> None:
        """Drop a slot that is due, since its task is stopped; see `drop`."""
        run = self._tracker.open("scheduled", slot)
        self._tracker.forget(run)
        self._state.note(run, is_dropped=True)

    @property
    def is_limit_reserved(self) -> bool:
        """Return whether pending runs may use up the rest of the limit."""
        left = self._state.runs_left
        if left is None:
            return False
        pending = sum(
            run.is_scheduled
            and run.stage is RunStage.PENDING
            # One that is queued will give way to the slot.
            and run.queued_at is None
            for run in self._state.runs.values()
        )
        return pending >= left

    def _elect_or(self, step: Callable[[Run], None], run: Run) -> None:
        """Continue with `step` once this instance is elected; at once without a fleet.

        The election comes before any random delay: only one instance waits then.
        """
        if self._election is None:
            step(run)
        else:
            elect = self._elect(run, self._election, step)
            run.undo = spawn(self._services.async_tasks, elect).cancel
            self._state.note(run)

    async def _elect(
        self, run: Run, election: Election, step: Callable[[Run], None]
    ) -> None:
        refusal = await election.hold(run)
        run.undo = None
        if refusal is None:
            step(run)
            return
        self._tracker.forget(run)
        self._state.emit(
            Event.EXECUTION_SKIPPED,
            date=run.execution.date,
            reason=refusal.reason,
            outcome=refusal.outcome,
            run_id=run.execution.id,
        )
        self._observer.handle_work_done()

    def _delay(self, run: Run) -> None:
        """Begin the run after its random delay (R4).

        Without a delay if it is late already: an instance that was suspended during the
        election may have claimed the slot after another instance's claim had expired.
        """
        limit = self._state.policy.jitter
        if limit > 0 and not self._is_late(run):
            delay = self._services.uniform(0.0, limit)
            tolerance = self._state.policy.tolerance
            run.latest = self._services.clock.now() + delay + tolerance
            self._call_after(run, delay, self._take_turn)
            self._state.note(run)
        else:
            self._take_turn(run)

    # --- turns: runs that must not overlap (O1) ---------------------------------------

    def _take_turn(self, run: Run) -> None:
        """Begin the run, or have it wait for those in progress, or end those."""
        if self._takes_turns:
            undo(run)
        if run.is_scheduled and self._state.is_exhausted:
            undo(run)
            self._skip(run)
        elif self._takes_turns and self._is_occupied(run):
            self._queue(run)
        else:
            run.has_turn = True
            self._take_place(run)

    def _is_occupied(self, run: Run) -> bool:
        """Return whether another run of the task is, or may be, in progress."""
        others = (other for other in self._state.runs.values() if other is not run)
        return bool(self._state.lingering) or any(other.has_turn for other in others)

    def _queue(self, run: Run) -> None:
        """Have a run wait for its turn; of the slots that wait, the newest remains."""
        is_replacing = (
            self._state.policy.overlap_mode == "replace"
            and run.execution.reason in _REPLACING
        )
        for other in [r for r in self._state.runs.values() if r.queued_at is not None]:
            if is_replacing or (other.is_scheduled and run.is_scheduled):
                older, newer = sorted((other, run), key=lambda r: r.execution.date)
                self._give_way(older)
                if newer is other:  # it had a shorter random delay
                    return
        run.queued_at = self._services.clock.monotonic()
        self._note_queued(run)
        if is_replacing:
            self._replace_others()

    def _replace_others(self) -> None:
        """End every run that has had its turn, wherever it is by now."""
        # Listed first: the end of the last one gives the newer run its turn.
        for run in [run for run in self._state.runs.values() if run.has_turn]:
            if run.stage is RunStage.PENDING:
                self._give_way(run)
            elif run.stage is RunStage.RESTING:
                undo(run)
                self._tracker.replace_resting(run)
            elif run.stage is RunStage.ACTIVE:
                self._tracker.replace(run)
        self.serve_queue()

    def _give_way(self, run: Run) -> None:
        """Give up a run that has not begun, for a newer one."""
        undo(run)
        if run.is_scheduled:
            self._tracker.forget(run)
            self._state.emit_superseded(run)
        else:
            self._tracker.fail(run, ExecutionReplaced(name=self._state.name))

    def serve_queue(self) -> None:
        """Begin the run that has waited longest, if the one in progress is over."""
        if not self._takes_turns:
            return
        for run in self._state.runs.values():
            if run.queued_at is None or run.stage is not RunStage.PENDING:
                continue
            if self._state.phase is not Phase.STARTED or self._is_occupied(run):
                return
            began, run.queued_at = run.queued_at, None
            self._end_wait(run, began)
            self._take_turn(run)

    def _end_wait(self, run: Run, began: float) -> None:
        """Extend a run's time by what it has waited: only a suspend counts (C2)."""
        if run.latest is not None:
            run.latest += self._services.clock.monotonic() - began

    def _note_queued(self, run: Run) -> None:
        """Report that a run waits; the user sees what it waits for."""
        self._state.note(run)
        self._state.emit(
            Event.EXECUTION_QUEUED, date=run.execution.date, execution=run.execution
        )

    def _skip(self, run: Run) -> None:
        """Skip a slot for which no run is left: others have begun meanwhile."""
        self._tracker.forget(run)
        self._state.emit_superseded(run)
        self._observer.handle_work_done()

    # --- places: runs of several tasks, limited together (O2) -------------------------

    def enter_pool(self, pool: AnyPool) -> None:
        """Have the runs that are under way count against the limit of their pool."""
        for run in self._state.runs.values():
            is_begun = run.has_turn and run.stage is not RunStage.RESTING
            if is_begun and run.place is None:
                run.place = pool.occupy()

    def _occupy_place(self, run: Run) -> None:
        """Have a run count that a worker has begun without asking for a place."""
        pool = self._services.pools.get(self._state.policy.pool)
        if pool is not None:
            run.place = pool.occupy()

    def _take_place(self, run: Run) -> None:
        """Begin a run, or an attempt, once there is a place for it in its pool."""
        if not self._services.pools.is_used:
            self._begin(run)
            return
        undo(run)
        policy, clock = self._state.policy, self._services.clock
        pool = self._services.pools.get(policy.pool)
        if pool is None or run.place is not None:
            self._begin(run)
        elif pool.is_full and run.stage is RunStage.PENDING and run.is_scheduled:
            self._miss(run)  # it would not be the next one for long
            self._observer.handle_work_done()
        else:
            enter = partial(self._enter, run, clock.monotonic())
            run.place = pool.ask(policy.priority, enter)
            if run.place.is_held:
                self._begin(run)
                return
            run.undo = run.place.release
            if run.stage is RunStage.PENDING:
                self._note_queued(run)
            else:
                self._tracker.queue_attempt(run)

    def _enter(self, run: Run, began: float) -> None:
        """Begin a run that has got its place."""
        run.undo = None
        self._end_wait(run, began)
        self._begin(run)

    # --- workers ----------------------------------------------------------------------

    def _call_after(self, run: Run, delay: float, step: Callable[[Run], None]) -> None:
        """Call `step` after `delay` seconds by the wall clock or the monotonic clock.

        A suspend stops the monotonic clock, and a correction may set the wall clock
        back, so whichever comes first counts.
        """
        clock = self._services.clock
        self._wait(run, clock.now() + delay, clock.monotonic() + delay, step)

    def _wait(
        self, run: Run, instant: float, deadline: float, step: Callable[[Run], None]
    ) -> None:
        """Call `step` once either clock has reached its instant.

        No closure that refers to itself: until the garbage collector came, it would
        keep the run, and with it the result.
        """
        clock = self._services.clock
        left = min(instant - clock.now(), deadline - clock.monotonic())
        poll = partial(self._poll, run, instant, deadline, step)
        run.undo = clock.call_later(min(max(left, 0.0), LONGEST_SLEEP), poll).cancel

    def _poll(
        self, run: Run, instant: float, deadline: float, step: Callable[[Run], None]
    ) -> None:
        clock = self._services.clock
        if min(instant - clock.now(), deadline - clock.monotonic()) > _ROUNDING:
            self._wait(run, instant, deadline, step)
        else:
            run.undo = None
            step(run)

    def _extend_deadline(self, run: Run, began: float, limit: float) -> None:
        """Extend a run's deadline by the time spent waiting, by the monotonic clock.

        By at most `limit`, since that clock also runs while the process is suspended.
        """
        if run.latest is not None:
            run.latest += min(self._services.clock.monotonic() - began, limit)

    def _is_late(self, run: Run) -> bool:
        """Return whether it is too late for the run to begin."""
        now = self._services.clock.now()
        return run.latest is not None and now > run.latest + _ROUNDING

    def _begin(self, run: Run) -> None:
        """Start the run on a worker, or have it wait for one."""
        undo(run)
        run.is_waiting = False
        if self._is_late(run):
            self._expire(run)
            return
        if run.stage is RunStage.RESTING:
            why = self._tracker.find_ladder_end(run)
            if why:
                self._tracker.end_ladder(run, why)
                return
        # While a task is stopping, its workers only serve the runs in progress. A call
        # made in the meantime belongs to the start that waits for the stop.
        self._workers.wake()
        if (
            self._state.phase is not Phase.STARTED
            or self._workers.main_state is MainWorkerState.EMPTY
        ):
            run.is_waiting = True
            self._note(run)
            if run.latest is not None:
                patience = run.latest - self._services.clock.now()
                self._call_after(run, max(0.0, patience), self._expire)
            return
        worker = self._workers.take()
        if worker is None:
            run.undo = self._workers.spawn(self._start_on_own_worker(run)).cancel
            self._note(run)
        else:
            self._tracker.start(run, worker)

    def _note(self, run: Run) -> None:
        """Note that a run waits, unless it has begun with an earlier attempt."""
        if run.stage is RunStage.PENDING:
            self._state.note(run)

    async def _start_on_own_worker(self, run: Run) -> None:
        """Start a run on its own worker, since the main worker is busy."""
        began = self._services.clock.monotonic()
        try:
            worker = await self._workers.load()
        except Exception as error:  # noqa: BLE001 - the border to the job
            run.undo = None
            self._tracker.fail(run, error)
            return
        run.undo = None
        self._extend_deadline(run, began, self._state.policy.start_timeout)
        if self._is_late(run):
            self._workers.release(worker)
            self._expire(run)
        else:
            self._tracker.start(run, worker)

    def _expire(self, run: Run) -> None:
        """Give up a slot that could not begin in time (R7, C2)."""
        self._tracker.forget(run)
        self._observer.handle_late(int(run.execution.date), run.execution.id)
        self._observer.handle_work_done()

    def _miss(self, run: Run) -> None:
        """Report the slot of a pending run as missed."""
        self._tracker.forget(run)
        self._state.emit_missed(run.execution.date, run_id=run.execution.id)


def name_pool(name: str | None) -> str:
    """Return how messages call a pool."""
    return "the pool of tasks without one" if name is None else f"the pool {name!r}"


def undo(run: Run) -> None:
    """Cancel what a pending run is waiting for."""
    if run.undo is not None:
        run.undo()
        run.undo = None
