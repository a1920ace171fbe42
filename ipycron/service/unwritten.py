"""Slots that have begun and of which the history says nothing: it is told so (K6)."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipycron.client.record import TaskRecord
    from ipycron.runlog.begun import Begun
    from ipycron.service.client import ServiceClient


class UnwrittenSlots:
    """Tells the history of slots that began before a kill, of many tasks at once.

    For each task there is a look into the file, which takes a fraction of a
    millisecond; before it, the rows of the tasks' starts must be in the file. All tasks
    that come while the rows are being written share the next write.

    Args:
        client: the client of the tasks; on its loop.
    """

    def __init__(self, client: ServiceClient) -> None:
        self._client = client
        self._waiting: list[tuple[TaskRecord, list[Begun]]] = []
        self._work: asyncio.Task[None] | None = None

    def add(self, record: TaskRecord, begun: list[Begun]) -> None:
        """Take the notes of a task that was started; returns at once."""
        self._waiting.append((record, begun))
        if self._work is None or self._work.done():
            self._work = asyncio.ensure_future(self._tell())

    async def _tell(self) -> None:
        loop, history = asyncio.get_running_loop(), self._client.history
        while self._waiting:
            tasks, self._waiting = self._waiting, []
            # First the rows of the starts: the slots before the newest one are settled.
            await self._client.write_history()
            for record, begun in tasks:
                find = partial(history.find_unwritten, record, begun)
                history.note_unwritten(record, await loop.run_in_executor(None, find))
