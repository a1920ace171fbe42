"""The life cycle of one task: start, stop and destroy, in any order, at any time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ipycron.errors import (
    ExecutionStopped,
    StartRevoked,
    TaskDestroyed,
    TaskNotStarted,
)
from ipycron.scheduling.admission import Admission
from ipycron.scheduling.aio import settle, share, spawn, until
from ipycron.scheduling.backlog import Backlog
from ipycron.scheduling.election import Election
from ipycron.scheduling.events import Event, Outcome
from ipycron.scheduling.plan import Outage
from ipycron.scheduling.runs import RunTracker
from ipycron.scheduling.slots import Slots
from ipycron.scheduling.state import Phase
from ipycron.scheduling.workers import TaskWorkers

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipycron.scheduling.events import Pause
    from ipycron.scheduling.policy import CatchUp
    from ipycron.scheduling.pools import AnyPool
    from ipycron.scheduling.ports import Schedule, Worker
    from ipycron.scheduling.services import Services
    from ipycron.scheduling.state import Run, TaskState


class Lifecycle:
    """Moves one task between its phases; owns all of its parts.

    At most one start and one stop are in progress at a time, and the start waits for
    the stop. Concurrent callers share them. The latest request wins: a stop revokes a
    start that is in progress or waiting. `on_destroyed` is called once, when nothing
    of the task is left.
    """

    __slots__ = (
        "_admission",
        "_backlog",
        "_is_destroying",
        "_is_ending",
        "_on_destroyed",
        "_quiet",
        "_revoked",
        "_services",
        "_slots",
        "_starting",
        "_stopping",
        "_tracker",
        "_workers",
        "state",
    )

    def __init__(
        self,
        state: TaskState,
        services: Services,
        *,
        on_destroyed: Callable[[TaskState], None],
    ) -> None:
        self.state = state
        self._on_destroyed = on_destroyed
        self._services = services
        self._starting: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._revoked: tuple[asyncio.Task[None], ...] = ()
        # Resolved when a stop no longer needs to wait for runs.
        self._quiet: asyncio.Future[None] | None = None
        self._is_destroying = False
        self._is_ending = False  # by itself
        self._workers = TaskWorkers(state, services, observer=self)
        election = Election(state, services) if state.policy.distributed else None
        self._tracker = RunTracker(
            state,
            services,
            observer=self,
            workers=self._workers,
            election=election,
        )
        self._admission = Admission(
            state,
            services,
            observer=self,
            workers=self._workers,
            tracker=self._tracker,
            election=election,
        )
        self._backlog = Backlog(state, services, admission=self._admission)
        self._slots = Slots(
            state,
            services,
            observer=self,
            workers=self._workers,
            admission=self._admission,
            backlog=self._backlog,
        )

    # --- the owner's requests ----------------------------------------------------

    async def start(
        self, outage: Outage | None = None, replaced: Lifecycle | None = None
    ) -> None:
        """Return once the job is loaded and the first slot is armed (A6).

        A task that is `replaced` stops then.
        """
        state = self.state
        if self._is_destroying or state.phase is Phase.DESTROYED:
            return
        if self._starting is None:
            if state.phase is Phase.STARTED:
                return
            self._starting = spawn(
                self._services.async_tasks, self._start(outage, replaced)
            )
            if state.phase is Phase.STOPPED:
                state.move(Phase.STARTING)
        starting = self._starting
        try:
            await share(starting)
        except asyncio.CancelledError:
            if not starting.cancelled():
                raise  # the caller was cancelled, not the start
            # Revoked, perhaps before its first step. The stop releases the worker.
            raise StartRevoked(name=state.name) from None

    def start_at_once(self) -> bool:
        """Start a stopped task whose job is already loaded; return whether it started.

        Starting a thousand inline tasks together then takes a thousand calls instead of
        a thousand asyncio tasks. Anything that must wait, or fails, is left to `start`.
        """
        state = self.state
        if state.phase is not Phase.STOPPED or self._starting or self._is_destroying:
            return False
        worker = self._workers.load_at_once()
        if worker is None:
            return False
        self._workers.set_main(worker)
        try:
            self._slots.arm()
        except Exception:  # noqa: BLE001 - the border to the schedule
            self._workers.clear_main()
            return False
        state.move(Phase.STARTING)
        state.move(Phase.STARTED)
        state.emit(Event.TASK_STARTED)
        self.handle_work_done()
        return True

    async def stop(self, *, force: bool, patience: float | None = None) -> None:
        """Return once every worker is gone (A7).

        Runs in progress get `patience` seconds, by default `stop_timeout`.
        """
        self._revoke_start()
        if self.state.phase in (Phase.STARTING, Phase.STARTED):
            self._begin_stop(patience=patience)
        if self._stopping is None:
            return
        if force:
            self.force()
        await share(self._stopping)

    async def destroy(self, *, force: bool, patience: float | None = None) -> None:
        """Stop the task permanently (A9)."""
        if self.state.phase is Phase.DESTROYED:
            return
        self._is_destroying = True
        await self.stop(force=force, patience=patience)
        if self.state.phase is Phase.STOPPED:
            self._finish_destroy()

    def report_missed(self, since: float) -> None:
        """Report the slots from `since` to the first start as missed (C1)."""
        self._slots.report_missed(since)

    def reschedule(self, schedule: Schedule) -> None:
        """Switch to another schedule now; runs in progress continue."""
        self._slots.reschedule(schedule)

    def pause(self, until: int | None, note: str) -> None:
        """Skip the slots from now on, also those whose runs have not begun (C4).

        Outlasts stops and starts. Runs in progress and calls continue.
        """
        if self._is_destroying:
            return
        self._slots.pause(until, note)
        self._admission.end_ladders("the pause of the task")
        self._backlog.cancel()
        self._admission.skip_pending()
        self.handle_work_done()

    def resume(self, catch_up: CatchUp) -> None:
        """End the pause, and catch up on the slots that it skipped (C1)."""
        if not self._is_destroying:
            self._slots.resume(catch_up)

    def restore_pause(self, pause: Pause) -> None:
        """Be paused as reported before: this scheduler replaces a lost one."""
        self._slots.restore_pause(pause)

    def enter_pool(self, pool: AnyPool) -> None:
        """Have the runs in progress count against the limit of the task's pool."""
        self._slots.withdraw()
        self._workers.hold()
        self._admission.enter_pool(pool)

    def recount(self, since: float) -> None:
        """Recompute the next slot from `since`: the clock was set back (C3)."""
        self._slots.recount(since)

    def force(self) -> None:
        """Make a stop in progress stop waiting for runs."""
        if self._quiet is not None:
            settle(self._quiet)

    def call(
        self,
        execution_id: str | None,
        end: asyncio.Future[Outcome] | None = None,
        *,
        slot: int | None = None,
    ) -> Run:
        """Open a manual run (A8), or that of a slot of the past (C5).

        Raises:
            TaskDestroyed, TaskNotStarted: if the task cannot run now or soon.
            OverlapError: if it would overlap another run and these are skipped.
            QueueFull: if too many runs wait for their turn.
        """
        state = self.state
        if self._is_destroying or state.phase is Phase.DESTROYED:
            raise TaskDestroyed(name=state.name)
        if self._starting is None and state.phase is not Phase.STARTED:
            raise TaskNotStarted(name=state.name)
        self._slots.withdraw()
        self._workers.hold()
        return self._admission.call(execution_id, end, slot)

    # --- starting ----------------------------------------------------------------

    async def _start(self, outage: Outage | None, replaced: Lifecycle | None) -> None:
        await self._until_stopped()
        await self._load(outage, replaced)

    async def _until_stopped(self) -> None:
        """Wait for a stop in progress, so that the start is not lost (A7)."""
        if self._stopping is not None:
            await asyncio.wait({self._stopping})
        # The stop may also have ended before this start's first step.
        if self.state.phase is Phase.STOPPED:
            self.state.move(Phase.STARTING)

    async def _load(self, outage: Outage | None, replaced: Lifecycle | None) -> None:
        try:
            self._workers.set_main(await self._workers.load())
            if replaced is not None:
                outage = outage or replaced.find_due(self.state)
            settle_outage = self._slots.arm(outage)
            if replaced is not None:
                replaced.hand_over()
        except Exception as error:
            await self._workers.stop_all()
            self.state.move(Phase.STOPPED)
            self._starting = None
            self._admission.drop(error)
            raise
        self.state.move(Phase.STARTED)
        self._starting = None
        self.state.emit(Event.TASK_STARTED)
        if settle_outage is not None:
            settle_outage()
        self._admission.serve_waiting()
        self.handle_work_done()
        self._workers.rest()

    def find_due(self, successor: TaskState) -> Outage | None:
        """Return the time of a slot that is due, and that the successor has to run.

        None if there is none, or if the successor has another schedule.
        """
        state, now = self.state, self._services.clock.now()
        if state.phase is not Phase.STARTED:
            return None
        self._slots.withdraw()
        slot = state.next_slot
        is_due = slot is not None and slot <= now <= slot + state.policy.tolerance
        if slot is None or not is_due or state.trigger != successor.trigger:
            return None
        return Outage(since=slot - 1, until=slot - 1)

    def hand_over(self) -> None:
        """Stop without waiting for it: another task has taken this one's place."""
        self._revoke_start()
        if self.state.phase in (Phase.STARTING, Phase.STARTED):
            self._begin_stop()

    def _revoke_start(self) -> None:
        if self._starting is not None:
            self._starting.cancel()
            self._revoked = (*self._revoked, self._starting)
            self._starting.add_done_callback(self._forget_revoked)
            self._starting = None
            self._admission.drop(self._make_dropped())

    def _make_dropped(self) -> ExecutionStopped:
        return ExecutionStopped(name=self.state.name, has_begun=False)

    def _forget_revoked(self, start: asyncio.Task[None]) -> None:
        self._revoked = tuple(s for s in self._revoked if s is not start)

    # --- stopping ----------------------------------------------------------------

    def _begin_stop(
        self, *, patience: float | None = None, error: BaseException | None = None
    ) -> None:
        """Disarm at once and begin to stop. With an `error`, the task has failed."""
        state = self.state
        self._slots.withdraw()
        self._workers.hold()
        if state.phase is Phase.STOPPING:
            return  # withdrawing found a begun run, after which the schedule failed
        if error is None:
            self._slots.settle_rest()
        end = Event.TASK_STOPPED if state.phase is Phase.STARTED else None
        state.move(Phase.STOPPING)
        self._slots.disarm()
        self._quiet = asyncio.get_running_loop().create_future()
        if patience is None:
            patience = state.policy.stop_timeout
        work = self._stop(self._quiet, patience, error=error, end=end)
        self._stopping = spawn(self._services.async_tasks, work)
        self._admission.end_ladders(self._name_end(error))
        dropped = error or self._make_dropped()
        self._admission.drop(dropped, is_missed=error is not None)
        self._backlog.cancel()
        self.handle_work_done()

    def _name_end(self, error: BaseException | None) -> str:
        """Return what ends the task's runs, for the history."""
        if error is not None:
            return "the failure of the task"
        return f"the {'destruction' if self._is_destroying else 'stop'} of the task"

    async def _stop(
        self,
        quiet: asyncio.Future[None],
        patience: float,
        *,
        error: BaseException | None,
        end: Event | None,
    ) -> None:
        """Give runs time to end, end the rest, and report the stop (R8)."""
        if self._revoked:
            await asyncio.wait(self._revoked)
        await until(self._services.clock, patience, quiet)
        self._services.missed.cut(self.state)
        self._tracker.mark_stopped()
        failures = await self._workers.stop_all()
        self._tracker.settle_all()
        if error is not None:
            self.state.emit(Event.TASK_FAILED, outcome=Outcome.of_error(error))
        elif end is not None:
            self.state.emit(end)
        self._conclude()
        if failures:
            raise failures[0]

    def _conclude(self) -> None:
        self._quiet = self._stopping = None
        if self._is_destroying:
            self._finish_destroy()
        else:
            self.state.move(Phase.STOPPED)

    def _finish_destroy(self) -> None:
        self.state.move(Phase.DESTROYED)
        self._slots.drop_pause()
        self.state.emit(Event.TASK_DESTROYED)
        self._on_destroyed(self.state)

    # --- reports from the parts: see `TaskObserver` -------------------------------

    def handle_direct_run(self, worker: Worker, execution_id: str, date: float) -> None:
        """Adopt a run that the client started on a worker directly."""
        if self.state.phase not in (Phase.STOPPED, Phase.DESTROYED):
            self._admission.adopt(worker, execution_id, date)

    def handle_worker_ready(self, error: BaseException | None) -> None:
        """Continue with a new worker, after a death or a timeout."""
        if error is not None:
            self.state.emit(Event.TASK_RESTARTED, outcome=Outcome.of_error(error))
        self._admission.serve_waiting()
        self._workers.rest()

    def handle_failure(self, error: BaseException) -> None:
        """Fail the task: its workers keep dying (R7), or its schedule is broken."""
        self._begin_stop(error=error)

    def handle_late(self, slot: int, run_id: str) -> None:
        """Decide what becomes of a slot whose run waited too long."""
        self._slots.handle_late(slot, run_id)

    def handle_rest(self, run: Run, seconds: float) -> None:
        """Have the next attempt of a run follow."""
        self._admission.begin_later(run, seconds)

    def handle_limit_reached(self) -> None:
        """Disarm: the last scheduled run has started (R5)."""
        self._slots.disarm()
        self._backlog.cancel()

    def handle_work_done(self) -> None:
        """Continue a stop, or end the task, once the last run has ended."""
        state = self.state
        self._admission.serve_queue()
        self._slots.serve_backlog()
        self._slots.count_from_end()
        has_ended = state.has_ended and state.phase is Phase.STARTED
        is_over = state.is_exhausted or (has_ended and not self._backlog)
        if is_over and not state.runs and not self._is_ending:
            self._end_by_itself()
        if self._quiet is not None and not (
            state.active_count or self._services.missed.has(state)
        ):
            settle(self._quiet)

    def _end_by_itself(self) -> None:
        """Destroy the task: the last run is over.

        It was that of `max_executions` (R5), which has an event, or that of the last
        slot before `end` (C6), which has none.
        """
        self._is_ending = self._is_destroying = True
        if self.state.is_exhausted:
            self.state.emit(Event.EXECUTION_MAX_REACHED)
        self._revoke_start()
        if self.state.phase is Phase.STARTED:
            self._begin_stop()
