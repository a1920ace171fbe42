"""What earlier services owe: the slots that a task inherits when it is started (C1).

What they have left is known from the history, from the notes of the slots that have
begun, and from the mark that the last service left at its end.
"""

from __future__ import annotations

import asyncio
import uuid
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from ipycron.client.declaration import restore_task
from ipycron.errors import StartRevoked
from ipycron.runlog.begun import read_begun
from ipycron.scheduling.plan import merge_spans
from ipycron.scheduling.policy import CatchUp
from ipycron.service.client import ended
from ipycron.service.tasks import get_record
from ipycron.service.unwritten import UnwrittenSlots

if TYPE_CHECKING:
    from pathlib import Path

    from ipycron.client.record import TaskRecord
    from ipycron.process.service.protocol import Declaration
    from ipycron.process.wire.payload import Payload
    from ipycron.runlog.begun import Begun
    from ipycron.scheduling.plan import Outage
    from ipycron.service.client import ServiceClient
    from ipycron.service.tasks import KeptTask

HANDOVER = 120.0
"""Seconds after the end of a service in which the next one makes up for the slots in
between: longer, and they are a gap like any other (C1)."""
_HANDED_OVER = CatchUp("all", window=HANDOVER)


class Handover:
    """Starts tasks with what earlier lives of them owe; on the service's loop.

    Args:
        client: runs the tasks.
        path: the file of the slots that have begun.
    """

    def __init__(self, client: ServiceClient, path: Path) -> None:
        self._client = client
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._is_handed_over = False
        # By name, of tasks that were not started yet: what earlier services have begun.
        self._begun: dict[str, list[Begun]] = {}
        self._unwritten = UnwrittenSlots(client)
        self._life = uuid.uuid4().hex[:8]

    async def take(self, ended_at: float | None) -> None:
        """Take over from the last service; before any task is started.

        Args:
            ended_at: when it ended, in Unix seconds; None if there was none.
        """
        now = self._client.clock.now()
        # If the clock was set back since then, nobody knows how long ago that is.
        self._is_handed_over = ended_at is not None and now - ended_at < HANDOVER
        self._begun = await self._read_begun(now)

    async def _read_begun(self, now: float) -> dict[str, list[Begun]]:
        """Return what is noted of the slots that have begun by now, by name."""
        read = partial(read_begun, self._path, now=now)
        return await self._loop.run_in_executor(None, read)

    def make_record(self, declaration: Declaration, payload: Payload) -> TaskRecord:
        """Make a task of the client, which goes on from earlier lives of it."""
        record = restore_task(self._client, declaration, payload)
        record.observed.last_pause = record.observed.pause
        self._client.history.expect(record, declaration, self._life)
        return record

    async def start_restored(self, kept: KeptTask) -> None:
        """Start a task that is due, once: all who call this wait for the same start.

        Raises:
            StartRevoked: if it was stopped meanwhile.
        """
        if kept.starting is None:
            kept.starting = asyncio.ensure_future(self._start_due(kept))
        await kept.starting

    async def _start_due(self, kept: KeptTask) -> None:
        record = get_record(kept)
        begun = self._begun.pop(record.name, [])
        outage = await self._look_back(record, begun)
        if not kept.is_due:
            raise StartRevoked(name=kept.name)
        kept.is_due = False
        await self._start(record, begun, outage)

    async def start_declared(self, record: TaskRecord) -> None:
        """Start a task that was declared just now."""
        noted = await self._read_begun(self._client.clock.now())
        begun = noted.get(record.name, [])
        await self._start(record, begun, await self._look_back(record, begun))

    async def _start(
        self, record: TaskRecord, begun: list[Begun], outage: Outage | None
    ) -> None:
        """Start a task, with what an earlier life of it owes (C1).

        Args:
            record: the task.
            begun: what is noted of the slots of its name.
            outage: what it inherits; None for nothing.
        """
        if outage is not None and not record.is_over:
            record.inherit(outage)
        await ended(record.control("start"))
        if outage is not None and begun:
            self._unwritten.add(record, begun)

    async def _look_back(self, record: TaskRecord, begun: list[Begun]) -> Outage | None:
        """Begin the history of a task, and return what an earlier life of it owes."""
        self._client.history.begin(record)
        find = partial(self._find_outage, record, begun)
        return await self._loop.run_in_executor(None, find)

    def _find_outage(self, record: TaskRecord, begun: list[Begun]) -> Outage | None:
        is_handed_over = self._is_handed_over
        outage = self._client.history.find_outage(record, is_owed=is_handed_over)
        if outage is None:
            return None
        # What has begun never runs again, whether there was time for its row or not.
        spans = [(int(each.slot) - 1, int(each.slot)) for each in begun]
        settled = merge_spans(
            *outage.settled, *(span for span in spans if span[1] > outage.since)
        )
        outage = replace(outage, settled=settled)
        is_owed = not outage.is_clean or record.options.gaps.mode != "none"
        if is_owed or not is_handed_over:
            return outage
        # The user has not ended anything: every slot of a restart runs. Those that ran
        # before have rows, for the end was clean.
        return replace(
            outage, until=outage.since, is_clean=False, catch_up=_HANDED_OVER
        )
