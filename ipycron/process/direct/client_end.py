"""The client's end of a direct connection: it makes calls and reads their answers.

A thread that waits for a call reads the answer itself for a moment. That saves two
wake-ups: the loop's, and the thread's by the loop. The loop does everything else: it
reads the answers that no thread waits for or that take longer, and adds the runs to
their tasks' histories.

A waiting thread may be interrupted anywhere, by Ctrl-C or by a signal handler that
makes calls of its own. Each step can therefore be repeated without harm, and the loop
completes at its next poll what was left undone.
"""

from __future__ import annotations

import os
import select
import socket
import threading
from collections import deque
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

from ipycron.process.affinity import count_cores
from ipycron.process.direct.worker_end import (
    PACKET_BYTES,
    date_call,
    name_call,
    number_call,
)
from ipycron.process.posix import CHANGED_USER, has_changed_user
from ipycron.process.refusal import SCARCE
from ipycron.process.wire.payload import Payload, make_lost, may_run_code
from ipycron.process.wire.printable import show_controls
from ipycron.process.wire.protocol import (
    Answered,
    Call,
    DirectReply,
    HandedOver,
    encode_message,
    make_decoder,
)
from ipycron.scheduling.clock import SystemClock
from ipycron.scheduling.events import Outcome, ScheduledExecution

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    Answer = tuple[ScheduledExecution, Outcome]


SPIN_SECONDS = 0.0003
"""Seconds that a waiting thread spins, if the last answer took no longer."""
CORES = count_cores()
REPORT_SECONDS = 0.004
"""Seconds that a call may take before it is reported to the supervisor."""
MAX_ANSWERS = 500
"""Answers of one connection that may wait before they are added to the history."""
MAX_WAIT = 0.25
"""Maximum seconds that they wait, so that a panel shows them soon."""
READ_SECONDS = 0.02
"""Seconds that a calling thread reads itself. Longer runs gain nothing from it."""
TAKEOVER_SECONDS = 0.03
"""Seconds after which the loop reads instead of a thread, possibly interrupted."""
_FLAGS = (getattr(socket, "MSG_DONTWAIT", 0),)
_SIZES = (PACKET_BYTES,)

_clock = SystemClock()

CallState = Literal["sent", "lost"]


class LazyResult(Protocol):
    """A received result, decoded when it is first read."""

    def read(self) -> Any:
        """Return the result."""


class AnswerReader(Protocol):
    """Reads the end of a completion in the thread that waits for it."""

    def fetch(self, timeout: float | None) -> float | None:
        """Read for a moment, at most `timeout` seconds; return what is left of them."""

    def leave(self) -> None:
        """Leave the reading to the loop."""


class Ending(Protocol):
    """The end of a run that a caller waits for: the client's `Completion`."""

    answer_reader: AnswerReader | None

    def done(self) -> bool:
        """Return whether it has ended."""

    def set(self, read: Callable[[], Any]) -> None:
        """End it; `read` returns the result."""


class Waiting(Protocol):
    """The runs of one task that callers wait for: the client's `Waiters`."""

    def add(self, execution_id: str, completion: Any) -> None:
        """Add a run."""

    def take(self, execution_id: str) -> object:
        """Remove a run."""


class Connections(Protocol):
    """What a connection needs of `DirectConnections`."""

    loop: asyncio.AbstractEventLoop
    wrap_result: Callable[[Payload], LazyResult]
    submit: Callable[[Callable[[], object]], object]
    report: Callable[[str, str, CallState], bool]

    def watch(self) -> None:
        """Have the loop poll the connections for as long as there are calls."""

    def deliver(self, connection: DirectConnection) -> None:
        """Add the runs that have ended to the task's history."""


class DirectConnection:
    """One task's connection to its worker. Thread-safe except where noted.

    Args:
        connections: all connections.
        task_id: the worker's task.
        fd: this end; `close` closes it.
        name: the connection's, with which its runs' ids begin.
        pid: the worker's process.
        waiters: the task's runs that callers wait for.

    Attributes:
        is_closed: whether the worker has closed its end, or `close` this one.
        is_delivering: whether runs that have ended are being added to the history.
    """

    def __init__(
        self,
        connections: Connections,
        task_id: str,
        *,
        fd: int,
        name: str,
        pid: int,
        waiters: Waiting,
    ) -> None:
        self._connections = connections
        self._waiters = waiters
        self._sock = socket.socket(fileno=fd)
        self._decoder = make_decoder(DirectReply)
        # Reentrant for signal handlers; each step while it is held can be repeated.
        self._lock = threading.RLock()
        self._inbox: deque[bytes] = deque()  # received, not decoded yet
        self._answers: deque[tuple[Answered, LazyResult]] = deque()  # not delivered yet
        self._call: DirectCall | None = None
        self._last = 0
        self._sent_at = 0.0
        self._is_spinning = False
        self._is_listening = False
        self.task_id = task_id
        self.name = name
        self.pid = pid
        self.is_closed = False
        self.is_delivering = False

    # --- calls ----------------------------------------------------------------------

    def call(self, completion: Ending, waiters: Waiting, *, is_watched: bool) -> bool:
        """Make a call; see `DirectConnections.try_call`."""
        call = self._prepare(completion)
        if call is None:
            return False
        try:
            waiters.add(call.execution_id, completion)
            if call.send():
                if is_watched:
                    call.leave()  # so that listeners are called without delay
                return True
        except BaseException:  # a signal handler raised: the caller never gets it
            call.drop()
            if not call.is_sent:
                waiters.take(call.execution_id)
            raise
        waiters.take(call.execution_id)
        call.drop()
        return False

    def _prepare(self, completion: Ending) -> DirectCall | None:
        """Return a call to send, or None while another one is in progress."""
        before = self._call
        if self.is_closed or not (before is None or before.is_past):
            return None
        number = number_call(_clock.now(), self._last)
        call = DirectCall(self, number, completion)
        with self._lock:
            # A signal handler or another thread may have made a call.
            if self._call is not before or number <= self._last:
                return None
            self._last, self._call = number, call
        return call

    def drop(self, call: DirectCall) -> None:
        """Give up a call that was not sent, so that another can be made."""
        with self._lock:
            self._finish(call)

    def send(self, call: DirectCall) -> bool:
        """Send a call; return False if the connection is closed."""
        self._sent_at = call.sent_at
        self._connections.watch()  # first: the loop continues if this is interrupted
        with self._lock:
            if self._call is not call:
                return False  # another call has replaced it
            call.is_sent = True
        try:
            self._sock.send(encode_message(Call(call.number)))
        except OSError:
            call.is_sent = False
            self._lose()
            return False
        self._connections.watch()  # again: this may have taken longer than it polls
        return True

    def fetch(self, call: DirectCall, seconds: float) -> None:
        """Read the answer to a call if it comes soon and no other thread reads it."""
        with self._lock:
            if call.is_over or call.reader is not Reader.NONE:
                return
            call.reader = Reader.CALLER
        try:
            self._fetch(call, seconds)
        finally:
            if not call.is_over:
                self.leave(call)

    def _fetch(self, call: DirectCall, seconds: float) -> None:
        watch = select.poll()
        watch.register(self._sock, select.POLLIN)
        # A packet that is not the answer belongs to the call before: at most one does.
        while not call.is_over:
            ready = watch.poll(0)
            # Waking up takes as long as a short run: spin if the last run was short.
            while self._is_spinning and not ready:
                os.sched_yield()  # the worker may need this core
                ready = watch.poll(0)
                self._is_spinning = _clock.monotonic() - call.sent_at < SPIN_SECONDS
            if not (ready or watch.poll(seconds * 1000)):
                return
            self.read()
        self._is_spinning = (
            CORES > 1 and _clock.monotonic() - call.sent_at < SPIN_SECONDS
        )

    def leave(self, call: DirectCall) -> None:
        """Have the loop read the answer to a call."""
        if call.reader is not Reader.LOOP:
            call.reader = Reader.LOOP
            self._connections.submit(self._listen)

    def report(self) -> bool:
        """Report the call in progress to the supervisor, once.

        Returns:
            False if the message is left to the loop, which sends it before anything
            that is submitted to it after this.
        """
        call = self._call
        if call is not None and call.is_sent and not (call.is_reported or call.is_over):
            call.is_reported = True
            return self._connections.report(self.task_id, call.execution_id, "sent")
        return True

    # --- answers --------------------------------------------------------------------

    def read(self) -> bool:
        """Receive and handle what has arrived; return whether there may be more."""
        with self._lock:
            size = len(self._inbox)
            try:
                # Received and stored in one step of C: no signal handler runs between.
                self._inbox.extend(map(self._sock.recv, _SIZES, _FLAGS))
            except BlockingIOError:
                pass
            except OSError as error:
                if error.errno not in SCARCE:
                    self._inbox.append(b"")
            is_new = len(self._inbox) > size
            self._decode_inbox()
            return not self.is_closed and is_new

    def _decode_inbox(self) -> None:
        while self._inbox:
            packet = self._inbox[0]
            self._take(packet)
            if self._inbox and self._inbox[0] is packet:
                self._inbox.popleft()  # last: an interrupted step is repeated

    def _take(self, packet: bytes) -> None:
        if not packet:
            self._lose()
            return
        try:
            message = self._decoder.decode(packet)
        except (msgspec.MsgspecError, ValueError):
            return  # a job can write to the worker's end; the next packet is whole
        call = self._call
        if call is None:
            return
        if isinstance(message, Answered):
            if message.number == call.number:
                self._end(call, message)
        elif isinstance(message, HandedOver):
            if message.number == call.number:
                self._finish(call)
        elif message.execution_id == call.execution_id:  # it is `Declined`
            self.report()
            self._finish(call)

    def _end(self, call: DirectCall, message: Answered) -> None:
        answers = self._answers
        if not answers or answers[-1][0].number != call.number:
            payload = Payload(message.value)
            if may_run_code(payload) and has_changed_user(self.pid):
                payload = make_lost(CHANGED_USER)
            answers.append((message, self._connections.wrap_result(payload)))
        call.completion.set(answers[-1][1].read)
        self._waiters.take(call.execution_id)
        self._finish(call)

    def _finish(self, call: DirectCall) -> None:
        call.is_over = True
        call.completion.answer_reader = None
        if self._call is call:
            self._call = None

    def _lose(self) -> None:
        """Record that the worker has closed its end; the supervisor knows why."""
        self.is_closed = True
        call = self._call
        if call is not None:
            if call.is_sent and not call.completion.done():
                self._connections.report(self.task_id, call.execution_id, "lost")
            self._finish(call)

    # --- on the loop ----------------------------------------------------------------

    @property
    def is_busy(self) -> bool:
        """Whether the loop must poll this connection again."""
        call = self._call
        is_left = call is None or call.is_over or call.reader is Reader.LOOP
        return bool(self._answers or self._inbox or not is_left)

    @property
    def has_answers(self) -> bool:
        """Whether runs have ended that are not delivered. In any thread."""
        return bool(self._answers) or self.is_delivering

    def take_answers(self) -> list[Answer]:
        """Return the runs that have ended, each once, to be delivered now."""
        self.is_delivering = True
        with self._lock:
            self._decode_inbox()  # first: an interrupted step adds its answer again
            answers = [self._describe(*answer) for answer in self._answers]
            self._answers.clear()
        return answers

    def _describe(self, message: Answered, result: LazyResult) -> Answer:
        date, now = date_call(message.number), _clock.now()
        # A job can write to the worker's end, and a clock may have been set.
        begin = message.started_at if date <= message.started_at <= now else date
        end = message.finished_at if begin <= message.finished_at <= now else now
        execution = ScheduledExecution(
            id=name_call(self.name, message.number),
            reason="invoked",
            date=date,
            started_at=begin,
            finished_at=max(begin, end),
            pid=self.pid,
        )
        return execution, Outcome(
            is_ok=True, value=result, summary=show_controls(message.summary)
        )

    def poll(self, now: float) -> bool:
        """Do what the calling threads have left; return whether to poll again soon.

        Args:
            now: the monotonic clock.
        """
        if self._inbox:
            self.read()
        call = self._call
        if call is not None and not call.is_over:
            age = now - call.sent_at
            if age >= REPORT_SECONDS:
                self.report()
            if age >= (
                REPORT_SECONDS if call.reader is Reader.NONE else TAKEOVER_SECONDS
            ):
                call.reader = Reader.LOOP
                self._listen()
        if self._answers and self._is_time(now):
            self._connections.deliver(self)
        return self.is_busy or now - self._sent_at < READ_SECONDS

    def _is_time(self, now: float) -> bool:
        """Return whether to deliver the answers now: in a pause between calls."""
        return (
            now - self._sent_at >= REPORT_SECONDS
            or len(self._answers) >= MAX_ANSWERS
            or _clock.now() - self._get_oldest() >= MAX_WAIT
        )

    def _get_oldest(self) -> float:
        """Return when the call whose answer has waited longest was made."""
        return date_call(self._answers[0][0].number)

    def _listen(self) -> None:
        if not (self._is_listening or self.is_closed):
            self._is_listening = True
            self._connections.loop.add_reader(self._sock, self._on_readable)

    def _on_readable(self) -> None:
        self.read()
        call = self._call  # the calling thread may end it meanwhile
        if self.is_closed or call is None or call.reader is not Reader.LOOP:
            self._stop_listening()
        self._connections.deliver(self)

    def _stop_listening(self) -> None:
        if self._is_listening:
            self._is_listening = False
            self._connections.loop.remove_reader(self._sock)

    def close(self) -> None:
        """Read what has arrived, then close this end. May be repeated."""
        while self.read():
            pass
        self._lose()
        self._stop_listening()
        self._sock.close()

    def close_in_child(self) -> None:
        """Close the socket in a process that the client forked."""
        self._sock.close()


class Reader(Enum):
    """What reads the answer to a call."""

    NONE = auto()
    CALLER = auto()
    LOOP = auto()


class DirectCall:
    """A call in progress.

    Attributes:
        execution_id: the run's id.
        completion: ends with the run.
        is_over: whether the connection will deliver nothing more for it.
        is_sent: whether the worker may have received it.
        is_reported: whether it was reported to the supervisor.
    """

    __slots__ = (
        "_connection",
        "completion",
        "execution_id",
        "is_over",
        "is_reported",
        "is_sent",
        "number",
        "reader",
        "sent_at",
    )

    def __init__(
        self, connection: DirectConnection, number: int, completion: Ending
    ) -> None:
        self._connection = connection
        self.number = number
        self.execution_id = name_call(connection.name, number)
        self.completion = completion
        self.reader = Reader.NONE
        self.sent_at = _clock.monotonic()
        self.is_over = False
        self.is_sent = False
        self.is_reported = False

    def send(self) -> bool:
        """Send the call; return False if the connection is closed."""
        self.completion.answer_reader = self
        return self._connection.send(self)

    @property
    def is_past(self) -> bool:
        """Whether another call may be made.

        The run has ended, or the thread that prepared the call was interrupted before
        it sent it.
        """
        if self.completion.done():
            return True
        return not self.is_sent and _clock.monotonic() - self.sent_at > TAKEOVER_SECONDS

    def drop(self) -> None:
        """Give the call up if it was not sent: its thread was interrupted."""
        if not self.is_sent:
            self._connection.drop(self)

    def fetch(self, timeout: float | None) -> float | None:
        """Wait for the answer in the calling thread; see `AnswerReader.fetch`."""
        self._connection.fetch(
            self, READ_SECONDS if timeout is None else min(timeout, READ_SECONDS)
        )
        if timeout is None or self.is_over:
            return timeout
        return max(0.0, timeout - READ_SECONDS)

    def leave(self) -> None:
        """Have the loop read the answer."""
        self._connection.leave(self)
