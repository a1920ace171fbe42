"""Elections: which coordinator is asked for which task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipycron.coordinate.election import Election
from ipycron.coordinate.environment import EnvRunCoordinator

if TYPE_CHECKING:
    from ipycron.task.client import Client


class TaskElector:
    """The schedulers' `Elector`: asks the task's coordinator, or the process's.

    Where there is neither, the environment variable decides.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._elections: dict[int, tuple[Any, Election]] = {}
        self._default: EnvRunCoordinator | None = None

    async def should_run(self, task_id: str, key: str, lease: float) -> bool:
        """Ask the task's coordinator; see `Elector`."""
        return await self._find(task_id).should_run(key, lease)

    async def on_complete(self, task_id: str, key: str) -> None:
        """Tell the task's coordinator; see `Elector`."""
        await self._find(task_id).on_complete(key)

    def _find(self, task_id: str) -> Election:
        task = self._client.tasks.get(task_id)
        own = None if task is None else task.options.run_coordinator
        coordinator = own or self._client.coordinator or self._get_default()
        # Kept beside its election, so that the id stays its own.
        known = self._elections.get(id(coordinator))
        if known is None:
            known = coordinator, Election(coordinator)
            self._elections[id(coordinator)] = known
        return known[1]

    def _get_default(self) -> EnvRunCoordinator:
        # Made late: it refuses an environment that does not decide.
        if self._default is None:
            self._default = EnvRunCoordinator()
        return self._default
