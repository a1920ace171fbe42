"""Kept tasks, seen from a client: they live in the service, which outlives it.

Every client that is attached follows every kept task, whichever process declared it.
Nothing that happens to a client changes a kept task; only requests do.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from ipycron.client.declaration import restore_task
from ipycron.client.notices import read_attempt, read_notice
from ipycron.client.record import TaskClient
from ipycron.errors import ServiceError, ServiceLost, StartError
from ipycron.process.service.attach import ServiceLink, connect
from ipycron.process.service.protocol import (
    AllKnown,
    Declare,
    Known,
    Rescheduling,
)
from ipycron.process.wire.outcome import decode_error
from ipycron.process.wire.payload import unpack_data
from ipycron.process.wire.protocol import (
    Continued,
    Control,
    Displayed,
    Execute,
    FlushHistory,
    Logged,
    Noticed,
    Pausing,
    Refused,
    SetPool,
    Streamed,
)
from ipycron.process.wire.triggers import describe_trigger, make_trigger
from ipycron.process.worker.logs import rebuild_record
from ipycron.scheduling.events import Event, Notice, Outcome, Status

if TYPE_CHECKING:
    import asyncio
    import logging
    import socket
    from collections.abc import Callable

    from ipycron.client.completion import Completion
    from ipycron.client.record import TaskRecord
    from ipycron.client.recovery import Action
    from ipycron.process.service.paths import Places
    from ipycron.process.service.protocol import Declaration, Greeting, TaskState
    from ipycron.process.wire.channel import Frame
    from ipycron.process.wire.payload import Payload
    from ipycron.scheduling.events import AttemptBegan, Pause
    from ipycron.scheduling.policy import CatchUp

PATIENCE = 5.0
"""Seconds without a service after which its tasks count as stopped: a restart, or a
crash with a unit that starts it again, takes less."""
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 5.0
"""Seconds between two attempts to attach again; they double up to the longest."""
_RETRY_TIMEOUT = 0.2
"""Seconds for which an attempt may block the loop."""
_NOT_THERE = (
    "it does not run, so its tasks do not: `ipycron service start` starts it again"
)


class KeptClient(TaskClient, Protocol):
    """What `KeptTasks` needs of the client."""

    @property
    def tasks(self) -> dict[str, TaskRecord]: ...  # noqa: D102

    @property
    def pools(self) -> dict[str | None, int | None]: ...  # noqa: D102

    def adopt(self, task: TaskRecord) -> None:
        """Count a kept task among the client's; one that is there has changed."""

    def handle_notice(self, notice: Notice) -> None: ...  # noqa: D102

    def handle_attempt(self, began: AttemptBegan) -> None: ...  # noqa: D102

    def handle_refusal(  # noqa: D102
        self, task_id: str, execution_id: str, error: BaseException
    ) -> None: ...

    def handle_output(  # noqa: D102
        self, message: Streamed | Displayed, payload: Payload
    ) -> None: ...

    def handle_record(  # noqa: D102
        self, record: logging.LogRecord, task_id: str
    ) -> None: ...

    def warn(self, text: str) -> None: ...  # noqa: D102


class KeptTasks:
    """The owner of the tasks in the service; see `TaskOwner`.

    Methods are called on the client's loop, but for `attach`.

    Args:
        client: the client.
        loop: its loop.
    """

    def __init__(self, client: KeptClient, loop: asyncio.AbstractEventLoop) -> None:
        self._client = client
        self._loop = loop
        self._link: ServiceLink | None = None
        self._places: Places | None = None
        self._greeting: Greeting | None = None
        self._tasks: dict[str, TaskRecord] = {}
        self._declared: dict[str, TaskRecord] = {}  # those not answered yet
        self._seen: set[str] = set()  # since the link was made
        self._attaching: asyncio.Future[None] | None = None
        self._pause = _FIRST_PAUSE
        self._retry: asyncio.TimerHandle | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._loss: ServiceError | None = None
        self.is_closed = False

    # --- the connection -------------------------------------------------------------

    @property
    def is_attached(self) -> bool:
        """Whether it follows the service, and knows every task; from any thread."""
        return self._link is not None and self._attaching is None

    @property
    def service_pid(self) -> int | None:
        """The process of the service; None if it is not attached; from any thread."""
        link = self._link
        return None if link is None or link.service is None else link.service.pid

    def attach(
        self, sock: socket.socket, places: Places, greeting: Greeting
    ) -> asyncio.Future[None]:
        """Follow the service at the other end of a socket.

        Returns:
            a future that ends when every kept task is known, or with a `ServiceError`.
        """
        if self._link is not None or self.is_closed:
            sock.close()
            known = self._attaching
            if known is None:
                known = self._loop.create_future()
                known.set_result(None)
            return known
        self._cancel_retry()
        self._places, self._greeting = places, greeting
        self._seen = set()
        self._attaching = self._loop.create_future()
        # Nobody may wait for it: an attempt to attach again.
        self._attaching.add_done_callback(_forget_error)
        self._link = ServiceLink(
            sock,
            greeting,
            loop=self._loop,
            on_frame=self._handle,
            on_lost=self._lose,
        )
        return self._attaching

    def _lose(self, error: ServiceError) -> None:
        """End the runs that are in progress, as far as this client can know."""
        self._link = None
        if self._attaching is not None and not self._attaching.done():
            self._attaching.set_exception(error)
        self._attaching = None
        if self.is_closed:
            return
        lost = ServiceLost(reason=error.reason)
        outcome, now = Outcome.of_error(lost), self._client.clock.now()
        for task in list(self._tasks.values()):
            for notice in task.observed.describe_loss(now, outcome, open_control=None):
                self._client.handle_notice(notice)
            task.refuse_all(lost)
        if self._loss is None and self._tasks:
            self._deadline = self._loop.call_later(PATIENCE, self._give_up)
        self._loss = error
        self._retry_later()

    def _retry_later(self) -> None:
        if self._tasks and self._retry is None:
            self._retry = self._loop.call_later(self._pause, self._try_again)
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def _try_again(self) -> None:
        """Attach again if the service is back."""
        self._retry = None
        if self.is_closed or self._link is not None:
            return
        assert self._places is not None
        assert self._greeting is not None
        sock, loss = None, ServiceError(reason=_NOT_THERE)
        try:
            sock = connect(self._places, _RETRY_TIMEOUT)
        except ServiceError as error:
            loss = error
        if sock is None:
            self._loss = loss
            self._retry_later()
        else:
            self.attach(sock, self._places, self._greeting)

    def _give_up(self) -> None:
        """Show the tasks as stopped: nothing runs them."""
        self._deadline = None
        if self.is_closed or self._loss is None:
            return
        error = ServiceLost(reason=self._loss.reason)
        now = self._client.clock.now()
        for task in list(self._tasks.values()):
            if task.is_started:
                task.start_error = error
                outcome = Outcome.of_error(error)
                notice = task.observed.describe_end(Event.TASK_FAILED, now, outcome)
                self._client.handle_notice(notice)
        self._client.warn(str(error))

    def _cancel_retry(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def _stop_waiting(self) -> None:
        self._cancel_retry()
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _get_link(self) -> ServiceLink:
        if self._link is None:
            raise ServiceError(reason=_NOT_THERE)
        return self._link

    # --- what the service says ------------------------------------------------------

    def _handle(self, frame: Frame) -> None:
        message = frame.message
        if isinstance(message, Noticed):
            self._handle_notice(message, frame.payload)
        elif isinstance(message, Continued):
            if message.task_id in self._tasks:
                self._client.handle_attempt(read_attempt(message))
        elif isinstance(message, Streamed | Displayed):
            is_lost = isinstance(message, Displayed) and frame.payload.loss is not None
            if not (frame.is_short or is_lost):
                self._client.handle_output(message, frame.payload)
        elif isinstance(message, Refused):
            error = decode_error(frame.payload)
            self._client.handle_refusal(message.task_id, message.execution_id, error)
        elif isinstance(message, Logged):
            record = rebuild_record(unpack_data(frame.payload, dict[str, Any]))
            self._client.handle_record(record, message.task_id)
        elif isinstance(message, Known):
            self._handle_known(message)
        elif isinstance(message, AllKnown):
            self._handle_all_known()

    def _handle_notice(self, message: Noticed, payload: Payload) -> None:
        if message.task_id in self._tasks:
            self._client.handle_notice(read_notice(message, payload))

    def _handle_known(self, message: Known) -> None:
        task_id = message.declaration.register.task_id
        self._seen.add(task_id)
        task = self._tasks.get(task_id)
        if task is None:
            task = self._declared.get(task_id) or restore_task(
                self._client, message.declaration, keep=True
            )
            self._follow(task, message.state)
            return
        before = task.observed.status
        task.expression = make_trigger(message.declaration.register.trigger)
        self._follow(task, message.state)
        # It counted as stopped while there was no service.
        if self._loss is not None and before is Status.STOPPED and task.is_started:
            now = self._client.clock.now()
            self._client.handle_notice(task.observed.describe_return(now))

    def _follow(self, task: TaskRecord, state: TaskState) -> None:
        self._tasks[task.id] = task
        task.observed.take_over(state, task.expression.timezone)
        task.start_error = None
        if state.start_error:
            task.start_error = StartError(name=task.name, reason=state.start_error)
        self._client.adopt(task)

    def _handle_all_known(self) -> None:
        """Forget what ended while no service was attached."""
        now = self._client.clock.now()
        for task_id in self._tasks.keys() - self._seen:
            task = self._tasks[task_id]
            end = task.observed.describe_end(Event.TASK_DESTROYED, now)
            self._client.handle_notice(end)
        self._stop_waiting()
        self._pause, self._loss = _FIRST_PAUSE, None
        if self._attaching is not None and not self._attaching.done():
            self._attaching.set_result(None)
        self._attaching = None

    # --- declaring ------------------------------------------------------------------

    def declare(
        self, task: TaskRecord, declaration: Declaration, payload: Payload
    ) -> asyncio.Future[None]:
        """Hand a task over; the future ends when the service has loaded it."""
        link = self._get_link()
        self._declared[task.id] = task
        if task.options.pool in self._client.pools:
            limit = self._client.pools[task.options.pool]
            link.send(SetPool(task.options.pool, limit))
        answer = link.request(
            lambda request_id: Declare(request_id, declaration), payload
        )
        answer.add_done_callback(partial(self._handle_declared, task))
        return answer

    def _handle_declared(self, task: TaskRecord, answer: asyncio.Future[None]) -> None:
        self._declared.pop(task.id, None)
        if answer.exception() is None and task.id not in self._tasks:
            self._tasks[task.id] = task  # its state follows
            self._client.adopt(task)

    # --- the port of the engine -----------------------------------------------------

    def prepare_start(self) -> None:
        """Do nothing: no thread of this process is needed."""

    def add(self, task: TaskRecord) -> None:
        """Do nothing: a kept task is declared, then known."""

    def knows(self, task_id: str) -> bool:
        """Return whether a task can be controlled: not destroyed, nothing shut down."""
        return task_id in self._tasks and not self.is_closed

    def forget(self, task_id: str) -> None:
        """Forget a destroyed task. Idempotent."""
        self._tasks.pop(task_id, None)

    def control(
        self, task_id: str, action: Action, *, force: bool
    ) -> asyncio.Future[None]:
        """Start, stop or destroy a task, for every client."""
        return self._ask(lambda number: Control(number, task_id, action, force))

    def pause(
        self, task_id: str, pause: Pause | None, catch_up: CatchUp
    ) -> asyncio.Future[None]:
        """Pause a task, or resume it, for every client."""
        return self._ask(lambda number: Pausing(number, task_id, pause, catch_up))

    def reschedule(self, task: TaskRecord) -> None:
        """Have the task follow its new expression, for good."""
        trigger = describe_trigger(task.expression)
        answer = self._ask(
            lambda number: Rescheduling(number, task.id, trigger, task.pattern)
        )
        answer.add_done_callback(partial(self._handle_rescheduled, task))

    def _handle_rescheduled(
        self, task: TaskRecord, answer: asyncio.Future[None]
    ) -> None:
        error = answer.exception()
        if error is not None:
            self._client.warn(f"task {task.name!r} was not rescheduled: {error}")

    def _ask(self, make_message: Callable[[int], Any]) -> asyncio.Future[None]:
        try:
            return self._get_link().request(make_message)
        except ServiceError as error:
            refusal: asyncio.Future[None] = self._loop.create_future()
            refusal.set_exception(error)
            return refusal

    def report_missed(self, task_id: str, since: float) -> None:
        """Do nothing: the service settles the gaps of its tasks."""

    def set_pool(self, name: str | None, limit: int | None) -> None:
        """Set the limit of a pool in the service, if one of its tasks uses it."""
        is_used = any(task.options.pool == name for task in self._tasks.values())
        if self._link is not None and name is not None and is_used:
            self._link.send(SetPool(name, limit))

    async def flush_history(self) -> None:
        """Have the service write its rows, if this process follows it.

        Raises:
            ServiceError: if it is lost meanwhile.
        """
        if self._link is not None:
            await self._link.request(FlushHistory)

    def execute(self, task_id: str, execution_id: str, slot: int | None = None) -> None:
        """Request a run; its end arrives as a notice, a refusal goes to the client."""
        try:
            self._get_link().send(Execute(task_id, execution_id, slot=slot))
        except ServiceError as error:
            self._client.handle_refusal(task_id, execution_id, error)

    def execute_at_once(self, task_id: str, execution_id: str) -> bool:  # noqa: ARG002
        """Return False: the connection is used on the loop only."""
        return False

    def try_call(
        self,
        task: TaskRecord,  # noqa: ARG002 - the port's
        completion: Completion[Any],  # noqa: ARG002
        *,
        is_watched: bool,  # noqa: ARG002
    ) -> bool:
        """Return False: its worker belongs to another process."""
        return False

    def close(self) -> None:
        """Leave the service: its tasks go on. Idempotent."""
        self.is_closed = True
        self._stop_waiting()
        if self._link is not None:
            self._link.close()
            self._link = None

    def close_in_child(self) -> None:
        """Close the descriptor in a process that the client forked."""
        if self._link is not None:
            self._link.close_in_child()


def _forget_error(future: asyncio.Future[None]) -> None:
    if not future.cancelled():
        future.exception()
