"""The supervisor: owns the schedule of every background task of one client.

Its program is `program`. It runs no user code and imports no user module. It routes
the client's requests to the scheduler, and the scheduler's notices and the workers'
output to the client.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from ipycron.errors import CoordinatorError, IpycronError, StartError
from ipycron.process.direct.supervisor_end import Fate
from ipycron.process.supervisor.beginnings import NotedBeginnings
from ipycron.process.supervisor.launcher import ProcessLauncher
from ipycron.process.supervisor.places import ClientPlaces
from ipycron.process.supervisor.worker_process import LoadFailed
from ipycron.process.wire.channel import Channel, Frame
from ipycron.process.wire.notices import describe_notice
from ipycron.process.wire.outcome import encode_error
from ipycron.process.wire.payload import Payload, pack_data
from ipycron.process.wire.protocol import (
    AskPlace,
    ClockSetBack,
    Completed,
    Continued,
    Control,
    Elect,
    Elected,
    Execute,
    FlushHistory,
    FromClient,
    Hello,
    HistoryBehind,
    KeepBegun,
    KeepHistory,
    Logged,
    Pausing,
    Ping,
    Pong,
    Preload,
    Refused,
    Register,
    Reply,
    ReportMissed,
    Reschedule,
    ReturnPlace,
    SetPool,
    Shutdown,
    Streamed,
)
from ipycron.process.wire.triggers import make_trigger
from ipycron.runlog.keeper import READERS_PATIENCE, HistoryKeeper
from ipycron.scheduling.clock import SystemClock
from ipycron.scheduling.events import Event, Notice, Status
from ipycron.scheduling.ports import Held
from ipycron.scheduling.scheduler import Scheduler

if TYPE_CHECKING:
    import socket
    from collections.abc import Coroutine

    from ipycron.process.start import ZygoteProcess
    from ipycron.process.wire.protocol import Message
    from ipycron.scheduling.events import AttemptBegan

CONGESTION_BYTES = 4 * 1024 * 1024
"""Unsent output above which only the newest output is kept."""
MAX_BACKLOG_BYTES = 4 * CONGESTION_BYTES
"""Unsent output above which no more output is sent, not even at a run's end. Notices
and results are still sent."""
NOTICE_DELAY = 0.002
"""Seconds that a notice without an outcome may wait, to be sent with others. A short
run's start and end are then one write, and so are a hundred starts at one second."""
ORPHAN_TIMEOUT = 0.0
"""Seconds that runs may continue once the client is gone."""
END_TIMEOUT = 10.0
"""Seconds after a shutdown's own timeout until exit, whatever hangs: no schedule may
outlive its client, and the zygote ends what is left behind."""
FLUSH_TIMEOUT = 2.0
"""Seconds for a client that is behind to read the last messages."""
HISTORY_TIMEOUT = 2.0
"""Seconds for the last rows of the history to be written."""
COUNT_EVERY = 1.0
"""Seconds between two counts of the history's rows that wait, while there are any."""
RETRY_DELAY = 0.02
"""Seconds until a worker is asked again about the outcome of a call."""
MAX_TRIES = 100
"""Number of times that it is asked: it may be suspended for two seconds."""
_ERROR_BYTES = 1 << 20
_WARM = Preload(("ipycron.process.wire.pickler",))


class Supervisor:
    """Serves one client until it sends `Shutdown` or is gone.

    Args:
        sock: the supervisor's end of the socket to the client.
        file_limits: the client's own RLIMIT_NOFILE, for the jobs.
        leashes: also held by the zygote; see `Connection`.
        zygote: the first zygote, if there is one.
    """

    def __init__(
        self,
        sock: socket.socket,
        file_limits: tuple[int, int],
        leashes: tuple[int, ...],
        zygote: ZygoteProcess | None,
    ) -> None:
        loop = self._loop = asyncio.get_running_loop()
        self.ended = asyncio.Event()
        self._client = Channel(
            sock,
            FromClient,
            loop=loop,
            on_frame=self._handle,
            on_close=lambda _: self.end(),
        )
        self._launcher = ProcessLauncher(
            self, self._warn, file_limits=file_limits, leashes=leashes, zygote=zygote
        )
        self._elector = ClientElector(self._client)
        self._history = HistoryKeeper(self._warn_soon)
        self._behind = HistoryBehind(0, 0)  # as the client knows it
        self._beginnings = NotedBeginnings(self._launcher.get_name, self._warn)
        self._counting: asyncio.TimerHandle | None = None
        self._counts_left = 0
        self._scheduler = Scheduler(
            clock=SystemClock(),
            launcher=self._launcher,
            emit=self._emit,
            note=self._history.recorder.note_pending,
            note_attempt=self._note_attempt,
            beginnings=self._beginnings,
            elector=self._elector,
            on_set_back=self._handle_set_back,
            warn=self._warn,
        )
        self._places = ClientPlaces(self._scheduler.pools, self._client.send)
        self._unregistered: dict[str, StartError] = {}  # by task id
        self._requests: set[asyncio.Task[None]] = set()
        self._ending: asyncio.Task[None] | None = None
        self._launcher.zygote.preload(_WARM)
        self._client.send(Hello(os.getpid()))

    def _handle_set_back(self, seconds: float, since: float) -> None:
        self._beginnings.handle_set_back()
        self._client.send(ClockSetBack(seconds, since))

    # --- the client's requests --------------------------------------------------

    def _handle(self, frame: Frame) -> None:
        message = frame.message
        if isinstance(message, Execute):
            # Only after the first step of a start that was requested just before.
            if self._requests:
                asyncio.get_running_loop().call_soon(self._execute, message)
            else:
                self._execute(message)
        elif isinstance(message, Control | Pausing):
            self._answer(message.request_id, self._control(message))
        elif isinstance(message, Ping):
            self._client.send(Pong())
        elif isinstance(message, Register):
            self._register(message, frame.payload)
        elif isinstance(message, Reschedule):
            self._reschedule(message)
        elif isinstance(message, Elected):
            self._elector.settle(message)
        elif isinstance(message, Preload):
            self._launcher.zygote.preload(message)
        elif isinstance(message, Shutdown):
            self._history.recorder.expect_end(is_clean=True)
            self._answer(message.request_id, self._shut_down(message.timeout))
        else:
            self._handle_setting(message)

    def _handle_setting(self, message: Message) -> None:
        if isinstance(message, SetPool):
            self._scheduler.set_pool(message.name, message.limit)
        elif isinstance(message, AskPlace):
            self._places.ask(message)
        elif isinstance(message, ReturnPlace):
            self._places.take_back(message.number)
        elif isinstance(message, KeepHistory):
            self._history.use(message.settings, waits=False)
        elif isinstance(message, KeepBegun):
            self._beginnings.use(Path(os.fsdecode(message.path)))
        elif isinstance(message, FlushHistory):
            self._answer(message.request_id, self._flush_history())
        elif (
            isinstance(message, ReportMissed)
            and message.task_id not in self._unregistered
        ):
            self._scheduler.report_missed(message.task_id, message.since)

    def _register(self, register: Register, payload: Payload) -> None:
        """Register a task; an error is the answer to each of its starts and runs."""
        self._launcher.register(register, payload)
        if register.life is not None:
            self._history.recorder.declare(register.life)
        try:
            self._scheduler.add(
                register.task_id,
                name=register.name,
                schedule=make_trigger(register.trigger),
                policy=register.policy,
                pause=register.pause,
            )
        except Exception as error:  # noqa: BLE001 - border: process main
            reason = f"it could not be registered, {type(error).__name__}: {error}"
            failure = StartError(name=register.name, reason=reason)
            self._unregistered[register.task_id] = failure

    def _reschedule(self, message: Reschedule) -> None:
        if message.task_id not in self._unregistered:
            self._scheduler.reschedule(message.task_id, make_trigger(message.trigger))

    async def _control(self, control: Control | Pausing) -> None:
        failure = self._unregistered.get(control.task_id)
        if failure is not None:
            self._control_unregistered(control, failure)
        elif isinstance(control, Pausing):
            self._pause(control)
        elif control.action == "start":
            await self._scheduler.start(
                control.task_id, outage=control.outage, replaces=control.replaces
            )
        elif control.action == "stop":
            await self._scheduler.stop(control.task_id, force=control.force)
        else:
            await self._scheduler.destroy(control.task_id, force=control.force)

    def _pause(self, message: Pausing) -> None:
        pause = message.pause
        if pause is None:
            self._scheduler.resume(message.task_id, message.catch_up)
        else:
            self._scheduler.pause(message.task_id, until=pause.until, note=pause.note)

    def _control_unregistered(
        self, control: Control | Pausing, failure: StartError
    ) -> None:
        """Answer for a task that the scheduler does not know: it counts as stopped."""
        if isinstance(control, Pausing) or control.action == "start":
            raise failure
        if control.action == "destroy":
            del self._unregistered[control.task_id]
            now = SystemClock().now()
            self._emit(
                Notice(
                    event=Event.TASK_DESTROYED,
                    task_id=control.task_id,
                    status=Status.DESTROYED,
                    date=now,
                    triggered_at=now,
                )
            )

    def _execute(self, execute: Execute, tries: int = 1) -> None:
        failure = self._unregistered.get(execute.task_id)
        if failure is not None:
            self._refuse(execute, failure)
            return
        if execute.call and not self._withdraw(execute, tries):
            return
        try:
            self._scheduler.execute_nowait(
                execute.task_id, execute.execution_id, slot=execute.slot
            )
        except IpycronError as error:
            self._refuse(execute, error)

    def _withdraw(self, execute: Execute, tries: int) -> bool:
        """Take back a call that has not begun; return whether to run it here."""
        if not self._launcher.knows(execute.task_id):
            return True  # let the scheduler report what became of it
        fate = self._launcher.leases.withdraw(
            execute.execution_id, is_last=tries == MAX_TRIES
        )
        if fate is Fate.UNKNOWN:
            loop = asyncio.get_running_loop()
            loop.call_later(RETRY_DELAY, self._execute, execute, tries + 1)
        elif fate is Fate.ANSWERED and execute.call == "lost":
            self._refuse(execute, self._launcher.describe_lost(execute.task_id))
        return fate is Fate.OPEN

    def _refuse(self, execute: Execute, error: BaseException) -> None:
        payload, _ = encode_error(error, _ERROR_BYTES, str(error))
        self._client.send(Refused(execute.task_id, execute.execution_id), payload)

    async def _shut_down(self, timeout: float) -> None:
        try:
            async with asyncio.timeout(timeout + END_TIMEOUT):
                await self._scheduler.shutdown(timeout)
                await self._launcher.zygote.close()
        finally:
            self.ended.set()

    async def _flush_history(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._history.flush, READERS_PATIENCE)
        self._tell_behind()

    def _answer(self, request_id: int, work: Coroutine[Any, Any, None]) -> None:
        """Reply when `work` is done, with its error if it fails."""

        async def answer() -> None:
            try:
                await work
            except LoadFailed as error:
                self._client.send(Reply(request_id, is_ok=False), error.payload)
            except Exception as error:  # noqa: BLE001 - border: process main
                payload, _ = encode_error(error, _ERROR_BYTES)
                self._client.send(Reply(request_id, is_ok=False), payload)
            else:
                self._client.send(Reply(request_id, is_ok=True))

        task = asyncio.ensure_future(answer())
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)

    # --- to the client ----------------------------------------------------------

    def forward(self, message: Message, payload: Payload) -> None:
        """Send a worker's message on; see `Uplink`."""
        if isinstance(message, Streamed):
            self._history.recorder.add_output(
                message.execution_id,
                bytes(payload.data),
                message.dropped,
                message.dropped_lines,
            )
        if self._client.backlog > MAX_BACKLOG_BYTES:
            if not isinstance(message, Streamed):
                return
            message = replace(
                message,
                dropped=message.dropped + payload.size,
                dropped_lines=message.dropped_lines + bytes(payload.data).count(b"\n"),
            )
            payload = Payload()
        if isinstance(message, Streamed):
            self._client.send_within(0, message, payload)
        else:
            self._client.send(message, payload)

    def is_congested(self) -> bool:
        """Return whether the client reads too slowly; see `Uplink`."""
        return self._client.backlog > CONGESTION_BYTES

    def _emit(self, notice: Notice) -> None:
        outcome, message = notice.outcome, describe_notice(notice)
        run = notice.execution
        if outcome is None and run is not None and run.reason == "catch_up":
            # Before it begins: the next supervisor would catch up on it again.
            self._client.send(message)
        elif outcome is None:
            self._client.send_within(NOTICE_DELAY, message)
        elif run is not None and run.reason != "invoked":
            # No caller waits for this run: it is reported together with others that end
            # now.
            self._client.send_within(0, message, _encode_value(outcome.value))
        else:
            self._client.send(message, _encode_value(outcome.value))
        if notice.status == "destroyed":
            self._launcher.forget(notice.task_id)
        # Last: a client that waits for the end of a run does not wait for its row.
        self._history.recorder.note(notice)

    def _note_attempt(self, began: AttemptBegan) -> None:
        message = Continued(began.task_id, began.status, began.execution)
        self._client.send_within(NOTICE_DELAY, message)
        self._history.recorder.note_attempt(began)

    def _warn_soon(self, text: str) -> None:
        """Warn from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._warn, text)

    def _warn(self, text: str) -> None:
        record = {"name": "ipycron", "levelno": logging.WARNING, "msg": text}
        record |= {"levelname": "WARNING", "args": None}
        self._client.send(Logged("", ""), pack_data(record))
        self._counts_left = 3
        self._count_behind()

    def _count_behind(self) -> None:
        """Count the rows that wait, from a warning on until they are written."""
        if self._counting is not None:
            self._counting.cancel()
        self._tell_behind()
        # Not only where some wait: a thread that warns at once may not have been handed
        # its rows yet.
        self._counts_left = 3 if self._history.waiting else self._counts_left - 1
        if self._counts_left > 0:
            self._counting = self._loop.call_later(COUNT_EVERY, self._count_behind)

    def _tell_behind(self) -> None:
        """Tell how many rows are missing in the file, if that has changed."""
        behind = HistoryBehind(self._history.waiting, self._history.lost)
        if behind != self._behind:
            self._behind = behind
            self._client.send(behind)

    # --- the end ----------------------------------------------------------------

    def end(self) -> None:
        """End everything, then exit: the client is gone or SIGTERM was received.

        After SIGTERM the client must treat the supervisor as lost. It receives nothing
        more; in particular, not that its tasks are destroyed.
        """
        self._client.close()
        if self._ending is None:
            self._history.recorder.expect_end(is_clean=False)
            self._ending = asyncio.ensure_future(self._shut_down(ORPHAN_TIMEOUT))

    async def flush(self) -> None:
        """Send the client the last messages, and write the last rows."""
        await self._client.flush(FLUSH_TIMEOUT)
        self._history.close(HISTORY_TIMEOUT)


class ClientElector:
    """Asks the client's coordinator; the scheduler keeps the deadline."""

    def __init__(self, client: Channel) -> None:
        self._client = client
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[bool | Held]] = {}
        self._given_up: dict[int, Completed] = {}

    async def should_run(self, task_id: str, key: str, lease: float) -> bool | Held:
        """Return the client's answer; raises `CoordinatorError` with its error."""
        request_id = next(self._ids)
        answer: asyncio.Future[bool | Held] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = answer
        try:
            self._client.send(Elect(request_id, task_id, key, lease))
            return await answer
        except asyncio.CancelledError:
            self._give_up(request_id, answer, Completed(task_id, key))
            raise
        finally:
            del self._waiting[request_id]

    def _give_up(
        self, request_id: int, answer: asyncio.Future[bool | Held], late: Completed
    ) -> None:
        if answer.cancelled():
            self._given_up[request_id] = late
        elif answer.exception() is None and answer.result() is True:
            # The positive answer and the cancellation came in one turn of the loop.
            self._client.send(late)

    async def on_complete(self, task_id: str, key: str) -> None:
        """Report to the client that the run of `key` has ended."""
        self._client.send(Completed(task_id, key))

    def settle(self, elected: Elected) -> None:
        """Handle the client's answer; release a claim that comes too late.

        Otherwise the client would renew it for ever, though no run needs it.
        """
        late = self._given_up.pop(elected.request_id, None)
        if late is not None:
            if elected.is_elected:
                self._client.send(late)
            return
        answer = self._waiting.get(elected.request_id)
        if answer is None or answer.done():
            return
        if elected.error is not None:
            answer.set_exception(CoordinatorError(reason=elected.error))
        else:
            holder = elected.holder
            answer.set_result(elected.is_elected if holder is None else Held(holder))


def _encode_value(value: object) -> Payload:
    """Return a run's payload; the scheduler's own errors are encoded here."""
    if isinstance(value, Payload):
        return value
    if isinstance(value, LoadFailed):
        return value.payload
    if value is None:  # the holder of a skipped slot: the summary is enough
        return Payload()
    assert isinstance(value, BaseException)
    text = None if not isinstance(value, IpycronError) else str(value)
    return encode_error(value, _ERROR_BYTES, text)[0]


async def serve(
    sock: socket.socket,
    file_limits: tuple[int, int],
    leashes: tuple[int, ...],
    zygote: ZygoteProcess | None,
) -> None:
    """Serve the client until it is gone; see `Supervisor`."""
    supervisor = Supervisor(sock, file_limits, leashes, zygote)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, supervisor.end)
    await supervisor.ended.wait()
    await asyncio.sleep(0)  # so that the last reply is sent
    await supervisor.flush()
