"""Tasks that clients declare: loaded first, then kept in place of the old one (K5)."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from msgspec.structs import replace

from ipycron.errors import InvalidOption
from ipycron.process.wire.triggers import describe_trigger, make_trigger
from ipycron.service.client import ended
from ipycron.service.store import KeptState, Store
from ipycron.service.tasks import KeptTask, redact

if TYPE_CHECKING:
    from ipycron.client.record import TaskRecord
    from ipycron.process.service.protocol import Declaration
    from ipycron.process.wire.payload import Payload
    from ipycron.service.client import ServiceClient
    from ipycron.service.handover import Handover
    from ipycron.service.kept import KeptTasks
    from ipycron.service.reports import Reports
    from ipycron.service.saving import Saver

_log = logging.getLogger("ipycron.service")


class Declaring:
    """Keeps what clients declare; on the service's loop.

    Args:
        client: runs the tasks.
        tasks: the tasks.
        saver: calls the store.
        handover: starts them.
        reports: tells the clients.
    """

    def __init__(
        self,
        client: ServiceClient,
        tasks: KeptTasks,
        saver: Saver,
        handover: Handover,
        reports: Reports,
    ) -> None:
        self._client = client
        self._tasks = tasks
        self._saver = saver
        self._handover = handover
        self._reports = reports

    async def declare(self, declaration: Declaration, payload: Payload) -> None:
        """Keep a task; see `Declare`."""
        self._tasks.check_open()
        name = declaration.register.name
        if not name or declaration.register.task_id in self._tasks:
            raise InvalidOption(
                option="name", value=name, expected="a name, and a new id, to be kept"
            )
        async with self._tasks.get_lock(name):
            self._tasks.check_open()
            stored = await self._saver.call(Store.add_payload, payload)
            try:
                await self._load(declaration, payload, stored)
            finally:
                await self._saver.call(Store.release_payload, stored)

    async def _load(
        self, declaration: Declaration, payload: Payload, stored: str | None
    ) -> None:
        fixed = self._fix_schedule(declaration)
        name = fixed.register.name
        record = self._handover.make_record(fixed, payload)
        old = next((k for k in self._tasks.values() if k.name == name), None)
        self._client.add(record)
        try:
            await self._replace(fixed, record, stored, old)
        except BaseException as error:
            await self._go_back(record, old, error)
            raise

    def _fix_schedule(self, declaration: Declaration) -> Declaration:
        """Have a schedule that counts from its start count from now, for good."""
        register = declaration.register
        trigger = make_trigger(register.trigger)
        if register.policy.start is None:
            trigger = trigger.begin(self._client.clock.now(), trigger.timezone)
        register = replace(register, trigger=describe_trigger(trigger))
        return replace(declaration, register=register)

    async def _replace(
        self,
        declaration: Declaration,
        record: TaskRecord,
        payload: str | None,
        old: KeptTask | None,
    ) -> None:
        """Load a task, keep it, and end the one that it replaces (K5)."""
        if old is not None and old.record is not None:
            if old.start is not None:  # else both might run the same slot
                await asyncio.wait({old.start})
            old.is_replaced = True
            record.replaces = old.record.id
        if declaration.is_started:
            await self._handover.start_declared(record)
        state = KeptState(
            is_started=declaration.is_started,
            pause=declaration.register.pause,
            runs_left=declaration.register.policy.max_executions,
        )
        await self._saver.call(Store.put, declaration, payload, state)
        self._tasks.unreadable.pop(record.name, None)
        is_over = record.observed.status == "destroyed"  # its only run is
        if is_over:
            await self._saver.call(Store.remove, record.id)
        if old is not None:
            self._tasks.pop(old.id, None)
            self._dismiss(old)
        if is_over:
            return
        kept = KeptTask(redact(declaration), record, state)
        self._tasks[record.id] = kept
        self._reports.show(kept)
        self._reports.note_state(kept)

    async def _go_back(
        self, record: TaskRecord, old: KeptTask | None, error: BaseException
    ) -> None:
        """Have the old task go on, if the new one cannot be loaded or kept."""
        if old is not None and old.record is not None:
            # The new one may have taken over already, and could only not be stored.
            if old.state.is_started and (
                record.is_started or not old.record.is_started
            ):
                old.record.replaces = record.id
                try:
                    # It is about to stop; a start meanwhile would change nothing.
                    await ended(old.record.control("stop"))
                    await ended(old.record.control("start"))
                except Exception as failure:  # noqa: BLE001 - border: one task
                    self._reports.fail(old, failure)
            old.is_replaced = False
        _log.warning("task %r was not replaced: %s", record.name, error)
        self._destroy(record)

    def _dismiss(self, old: KeptTask) -> None:
        """End a task that was replaced; the store has the new one already."""
        if old.record is not None:
            self._destroy(old.record)
        self._reports.tell_gone(old)

    def _destroy(self, record: TaskRecord) -> None:
        completion = record.control("destroy")
        completion.watch(lambda end: end.peek())
