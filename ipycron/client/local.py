"""The tasks that this process schedules itself: inline ones and those on executors."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from ipycron.client.inline import InlineLauncher
from ipycron.client.jobs import OnExecutor
from ipycron.client.registration import make_executor_job, make_inline_job
from ipycron.errors import IpycronError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine

    from ipycron.client.completion import Completion
    from ipycron.client.history import ClientHistory
    from ipycron.client.record import TaskRecord
    from ipycron.client.recovery import Action
    from ipycron.client.threads import ThreadPool
    from ipycron.executors.pools import ExecutorLauncher, Sink
    from ipycron.scheduling.events import Pause
    from ipycron.scheduling.policy import CatchUp
    from ipycron.scheduling.ports import Worker
    from ipycron.scheduling.scheduler import Scheduler


class LocalTasks:
    """The owner of every task that is not in the background; see `TaskOwner`.

    Args:
        scheduler: runs them; its launcher is `launcher`.
        launcher: receives their jobs.
        pool: runs inline functions.
        history: records the tasks.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        launcher: LocalLauncher,
        pool: ThreadPool,
        history: ClientHistory,
    ) -> None:
        self._scheduler = scheduler
        self._launcher = launcher
        self._pool = pool
        self._history = history
        self._tasks: dict[str, TaskRecord] = {}
        self._is_closed = False

    @property
    def async_tasks(self) -> Collection[asyncio.Task[Any]]:
        """The scheduler's asyncio tasks in progress: starts, stops, elections."""
        return self._scheduler.async_tasks

    def prepare_start(self) -> None:
        """Start the first thread of the pool."""
        self._pool.prepare()

    def add(self, task: TaskRecord) -> None:
        """Register a task with the scheduler."""
        self._tasks[task.id] = task
        self._launcher.register(task)
        self._history.begin(task)
        self._scheduler.add(
            task.id,
            name=task.name,
            schedule=task.expression,
            policy=task.options.get_policy(),
        )

    def knows(self, task_id: str) -> bool:
        """Return whether a task can be controlled: not destroyed, nothing shut down."""
        return task_id in self._tasks and not self._is_closed

    def close(self) -> None:
        """Take no requests from now on: the loop has ended."""
        self._is_closed = True

    def forget(self, task_id: str) -> None:
        """Forget a destroyed task. Idempotent."""
        self._tasks.pop(task_id, None)
        self._launcher.forget(task_id)

    def control(
        self, task_id: str, action: Action, *, force: bool
    ) -> Coroutine[Any, Any, None] | None:
        """Start, stop or destroy a task; an inline one starts at once."""
        task = self._tasks[task_id]
        is_start = action == "start" and task.outage is None
        if is_start and self._scheduler.start_at_once(task_id):
            return None
        return self._control(task, action, force=force)

    async def _control(self, task: TaskRecord, action: Action, *, force: bool) -> None:
        if action == "stop":
            await self._scheduler.stop(task.id, force=force)
        elif action == "destroy":
            await self._scheduler.destroy(task.id, force=force)
        else:
            await self._scheduler.start(task.id, outage=task.outage)
            task.outage = None

    def pause(self, task_id: str, pause: Pause | None, catch_up: CatchUp) -> None:
        """Pause a task, or resume it, at once."""
        if pause is None:
            self._scheduler.resume(task_id, catch_up)
        else:
            self._scheduler.pause(task_id, until=pause.until, note=pause.note)

    def reschedule(self, task: TaskRecord) -> None:
        """Follow the task's new expression."""
        self._scheduler.reschedule(task.id, task.expression)

    def report_missed(self, task_id: str, since: float) -> None:
        """Report the slots from `since` to the task's first start as missed."""
        self._scheduler.report_missed(task_id, since)

    def set_pool(self, name: str | None, limit: int | None) -> None:
        """Set the limit of a pool."""
        self._scheduler.set_pool(name, limit)

    def execute(self, task_id: str, execution_id: str, slot: int | None = None) -> None:
        """Request a run, after the first step of a start requested just before."""
        # With the record: the task may be destroyed in between.
        request = partial(self._execute, self._tasks[task_id], execution_id, slot)
        asyncio.get_running_loop().call_soon(request)

    def _execute(self, task: TaskRecord, execution_id: str, slot: int | None) -> None:
        try:
            self._scheduler.execute_nowait(task.id, execution_id, slot=slot)
        except IpycronError as error:
            task.refuse(execution_id, error)

    def execute_at_once(self, task_id: str, execution_id: str) -> bool:  # noqa: ARG002
        """Return False: the scheduler is used on its loop only."""
        return False

    def try_call(
        self,
        task: TaskRecord,  # noqa: ARG002 - as above
        completion: Completion[Any],  # noqa: ARG002
        *,
        is_watched: bool,  # noqa: ARG002
    ) -> bool:
        """Return False: there is no worker to call."""
        return False

    async def shutdown(self, timeout: float) -> None:
        """Stop every run, and destroy the tasks."""
        await self._scheduler.shutdown(timeout)


class LocalLauncher:
    """The scheduler's `Launcher` for every task that is not in the background."""

    def __init__(self, pool: ThreadPool, sink: Sink) -> None:
        self._inline = InlineLauncher(pool)
        self._elsewhere: ExecutorLauncher | None = None
        self._make_elsewhere = partial(_make_executor_launcher, pool, sink)

    def register(self, task: TaskRecord) -> None:
        """Store a task's job."""
        if isinstance(task.source, OnExecutor):
            if self._elsewhere is None:
                self._elsewhere = self._make_elsewhere()
            self._elsewhere.register(task.id, make_executor_job(task))
        else:
            self._inline.register(task.id, make_inline_job(task))

    def forget(self, task_id: str) -> None:
        """Forget a task's job. Idempotent."""
        self._inline.forget(task_id)
        if self._elsewhere is not None:
            self._elsewhere.forget(task_id)

    async def launch(
        self, task_id: str, on_death: Callable[[Worker, BaseException], None]
    ) -> Worker:
        """Return a worker; see `Launcher`."""
        if self._elsewhere is not None and task_id in self._elsewhere:
            return await self._elsewhere.launch(task_id, on_death)
        return self._inline.launch(task_id)

    def launch_at_once(
        self,
        task_id: str,
        on_death: Callable[[Worker, BaseException], None],  # noqa: ARG002
    ) -> Worker | None:
        """Return a worker of an inline task; see `Launcher.launch_at_once`."""
        if self._elsewhere is not None and task_id in self._elsewhere:
            return None
        return self._inline.launch(task_id)

    def explain_delay(self, task_id: str) -> str:  # noqa: ARG002
        """Return no other cause than the job itself; see `Launcher.explain_delay`."""
        return ""


def _make_executor_launcher(pool: ThreadPool, sink: Sink) -> ExecutorLauncher:
    from ipycron.executors.pools import ExecutorLauncher  # noqa: PLC0415 - rarely needed

    return ExecutorLauncher(pool, sink)
