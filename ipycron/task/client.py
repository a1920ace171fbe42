"""The client: one thread that schedules inline tasks and talks to the supervisor.

Daemon thread ``ipycron`` with an asyncio loop. It calls no user code: inline
functions run on threads of a pool or on the user's loop, listeners and log handlers
on the dispatcher's thread.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from ipycron.errors import IpycronError, SupervisorLost
from ipycron.scheduling.clock import SystemClock
from ipycron.scheduling.events import Event, Outcome
from ipycron.scheduling.ids import IdMaker
from ipycron.scheduling.scheduler import Scheduler
from ipycron.task.bulletin import Bulletin
from ipycron.task.completion import read_nothing
from ipycron.task.elect import TaskElector
from ipycron.task.keepalive import Keepalive
from ipycron.task.launch import ClientLauncher
from ipycron.task.listeners import Dispatcher, Listeners
from ipycron.task.records import Records
from ipycron.task.remote import Remote
from ipycron.task.threads import ThreadPool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ipycron.process.payload import Payload
    from ipycron.process.protocol import Displayed, Preload, Streamed
    from ipycron.scheduling.events import Notice
    from ipycron.scheduling.plan import Silence
    from ipycron.task.completion import Completion
    from ipycron.task.controls import Action
    from ipycron.task.task import Task


LAST_EVENTS = 1.0
"""Seconds at least that listeners and log handlers have for the last events."""

_log = logging.getLogger("ipycron")


class Client:
    """Everything of ipycron that runs in this process; made when first needed.

    Attributes:
        tasks: by id, all that are not destroyed.
        listeners: those of all tasks.
        bulletin: the last events; outlives this client.
        gone: set when a shutdown has ended every run and process.
        logger: takes the records of tasks without a logger of their own.
        coordinator: elects for tasks without a coordinator of their own, or None.
        make_id: names the runs that are called for.
        defer: calls something where listeners are called, after them.
    """

    def __init__(self, bulletin: Bulletin | None = None) -> None:
        self.bulletin = bulletin or Bulletin()
        self.tasks: dict[str, Task] = {}
        self.listeners = Listeners()
        self.logger: logging.Logger | None = None
        self.coordinator: Any = None
        self.make_id = IdMaker()
        self.dispatcher = Dispatcher()
        self.defer = self.dispatcher.submit
        self._records = Records(self.defer)
        self.keepalive = Keepalive()
        self._pool = ThreadPool()
        self._loop = asyncio.new_event_loop()
        self._calls: deque[Callable[[], Any]] = deque()  # submitted, not done yet
        self._launcher = ClientLauncher(self._pool, self)
        self._elector = TaskElector(self)
        self._scheduler = Scheduler(
            clock=SystemClock(),
            launcher=self._launcher,
            emit=self.take_notice,
            elector=self._elector,
        )
        self._remote = Remote(self, self._elector)
        self._work: set[asyncio.Task[None]] = set()
        self.is_closed = False
        self.gone = threading.Event()
        self.thread = threading.Thread(target=self._run, name="ipycron", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.close()

    @property
    def supervisor_pid(self) -> int | None:
        """The supervisor's process, None while there is none."""
        return self._remote.supervisor_pid

    # --- from any thread ------------------------------------------------------------

    def submit(self, call: Callable[[], Any]) -> None:
        """Call this on the client's loop."""
        self._calls.append(call)
        self._loop.call_soon_threadsafe(self._call_next)

    def _call_next(self) -> None:
        try:
            self._calls[0]()
        finally:
            self._calls.popleft()  # last: it tells that the call is done

    def add(self, task: Task) -> None:
        """Register a task with the scheduler that will run it."""
        self.tasks[task.id] = task
        self.submit(partial(self._add, task))
        self.bulletin.tell(task.id)

    def _add(self, task: Task) -> None:
        if task.is_background:
            self._remote.add(task.id, task)
            return
        self._launcher.register(task)
        self._scheduler.add(
            task.id,
            name=task.name,
            schedule=task.expression,
            policy=task.options.get_policy(),
        )

    def set_coordinator(self, coordinator: Any) -> None:
        """Have it elect for tasks without a coordinator of their own."""
        self.coordinator = coordinator
        self.submit(self._elector.sweep)

    def warm(self, preload: Preload | None = None) -> None:
        """Start the supervisor in advance, without waiting for it."""
        self.submit(partial(self._remote.warm, preload))

    def control(
        self, task: Task, action: Action, completion: Completion[None], *, force: bool
    ) -> None:
        """Start, stop or destroy a task; `completion` ends with it."""
        if action == "start" and not task.is_background:
            self._pool.prepare()  # here and now: the script may be at its end
        self.submit(partial(self._control, task, action, completion, force=force))

    def _control(
        self, task: Task, action: Action, completion: Completion[None], *, force: bool
    ) -> None:
        is_inline_start = action == "start" and not task.is_background
        if is_inline_start and self._scheduler.start_at_once(task.id):
            completion.set(read_nothing)
            return
        work: Any = (
            self._remote.control(task.id, action, force=force)
            if task.is_background
            else self._control_inline(task, action, force=force)
        )
        self._settle(work, completion)

    async def _control_inline(self, task: Task, action: Action, *, force: bool) -> None:
        if action == "start":
            await self._scheduler.start(task.id)
        elif action == "stop":
            await self._scheduler.stop(task.id, force=force)
        else:
            await self._scheduler.destroy(task.id, force=force)

    def execute(self, task: Task, execution_id: str) -> None:
        """Run a task now; its end, or the refusal, reaches the task.

        A run in a worker is asked for on this very thread where nothing was asked
        before that has not left yet: that saves a wake-up of the loop.
        """
        if (
            task.is_background
            and task.options.execute_timeout is None
            and not self._calls
            and self._remote.execute_at_once(task.id, execution_id)
        ):
            return
        self.submit(partial(self._execute, task, execution_id))

    def _execute(self, task: Task, execution_id: str) -> None:
        if task.is_background:
            self._remote.execute(task.id, execution_id)
        else:
            # Not before the first step of a start that came just before it.
            self._loop.call_soon(self._execute_inline, task, execution_id)
        timeout = task.options.execute_timeout
        if timeout is not None:
            self._loop.call_later(timeout, task.expire, execution_id, timeout)

    def _execute_inline(self, task: Task, execution_id: str) -> None:
        try:
            self._scheduler.execute_nowait(task.id, execution_id)
        except IpycronError as error:
            task.refuse(execution_id, error)

    def _settle(self, work: Any, completion: Completion[None]) -> None:
        def settle(future: asyncio.Future[Any]) -> None:
            if future.cancelled():
                completion.fail(asyncio.CancelledError())
            elif (error := future.exception()) is not None:
                completion.fail(error)
            else:
                completion.set(read_nothing)

        asyncio.ensure_future(work).add_done_callback(settle)

    # --- on the client's loop: what happens to tasks --------------------------------

    def take_notice(self, notice: Notice) -> None:
        """Bring the task up to date and tell its listeners; see `Owner`."""
        task = self.tasks.get(notice.task_id)
        if task is None:
            return
        task.take_notice(notice)
        self.keepalive.update(task)
        if notice.event is Event.TASK_DESTROYED:
            self.tasks.pop(task.id, None)
            self._launcher.forget(task.id)
            self._remote.forget(task.id)
            if task.options.distributed:
                self._elector.sweep()
        self.bulletin.post(task, notice)

    def take_refusal(
        self, task_id: str, execution_id: str, error: BaseException
    ) -> None:
        """End the completion of a run that cannot be; see `Owner`."""
        task = self.tasks.get(task_id)
        if task is not None:
            task.refuse(execution_id, error)

    def take_output(self, message: Streamed | Displayed, payload: Payload) -> None:
        """Add to the output of a run; see `Owner`."""
        task = self.tasks.get(message.task_id)
        if task is not None:
            task.mirror.take_output(message, payload)
            self.bulletin.tell(task.id)

    def take_record(self, record: logging.LogRecord, task_id: str) -> None:
        """Have the record handled by this process's logging; see `Owner`."""
        task = self.tasks.get(task_id)
        self._records.take(record, task)

    def take_loss(
        self,
        error: SupervisorLost,
        last_words: Mapping[str, Action | None],
        *,
        is_final: bool,
    ) -> list[str]:
        """End the runs that were lost; see `Owner`."""
        lost = [task for task in self.tasks.values() if task.is_background]
        self._elector.abandon({task.id for task in lost})
        now, outcome = SystemClock().now(), Outcome.of_error(error)
        self.get_logger(None).error("%s", error)
        for task in lost:
            for notice in task.mirror.describe_loss(
                now, outcome, last_word=last_words.get(task.id), is_final=is_final
            ):
                self.take_notice(notice)
            task.refuse_all(error)
        return [task.id for task in lost if task.is_started]

    def take_failed_resume(
        self, task_id: str, error: BaseException, silence: Silence, *, is_wanted: bool
    ) -> None:
        """Tell that a task is stopped; see `Owner`."""
        task = self.tasks.get(task_id)
        if task is not None:
            for notice in task.mirror.describe_missed(silence, task.expression):
                self.take_notice(notice)
            event = Event.TASK_FAILED if is_wanted else Event.TASK_STOPPED
            outcome = Outcome.of_error(error) if is_wanted else None
            now = SystemClock().now()
            self.take_notice(task.mirror.describe_end(event, now, outcome))

    def get_logger(self, task: Task | None) -> logging.Logger:
        """Return who logs for a task: its own logger, the client's, or ipycron's."""
        own = None if task is None else task.options.logger
        return own or self.logger or _log

    # --- the end --------------------------------------------------------------------

    def shutdown(self, timeout: float) -> None:
        """Stop everything and return when it is gone. Ends the client's threads."""
        self.is_closed = True
        try:
            done = asyncio.run_coroutine_threadsafe(self._shutdown(timeout), self._loop)
            done.result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self.thread.join()
        finally:
            self.gone.set()
        self.keepalive.close()
        self._pool.close()
        self.dispatcher.close(timeout=max(timeout, LAST_EVENTS))

    async def _shutdown(self, timeout: float) -> None:
        await asyncio.gather(
            self._scheduler.shutdown(timeout), self._remote.shutdown(timeout)
        )
        # Who is left has lost its supervisor on the way.
        lost = SupervisorLost(reason="it did not live to see the end of the shutdown")
        now, outcome = SystemClock().now(), Outcome.of_error(lost)
        for task in list(self.tasks.values()):
            for notice in task.mirror.describe_loss(
                now, outcome, last_word="destroy", is_final=True
            ):
                self.take_notice(notice)
        await self._elector.aclose()

    def close_in_child(self) -> None:
        """Let go of everything in a process that this one forked."""
        self.is_closed = True
        self._remote.close_in_child()
