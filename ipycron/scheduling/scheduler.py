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
from ipycron.scheduling.services import IdMaker, Services
from ipycron.scheduling.standby import ClockAhead
from ipycron.scheduling.state import RunStage, TaskState
from ipycron.scheduling.timetable import Timetable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from ipycron.scheduling.events import Notice, Outcome, ScheduledExecution
    from ipycron.scheduling.plan import Silence
    from ipycron.scheduling.policy import Policy
    from ipycron.scheduling.ports import Clock, Elector, Launcher, Schedule

# Destroyed tasks whose names are remembered for the error of a late call: bounded, for
# a notebook that declares a task a second for a day.
GRAVES = 1024

_log = logging.getLogger("ipycron")


class Scheduler:
    """Runs tasks when they are due, by their policies, on the workers it launches.

    All methods are called on the loop; none blocks it. `emit` receives what happens as
    `Notice`s, in the order in which it happens (R8).

    Args:
        clock: the time.
        launcher: makes the workers.
        emit: receives every notice, on the loop; what it raises is logged.
        elector: asked before each scheduled run of a `distributed` task.
        uniform: draws random delays.
        new_id: makes the ids of scheduled runs, and of manual ones without their own.
        on_set_back: called with the seconds by which the clock was set back, where the
            slots have been counted anew for it (C3).
        warn: receives a line about what the system refuses for a while.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        launcher: Launcher,
        emit: Callable[[Notice], None],
        elector: Elector | None = None,
        uniform: Callable[[float, float], float] = random.uniform,
        new_id: Callable[[], str] | None = None,
        on_set_back: Callable[[float], None] | None = None,
        warn: Callable[[str], None] = _log.warning,
    ) -> None:
        self._on_set_back = on_set_back
        self._lives: dict[str, Lifecycle] = {}
        self._graves: OrderedDict[str, str] = OrderedDict()
        self._on_destroyed = self._bury  # one object for all tasks
        self._services = Services(
            clock=clock,
            launcher=launcher,
            emit=emit,
            elector=elector,
            uniform=uniform,
            new_id=new_id or IdMaker(),
            timetable=Timetable(clock, self._see_set_back),
            outlook=Timetable(ClockAhead(clock)),
            missed=MissedCounter(clock),
            refusals=RefusalLog(clock, warn),
        )

    def add(
        self, task_id: str, *, name: str, schedule: Schedule, policy: Policy
    ) -> None:
        """Add a task, stopped.

        Raises:
            TaskExists: if the id is taken.
        """
        if task_id in self._lives:
            raise TaskExists(name=task_id)
        state = TaskState(
            task_id,
            name=name,
            schedule=schedule,
            policy=policy,
            services=self._services,
        )
        self._graves.pop(task_id, None)
        self._lives[task_id] = Lifecycle(
            state, self._services, on_destroyed=self._on_destroyed
        )

    async def start(self, task_id: str, *, silence: Silence | None = None) -> None:
        """Load the task's job and arm its first slot, strictly after this moment.

        After a `silence` the task goes on as if it had been started all along: its
        slots meanwhile are missed, one that is not too late runs.

        Concurrent calls share one start; during a stop it waits for the stop. A
        started or destroyed task is left as it is. After a failure the task is
        stopped and nothing of it is left running.

        Raises:
            StartTimeout: if the job is not loaded within `start_timeout`.
            StartRevoked: if a stop came before the end of the start.
            Exception: what the load raised, as it came.
        """
        life = self._find(task_id)
        if life is not None:
            await life.start(silence)

    def start_at_once(self, task_id: str) -> bool:
        """Do what `start` does, where nothing need be waited for.

        Returns:
            whether the task is started now; if not, `start` it.
        """
        life = self._find(task_id)
        return life is not None and life.start_at_once()

    async def stop(self, task_id: str, *, force: bool = False) -> None:
        """Disarm the task at once; return when its runs are over and workers gone.

        Runs in progress have `stop_timeout` seconds, with `force` none; then they
        are ended and fail with `ExecutionStopped`. A slot in election or in its
        random delay is dropped without an event. Concurrent calls share one stop; one
        with `force` hurries it. A start under way or waiting is revoked.

        Raises:
            StopTimeout: if a job could not be ended: it runs in a thread. The task
                is stopped all the same, and the job's result ignored.
        """
        life = self._find(task_id)
        if life is not None:
            await life.stop(force=force)

    async def destroy(self, task_id: str, *, force: bool = False) -> None:
        """Stop the task for good. May be repeated.

        Raises:
            StopTimeout: as `stop`; the task is destroyed all the same.
        """
        life = self._find(task_id)
        if life is not None:
            await life.destroy(force=force)

    def reschedule(self, task_id: str, schedule: Schedule) -> None:
        """Have the task follow another schedule from now on, started or not.

        Its runs in progress go on, what it has counted stays counted.
        """
        life = self._find(task_id)
        if life is not None:
            life.reschedule(schedule)

    async def execute(self, task_id: str, execution_id: str | None = None) -> Outcome:
        """Run the task now, or as soon as a start under way is over.

        A caller that is cancelled stops waiting; the run goes on.

        Returns:
            how the run ended, also if its job failed, the start failed, or a stop
            came first.

        Raises:
            TaskNotStarted, TaskDestroyed: if nothing can run it.
            OverlapError: if a run is pending or in progress and `no_overlap` is set.
        """
        end: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._find_living(task_id).call(execution_id, end)
        return await end

    def execute_nowait(self, task_id: str, execution_id: str | None = None) -> str:
        """Begin what `execute` does and return the run's id.

        Exactly one notice with that id reports the end, `execution:finished` or
        `execution:failed`, whatever happens. It may be emitted before this returns.

        Raises:
            TaskNotStarted, TaskDestroyed, OverlapError: as `execute`.
        """
        return self._find_living(task_id).call(execution_id).execution.id

    async def shutdown(self, timeout: float) -> None:
        """Destroy every task, and return when everything is gone.

        Runs in progress, manual ones too, have `timeout` seconds, whatever their
        tasks' `stop_timeout`; then they are ended. Pending runs are not waited for.
        """
        lives = list(self._lives.values())
        timer = self._services.clock.call_later(timeout, lambda: force_all(lives))
        try:
            await asyncio.gather(
                *(life.destroy(force=False, patience=timeout) for life in lives),
                return_exceptions=True,
            )
        finally:
            timer.cancel()
        errands = asyncio.ensure_future(drain(self._services.errands))
        await until(self._services.clock, DEADLINE, errands)
        errands.cancel()

    @property
    def errands(self) -> Collection[asyncio.Task[Any]]:
        """The small tasks under way: starts, stops, elections."""
        return self._services.errands

    def get_status(self, task_id: str) -> Status:
        """Return where the task stands."""
        life = self._find(task_id)
        return Status.DESTROYED if life is None else life.state.status

    def get_runs_left(self, task_id: str) -> int | None:
        """Return the scheduled runs left, None without `max_executions`."""
        return self._find_living(task_id).state.runs_left

    def get_executions(self, task_id: str) -> tuple[ScheduledExecution, ...]:
        """Return a snapshot of the runs in progress, oldest first."""
        life = self._find(task_id)
        runs = () if life is None else life.state.runs.values()
        return tuple(r.execution.copy() for r in runs if r.stage is RunStage.ACTIVE)

    def _find(self, task_id: str) -> Lifecycle | None:
        """Return the task, or None if it is destroyed."""
        life = self._lives.get(task_id)
        if life is None and task_id not in self._graves:
            raise UnknownTask(name=task_id)
        return life

    def _find_living(self, task_id: str) -> Lifecycle:
        life = self._find(task_id)
        if life is None:
            raise TaskDestroyed(name=self._graves[task_id])
        return life

    def _see_set_back(self, seconds: float, since: float) -> None:
        for life in list(self._lives.values()):
            life.recount(since)
        if self._on_set_back is not None:
            self._on_set_back(seconds)

    def _bury(self, state: TaskState) -> None:
        del self._lives[state.id]
        self._graves[state.id] = state.name
        if len(self._graves) > GRAVES:
            self._graves.popitem(last=False)


def force_all(lives: list[Lifecycle]) -> None:
    """Let no stop wait for runs any longer."""
    for life in lives:
        life.force()
