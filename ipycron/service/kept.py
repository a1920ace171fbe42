"""All tasks that the service keeps, and whose turn it is to change one of them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from ipycron.errors import ServiceError, TaskDestroyed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ipycron.service.tasks import KeptTask


class KeptTasks(dict[str, "KeptTask"]):
    """The tasks by id; used on the service's loop.

    Attributes:
        unreadable: why a task of the store could not be read, by its name: no client
            can be shown more of it.
        is_ending: whether nothing is begun any more.
    """

    def __init__(self) -> None:
        super().__init__()
        self.unreadable: dict[str, str] = {}
        self.is_ending = False
        # By name; one that nobody holds or waits for is gone.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def get_lock(self, name: str) -> asyncio.Lock:
        """Return the lock under which a task of that name is replaced or controlled."""
        return self._locks.setdefault(name, asyncio.Lock())

    def check_open(self) -> None:
        """Check that a request can still be served.

        Raises:
            ServiceError: if the service is about to end.
        """
        if self.is_ending:
            raise ServiceError(
                reason="it is shutting down: declare the task again later"
            )

    def find(self, task_id: str) -> KeptTask:
        """Return a task by its id.

        Raises:
            TaskDestroyed: if it is not kept, or no longer.
        """
        kept = self.get(task_id)
        if kept is None:
            raise TaskDestroyed(name=task_id)
        return kept

    @contextlib.asynccontextmanager
    async def holding(self, task_id: str) -> AsyncIterator[KeptTask]:
        """Find a task for a request; others of its name wait meanwhile.

        Raises:
            TaskDestroyed: if it is kept no longer, or not when its turn has come.
        """
        self.check_open()
        kept = self.find(task_id)
        async with self.get_lock(kept.name):
            if self.get(task_id) is not kept:
                raise TaskDestroyed(name=kept.name)
            yield kept
