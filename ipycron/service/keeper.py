"""The keeper: the tasks of the service, as its store has them and its clients see them.

Runs on the loop of the service's client, which schedules the tasks like those of any
program. What a client requests is answered when it is on the disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakValueDictionary

from msgspec.structs import replace

from ipycron.client.declaration import restore_task
from ipycron.errors import (
    InvalidOption,
    ServiceError,
    StartError,
    StartRevoked,
    TaskDestroyed,
)
from ipycron.process.service.protocol import (
    AllKnown,
    AskStatus,
    Declaration,
    Declare,
    Drain,
    FailedTask,
    Going,
    Greeting,
    Known,
    Rescheduling,
    StatusReport,
)
from ipycron.process.wire.notices import describe_notice
from ipycron.process.wire.outcome import encode_error
from ipycron.process.wire.payload import Payload, pack_data
from ipycron.process.wire.protocol import (
    Continued,
    Control,
    Displayed,
    Execute,
    FlushHistory,
    Logged,
    Pausing,
    Refused,
    SetPool,
    Shutdown,
    Streamed,
)
from ipycron.process.wire.triggers import describe_trigger, make_trigger
from ipycron.process.wire.zones import describe_zone
from ipycron.runlog.begun import read_begun
from ipycron.scheduling.events import Event, Notice
from ipycron.scheduling.plan import merge_spans
from ipycron.scheduling.policy import CatchUp
from ipycron.service.saving import Saver
from ipycron.service.server import MAX_ERROR_BYTES, Server, Visitor
from ipycron.service.store import KeptState, Store
from ipycron.service.tasks import (
    KeptTask,
    get_record,
    limit_runs,
    make_gone,
    read_state,
    redact,
    send_outputs,
)
from ipycron.service.unwritten import UnwrittenSlots

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from ipycron.client.completion import Completion
    from ipycron.client.record import TaskRecord
    from ipycron.process.service.paths import Places
    from ipycron.process.wire.channel import Frame
    from ipycron.process.wire.protocol import Message
    from ipycron.runlog.begun import Begun
    from ipycron.scheduling.events import AttemptBegan
    from ipycron.scheduling.plan import Outage
    from ipycron.service.client import ServiceClient
    from ipycron.service.store import StoredTask

STARTS_AT_ONCE = 8
"""Tasks that are started at once with the service: a thousand that load their jobs
together would all take too long."""
HANDOVER = 120.0
"""Seconds after the end of a service in which the next one makes up for the slots in
between: longer, and they are a gap like any other (C1)."""
_ENDED = "ended"
_UNWANTED = (Event.TASK_STARTED, Event.TASK_STOPPED, Event.TASK_DESTROYED)
_HANDED_OVER = CatchUp("all", window=HANDOVER)

_log = logging.getLogger("ipycron.service")

T = TypeVar("T")


class Keeper:
    """See the module.

    Args:
        client: runs the tasks.
        places: the service's files.
        greeting: the service's.
        on_end: called with a number of seconds for the runs in progress, and whether
            another service follows, when a client asks for the end.
    """

    def __init__(
        self,
        client: ServiceClient,
        places: Places,
        greeting: Greeting,
        *,
        on_end: Callable[[float, bool], None],
    ) -> None:
        self._client = client
        self._places = places
        self._greeting = greeting
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._saver = Saver()
        self._tasks: dict[str, KeptTask] = {}
        # Why, by name: no client can be shown more of them.
        self._unreadable: dict[str, str] = {}
        # By name; one that nobody holds or waits for is gone.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._callers: dict[str, Visitor] = {}
        self._work: set[asyncio.Task[None]] = set()
        self._starts = asyncio.Semaphore(STARTS_AT_ONCE)
        self._is_ending = False
        self._is_handed_over = False
        self._is_open = False
        # By name, of tasks that were not started yet: what earlier services have begun.
        self._begun: dict[str, list[Begun]] = {}
        self._unwritten = UnwrittenSlots(client)
        self._life = uuid.uuid4().hex[:8]
        self._server = Server(
            places.socket,
            greeting,
            on_attach=self._attach,
            on_message=self._handle,
        )

    # --- its beginning and its end --------------------------------------------------

    async def open(self) -> None:
        """Load the tasks, listen, and begin to start the tasks.

        Raises:
            ServiceError: if the store or the socket cannot be used.
        """
        saver = self._saver
        await saver.open(self._places)
        await saver.call(Store.collect)
        ended = await saver.call(Store.read_mark, _ENDED)
        now = self._client.clock.now()
        # If the clock was set back since then, nobody knows how long ago that is.
        self._is_handed_over = ended is not None and now - ended < HANDOVER
        self._begun = await self._read_begun(now)
        pools = await saver.call(Store.read_pools)
        for name, limit in pools.items():
            self._client.set_pool(name, limit)
        restored = [
            await self._restore(stored) for stored in await saver.call(Store.load)
        ]
        self._client.observer = self
        self._server.open()
        self._is_open = True
        for kept in restored:
            if kept is not None and kept.record is not None and kept.state.is_started:
                kept.start = self._spawn(self._start_again(kept))

    async def _read_begun(self, now: float) -> dict[str, list[Begun]]:
        """Return what is noted of the slots that have begun by now, by name."""
        read = partial(read_begun, self._places.begun, now=now)
        return await self._loop.run_in_executor(None, read)

    async def prepare_end(self, *, is_restart: bool) -> None:
        """Begin nothing more; let the clients know, and save what is to be saved."""
        self._is_ending = self._saver.is_ending = True
        reason = "it is being restarted" if is_restart else "it was told to end"
        self._server.broadcast(Going(reason, is_restart))
        await self._saver.save()

    def close(self) -> None:
        """Save the last states; called when the client is gone, on any thread."""
        self._server.close()
        # One that has not run hands nothing over: what was owed before still is.
        mark = _ENDED if self._is_open else None
        self._saver.close(mark, self._client.clock.now())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        return task

    # --- tasks of the store ---------------------------------------------------------

    async def _restore(self, stored: StoredTask) -> KeptTask | None:
        """Make the task of a row again; one that cannot be is failed, and says why."""
        declaration = stored.declaration
        if stored.state.runs_left == 0:  # killed before it was removed
            self._spawn(self._saver.remove(stored.id))
            return None
        if declaration is None:
            _log.error("task %r cannot be loaded: %s", stored.name, stored.error)
            self._unreadable[stored.name] = stored.error
            return None
        register = replace(
            declaration.register,
            pause=stored.state.pause,
            policy=limit_runs(declaration.register.policy, stored.state.runs_left),
        )
        declaration = replace(declaration, register=register)
        record, error = None, ""
        try:
            payload = await self._saver.call(Store.read_payload, stored.payload)
            record = self._make_record(declaration, payload)
        except Exception as failure:  # noqa: BLE001 - border: one task, not the service
            error = f"{type(failure).__name__}: {failure}"
            _log.error("task %r cannot be loaded: %s", stored.name, error)
        kept = KeptTask(
            redact(declaration),
            record,
            stored.state,
            error=error or stored.state.error,
        )
        self._tasks[stored.id] = kept
        if record is not None:
            self._client.add(record)
        return kept

    def _make_record(self, declaration: Declaration, payload: Payload) -> TaskRecord:
        record = restore_task(self._client, declaration, payload)
        record.observed.last_pause = record.observed.pause
        self._client.history.expect(record, declaration, self._life)
        return record

    async def _start_again(self, kept: KeptTask) -> None:
        """Start a task as the store has it; a failure is logged and shown."""
        async with self._starts:
            record = kept.record
            assert record is not None
            is_kept = self._tasks.get(kept.id) is kept
            if not (is_kept and kept.state.is_started):
                return  # it was stopped, destroyed or replaced before its turn
            try:
                await self._start(record, self._begun.pop(record.name, []))
            except StartRevoked:
                pass
            except Exception as error:  # noqa: BLE001 - border: one task
                self._fail(kept, error)

    def _fail(self, kept: KeptTask, error: BaseException) -> None:
        head = str(error).strip().partition("\n")[0]
        kept.error = f"{type(error).__name__}: {head}"
        _log.error("task %r did not start: %s", kept.name, kept.error)
        self._show(kept)

    async def _start(self, record: TaskRecord, begun: list[Begun]) -> None:
        """Start a task, with what an earlier life of it owes (C1).

        Args:
            record: the task.
            begun: what is noted of the slots of its name.
        """
        self._client.history.begin(record)
        find = partial(self._find_outage, record, begun)
        outage = await self._loop.run_in_executor(None, find)
        if outage is not None and not record.is_over:
            record.inherit(outage)
        await ended(record.control("start"))
        if outage is not None and begun:
            self._unwritten.add(record, begun)

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

    # --- requests -------------------------------------------------------------------

    def _handle(self, visitor: Visitor, message: Message, frame: Frame) -> None:
        if visitor.misfit is not None and not isinstance(
            message, AskStatus | Drain | Shutdown
        ):
            request_id = getattr(message, "request_id", None)
            if request_id is not None:
                visitor.refuse(request_id, visitor.misfit)
        elif isinstance(message, Execute):
            self._execute(visitor, message)
        elif isinstance(message, Declare):
            work = self._declare(message.declaration, frame.payload)
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
            visitor.send(self._report(message.request_id))
        elif isinstance(message, Drain | Shutdown):
            is_restart = isinstance(message, Drain)
            _log.info("%s requested the shutdown", visitor)
            visitor.answer(message.request_id, self._end(message.timeout, is_restart))

    async def _end(self, timeout: float, is_restart: bool) -> None:  # noqa: FBT001 - a message's field
        self._loop.call_soon(self._on_end, timeout, is_restart)

    def _get_lock(self, name: str) -> asyncio.Lock:
        """Return the lock under which a task of that name is replaced or controlled."""
        return self._locks.setdefault(name, asyncio.Lock())

    async def _declare(self, declaration: Declaration, payload: Payload) -> None:
        """Keep a task; see `Declare`."""
        self._check_open()
        name = declaration.register.name
        if not name or declaration.register.task_id in self._tasks:
            raise InvalidOption(
                option="name", value=name, expected="a name, and a new id, to be kept"
            )
        async with self._get_lock(name):
            self._check_open()
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
        record = self._make_record(fixed, payload)
        old = next((k for k in self._tasks.values() if k.name == name), None)
        self._client.add(record)
        try:
            await self._replace(fixed, record, stored, old)
        except BaseException as error:
            await self._go_back(record, old, error)
            raise

    def _check_open(self) -> None:
        if self._is_ending:
            raise ServiceError(
                reason="it is shutting down: declare the task again later"
            )

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
            begun = await self._read_begun(self._client.clock.now())
            await self._start(record, begun.get(record.name, []))
        state = KeptState(
            is_started=declaration.is_started,
            pause=declaration.register.pause,
            runs_left=declaration.register.policy.max_executions,
        )
        await self._saver.call(Store.put, declaration, payload, state)
        self._unreadable.pop(record.name, None)
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
        self._show(kept)
        self._note_state(kept)

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
                    self._fail(old, failure)
            old.is_replaced = False
        _log.warning("task %r was not replaced: %s", record.name, error)
        self._destroy(record)

    def _dismiss(self, old: KeptTask) -> None:
        """End a task that was replaced; the store has the new one already."""
        if old.record is not None:
            self._destroy(old.record)
        self._tell_gone(old)

    def _destroy(self, record: TaskRecord) -> None:
        completion = record.control("destroy")
        completion.watch(lambda end: end.peek())

    @contextlib.asynccontextmanager
    async def _holding(self, task_id: str) -> AsyncIterator[KeptTask]:
        """Find a task for a request; others of its name wait meanwhile.

        Raises:
            TaskDestroyed: if it is kept no longer, or not when its turn has come.
        """
        self._check_open()
        kept = self._find(task_id)
        async with self._get_lock(kept.name):
            if self._tasks.get(task_id) is not kept:
                raise TaskDestroyed(name=kept.name)
            yield kept

    def _find(self, task_id: str) -> KeptTask:
        kept = self._tasks.get(task_id)
        if kept is None:
            raise TaskDestroyed(name=task_id)
        return kept

    async def _control(self, message: Control) -> None:
        is_start = message.action == "start"
        if not is_start:
            self._hurry(message)
        try:
            async with self._holding(message.task_id) as kept:
                await self._control_kept(kept, message)
        except TaskDestroyed:
            if is_start:
                raise

    def _hurry(self, message: Control) -> None:
        """Stop a task before the request that it waits for is done.

        That may be a start, whose job is still being loaded, or a stop that lets runs
        in progress come to their end, and now shall not.
        """
        kept = self._tasks.get(message.task_id)
        if kept is None or kept.record is None or self._is_ending:
            return
        if self._get_lock(kept.name).locked():
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
            self._change(kept, is_started=False)
        try:
            await ended(record.control(action, force=message.force))
        except StartRevoked:
            raise
        except Exception as error:
            if action == "start":
                self._fail(kept, error)
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
        self._tell_gone(kept)

    def _tell_gone(self, kept: KeptTask) -> None:
        """Tell all clients that a task is kept no longer."""
        gone = make_gone(kept.id, self._client.clock.now())
        self._server.broadcast(describe_notice(gone))

    async def _pause(self, message: Pausing) -> None:
        with contextlib.suppress(TaskDestroyed):
            async with self._holding(message.task_id) as kept:
                record = get_record(kept)
                completion: Completion[None] = record.make_completion("pause")
                self._client.pause(
                    record, message.pause, completion, catch_up=message.catch_up
                )
                await ended(completion)
                self._saver.check(is_saved=await self._saver.save())

    async def _reschedule(self, message: Rescheduling) -> None:
        async with self._holding(message.task_id) as kept:
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
        self._show(kept)

    async def _set_pool(self, message: SetPool) -> None:
        self._client.set_pool(message.name, message.limit)
        try:
            await self._saver.call(Store.put_pool, message.name, message.limit)
        except ServiceError as error:
            self._saver.note_trouble(error)
        else:
            self._saver.error = ""

    def _execute(self, visitor: Visitor, message: Execute) -> None:
        self._callers[message.execution_id] = visitor
        try:
            record = get_record(self._find(message.task_id))
        except (TaskDestroyed, StartError) as error:
            self.see_refusal(message.task_id, message.execution_id, error)
        else:
            self._client.execute(record, message.execution_id, message.slot)

    # --- what clients see -----------------------------------------------------------

    def _attach(self, visitor: Visitor) -> None:
        """Send all tasks; from here on the client follows what happens."""
        for kept in self._tasks.values():
            known = Known(kept.declaration, read_state(kept), is_initial=True)
            visitor.introduce(known)
            if kept.record is not None:
                send_outputs(visitor, kept.record)
        visitor.introduce(AllKnown())
        visitor.is_live = True

    def _show(self, kept: KeptTask) -> None:
        """Tell all clients of a task that is new, or has changed.

        Of one that has ended meanwhile they have been told, and must not be again.
        """
        if self._tasks.get(kept.id) is kept:
            self._server.broadcast(Known(kept.declaration, read_state(kept)))

    def _report(self, request_id: int) -> StatusReport:
        tasks = self._tasks.values()
        failed = {kept.name: kept.error for kept in tasks if kept.error}
        failed |= self._unreadable
        records = [kept.record for kept in tasks if kept.record is not None]
        history = self._client.history
        return StatusReport(
            request_id=request_id,
            greeting=self._greeting,
            supervisor=self._client.supervisor_pid,
            tasks=len(tasks) + len(self._unreadable),
            running=sum(len(record.observed.running) for record in records),
            clients=len(self._server),
            dropped=self._server.dropped,
            disconnected=self._server.disconnected,
            failed=tuple(FailedTask(name=n, reason=why) for n, why in failed.items()),
            history_waiting=history.waiting,
            history_lost=history.lost,
            store_error=self._saver.error,
        )

    def see_notice(self, notice: Notice) -> None:
        """Pass an event of a kept task on, and save what it changes."""
        kept = self._tasks.get(notice.task_id)
        run = notice.execution
        if run is not None and notice.event in (
            Event.EXECUTION_FINISHED,
            Event.EXECUTION_FAILED,
        ):
            self._callers.pop(run.id, None)
        if kept is None:
            return  # it is not kept yet, or no longer
        if (self._is_ending or kept.is_replaced) and notice.event in _UNWANTED:
            return  # with the service, or for another one: by nobody's wish
        self._server.broadcast(describe_notice(notice), _encode(notice))
        if notice.event is Event.TASK_DESTROYED:
            del self._tasks[notice.task_id]
            self._spawn(self._saver.remove(notice.task_id))
            return
        self._note_event(kept, notice)
        self._note_state(kept)

    def _note_event(self, kept: KeptTask, notice: Notice) -> None:
        if notice.event in (Event.TASK_STARTED, Event.TASK_RESTARTED):
            kept.error = ""
            self._change(kept, is_started=True, error="")
        elif notice.event is Event.TASK_STOPPED:
            self._change(kept, is_started=False)
        elif notice.event is Event.TASK_FAILED:
            kept.error = "" if notice.outcome is None else notice.outcome.summary
            self._change(kept, is_started=False, error=kept.error)

    def _note_state(self, kept: KeptTask) -> None:
        """Have the pause and the runs left saved, if they have changed."""
        assert kept.record is not None
        observed = kept.record.observed
        self._change(kept, pause=observed.pause, runs_left=observed.runs_left)

    def _change(self, kept: KeptTask, **changes: Any) -> None:
        """Have a state saved soon, if it is another one with these changes."""
        state = replace(kept.state, **changes)
        if state != kept.state:
            kept.state = state
            self._saver.put(kept.id, state)

    def see_set_back(self) -> None:
        """Tell all clients what is known of the tasks, now that the clock is right."""
        for kept in self._tasks.values():
            if kept.record is not None:
                self._note_state(kept)
            self._show(kept)

    def see_attempt(self, began: AttemptBegan) -> None:
        """Pass on that a queued attempt has begun."""
        if began.task_id in self._tasks:
            self._server.broadcast(
                Continued(began.task_id, began.status, began.execution)
            )

    def see_output(self, message: Streamed | Displayed, payload: Payload) -> None:
        """Pass on what a run has written or displayed."""
        if message.task_id in self._tasks:
            self._server.broadcast(message, payload)

    def see_record(self, record: logging.LogRecord, task_id: str) -> None:
        """Pass on what a job has logged."""
        if task_id in self._tasks:
            self._server.broadcast(Logged(task_id, ""), pack_data(record.__dict__))

    def see_refusal(
        self, task_id: str, execution_id: str, error: BaseException
    ) -> None:
        """Tell whoever requested a run that there is none."""
        visitor = self._callers.pop(execution_id, None)
        if visitor is not None:
            payload, _ = encode_error(error, MAX_ERROR_BYTES, str(error))
            visitor.send(Refused(task_id, execution_id), payload)


async def ended(completion: Completion[Any]) -> None:
    """Return when a completion has ended; raises its error."""
    loop = asyncio.get_running_loop()
    end: asyncio.Future[None] = loop.create_future()

    def settle(completion: Completion[Any]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(_settle, end, completion.exception())

    completion.watch(settle)
    await end


def _settle(end: asyncio.Future[None], error: BaseException | None) -> None:
    if end.done():
        return
    if error is None:
        end.set_result(None)
    else:
        end.set_exception(error)


def _encode(notice: Notice) -> Payload:
    """Return what travels beside a notice: a result, or an error."""
    value = None if notice.outcome is None else notice.outcome.value
    if isinstance(value, Payload):
        return value
    if isinstance(value, BaseException):
        return encode_error(value, MAX_ERROR_BYTES, str(value))[0]
    return Payload()
