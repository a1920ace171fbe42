"""What the service does with a request; the answer comes when it is on the disk."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from ipycron.errors import ServiceError, StartError, StartRevoked, TaskDestroyed
from ipycron.process.service.protocol import AskStatus, Declare, Drain, Rescheduling
from ipycron.process.wire.protocol import (
    Control,
    Execute,
    FlushHistory,
    Pausing,
    SetPool,
    Shutdown,
)
from ipycron.process.wire.triggers import describe_trigger, make_trigger
from ipycron.process.wire.zones import describe_zone
from ipycron.service.client import ended
from ipycron.service.store import Store
from ipycron.service.tasks import get_record, redact

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from ipycron.client.completion import Completion
    from ipycron.process.wire.channel import Frame
    from ipycron.process.wire.protocol import Message
    from ipycron.service.client import ServiceClient
    from ipycron.service.declaring import Declaring
    from ipycron.service.handover import Handover
    from ipycron.service.kept import KeptTasks
    from ipycron.service.reports import Reports
    from ipycron.service.saving import Saver
    from ipycron.service.server import Visitor
    from ipycron.service.tasks import KeptTask

_log = logging.getLogger("ipycron.service")


class Requests:
    """Serves what clients request; on the service's loop.

    Args:
        client: runs the tasks.
        tasks: the tasks.
        saver: calls the store.
        handover: starts what was restored.
        reports: tells the clients.
        declaring: keeps what they declare.
        on_end: called with a number of seconds for the runs in progress, and whether
            another service follows, when a client asks for the end.
    """

    def __init__(
        self,
        client: ServiceClient,
        tasks: KeptTasks,
        saver: Saver,
        handover: Handover,
        *,
        reports: Reports,
        declaring: Declaring,
        on_end: Callable[[float, bool], None],
    ) -> None:
        self._client = client
        self._tasks = tasks
        self._saver = saver
        self._handover = handover
        self._reports = reports
        self._declaring = declaring
        self._on_end = on_end
        self._work: set[asyncio.Task[None]] = set()

    def handle(self, visitor: Visitor, message: Message, frame: Frame) -> None:
        """Do what a message requests, and answer it when that is done."""
        if visitor.misfit is not None and not isinstance(
            message, AskStatus | Drain | Shutdown
        ):
            request_id = getattr(message, "request_id", None)
            if request_id is not None:
                visitor.refuse(request_id, visitor.misfit)
        elif isinstance(message, Execute):
            self._execute(visitor, message)
        elif isinstance(message, Declare):
            work = self._declaring.declare(message.declaration, frame.payload)
            visitor.answer(message.request_id, work)
        elif isinstance(message, Control):
            visitor.answer(message.request_id, self._control(message))
        elif isinstance(message, Pausing):
            visitor.answer(message.request_id, self._pause(message))
        elif isinstance(message, Rescheduling):
            visitor.answer(message.request_id, self._reschedule(message))
        elif isinstance(message, SetPool):
            self._spawn(self._set_pool(message))
        else:
            self._handle_rest(visitor, message)

    def _handle_rest(self, visitor: Visitor, message: Message) -> None:
        if isinstance(message, FlushHistory):
            visitor.answer(message.request_id, self._client.write_history())
        elif isinstance(message, AskStatus):
            visitor.send(self._reports.make_report(message.request_id))
        elif isinstance(message, Drain | Shutdown):
            is_restart = isinstance(message, Drain)
            _log.info("%s requested the shutdown", visitor)
            visitor.answer(message.request_id, self._end(message.timeout, is_restart))

    async def _end(self, timeout: float, is_restart: bool) -> None:  # noqa: FBT001 - a message's field
        asyncio.get_running_loop().call_soon(self._on_end, timeout, is_restart)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    async def _control(self, message: Control) -> None:
        is_start = message.action == "start"
        if not is_start:
            self._hurry(message)
        try:
            async with self._tasks.holding(message.task_id) as kept:
                await self._control_kept(kept, message)
        except TaskDestroyed:
            if is_start:
                raise

    def _hurry(self, message: Control) -> None:
        """Stop a task before the request that it waits for is done.

        That may be a start, whose job is still being loaded, or a stop that lets runs
        in progress come to their end, and now shall not. Its start with the service, if
        that is still to come, is revoked.
        """
        kept = self._tasks.get(message.task_id)
        if kept is None or kept.record is None or self._tasks.is_ending:
            return
        kept.is_due = False
        if self._tasks.get_lock(kept.name).locked():
            stop = kept.record.control("stop", force=message.force)
            stop.watch(lambda end: end.peek())

    async def _control_kept(self, kept: KeptTask, message: Control) -> None:
        record, action = kept.record, message.action
        if record is None:
            if action == "start":
                raise StartError(name=kept.name, reason=kept.error)
            if action == "destroy":
                await self._remove(kept)
            return
        if action == "stop":
            # Also where it was not started yet, and tells nobody that it has stopped.
            self._saver.change(kept, is_started=False)
        try:
            if action == "start" and kept.is_due:
                # Out of its turn, but with what it is owed.
                await self._handover.start_restored(kept)
            else:
                await ended(record.control(action, force=message.force))
        except StartRevoked:
            raise
        except Exception as error:
            if action == "start":
                self._reports.fail(kept, error)
            raise
        finally:
            if record.observed.status == "destroyed":
                await self._saver.call(Store.remove, record.id)
            is_saved = await self._saver.save()
        self._saver.check(is_saved=is_saved)

    async def _remove(self, kept: KeptTask) -> None:
        """Keep a task no longer that was never loaded."""
        await self._saver.call(Store.remove, kept.id)
        self._tasks.pop(kept.id, None)
        self._reports.tell_gone(kept)

    async def _pause(self, message: Pausing) -> None:
        with contextlib.suppress(TaskDestroyed):
            async with self._tasks.holding(message.task_id) as kept:
                record = get_record(kept)
                completion: Completion[None] = record.make_completion("pause")
                self._client.pause(
                    record, message.pause, completion, catch_up=message.catch_up
                )
                await ended(completion)
                self._saver.check(is_saved=await self._saver.save())

    async def _reschedule(self, message: Rescheduling) -> None:
        async with self._tasks.holding(message.task_id) as kept:
            await self._reschedule_kept(kept, message)

    async def _reschedule_kept(self, kept: KeptTask, message: Rescheduling) -> None:
        record = get_record(kept)
        trigger = make_trigger(message.trigger)
        trigger = trigger.begin(self._client.clock.now(), trigger.timezone)
        stored = await self._saver.call(Store.find, record.id)
        if stored is None or stored.declaration is None:
            raise TaskDestroyed(name=kept.name)
        register = replace(
            stored.declaration.register,
            trigger=describe_trigger(trigger),
            zone=describe_zone(trigger.timezone),
            pattern=message.pattern,
        )
        changed = replace(stored.declaration, register=register)
        await self._saver.call(Store.change, changed)
        record.expression = trigger
        record.observed.last_end = None
        record.observed.move_to(trigger.timezone)
        self._client.reschedule(record)
        kept.declaration = redact(changed)
        self._reports.show(kept)

    async def _set_pool(self, message: SetPool) -> None:
        self._client.set_pool(message.name, message.limit)
        try:
            await self._saver.call(Store.put_pool, message.name, message.limit)
        except ServiceError as error:
            self._saver.note_trouble(error)
        else:
            self._saver.error = ""

    def _execute(self, visitor: Visitor, message: Execute) -> None:
        self._reports.note_caller(message.execution_id, visitor)
        try:
            record = get_record(self._tasks.find(message.task_id))
        except (TaskDestroyed, StartError) as error:
            self._reports.see_refusal(message.task_id, message.execution_id, error)
        else:
            self._client.execute(record, message.execution_id, message.slot)
