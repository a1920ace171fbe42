"""The workers of the client's own scheduler: inline functions, and executors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipycron.client.inline import InlineLauncher
from ipycron.client.jobs import Elsewhere
from ipycron.client.registration import make_executor_job, make_inline_job
from ipycron.executors.pools import ExecutorLauncher

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipycron.api.task import Task
    from ipycron.client.threads import ThreadPool
    from ipycron.executors.pools import Sink
    from ipycron.scheduling.ports import Worker


class ClientLauncher:
    """The scheduler's `Launcher` for every task that is not in the background."""

    def __init__(self, pool: ThreadPool, sink: Sink) -> None:
        self._inline = InlineLauncher(pool)
        self._elsewhere = ExecutorLauncher(pool, sink)

    def register(self, task: Task) -> None:
        """Remember what a task runs."""
        if isinstance(task.source, Elsewhere):
            self._elsewhere.register(task.id, make_executor_job(task))
        else:
            self._inline.register(task.id, make_inline_job(task))

    def forget(self, task_id: str) -> None:
        """Give up what a task runs. May be repeated."""
        self._inline.forget(task_id)
        self._elsewhere.forget(task_id)

    async def launch(
        self, task_id: str, on_death: Callable[[Worker, BaseException], None]
    ) -> Worker:
        """Return a worker; see `Launcher`."""
        if task_id in self._elsewhere:
            return await self._elsewhere.launch(task_id, on_death)
        return self._inline.launch(task_id)

    def launch_at_once(
        self,
        task_id: str,
        on_death: Callable[[Worker, BaseException], None],  # noqa: ARG002
    ) -> Worker | None:
        """Return a worker of an inline task; see `Launcher.launch_at_once`."""
        if task_id in self._elsewhere:
            return None
        return self._inline.launch(task_id)
