"""The scheduler: every task of one process, on one asyncio loop."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from ipycron.errors import TaskDestroyed, TaskExists, UnknownTask
from ipycron.scheduling.aio import drain, until
from ipycron.scheduling.backoff import RefusalLog
from ipycron.scheduling.election import DEADLINE
from ipycron.scheduling.events import Status
from ipycron.scheduling.lifecycle import Lifecycle
from ipycron.scheduling.missed import MissedCounter
from ipycron.scheduling.policy import NO_CATCH_UP
from ipycron.scheduling.pools import Pools
from ipycron.scheduling.services import IdMaker, Services
from ipycron.scheduling.standby import ClockAhead
from ipycron.scheduling.state import RunStage, TaskState
from ipycron.scheduling.timetable import Timetable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from ipycron.scheduling.events import (
        AttemptBegan,
        Notice,
        Outcome,
        Pause,
        Pending,
        ScheduledExecution,
    )
    from ipycron.scheduling.plan import Outage, Recounted
    from ipycron.scheduling.policy import CatchUp, Policy
    from ipycron.scheduling.ports import Beginnings, Clock, Elector, Launcher, Schedule

# Number of destroyed tasks whose names are kept for the error message of a late call.
# Bounded, since a notebook may declare a new task every second, all day.
MAX_DESTROYED_NAMES = 1024

_log = logging.getLogger("ipycron")


class Scheduler:
    """Runs tasks when they are due, by their policies, on workers that it launches.

    All methods must be called on the loop; none blocks it. `emit` receives every event
    as a `Notice`, in the order in which events happen (R8).

    Args:
        clock: the source of time.
        launcher: launches the workers.
        emit: receives every notice, on the loop; its exceptions are logged.
        note: receives the runs that wait, for the history.
        note_attempt: receives the queued attempts that have begun, likewise.
        elector: asked before each scheduled run of a `distributed` task.
        uniform: draws random delays.
        new_id: creates the ids of scheduled runs, and of manual runs without an id.
        on_set_back: called if the next slots were recomputed because the clock was set
            back (C3): with the seconds, and the instant after which slots are to come.
        warn: receives a line about starts that the system refuses for now.
        pools: limit its runs, and perhaps others; by default its own.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        launcher: Launcher,
        emit: Callable[[Notice], None],
        note: Callable[[Pending | Recounted], None] = lambda _: None,
        note_attempt: Callable[[AttemptBegan], None] = lambda _: None,
        beginnings: Beginnings | None = None,
        elector: Elector | None = None,
        uniform: Callable[[float, float], float] = random.uniform,
        new_id: Callable[[], str] | None = None,
        on_set_back: Callable[[float, float], None] | None = None,
        warn: Callable[[str], None] = _log.warning,
        pools: Pools | None = None,
    ) -> None:
        self._on_set_back = on_set_back
        self._lifecycles: dict[str, Lifecycle] = {}
        self._destroyed_names: OrderedDict[str, str] = OrderedDict()
        self._on_destroyed = self._forget  # one object for all tasks
        self._services = Services(
            clock=clock,
            launcher=launcher,
            emit=emit,
            note=note,
            note_attempt=note_attempt,
            beginnings=beginnings,
            elector=elector,
            uniform=uniform,
            new_id=new_id or IdMaker(),
            timetable=Timetable(clock, self._handle_set_back),
            standby_timetable=Timetable(ClockAhead(clock)),
            missed=MissedCounter(clock),
            refusals=RefusalLog(clock, warn),
            pools=pools or Pools(),
        )

    def add(
        self,
        task_id: str,
        *,
        name: str,
        schedule: Schedule,
        policy: Policy,
        pause: Pause | None = None,
    ) -> None:
        """Add a task, stopped; with a `pause` that was reported before, if any.

        Raises:
            TaskExists: if the id is taken.
        """
        if task_id in self._lifecycles:
            raise TaskExists(name=task_id)
        state = TaskState(
            task_id,
            name=name,
            schedule=schedule,
            policy=policy,
            services=self._services,
        )
        self._destroyed_names.pop(task_id, None)
        lifecycle = Lifecycle(state, self._services, on_destroyed=self._on_destroyed)
        self._lifecycles[task_id] = lifecycle
        if pause is not None:
            lifecycle.restore_pause(pause)

    async def start(
        self,
        task_id: str,
        *,
        outage: Outage | None = None,
        replaces: str | None = None,
    ) -> None:
        """Load the task's job and arm its first slot, strictly after this moment.

        After an `outage` the task continues as if it had been started all along: slots
        in the meantime are missed, except that one which is not too late runs.

        With `replaces`, the id of another task, that one stops at the moment at which
        this one is armed, and not before: no slot is lost or runs twice. If this one
        cannot be loaded, the other goes on.

        Concurrent calls share one start; during a stop, the start waits for the stop.
        A started or destroyed task is left as it is. After a failure the task is
        stopped and nothing of it is left running.

        Raises:
            StartTimeout: if the job is not loaded within `start_timeout`.
            StartRevoked: if the task was stopped before the start had finished.
            Exception: the original error of the load.
        """
        lifecycle = self._find(task_id)
        replaced = None if replaces is None else self._find(replaces)
        if lifecycle is not None:
            await lifecycle.start(outage, replaced)

    def start_at_once(self, task_id: str) -> bool:
        """Do what `start` does, if there is nothing to wait for.

        Returns:
            Whether the task is now started; if not, call `start`.
        """
        lifecycle = self._find(task_id)
        return lifecycle is not None and lifecycle.start_at_once()

    async def stop(self, task_id: str, *, force: bool = False) -> None:
        """Disarm the task at once; return once its runs are over and workers gone.

        Runs in progress get `stop_timeout` seconds, or none with `force`; then they
        are ended and fail with `ExecutionStopped`. A slot in its election or its
        random delay is dropped without an event. Concurrent calls share one stop; a
        call with `force` speeds it up. A start in progress or waiting is revoked.

        Raises:
            StopTimeout: if a job could not be ended because it runs in a thread. The
                task is stopped nevertheless, and the job's result is ignored.
        """
        lifecycle = self._find(task_id)
        if lifecycle is not None:
            await lifecycle.stop(force=force)

    async def destroy(self, task_id: str, *, force: bool = False) -> None:
        """Stop the task permanently. May be repeated.

        Raises:
            StopTimeout: as for `stop`; the task is destroyed nevertheless.
        """
        lifecycle = self._find(task_id)
        if lifecycle is not None:
            await lifecycle.destroy(force=force)

    def report_missed(self, task_id: str, since: float) -> None:
        """Report the slots from `since` to the task's first start as missed (C1).

        For a task whose earlier life, in another process, was interrupted. That is
        found out after the start, which does not wait for it.
        """
        lifecycle = self._find(task_id)
        if lifecycle is not None:
            lifecycle.report_missed(since)

    def reschedule(self, task_id: str, schedule: Schedule) -> None:
        """Switch the task to another schedule now, whether or not it is started.

        Runs in progress continue, and the number of runs left is kept.
        """
        lifecycle = self._find(task_id)
        if lifecycle is not None:
            lifecycle.reschedule(schedule)

    def pause(self, task_id: str, *, until: int | None = None, note: str = "") -> None:
        """Skip the task's slots from now on and before `until`, Unix seconds.

        Each is reported as skipped. Slots whose runs have not begun are skipped, too;
        runs in progress and calls continue. The pause outlasts stops and starts, and
        ends by itself at `until`. If the task is paused already, `until` and `note`
        are changed. A destroyed task is left as it is.
        """
        lifecycle = self._find(task_id)
        if lifecycle is not None:
            lifecycle.pause(until, note)

    def resume(self, task_id: str, catch_up: CatchUp = NO_CATCH_UP) -> None:
        """End the task's pause, if it has one.

        Nothing is owed for its slots, unless `catch_up` says so. They have been
        reported as skipped; those of them that run are reported again.
        """
        lifecycle = self._find(task_id)
        if lifecycle is not None:
            lifecycle.resume(catch_up)

    def set_pool(self, name: str | None, limit: int | None) -> None:
        """Let at most `limit` runs of a pool be in progress at once; None: any number.

        The pool None is that of all tasks without one. Runs in progress continue and
        count, also if there are more than that.
        """
        pool = self._services.pools.set_limit(name, limit)
        for lifecycle in list(self._lifecycles.values()):
            if lifecycle.state.policy.pool == name:
                lifecycle.enter_pool(pool)
        pool.serve()

    async def execute(self, task_id: str, execution_id: str | None = None) -> Outcome:
        """Run the task now, or once a start in progress has finished.

        A cancelled caller stops waiting; the run continues.

        Returns:
            How the run ended. That its job failed, that the start failed or that the
            task was stopped first is an outcome, too.

        Raises:
            TaskNotStarted, TaskDestroyed: if the task cannot run.
            OverlapError: if a run is pending or in progress and overlapping ones are
                skipped.
            QueueFull: if too many runs wait for their turn.
        """
        end: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._find_living(task_id).call(execution_id, end)
        return await end

    def execute_nowait(
        self, task_id: str, execution_id: str | None = None, *, slot: int | None = None
    ) -> str:
        """Begin a run as `execute` does and return its id.

        With a `slot`, Unix seconds, it is the run of a backfill for that slot.

        Exactly one notice with that id reports the end, `execution:finished` or
        `execution:failed`, whatever happens. It may be emitted before this returns.

        Raises:
            TaskNotStarted, TaskDestroyed, OverlapError, QueueFull: as for `execute`.
        """
        run = self._find_living(task_id).call(execution_id, slot=slot)
        return run.execution.id

    async def shutdown(self, timeout: float) -> None:
        """Destroy every task and return once everything is gone.

        Runs in progress, including manual ones, get `timeout` seconds, whatever their
        tasks' `stop_timeout`; then they are ended. Pending runs are not waited for.
        """
        lifecycles = list(self._lifecycles.values())
        timer = self._services.clock.call_later(timeout, lambda: force_all(lifecycles))
        try:
            await asyncio.gather(
                *(
                    lifecycle.destroy(force=False, patience=timeout)
                    for lifecycle in lifecycles
                ),
                return_exceptions=True,
            )
        finally:
            timer.cancel()
        drained = asyncio.ensure_future(drain(self._services.async_tasks))
        await until(self._services.clock, DEADLINE, drained)
        drained.cancel()

    @property
    def pools(self) -> Pools:
        """The pools whose places its runs take."""
        return self._services.pools

    @property
    def async_tasks(self) -> Collection[asyncio.Task[Any]]:
        """The asyncio tasks in progress: starts, stops, elections."""
        return self._services.async_tasks

    def get_status(self, task_id: str) -> Status:
        """Return the task's status."""
        lifecycle = self._find(task_id)
        return Status.DESTROYED if lifecycle is None else lifecycle.state.status

    def get_runs_left(self, task_id: str) -> int | None:
        """Return the number of scheduled runs left; None without `max_executions`."""
        return self._find_living(task_id).state.runs_left

    def get_executions(self, task_id: str) -> tuple[ScheduledExecution, ...]:
        """Return a snapshot of the runs in progress, oldest first."""
        lifecycle = self._find(task_id)
        runs = () if lifecycle is None else lifecycle.state.runs.values()
        begun = (RunStage.ACTIVE, RunStage.RESTING)
        return tuple(
            run.execution.copy()
            for run in runs
            if run.stage in begun and not run.is_queued
        )

    def _find(self, task_id: str) -> Lifecycle | None:
        """Return the task, or None if it is destroyed."""
        lifecycle = self._lifecycles.get(task_id)
        if lifecycle is None and task_id not in self._destroyed_names:
            raise UnknownTask(name=task_id)
        return lifecycle

    def _find_living(self, task_id: str) -> Lifecycle:
        lifecycle = self._find(task_id)
        if lifecycle is None:
            raise TaskDestroyed(name=self._destroyed_names[task_id])
        return lifecycle

    def _handle_set_back(self, seconds: float, since: float) -> None:
        for lifecycle in list(self._lifecycles.values()):
            lifecycle.recount(since)
        if self._on_set_back is not None:
            self._on_set_back(seconds, since)

    def _forget(self, state: TaskState) -> None:
        del self._lifecycles[state.id]
        self._destroyed_names[state.id] = state.name
        if len(self._destroyed_names) > MAX_DESTROYED_NAMES:
            self._destroyed_names.popitem(last=False)


def force_all(lifecycles: list[Lifecycle]) -> None:
    """Make all stops in progress stop waiting for runs."""
    for lifecycle in lifecycles:
        lifecycle.force()
