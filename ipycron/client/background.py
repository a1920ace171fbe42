"""Background tasks, seen from the client: the supervisor, its loss, its replacement."""

from __future__ import annotations

import asyncio
import contextlib
import os
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from ipycron.client.connection import Connection
from ipycron.client.elections import SupervisorElections
from ipycron.client.executions import wrap_result
from ipycron.client.notices import read_attempt, read_notice
from ipycron.client.places import SharedPlaces
from ipycron.client.recovery import Controls, Resumptions
from ipycron.client.registration import make_registration, make_reschedule
from ipycron.errors import (
    ProtocolError,
    StartError,
    StartRevoked,
    SupervisorLost,
    TaskDestroyed,
)
from ipycron.process.direct.connections import DirectConnections
from ipycron.process.supervision import describe_refusal, start_supervisor
from ipycron.process.wire.outcome import decode_error
from ipycron.process.wire.payload import Payload, unpack_data
from ipycron.process.wire.protocol import (
    ClockSetBack,
    Completed,
    Continued,
    Control,
    DirectOpened,
    Displayed,
    Elect,
    Execute,
    FlushHistory,
    HistoryBehind,
    KeepBegun,
    KeepHistory,
    Logged,
    Noticed,
    Pausing,
    PlaceGranted,
    Preload,
    Refused,
    Register,
    ReportMissed,
    ReturnPlace,
    SetPool,
    Shutdown,
    Streamed,
)
from ipycron.process.worker.logs import rebuild_record
from ipycron.scheduling.backoff import RefusalLog, find_backoff
from ipycron.scheduling.clock import SystemClock
from ipycron.scheduling.events import Event, Outcome

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Mapping, Sequence

    from ipycron.client.completion import Completion, Waiters
    from ipycron.client.history import ClientHistory
    from ipycron.client.record import TaskRecord
    from ipycron.client.recovery import Action
    from ipycron.process.direct.client_end import Answer, CallState
    from ipycron.process.supervision import SupervisorProcess
    from ipycron.process.wire.channel import Frame
    from ipycron.process.wire.protocol import AskPlace
    from ipycron.runlog.settings import HistorySettings
    from ipycron.scheduling.events import AttemptBegan, Notice, Pause
    from ipycron.scheduling.plan import Outage
    from ipycron.scheduling.policy import CatchUp
    from ipycron.scheduling.ports import Elector

    OpenControls = Mapping[str, Action | None]

MAX_LOSSES = 3
"""Supervisors lost in a row, with no run finished in between, before a pending start
fails. Tasks that were started keep waiting."""
STABLE_SECONDS = 60.0
"""A supervisor that has lived this long ends a row of losses."""
_REFUSALS = (OSError, MemoryError)
_TOO_LARGE = "more than can be sent. Put what is large into a file"
SEEK_PAUSE = 0.5
"""Seconds until the next attempt to start a supervisor that grants places."""
ANSWER_TIMEOUT = 6.0
"""Seconds beyond a shutdown's timeout for the supervisor to report its end."""


class ClientPort(Protocol):
    """What `BackgroundTasks` calls: the client, which handles every message."""

    @property
    def history(self) -> ClientHistory:
        """Knows what is recorded, and where."""

    @property
    def pools(self) -> dict[str | None, int | None]:
        """The limits of all pools, by name."""

    @property
    def leashes(self) -> Sequence[int]:
        """Descriptors that each supervisor holds open as long as it lives."""

    def get_waiters(self, task_id: str) -> Waiters | None:
        """Return the waiters of a task's manual runs; None if the task is gone."""

    def handle_answers(self, task_id: str, answers: list[Answer]) -> None:
        """Handle direct runs that have begun and returned, in order."""

    def handle_notice(self, notice: Notice) -> None:
        """Handle an event of a task."""

    def handle_attempt(self, began: AttemptBegan) -> None:
        """Handle the beginning of an attempt that was queued."""

    def handle_refusal(
        self, task_id: str, execution_id: str, error: BaseException
    ) -> None:
        """Handle a refused run."""

    def handle_output(self, message: Streamed | Displayed, payload: Payload) -> None:
        """Handle what a worker wrote or displayed."""

    def handle_record(self, record: logging.LogRecord, task_id: str) -> None:
        """Handle a log record of a worker."""

    def handle_set_back(self, seconds: float, since: float) -> None:
        """Handle a clock that was set back: all slots were computed again (C3)."""

    def handle_loss(
        self, error: SupervisorLost, open_controls: OpenControls, *, is_first: bool
    ) -> list[str]:
        """Handle the loss of the supervisor; return the ids of tasks to start again.

        `open_controls` maps each task to its last unanswered control. Only the first
        loss in a row is logged here; see `warn` for the others.
        """

    def warn(self, text: str) -> None:
        """Warn the user of a problem that ipycron keeps trying to solve."""

    def handle_missed(self, task_id: str, outage: Outage) -> None:
        """Handle the slots that a task missed while there was no supervisor."""

    def handle_failed_resume(
        self, task_id: str, error: BaseException, outage: Outage, *, is_wanted: bool
    ) -> None:
        """Handle a task that did not start again.

        `is_wanted` is False if it was stopped in the meantime.
        """

    def handle_destroy(self, task_id: str) -> None:
        """Handle a destroy for which no supervisor can be started."""

    def handle_pause(self, task_id: str, pause: Pause | None) -> None:
        """Handle a pause, or a resume, while the task has no supervisor."""


class _PauseRequest:
    """A request to pause a task, or to resume it; `end` is the answer."""

    def __init__(self, task_id: str, pause: Pause | None) -> None:
        self.task_id = task_id
        self.pause = pause
        self.end: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class BackgroundTasks:
    """The client's background tasks. Methods are called on the client's loop.

    Only `execute_at_once` and `try_call` may be called from any thread.

    Args:
        owner: handles the messages.
        elector: holds the elections that the supervisor requests.
        first: the first supervisor, if it has been started already.
        loop: the client's.
        submit: calls a function on the loop, from any thread.

    Attributes:
        direct: the direct connections to workers.
        places: those of runs in this process, in pools.
        is_closed: whether everything is shut down, or about to be.
    """

    def __init__(
        self,
        owner: ClientPort,
        elector: Elector,
        first: SupervisorProcess | None = None,
        *,
        loop: asyncio.AbstractEventLoop,
        submit: Callable[[Callable[[], Any]], object],
    ) -> None:
        self._owner = owner
        self._first = first
        self._connection: Connection | None = None
        self._before: Connection | None = None
        self._environment: dict[bytes, bytes] = {}
        self._tasks: dict[str, TaskRecord] = {}
        self._registered: set[str] = set()
        self._preloads: list[Preload] = []
        self._controls = Controls(self._send_control)
        self._loop = loop
        self._submit = submit
        self.direct = DirectConnections(
            get_waiters=owner.get_waiters,
            handle_answers=owner.handle_answers,
            wrap_result=wrap_result,
            loop=loop,
            submit=submit,
            report=self._send_called,
        )
        self.places = SharedPlaces(self._send_place)
        self._pauses: list[_PauseRequest] = []  # unanswered, oldest first
        self._resumptions = Resumptions()
        self._losses = 0
        self._failures = 0  # losses and refusals in a row
        self._started_at = 0.0
        self._retry: asyncio.TimerHandle | None = None
        self._parked: dict[str, asyncio.Future[None]] = {}  # waiting starts
        self._handed_over: set[str] = set()  # not reported as destroyed yet
        self._refusals = RefusalLog(SystemClock(), owner.warn)
        self.is_closed = False
        self._elections = SupervisorElections(
            elector, lambda asking: asking is self._connection
        )

    @property
    def supervisor_pid(self) -> int | None:
        """The supervisor's process id; None while there is no supervisor."""
        connection = self._connection  # in any thread: it may be lost at any time
        return None if connection is None else connection.pid

    def warm(self, preload: Preload | None = None) -> Connection:
        """Start the supervisor if there is none."""
        if preload is not None and preload not in self._preloads:
            self._preloads.append(preload)
            if self._connection is not None:
                self._connection.send(preload)
        if self._connection is None:
            before = None if self._before is None else self._before.leash
            supervisor = self._first or start_supervisor(before, self._owner.leashes)
            self._first = None
            self._environment = supervisor.environment
            self._connection = Connection(
                supervisor, on_frame=self._handle, on_lost=self._lose
            )
            self._started_at = self._loop.time()
            if self._owner.history.is_kept and self._owner.history.settings is not None:
                self._connection.send(KeepHistory(self._owner.history.settings))
            if self._owner.history.begun_file is not None:
                path = os.fsencode(self._owner.history.begun_file)
                self._connection.send(KeepBegun(path))
            for name, limit in self._owner.pools.items():
                self._connection.send(SetPool(name, limit))
            for asked in self.places.list_open():
                self._connection.send(asked)
            for known in self._preloads:
                self._connection.send(known)
            if self._parked:
                self._loop.call_soon(self._try_again)
        return self._connection

    def prepare_start(self) -> None:
        """Do nothing: no thread of this process is needed."""

    def add(self, task: TaskRecord) -> None:
        """Add a task; it is registered with the supervisor when needed."""
        self._tasks[task.id] = task

    def report_missed(self, task_id: str, since: float) -> None:
        """Report the slots from `since` to the task's first start as missed."""
        if self._connection is not None and task_id in self._registered:
            self._connection.send(ReportMissed(task_id, since))

    def set_pool(self, name: str | None, limit: int | None) -> None:
        """Set the limit of a pool; a supervisor that comes later reads it itself."""
        if self._connection is not None:
            self._connection.send(SetPool(name, limit))

    def _send_place(self, message: AskPlace | ReturnPlace) -> None:
        """Send this, or have the next supervisor be told; start one for who waits."""
        if self._connection is not None:
            self._connection.send(message)
        elif not self.is_closed and self.places.has_waiting:
            self._loop.call_soon(self._seek_places)

    def _seek_places(self) -> None:
        """Start a supervisor for the runs that wait for places; again if refused."""
        if self.is_closed or self._connection is not None:
            return
        if self.places.has_waiting:
            try:
                self.warm()
            except Exception as error:  # noqa: BLE001 - whatever the system refuses
                self._refusals.report(error)
                self.places.serve_alone()
                self._loop.call_later(SEEK_PAUSE, self._seek_places)

    def keep_history(self, settings: HistorySettings) -> None:
        """Have the supervisor write the history there."""
        if self._connection is not None:
            self._connection.send(KeepHistory(settings))

    def flush_history(self) -> asyncio.Future[None] | None:
        """Have the supervisor write its rows; return when it has, None without one."""
        if self._connection is None:
            return None
        return self._connection.request(FlushHistory)

    def reschedule(self, task: TaskRecord) -> None:
        """Send a task's new schedule to the supervisor, if it is registered there."""
        if self._connection is not None and task.id in self._registered:
            self.direct.report_call(task.id)
            self._connection.send(make_reschedule(task))

    def pause(
        self, task_id: str, pause: Pause | None, catch_up: CatchUp
    ) -> asyncio.Future[None]:
        """Pause a task, or resume it; without a supervisor, for the next one."""
        self.direct.report_call(task_id)
        request = _PauseRequest(task_id, pause)
        if self._connection is None or task_id not in self._registered:
            self._settle_pause(request)
            return request.end
        self._pauses.append(request)
        answer = self._connection.request(
            lambda request_id: Pausing(request_id, task_id, pause, catch_up)
        )
        answer.add_done_callback(partial(self._handle_paused, request))
        return request.end

    def _handle_paused(
        self, request: _PauseRequest, answer: asyncio.Future[None]
    ) -> None:
        error = answer.exception()
        if request not in self._pauses:
            return  # its supervisor was lost
        self._pauses.remove(request)
        if isinstance(error, SupervisorLost):
            self._settle_pause(request)
        elif error is not None:
            request.end.set_exception(error)
        else:
            request.end.set_result(None)

    def _settle_pause(self, request: _PauseRequest) -> None:
        """Follow a request that no supervisor has answered: the next one is told."""
        if not self.is_closed:
            self._owner.handle_pause(request.task_id, request.pause)
        request.end.set_result(None)

    def knows(self, task_id: str) -> bool:
        """Return whether a task can be controlled: not destroyed, nothing shut down."""
        return task_id in self._tasks and not self.is_closed

    def forget(self, task_id: str) -> None:
        """Forget a destroyed task. Idempotent."""
        task = self._tasks.pop(task_id, None)
        self._registered.discard(task_id)
        self._handed_over.discard(task_id)
        self._resumptions.forget(task_id)
        start = self._parked.pop(task_id, None)
        if start is not None and task is not None:
            start.set_exception(TaskDestroyed(name=task.name))
        self.direct.close(task_id)

    def control(
        self, task_id: str, action: Action, *, force: bool
    ) -> asyncio.Future[None]:
        """Request a start, stop or destroy; again of a new supervisor, if need be."""
        self.direct.report_call(task_id)
        return self._controls.add(task_id, action, force=force)

    def _send_control(
        self, task_id: str, action: Action, *, force: bool
    ) -> asyncio.Future[None]:
        is_resumed = action == "start" and self._resumptions.is_pending(task_id)
        if is_resumed and self._retry is not None:
            return self._park(task_id)
        try:
            if action != "start" and task_id in self._parked:
                return self._answer_parked(task_id, action)
            connection = self._introduce(task_id)
        except Exception as error:  # noqa: BLE001 - any error is the answer
            if is_resumed and isinstance(error, _REFUSALS):
                self._back_off(self._explain(task_id, error), is_refusal=True)
                return self._park(task_id)
            return self._answer_unsent(task_id, action, error)
        outage = replaces = None
        if action == "start":
            task = self._tasks[task_id]
            replaces = self._introduce_replaced(task.replaces)
            if replaces is not None and self._tasks[replaces].is_started:
                # That one goes on until then: nothing is left from before.
                task.outage = None
            outage = self._resumptions.get_outage(task_id) or task.outage
            if outage is not None:
                pause = task.observed.last_pause
                outage = msgspec.structs.replace(outage, pause=pause)
        return connection.request(
            lambda request_id: Control(
                request_id, task_id, action, force, outage, replaces
            )
        )

    def _answer_unsent(
        self, task_id: str, action: Action, error: Exception
    ) -> asyncio.Future[None]:
        """Answer a control for which there is no supervisor."""
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if action == "start" or isinstance(error, _REFUSALS):
            answer.set_exception(self._explain(task_id, error))
        else:
            answer.set_result(None)  # it has never run
            if action == "destroy":
                self._owner.handle_destroy(task_id)
        return answer

    def execute(self, task_id: str, execution_id: str, slot: int | None = None) -> None:
        """Request a run; its end arrives as a notice, a refusal goes to the owner."""
        self.direct.report_call(task_id)
        try:
            connection = self._introduce(task_id)
        except Exception as error:  # noqa: BLE001 - as above
            error = self._explain(task_id, error)
            self._owner.handle_refusal(task_id, execution_id, error)
        else:
            connection.send(Execute(task_id, execution_id, slot=slot))

    def execute_at_once(self, task_id: str, execution_id: str) -> bool:
        """Request a run from any thread; return False if the loop must do so.

        The caller's earlier requests must have been sent already.
        """
        # The connection first, then the task: a new supervisor knows no task yet.
        connection = self._connection
        if connection is None or task_id not in self._registered:
            return False
        if self._controls.has_open(task_id):
            return False  # a new supervisor may not have received its start
        if not self.direct.report_call(task_id):
            return False
        return connection.send_at_once(Execute(task_id, execution_id))

    def try_call(
        self, task: TaskRecord, completion: Completion[Any], *, is_watched: bool
    ) -> bool:
        """Call the worker directly; see `DirectConnections.try_call`.

        From any thread, under the same condition as `execute_at_once`.
        """
        if self._connection is None or self._controls.has_open(task.id):
            return False
        return self.direct.try_call(
            task.id, completion, task.waiters, is_watched=is_watched
        )

    def _send_called(self, task_id: str, execution_id: str, call: CallState) -> bool:
        """Report a direct call to the supervisor; see `DirectConnections`."""
        connection = self._connection
        if connection is None:
            return True  # its worker ends as well, and the run is lost
        message = Execute(task_id, execution_id, call)
        if self._is_on_loop():
            connection.send(message)
        elif not connection.send_at_once(message):
            self._submit(partial(connection.send, message))
            return False
        return True

    def _is_on_loop(self) -> bool:
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    def _introduce(self, task_id: str) -> Connection:
        connection = self.warm()
        if task_id not in self._registered:
            task = self._tasks[task_id]
            life = self._owner.history.begin(task)
            register, payload = make_registration(task, life)
            try:
                connection.send(self._localize(register), payload)
            except ProtocolError as error:
                reason = f"{error.reason}, {_TOO_LARGE}"
                raise StartError(name=task.name, reason=reason) from None
            self._registered.add(task_id)  # last: another thread may call at once
        return connection

    def _introduce_replaced(self, task_id: str | None) -> str | None:
        """Return the id of a task to replace, None if the supervisor does not run it.

        One that a lost supervisor ran is about to be started again.
        """
        task = None if task_id is None else self._tasks.get(task_id)
        if task is None or not (task.id in self._registered or task.is_started):
            return None
        self._introduce(task.id)
        return task.id

    def _localize(self, register: Register) -> Register:
        """Reduce the environment to what differs from the supervisor's own."""
        setting = register.setting
        here = self._environment
        wanted = setting.env
        env: dict[bytes, bytes | None] = {
            name: value for name, value in wanted.items() if here.get(name) != value
        }
        env.update({name: None for name in here if name not in wanted})
        replace = msgspec.structs.replace
        return replace(register, setting=replace(setting, env=env))

    # --- messages of the supervisor -------------------------------------------------

    def _handle(self, frame: Frame) -> None:
        message = frame.message
        if isinstance(message, Noticed | Continued):
            self._handle_report(message, frame.payload)
        elif isinstance(message, Streamed | Displayed):
            self._handle_output(message, frame)
        elif isinstance(message, Refused):
            error = decode_error(frame.payload)
            self.direct.catch_up(message.task_id)
            self._owner.handle_refusal(message.task_id, message.execution_id, error)
        elif isinstance(message, Logged):
            record = rebuild_record(unpack_data(frame.payload, dict[str, Any]))
            self._owner.handle_record(record, message.task_id)
        elif isinstance(message, HistoryBehind):
            self._owner.history.note_behind(message.waiting, message.lost)
        elif isinstance(message, PlaceGranted):
            self.places.grant(message.number)
        elif isinstance(message, ClockSetBack):
            self._resumptions.recount(message.since)
            self._owner.handle_set_back(message.seconds, message.since)
        elif isinstance(message, DirectOpened) and not frame.is_short:
            self.direct.open(message, frame.payload)
        elif isinstance(message, Elect | Completed):
            self._elections.handle(message, self._connection)

    def _handle_output(self, message: Streamed | Displayed, frame: Frame) -> None:
        if isinstance(message, Displayed) and frame.is_short:
            self._owner.handle_output(*_describe_short(message, frame.payload))
        else:
            self._owner.handle_output(message, frame.payload)

    def _handle_report(self, message: Noticed | Continued, payload: Payload) -> None:
        if isinstance(message, Noticed):
            self._handle_notice(message, payload)
            return
        self._owner.handle_attempt(read_attempt(message))

    def _handle_notice(self, message: Noticed, payload: Payload) -> None:
        if message.is_ok:
            self._losses = self._failures = 0
        self.direct.catch_up(message.task_id)
        notice = read_notice(message, payload)
        event = message.event
        task = self._tasks.get(message.task_id)
        if task is None:
            return
        if event is Event.TASK_DESTROYED:
            self._report_outage(task.id)
        loss = self._resumptions.follow(
            message,
            task.schedule,
            skips_overlap=task.options.skips_overlap,
            inherited=task.outage,
        )
        if event is Event.TASK_STARTED:
            self._handed_over.discard(task.id)
            if task.replaces is not None:
                self._handed_over.add(task.replaces)
            task.outage = task.replaces = None
        if loss is not None:
            notice = msgspec.structs.replace(
                notice, event=Event.TASK_RESTARTED, outcome=Outcome.of_error(loss)
            )
        self._owner.history.follow(notice)
        self._owner.handle_notice(notice)

    # --- the end of a supervisor ----------------------------------------------------

    def _lose(self, error: SupervisorLost) -> None:
        self._before, self._connection = self._connection, None
        self._registered.clear()
        self.direct.close_all()
        if self.is_closed:
            return
        if self._loop.time() - self._started_at > STABLE_SECONDS:
            self._losses = self._failures = 0
        self._losses += 1
        is_first = not self._failures
        self._back_off(error, is_refusal=False)
        if self.places.has_waiting:
            self._loop.call_later(SEEK_PAUSE, self._seek_places)
        tasks = self._tasks.copy()
        open_controls = {task_id: self._find_control(task_id) for task_id in tasks}
        for task_id, control in open_controls.items():
            if control == "destroy":
                self._report_outage(task_id)
        resumed = self._owner.handle_loss(error, open_controls, is_first=is_first)
        # Before the tasks are registered again: the next supervisor is told.
        pauses, self._pauses = self._pauses, []
        for request in pauses:
            self._settle_pause(request)
        # Before pending starts are requested again: these may be among them.
        fresh = self._resumptions.begin(resumed, error)
        is_last = self._losses >= MAX_LOSSES
        for task_id, task in tasks.items():
            is_failed = is_last and not self._resumptions.is_pending(task_id)
            self._controls.handle_loss(task_id, task.name, error if is_failed else None)
        for task_id in fresh:
            start = self._controls.add(task_id, "start")
            start.add_done_callback(partial(self._handle_resumed, task_id))

    def _find_control(self, task_id: str) -> Action | None:
        """Return the last control that a lost supervisor may not have carried out."""
        control = self._controls.get_last(task_id)
        # It was stopping: its successor has started, and has its slots.
        return "stop" if control is None and task_id in self._handed_over else control

    # --- waiting for a new supervisor -----------------------------------------------

    def _back_off(self, error: BaseException, *, is_refusal: bool) -> None:
        """Count a failure; wait before the next supervisor, unless it is one loss."""
        self._failures += 1
        if self._failures == 1 and not is_refusal:
            return
        self._refusals.report(error)
        if self._retry is None:
            delay = find_backoff(self._failures)
            self._retry = self._loop.call_later(delay, self._try_again)

    def _park(self, task_id: str) -> asyncio.Future[None]:
        """Keep the start of a task until there is a supervisor."""
        if task_id not in self._parked:  # a further start waits with the first
            self._parked[task_id] = asyncio.get_running_loop().create_future()
        return self._parked[task_id]

    def _answer_parked(self, task_id: str, action: Action) -> asyncio.Future[None]:
        """Stop or destroy a task that waits for a supervisor: nothing of it runs."""
        start = self._parked.pop(task_id)
        error = StartRevoked(name=self._tasks[task_id].name)
        self._give_up(task_id, error, is_wanted=False)
        start.set_exception(error)
        if action == "destroy":
            self._owner.handle_destroy(task_id)
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        answer.set_result(None)
        return answer

    def _try_again(self) -> None:
        """Start a supervisor, then the tasks that wait for it."""
        self._stop_waiting()
        if self.is_closed:
            return
        parked, self._parked = self._parked, {}
        for task_id, start in parked.items():
            if task_id in self._tasks and not start.done():
                answer = self._send_control(task_id, "start", force=False)
                answer.add_done_callback(partial(_pass_on, start))

    def _stop_waiting(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def _explain(self, task_id: str, error: Exception) -> Exception:
        if isinstance(error, _REFUSALS):
            return describe_refusal(self._tasks[task_id].name, error)
        return error

    def _handle_resumed(self, task_id: str, start: asyncio.Future[None]) -> None:
        error = start.exception()
        if error is None or self.is_closed:
            return
        # It may have been stopped since, by a control that is already answered.
        is_wanted = not isinstance(error, StartRevoked) and self._controls.get_last(
            task_id
        ) in (None, "start")
        self._give_up(task_id, error, is_wanted=is_wanted)

    def _give_up(self, task_id: str, error: BaseException, *, is_wanted: bool) -> None:
        outage = self._resumptions.give_up(task_id)
        if outage is not None:
            self._owner.handle_failed_resume(
                task_id, error, outage, is_wanted=is_wanted
            )

    def _report_outage(self, task_id: str) -> None:
        """Report what a task missed that is destroyed before it was resumed."""
        outage = self._resumptions.give_up(task_id)
        if outage is not None:
            self._owner.handle_missed(task_id, outage)

    async def shutdown(self, timeout: float) -> None:
        """Stop every run and wait until every process is gone."""
        self.is_closed = True
        self._stop_waiting()
        for start in self._parked.values():
            start.set_exception(SupervisorLost(reason="it was shut down"))
        self._parked.clear()
        for task_id in self._tasks:
            self.direct.report_call(task_id)  # or it would not be waited for
        connection, self._connection = self._connection, None
        self._registered.clear()
        if connection is not None:
            # Its loss is what was requested. A supervisor stopped by a signal does not
            # answer: the connection is closed then, and it is killed.
            with contextlib.suppress(SupervisorLost, TimeoutError):
                async with asyncio.timeout(timeout + ANSWER_TIMEOUT):
                    end = connection.request(lambda number: Shutdown(number, timeout))
                    connection.hurry()
                    await end
            await connection.close()
        self.direct.close_all()
        if self._first is not None:
            self._first.kill()
        if self._before is not None:
            await self._before.close()

    def close_in_child(self) -> None:
        """Close the descriptors in a process that the client forked."""
        if self._first is not None:
            self._first.sock.close()
        if self._connection is not None:
            self._connection.close_in_child()
        self.direct.close_in_child()


def _describe_short(message: Displayed, payload: Payload) -> tuple[Streamed, Payload]:
    """Return a line of stderr in place of a display that could not be received."""
    text = f"ipycron: a display was lost: {payload.loss}\n"
    streamed = Streamed(message.task_id, message.execution_id, "stderr", 0)
    return streamed, Payload(text.encode())


def _pass_on(waiting: asyncio.Future[None], answer: asyncio.Future[None]) -> None:
    """Copy the supervisor's answer to a parked start."""
    error = answer.exception()
    if waiting.done():
        return
    if error is None:
        waiting.set_result(None)
    else:
        waiting.set_exception(error)
