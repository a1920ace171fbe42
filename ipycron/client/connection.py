"""The client's connection to the supervisor: sends requests, detects its end."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import subprocess
from typing import TYPE_CHECKING

from ipycron.errors import ProtocolError, SupervisorLost
from ipycron.process.heartbeat import Heartbeat
from ipycron.process.posix import ZYGOTE_GRACE, has_ended
from ipycron.process.wire.channel import Channel, Frame
from ipycron.process.wire.outcome import decode_error
from ipycron.process.wire.protocol import FromSupervisor, Ping, Pong, Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    import psutil

    from ipycron.process.supervision import SupervisorProcess
    from ipycron.process.wire.payload import Payload
    from ipycron.process.wire.protocol import Message

EXIT_TIMEOUT = 5.0
"""Seconds for a supervisor to exit by itself after either end is closed."""
_CODE_TIMEOUT = 0.05
"""Seconds to wait for the exit code of one that has closed its end; blocks the loop."""
_STDERR_BYTES = 2000
_POLL = 0.002
_KILL_GRACE = 1.0
"""Seconds for a killed supervisor to be gone."""
_SILENT = (
    "it does not answer: it is stopped, traced or waits for a disk. It was killed, and "
    "its workers with it"
)


class Connection:
    """One supervisor process. All methods but `send_at_once` are called on one loop.

    Args:
        supervisor: the process; owned by this object from now on.
        on_frame: receives every message except replies.
        on_lost: called once if the supervisor ends unrequested, after every open
            request has failed with the same error.

    Attributes:
        leash: a pipe that the supervisor and its zygote keep open as long as they
            live; the zygote outlives its workers. For the next connection; None once
            they are all gone.
    """

    def __init__(
        self,
        supervisor: SupervisorProcess,
        *,
        on_frame: Callable[[Frame], None],
        on_lost: Callable[[SupervisorLost], None],
    ) -> None:
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._ids = itertools.count(1)
        self._requests: dict[int, asyncio.Future[None]] = {}
        self._reaping: asyncio.Task[None] | None = None
        self._process = supervisor.process
        self._stderr = supervisor.stderr
        self.leash: int | None = supervisor.leash
        self._sock = supervisor.sock
        self._channel = Channel(
            self._sock,
            FromSupervisor,
            loop=asyncio.get_running_loop(),
            on_frame=self._handle,
            on_close=self._lose,
            keeps_payloads=True,
        )
        self._is_ready = False
        self._family: list[psutil.Process] = []
        self._heartbeat = Heartbeat(
            asyncio.get_running_loop(),
            supervisor.process.pid,
            send_ping=lambda: self._channel.send(Ping()),
            on_silence=self._give_up,
            may_be_busy=lambda: not self._is_ready,
        )

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        return self._process.pid

    def send(self, message: Message, payload: Payload | None = None) -> None:
        """Send a message that has no reply."""
        self._channel.send(message, payload)

    def send_at_once(self, message: Message) -> bool:
        """Send a message from any thread; see `Channel.send_at_once`."""
        return self._channel.send_at_once(message)

    def request(
        self, make_message: Callable[[int], Message], payload: Payload | None = None
    ) -> asyncio.Future[None]:
        """Send a message that is answered by a `Reply`, with which the future ends.

        Args:
            make_message: takes the request's id.
            payload: the message's payload.
        """
        request_id = next(self._ids)
        future = asyncio.get_running_loop().create_future()
        if self._channel.is_closed:
            future.set_exception(SupervisorLost(reason="it was shut down"))
            return future
        self._requests[request_id] = future
        self._channel.send(make_message(request_id), payload)
        return future

    def _handle(self, frame: Frame) -> None:
        self._is_ready = True
        self._heartbeat.note_alive()
        if isinstance(frame.message, Reply):
            self._settle(frame.message, frame.payload)
        elif not isinstance(frame.message, Pong):
            self._on_frame(frame)

    def _settle(self, reply: Reply, payload: Payload) -> None:
        future = self._requests.pop(reply.request_id, None)
        if future is None or future.done():
            return
        if reply.is_ok:
            future.set_result(None)
        else:
            future.set_exception(decode_error(payload))

    def _lose(self, error: ProtocolError | None, reason: str = "") -> None:
        self._heartbeat.close()
        if error is not None:
            self._process.kill()
        reason = reason or str(error or self._describe_end())
        self._reaping = asyncio.ensure_future(self._reap())
        stderr = self._read_stderr()
        lost = SupervisorLost(reason=f"{reason}\n{stderr}" if stderr else reason)
        self._fail_requests(lost)
        self._on_lost(lost)

    def _give_up(self) -> None:
        """End a supervisor that does not answer, and all its descendants."""
        self._channel.close()
        self._end_family()
        self._lose(None, _SILENT)

    def _end_family(self) -> None:
        """Kill the supervisor; its descendants end by themselves, or are killed later.

        A zygote detects the end and shuts its workers down, unless it is stopped too.
        """
        import psutil  # noqa: PLC0415 - 20 ms, needed only here

        with contextlib.suppress(psutil.Error):
            self._family = psutil.Process(self._process.pid).children(recursive=True)
        self._process.kill()

    def hurry(self) -> None:
        """Detect sooner that it hangs, because a caller waits for its end."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGCONT)  # it may be stopped
        self._heartbeat.hurry()

    def _describe_end(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return f"exit code {self._process.wait(_CODE_TIMEOUT)}"
        return "it was told to end"  # not by the client; it ends its workers first

    def _fail_requests(self, error: SupervisorLost) -> None:
        requests, self._requests = self._requests, {}
        for future in requests.values():
            if not future.done():
                future.set_exception(error)

    def _read_stderr(self) -> str:
        size = os.fstat(self._stderr).st_size
        start = max(0, size - _STDERR_BYTES)
        data = os.pread(self._stderr, _STDERR_BYTES, start)
        os.close(self._stderr)
        return data.decode("utf-8", "replace").strip()

    def close_in_child(self) -> None:
        """Close our end in a process that the client forked."""
        self._sock.close()

    async def close(self) -> None:
        """Close our end and wait until the supervisor and its descendants are gone."""
        if self._reaping is None:
            self._heartbeat.close()
            self._channel.close()
            self._fail_requests(SupervisorLost(reason="it was shut down"))
            os.close(self._stderr)
            self._reaping = asyncio.ensure_future(self._reap())
        await self._reaping

    async def _reap(self) -> None:
        # Polled: while the interpreter exits, no executor starts a thread.
        loop = asyncio.get_running_loop()
        deadline = loop.time() + EXIT_TIMEOUT
        while self._process.poll() is None:
            if loop.time() > deadline + _KILL_GRACE:
                break  # blocked in the kernel; it ends when that returns
            if loop.time() > deadline and not self._family:
                self._end_family()
            await asyncio.sleep(_POLL)
        leash, deadline = self.leash, loop.time() + ZYGOTE_GRACE
        assert leash is not None
        while not has_ended(leash) and loop.time() < deadline:  # noqa: ASYNC110 - as above
            await asyncio.sleep(_POLL)
        for process in self._family:
            # A new process with the same id is spared: psutil compares start times.
            with contextlib.suppress(Exception):
                process.kill()
        self.leash = None
        os.close(leash)
