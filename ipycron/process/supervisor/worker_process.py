"""The supervisor's side of one worker: its socket, its pipes, its end, its failures."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from typing import TYPE_CHECKING

from ipycron.errors import (
    ProtocolError,
    StartError,
    StartRefused,
    StopTimeout,
    WorkerCrashed,
)
from ipycron.process.direct.supervisor_end import DirectLease
from ipycron.process.posix import (
    CHANGED_USER,
    get_signal_name,
    has_changed_user,
    kill_group,
    read_zombie,
)
from ipycron.process.standby import StandbyOrder, make_permit
from ipycron.process.supervisor.pumps import Flood, Holdback, Pump, Rest
from ipycron.process.wire.channel import Channel, Frame
from ipycron.process.wire.frames import SMALL_HEADER_BYTES
from ipycron.process.wire.payload import Payload, make_lost, may_run_code
from ipycron.process.wire.protocol import (
    Declined,
    Displayed,
    Ended,
    FromWorker,
    Load,
    Loaded,
    Logged,
    Quit,
    Run,
    StandBy,
    Streamed,
)
from ipycron.scheduling.events import Outcome
from ipycron.scheduling.standby import LATEST, find_rest

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipycron.process.direct.supervisor_end import DirectLeases
    from ipycron.process.wire.channel import Uplink
    from ipycron.process.wire.protocol import StreamName
    from ipycron.scheduling.events import ScheduledExecution
    from ipycron.scheduling.ports import Place, Worker


class WorkerPipes:
    """A worker's descriptors; they belong to the supervisor until passed on."""

    def __init__(self) -> None:
        with contextlib.ExitStack() as made:

            def make_pipe() -> tuple[int, int]:
                ends = os.pipe()
                for fd in ends:
                    made.callback(os.close, fd)
                return ends

            self.ours, theirs = socket.socketpair()
            made.enter_context(self.ours)
            made.enter_context(theirs)
            self.stdout, stdout = make_pipe()
            self.stderr, stderr = make_pipe()
            lifeline, self.lifeline = make_pipe()
            self.permit = make_permit()
            made.pop_all()  # all were created: keep them open
        self._theirs: socket.socket | None = theirs
        self._passed = (stdout, stderr, lifeline)
        self.fds = (theirs.fileno(), *self._passed, self.permit.fd)

    def close_theirs(self) -> None:
        """Close the worker's ends here, so that end of file means the worker's end."""
        if self._theirs is not None:
            self._theirs.close()
            self._theirs = None
            for fd in self._passed:
                os.close(fd)


class LoadFailed(Exception):
    """The job's own error while it loaded, still encoded (`outcome.decode_error`)."""

    def __init__(self, payload: Payload, summary: str) -> None:
        super().__init__(summary)
        self.payload = payload
        self.summary = summary


class ZygoteLost(Exception):
    """The zygote is gone, and with it a worker that had not loaded its job.

    Attributes:
        is_forked: whether the worker existed: its job may have ended the zygote.
    """

    def __init__(self, *, is_forked: bool) -> None:
        super().__init__()
        self.is_forked = is_forked


def describe_crash(
    name: str, status: int, *, output: str, reason: str, is_lost: bool
) -> WorkerCrashed:
    """Return the error of a run whose worker ended.

    Args:
        name: its task's.
        status: as `os.waitpid` gives it.
        output: the last lines of the worker's stderr.
        reason: why the supervisor ended it; empty if it did not.
        is_lost: whether the worker ended because its zygote was lost.
    """
    code = os.waitstatus_to_exitcode(status)
    return WorkerCrashed(
        name=name,
        exit_code=code if code >= 0 else None,
        signal_name=None if code >= 0 else get_signal_name(-code),
        output=output,
        reason=reason,
        is_lost=is_lost,
    )


EXIT_GRACE = 1.0
"""Seconds for an idle worker to exit by itself before it is terminated."""
CLOSE_GRACE = 0.1
"""Seconds for a worker to exit after its socket closed, before it is killed."""
REAP_GRACE = 1.0
"""Seconds for the zygote to report an exit: it may be suspended or busy importing."""
KILL_GRACE = 5.0
"""Seconds for a killed process to be gone. A process that hangs in the kernel takes
longer."""
CALLS_BEFORE_DIRECT = 2
"""Calls before a worker gets a direct connection, which takes 45 KB."""
_READ_BYTES = 32 * 1024
"""Small, so that fifty workers that display without pause hardly delay a fire."""


class WorkerProcess:
    """A `Worker` of the scheduler in a process of its own.

    Attributes:
        pid: known once the process has started.
        zone: the time zone of its task, as on the wire.
        loaded: done when the job is loaded; fails with the load's error.
        is_single_use: whether it exits after its first run; known once the job is
            loaded.
        gone: done when the process is reaped.
    """

    is_shared = False

    def __init__(
        self,
        load: Load,
        payload: Payload,
        *,
        uplink: Uplink,
        flood: Flood,
        on_death: Callable[[Worker, BaseException], None],
        leases: DirectLeases,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.pid: int | None = None
        self.is_single_use = False
        self.loaded: asyncio.Future[None] = loop.create_future()
        self.gone: asyncio.Future[None] = loop.create_future()
        self.ends = WorkerPipes()
        self._task_id = load.task_id
        self._name = load.name
        self.zone = load.zone
        self._uplink = uplink
        self._on_death = on_death
        self._order = StandbyOrder(self.ends.permit)
        self._lease, self._call_count = DirectLease(loop, self.kill_remains), 0
        self._leases = leases
        self._execution: ScheduledExecution | None = None
        self._execution_id = ""
        self._outcome: asyncio.Future[Outcome] | None = None
        self._is_loaded = self._is_stopping = self._is_lost = False
        self._early: Frame | None = None  # a worker may load before its pid is here
        self._reason = ""
        self._lifeline: int | None = self.ends.lifeline
        self._channel = Channel(
            self.ends.ours,
            FromWorker,
            loop=loop,
            on_frame=self._handle,
            on_close=self._lose,
            on_flood=lambda: self._rest.start(),  # noqa: PLW0108 - it is made below
            max_header=SMALL_HEADER_BYTES,
            read_bytes=_READ_BYTES,
        )
        self._rest = Rest(
            loop, flood, pause=self._channel.pause, resume=self._channel.resume
        )
        self._holdback = Holdback(uplink, loop=loop, report=self._write_to_stderr)
        self._pumps = [
            self._make_pump(self.ends.stdout, "stdout", flood),
            self._make_pump(self.ends.stderr, "stderr", flood),
        ]
        # Written before the worker exists: the job is there when it first reads.
        self._channel.send(load, payload)

    def _make_pump(self, fd: int, stream: StreamName, flood: Flood) -> Pump:
        def deliver(data: bytes, *dropped: int) -> None:
            message = Streamed(self._task_id, self._execution_id, stream, *dropped)
            self._uplink.forward(message, Payload(data))

        return Pump(
            fd,
            loop=asyncio.get_running_loop(),
            deliver=deliver,
            is_congested=self._uplink.is_congested,
            flood=flood,
            before=self._look,
        )

    # --- the scheduler's side ---------------------------------------------------

    def stand_by(
        self,
        execution_id: str,
        slot: int,
        *,
        latest: float,
        place: Place,
        on_begun: Callable[[], None],
    ) -> None:
        """Have the job begin at its slot; see `Worker.stand_by`."""
        if self._is_stopping or self._channel.is_closed or self._outcome is not None:
            return
        # First the permit: without it, an order that is read late has no effect.
        if self._order.give(execution_id, on_begun):
            rest = find_rest(place.crowd)
            self._channel.send(
                StandBy(execution_id, slot, latest, place.number, place.crowd, rest)
            )

    def withdraw(self) -> bool:
        """Take back what `stand_by` ordered; see `Worker.withdraw`."""
        return self._order.withdraw()

    def offer(self, on_called: Callable[[str, float], None]) -> None:
        """Let the client call the worker; see `Worker.offer`."""
        if self._is_stopping or self._channel.is_closed or self._outcome is not None:
            return
        if self._call_count >= CALLS_BEFORE_DIRECT and not self._lease.name:
            pid = self.pid or 0  # a worker that has had a run has a direct connection
            self._lease.open(self._task_id, pid, self._channel, self._uplink)
            self._leases.add(self._lease)
        self._lease.grant(on_called)

    def hold(self) -> bool:
        """Let no call begin, and report one in progress; see `Worker.hold`."""
        return self._lease.hold() and self._outcome is None

    def run(self, execution: ScheduledExecution) -> asyncio.Future[Outcome]:
        """Start the job now; see `Worker.run`."""
        assert self._outcome is None, "one run at a time"
        self._call_count += execution.reason == "invoked"
        self._outcome = asyncio.get_running_loop().create_future()
        for pump in self._pumps:
            pump.begin_run()
        self._execution = execution
        self._execution_id = execution.id
        if not (
            self._order.is_for(execution.id) or self._lease.claim_reported(execution.id)
        ):
            self._send_run(execution)
        self._order.forget()
        return self._outcome

    def _send_run(self, execution: ScheduledExecution) -> None:
        self._channel.send(
            Run(
                execution.id,
                execution.reason,
                execution.date,
                execution.begun_at or execution.date,
                execution.attempt,
            )
        )

    def give_up(self, future: asyncio.Future[Outcome]) -> asyncio.Future[Outcome]:
        """Do nothing: the process is stopped instead; see `Worker.give_up`."""
        return future

    async def stop(self, *, grace: float) -> None:
        """End the process and return when it is gone; see `Worker.stop`."""
        self._is_stopping = True
        if self._outcome is None:
            self._channel.send(Quit())
            await self._wait_gone(EXIT_GRACE)
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)  # a suspended process would not receive it
        await self._wait_gone(grace)
        self.kill()
        await self._wait_gone(KILL_GRACE)
        if not self.gone.done():
            raise StopTimeout(name=self._name, timeout=KILL_GRACE)

    async def discard(self) -> None:
        """End a worker that did not load; wait until it is gone, if it ever existed."""
        self.kill()
        if self.pid is not None:
            await self._wait_gone(KILL_GRACE)
        # Otherwise the zygote is busy or suspended. It may still fork the worker; its
        # lifeline is cut, so it exits before it loads its job.
        self.handle_exit(signal.SIGKILL)
        if self.loaded.done() and not self.loaded.cancelled():
            self.loaded.exception()  # mark its error as retrieved

    async def _wait_gone(self, seconds: float) -> None:
        if not self.gone.done():
            await asyncio.wait([self.gone], timeout=seconds)

    def kill(self) -> None:
        """Kill the process group now. `gone` is done when the process has ended."""
        self._is_stopping = True
        self._signal(signal.SIGKILL)
        self._cut_lifeline()

    def _signal(self, number: signal.Signals) -> None:
        # After `gone` the number may belong to another process.
        if self.pid is not None and not self.gone.done():
            kill_group(self.pid, number)

    def _cut_lifeline(self) -> None:
        """Make a worker that is still being forked exit before it loads its job."""
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None

    # --- the worker's side ------------------------------------------------------

    def _handle(self, frame: Frame) -> None:
        message = frame.message
        self._look()
        if isinstance(message, Ended):
            if self._outcome is None:
                self._order.handle_end(message.execution_id)
                self._lease.handle_end(message.execution_id)
            if message.execution_id == self._execution_id:
                self._end_run(message, self._trust(frame.payload))
        elif isinstance(message, Displayed | Logged):
            if message.task_id == self._task_id:
                if not self._uplink.is_congested():
                    self._flush()  # keep the order of the job's output and displays
                self._holdback.forward(message, frame.payload)
        elif isinstance(message, Declined):
            self._begin_after_all(message.execution_id)
        elif isinstance(message, Loaded):
            if self.pid is None:
                self._early = frame
            else:
                self._finish_load(message, self._trust(frame.payload))

    def _trust(self, payload: Payload) -> Payload:
        """Return what a job sent, or a stand-in if the client must not unpickle it."""
        if payload.size and may_run_code(payload) and has_changed_user(self.pid or 0):
            return make_lost(CHANGED_USER)
        return payload

    def _look(self) -> None:
        """Determine which run the worker's next output belongs to."""
        self._order.check()
        self._lease.check()

    def _begin_after_all(self, execution_id: str) -> None:
        """Handle a run that the worker stood by for but was too late to begin."""
        if self._order.is_for(execution_id):
            self.withdraw()  # the scheduler has not reached its slot yet
        elif execution_id == self._execution_id and self._outcome is not None:
            assert self._execution is not None
            if self.ends.permit.take():
                self._send_run(self._execution)

    def _finish_load(self, message: Loaded, payload: Payload) -> None:
        self._drain()
        if self.loaded.done():
            return
        if message.is_ok:
            self._is_loaded = True
            self.is_single_use = message.is_single_use
            self.loaded.set_result(None)
        else:
            self.loaded.set_exception(LoadFailed(payload, message.summary))

    def _end_run(self, ended: Ended, payload: Payload) -> None:
        self._drain()
        judgement = ended.judgement
        is_cancelled = judgement is not None and judgement.is_cancelled
        outcome = Outcome(
            is_ok=ended.is_ok or is_cancelled,
            value=payload,
            summary=ended.summary,
            finished_at=ended.finished_at,
            details=ended.details,
            manner="cancelled" if is_cancelled else "plain",
            judgement=judgement,
        )
        self._correct_start(ended.started_at)
        # Its exit is not a crash, even if another observer sees it first.
        self._is_stopping = self._is_stopping or self.is_single_use
        future, self._outcome = self._outcome, None
        if future is not None and not future.done():
            future.set_result(outcome)

    def _correct_start(self, started_at: float | None) -> None:
        """Adopt the worker's own start time of a run, if it is plausible."""
        execution, self._execution = self._execution, None
        if execution is None or started_at is None:
            return
        # A job can write to our socket, and infinity is no valid date.
        if 0 <= started_at - execution.date <= LATEST:
            execution.started_at = started_at

    def _lose(self, error: ProtocolError | None) -> None:
        """Handle a closed socket: the process is dying, or its job closed it."""
        if error is not None:
            self._reason = str(error)
        loop = asyncio.get_running_loop()
        loop.call_later(CLOSE_GRACE, self.kill_remains, "it had closed its connection")
        loop.call_later(CLOSE_GRACE + REAP_GRACE, self._look_for_zombie)

    def kill_remains(self, reason: str) -> None:
        """Kill the rest of a process group whose leader is lost or dying."""
        is_alive = self.pid is not None and read_zombie(self.pid) is None
        if is_alive and not self._reason:
            self._reason = reason
        self._signal(signal.SIGKILL)
        self._cut_lifeline()

    def _look_for_zombie(self) -> None:
        """Notice an exit that the zygote has not reported."""
        if self.gone.done() or self.pid is None:
            return
        status = read_zombie(self.pid)
        if status is None:
            loop = asyncio.get_running_loop()
            loop.call_later(REAP_GRACE, self._look_for_zombie)
        else:
            self.handle_exit(status)

    def handle_start(self, pid: int) -> None:
        """Note that the process exists, and handle what it was quicker to send."""
        self.pid = pid
        if self._early is not None:
            frame, self._early = self._early, None
            self._handle(frame)

    def refuse_start(self, reason: str) -> None:
        """Fail the start: the system refused a process, or something it needs."""
        if not self.loaded.done():
            self.loaded.set_exception(StartRefused(name=self._name, reason=reason))
        self.handle_exit(signal.SIGKILL)

    def handle_loss(self) -> None:
        """Handle the loss of the zygote and (``PR_SET_PDEATHSIG``) this process."""
        self._is_lost = True
        if not self.loaded.done():
            self.loaded.set_exception(ZygoteLost(is_forked=self.pid is not None))
        self.handle_exit(signal.SIGKILL)

    def handle_exit(self, status: int) -> None:
        """Handle the reaped process; `status` is that of `os.waitpid`."""
        if self.gone.done():
            return
        self.ends.close_theirs()
        self._channel.drain()
        self._channel.close()
        self._rest.cancel()
        self._drain()
        self._look()
        last_output = self._pumps[1].get_last_output()
        crash = describe_crash(
            self._name,
            status,
            output=last_output,
            reason=self._reason,
            is_lost=self._is_lost,
        )
        for pump in self._pumps:
            pump.close()
        self._order.forget()
        self._lease.close()
        self._leases.remove(self._lease)
        self.ends.permit.close()
        self._cut_lifeline()
        # Without these reference cycles a dead worker's memory is freed at once.
        del self._rest, self._holdback
        self._pumps.clear()
        self.gone.set_result(None)
        if not self.loaded.done():
            text = str(crash.args[0]).removeprefix(f"task {self._name!r}: ")
            reason = text.split(" Last lines of stderr", 1)[0].removesuffix(".")
            self.loaded.set_exception(
                StartError(name=self._name, reason=reason, output=crash.output)
            )
        future, self._outcome = self._outcome, None
        if future is not None and not future.done():
            future.set_exception(crash)
        if self._is_loaded and not self._is_stopping:
            self._on_death(self, crash)

    def _write_to_stderr(self, text: str) -> None:
        """Add a line from ipycron to the run's stderr."""
        message = Streamed(self._task_id, self._execution_id, "stderr", 0)
        self._uplink.forward(message, Payload(text.encode()))

    def _drain(self) -> None:
        for pump in self._pumps:
            pump.drain()
        self._holdback.flush()

    def _flush(self) -> None:
        for pump in self._pumps:
            pump.flush()
