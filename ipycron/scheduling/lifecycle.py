"""The life of one task: started, stopped, destroyed, in any order at any moment."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ipycron.errors import (
    ExecutionStopped,
    StartRevoked,
    TaskDestroyed,
    TaskNotStarted,
)
from ipycron.scheduling.aio import settle, share, spawn, until
from ipycron.scheduling.election import Election
from ipycron.scheduling.events import Event, Outcome
from ipycron.scheduling.runs import Admission, RunTracker
from ipycron.scheduling.slots import Slots
from ipycron.scheduling.state import Phase
from ipycron.scheduling.workers import TaskWorkers

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipycron.scheduling.plan import Silence
    from ipycron.scheduling.ports import Schedule, Worker
    from ipycron.scheduling.services import Services
    from ipycron.scheduling.state import Run, TaskState


class Lifecycle:
    """Moves one task between its phases; owns all of its parts.

    One start and one stop may be under way at a time, the start waiting for the
    stop. Callers share them. The last control counts: a stop revokes a start that is
    in progress or waiting. `on_destroyed` is called once, when nothing is left.
    """

    __slots__ = (
        "_admission",
        "_is_destroying",
        "_is_limit_told",
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
        # Resolved when a stop need not wait for the runs any longer.
        self._quiet: asyncio.Future[None] | None = None
        self._is_destroying = False
        self._is_limit_told = False
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
            workers=self._workers,
            tracker=self._tracker,
            election=election,
        )
        self._slots = Slots(
            state,
            services,
            observer=self,
            workers=self._workers,
            admission=self._admission,
        )

    # --- what the owner asks for -------------------------------------------------

    async def start(self, silence: Silence | None = None) -> None:
        """Return when the job is loaded and the first slot armed (A6)."""
        state = self.state
        if self._is_destroying or state.phase is Phase.DESTROYED:
            return
        if self._starting is None:
            if state.phase is Phase.STARTED:
                return
            self._starting = spawn(self._services.errands, self._start(silence))
            if state.phase is Phase.STOPPED:
                state.move(Phase.STARTING)
        starting = self._starting
        try:
            await share(starting)
        except asyncio.CancelledError:
            if not starting.cancelled():
                raise  # not the start, its caller
            # Revoked, perhaps before its first step. The stop releases the worker.
            raise StartRevoked(name=state.name) from None

    def start_at_once(self) -> bool:
        """Start a stopped task whose job is loaded; return whether it is started.

        A thousand inline tasks that start together are then a thousand calls, not as
        many tasks of asyncio. Whatever must wait, or fails, is left to `start`.
        """
        state = self.state
        if state.phase is not Phase.STOPPED or self._starting or self._is_destroying:
            return False
        worker = self._workers.load_at_once()
        if worker is None:
            return False
        self._workers.seat_main(worker)
        try:
            self._slots.arm()
        except Exception:  # noqa: BLE001 - the border to the schedule
            self._workers.unseat()
            return False
        state.move(Phase.STARTING)
        state.move(Phase.STARTED)
        state.emit(Event.TASK_STARTED)
        return True

    async def stop(self, *, force: bool, patience: float | None = None) -> None:
        """Return when every worker is gone (A7).

        Runs in progress have `patience` seconds, by default `stop_timeout`.
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
        """Stop for good (A9)."""
        if self.state.phase is Phase.DESTROYED:
            return
        self._is_destroying = True
        await self.stop(force=force, patience=patience)
        if self.state.phase is Phase.STOPPED:
            self._bury()

    def reschedule(self, schedule: Schedule) -> None:
        """Follow another schedule from now on; runs in progress go on."""
        self._slots.reschedule(schedule)

    def recount(self, since: float) -> None:
        """Count the slots anew from an instant: the clock was set back (C3)."""
        self._slots.recount(since)

    def force(self) -> None:
        """Have a stop in progress wait no longer for runs."""
        if self._quiet is not None:
            settle(self._quiet)

    def call(
        self, execution_id: str | None, end: asyncio.Future[Outcome] | None = None
    ) -> Run:
        """Open a manual run (A8).

        Raises:
            TaskDestroyed, TaskNotStarted: if nothing can run it, now or soon.
            OverlapError: if it would overlap and may not.
        """
        state = self.state
        if self._is_destroying or state.phase is Phase.DESTROYED:
            raise TaskDestroyed(name=state.name)
        if self._starting is None and state.phase is not Phase.STARTED:
            raise TaskNotStarted(name=state.name)
        self._slots.withdraw()
        self._workers.hold()
        return self._admission.call(execution_id, end)

    # --- starting ----------------------------------------------------------------

    async def _start(self, silence: Silence | None) -> None:
        await self._until_stopped()
        await self._load(silence)

    async def _until_stopped(self) -> None:
        """Wait for a stop in progress, so that a start is not lost (A7)."""
        if self._stopping is not None:
            await asyncio.wait({self._stopping})
            self.state.move(Phase.STARTING)

    async def _load(self, silence: Silence | None) -> None:
        try:
            self._workers.seat_main(await self._workers.load())
            owed = self._slots.arm(silence)
        except Exception as error:
            await self._workers.dismiss()
            self.state.move(Phase.STOPPED)
            self._starting = None
            self._admission.drop(error)
            raise
        self.state.move(Phase.STARTED)
        self._starting = None
        self.state.emit(Event.TASK_STARTED)
        if owed is not None:
            self._slots.report(owed)
        self._admission.serve_waiting()

    def _revoke_start(self) -> None:
        if self._starting is not None:
            self._starting.cancel()
            self._revoked = (*self._revoked, self._starting)
            self._starting.add_done_callback(self._see_revoked)
            self._starting = None
            self._admission.drop(ExecutionStopped(name=self.state.name))

    def _see_revoked(self, start: asyncio.Task[None]) -> None:
        self._revoked = tuple(s for s in self._revoked if s is not start)

    # --- stopping ----------------------------------------------------------------

    def _begin_stop(
        self, *, patience: float | None = None, error: BaseException | None = None
    ) -> None:
        """Disarm at once and begin to stop; with an error the task has failed."""
        state = self.state
        self._slots.withdraw()
        self._workers.hold()
        if state.phase is Phase.STOPPING:
            return  # the schedule failed after a slot that had begun
        end = Event.TASK_STOPPED if state.phase is Phase.STARTED else None
        state.move(Phase.STOPPING)
        self._slots.disarm()
        self._quiet = asyncio.get_running_loop().create_future()
        if patience is None:
            patience = state.policy.stop_timeout
        work = self._stop(self._quiet, patience, error=error, end=end)
        self._stopping = spawn(self._services.errands, work)
        dropped = error or ExecutionStopped(name=state.name)
        self._admission.drop(dropped, is_missed=error is not None)
        self.see_quiet()

    async def _stop(
        self,
        quiet: asyncio.Future[None],
        patience: float,
        *,
        error: BaseException | None,
        end: Event | None,
    ) -> None:
        """Let runs end, end the rest, and report the stop (R8)."""
        if self._revoked:
            await asyncio.wait(self._revoked)
        await until(self._services.clock, patience, quiet)
        self._services.missed.cut(self.state)
        self._tracker.condemn()
        failures = await self._workers.dismiss()
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
            self._bury()
        else:
            self.state.move(Phase.STOPPED)

    def _bury(self) -> None:
        self.state.move(Phase.DESTROYED)
        self.state.emit(Event.TASK_DESTROYED)
        self._on_destroyed(self.state)

    # --- what the parts report: see `TaskObserver` --------------------------------

    def see_called(self, worker: Worker, execution_id: str, date: float) -> None:
        """Take over a run that a worker has begun because its owner asked it to."""
        if self.state.phase not in (Phase.STOPPED, Phase.DESTROYED):
            self._admission.adopt(worker, execution_id, date)

    def see_ready(self, error: BaseException | None) -> None:
        """Go on with a new worker, after a death or a timeout."""
        if error is not None:
            self.state.emit(Event.TASK_RESTARTED, outcome=Outcome.of_error(error))
        self._admission.serve_waiting()

    def see_hopeless(self, error: BaseException) -> None:
        """Fail the task: its worker died too often (R7), or its schedule is broken."""
        self._begin_stop(error=error)

    def see_exhausted(self) -> None:
        """Wait for no further slot: the last scheduled run has started (R5)."""
        self._slots.disarm()

    def see_quiet(self) -> None:
        """Continue a stop, or end the task, once its last run has ended."""
        state = self.state
        if state.is_exhausted and not state.runs and not self._is_limit_told:
            self._end_at_limit()
        if self._quiet is not None and not (
            state.active_count or self._services.missed.has(state)
        ):
            settle(self._quiet)

    def _end_at_limit(self) -> None:
        """Destroy the task: the last run of `max_executions` is over (R5)."""
        self._is_limit_told = self._is_destroying = True
        self.state.emit(Event.EXECUTION_MAX_REACHED)
        self._revoke_start()
        if self.state.phase is Phase.STARTED:
            self._begin_stop()
