"""The client's end of a line to a worker: calls, and whoever reads their answers.

Whoever waits for a call reads its answer itself, for a moment: that saves a wake-up of
the client's loop, and of its own thread by that. All else is the loop's: an answer that
nobody waits for, one that takes longer, and the books.

A thread that waits may be interrupted anywhere, by Ctrl-C or by a handler that makes
calls of its own. So nothing is done twice that may not be, each step can be repeated,
and what is left undone the loop does at its next look.
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
    FromLine,
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


HURRY = 0.0003
"""Seconds that who waits stays awake for it, if the last answer came within them."""
CORES = count_cores()
SOON = 0.004
"""Seconds that a call may take before the supervisor is asked to see to it."""
MAX_ANSWERS = 500
"""Answers that wait for the books, of one line."""
LONGEST_WAIT = 0.25
"""Seconds that they wait, for whoever looks at a panel."""
PATIENCE = 0.02
"""Seconds that a thread reads by itself. Longer runs gain nothing by it."""
GRACE = 0.03
"""Seconds after which the loop reads, whoever said to: it may have been interrupted."""
_FLAGS = (socket.MSG_DONTWAIT,)
_SIZES = (PACKET_BYTES,)

_clock = SystemClock()

CallState = Literal["sent", "lost"]


class Held(Protocol):
    """A result as it came, decoded when it is first read."""

    def read(self) -> Any:
        """Return the result."""


class Courier(Protocol):
    """Fetches the end of a completion, where it does not come by itself."""

    def fetch(self, timeout: float | None) -> float | None:
        """Wait for it a moment, and `timeout` at most; return what is left of that."""

    def leave(self) -> None:
        """Let it come by itself."""


class Ending(Protocol):
    """The end of a run that a caller waits for: the client's `Completion`."""

    courier: Courier | None

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
    """What a connection needs of all of them: `DirectConnections`."""

    loop: asyncio.AbstractEventLoop
    hold: Callable[[Payload], Held]
    submit: Callable[[Callable[[], object]], object]
    tell: Callable[[str, str, CallState], bool]

    def watch(self) -> None:
        """Have the loop look at the connections for as long as there are calls."""

    def book(self, connection: DirectConnection) -> None:
        """Report the runs that have ended."""


class DirectConnection:
    """One task's connection to its worker. Thread-safe except where noted.

    Args:
        connections: all of them, and the loop.
        task_id: whose worker it is.
        fd: our end.
        name: the beginning of its runs' ids.
        pid: the worker's process.
        waiters: the task's runs that were called for.

    Attributes:
        is_closed: whether it is gone.
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
        self._decoder = make_decoder(FromLine)
        # Taken again by a signal's handler; each step within can be repeated.
        self._lock = threading.RLock()
        self._inbox: deque[bytes] = deque()  # received, not understood yet
        self._answers: deque[tuple[Answered, Held]] = deque()  # in no book yet
        self._call: DirectCall | None = None
        self._last = 0
        self._sent_at = 0.0
        self._is_hurried = False
        self._is_listening = False
        self.task_id = task_id
        self.name = name
        self.pid = pid
        self.is_closed = False

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
                    call.leave()  # to be told at once
                return True
        except BaseException:  # a signal's handler: nobody has the completion
            call.drop()
            if not call.is_sent:
                waiters.take(call.execution_id)
            raise
        waiters.take(call.execution_id)
        call.drop()
        return False

    def _prepare(self, completion: Ending) -> DirectCall | None:
        """Return a call to send, None where there is one under way."""
        before = self._call
        if self.is_closed or not (before is None or before.is_past):
            return None
        number = number_call(_clock.now(), self._last)
        call = DirectCall(self, number, completion)
        with self._lock:
            # A handler, or another thread, may have been here meanwhile.
            if self._call is not before or number <= self._last:
                return None
            self._last, self._call = number, call
        return call

    def drop(self, call: DirectCall) -> None:
        """Be free for another call in place of one that is not sent."""
        with self._lock:
            self._finish(call)

    def send(self, call: DirectCall) -> bool:
        """Send a call; False: the line is gone."""
        self._sent_at = call.sent_at
        self._connections.watch()  # first: whatever happens now, the loop looks at it
        with self._lock:
            if self._call is not call:
                return False  # it was taken for one that never would be sent
            call.is_sent = True
        try:
            self._sock.send(encode_message(Call(call.number)))
        except OSError:
            call.is_sent = False
            self._lose()
            return False
        return True

    def fetch(self, call: DirectCall, seconds: float) -> None:
        """Read the answer to a call, if it comes soon and nobody else does."""
        with self._lock:
            if call.is_over or call.reader is not Reader.NOBODY:
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
        # Each packet but the answer is one of a call before: there is one at most.
        while not call.is_over:
            ready = watch.poll(0)
            # To be woken takes as long as a short run: awake, if the last one was that.
            while self._is_hurried and not ready:
                os.sched_yield()  # to the worker, if it wants this very core
                ready = watch.poll(0)
                self._is_hurried = _clock.monotonic() - call.sent_at < HURRY
            if not (ready or watch.poll(seconds * 1000)):
                return
            self.read()
        self._is_hurried = CORES > 1 and _clock.monotonic() - call.sent_at < HURRY

    def leave(self, call: DirectCall) -> None:
        """Leave the answer to a call to the loop."""
        if call.reader is not Reader.LOOP:
            call.reader = Reader.LOOP
            self._connections.submit(self._listen)

    def tell(self) -> bool:
        """Have the supervisor see to the call under way; return whether it is told.

        If not, it will be: by the loop, before what is submitted to it after this.
        """
        call = self._call
        if call is not None and call.is_sent and not (call.is_told or call.is_over):
            call.is_told = True
            return self._connections.tell(self.task_id, call.execution_id, "sent")
        return True

    # --- answers --------------------------------------------------------------------

    def read(self) -> bool:
        """Take what has arrived; return whether there may be more."""
        with self._lock:
            size = len(self._inbox)
            try:
                # Received and kept in one step of C: no interrupt can come between.
                self._inbox.extend(map(self._sock.recv, _SIZES, _FLAGS))
            except BlockingIOError:
                pass
            except OSError as error:
                if error.errno not in SCARCE:
                    self._inbox.append(b"")
            is_new = len(self._inbox) > size
            self._understand()
            return not self.is_closed and is_new

    def _understand(self) -> None:
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
            return  # a job can write to its end; what comes after it is whole
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
            self.tell()
            self._finish(call)

    def _end(self, call: DirectCall, message: Answered) -> None:
        answers = self._answers
        if not answers or answers[-1][0].number != call.number:
            payload = Payload(message.value)
            if may_run_code(payload) and has_changed_user(self.pid):
                payload = make_lost(CHANGED_USER)
            answers.append((message, self._connections.hold(payload)))
        call.completion.set(answers[-1][1].read)
        self._waiters.take(call.execution_id)
        self._finish(call)

    def _finish(self, call: DirectCall) -> None:
        call.is_over = True
        call.completion.courier = None
        if self._call is call:
            self._call = None

    def _lose(self) -> None:
        """Give up a line whose worker is gone; the supervisor knows of its run."""
        self.is_closed = True
        call = self._call
        if call is not None:
            if call.is_sent and not call.completion.done():
                self._connections.tell(self.task_id, call.execution_id, "lost")
            self._finish(call)

    # --- on the loop ----------------------------------------------------------------

    @property
    def is_busy(self) -> bool:
        """Whether there is something that the loop must look at again."""
        call = self._call
        is_left = call is None or call.is_over or call.reader is Reader.LOOP
        return bool(self._answers or self._inbox or not is_left)

    @property
    def has_answers(self) -> bool:
        """Whether runs have ended that are in no book. In any thread."""
        return bool(self._answers)

    def take_answers(self) -> list[Answer]:
        """Return the runs that have ended, each once."""
        with self._lock:
            self._understand()  # what is not understood to its end puts them here again
            answers = [self._describe(*answer) for answer in self._answers]
            self._answers.clear()
        return answers

    def _describe(self, message: Answered, held: Held) -> Answer:
        date, now = date_call(message.number), _clock.now()
        # A job can write to its end, and a clock may have been set.
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
            is_ok=True, value=held, summary=show_controls(message.summary)
        )

    def look(self, now: float) -> bool:
        """See to what nobody else does; return whether to look again soon.

        Args:
            now: the monotonic clock.
        """
        if self._inbox:
            self.read()
        call = self._call
        if call is not None and not call.is_over:
            age = now - call.sent_at
            if age >= SOON:
                self.tell()
            if age >= (SOON if call.reader is Reader.NOBODY else GRACE):
                call.reader = Reader.LOOP
                self._listen()
        if self._answers and self._is_time(now):
            self._connections.book(self)
        return self.is_busy or now - self._sent_at < PATIENCE

    def _is_time(self, now: float) -> bool:
        """Whether the answers go into the books now: when the calls have a pause."""
        return (
            now - self._sent_at >= SOON
            or len(self._answers) >= MAX_ANSWERS
            or _clock.now() - self._get_oldest() >= LONGEST_WAIT
        )

    def _get_oldest(self) -> float:
        """Return when the run was called for that has waited longest."""
        return date_call(self._answers[0][0].number)

    def _listen(self) -> None:
        if not (self._is_listening or self.is_closed):
            self._is_listening = True
            self._connections.loop.add_reader(self._sock, self._hear)

    def _hear(self) -> None:
        self.read()
        if self.is_closed or self._call is None or self._call.reader is not Reader.LOOP:
            self._hush()
        self._connections.book(self)

    def _hush(self) -> None:
        if self._is_listening:
            self._is_listening = False
            self._connections.loop.remove_reader(self._sock)

    def close(self) -> None:
        """Read what has arrived, then let go of it. May be repeated."""
        while self.read():
            pass
        self._lose()
        self._hush()
        self._sock.close()

    def close_in_child(self) -> None:
        """Let go of it in a process that the client forked."""
        self._sock.close()


class Reader(Enum):
    """Who reads the answer to a call."""

    NOBODY = auto()
    CALLER = auto()
    LOOP = auto()


class DirectCall:
    """A call that is under way.

    Attributes:
        execution_id: its run's.
        completion: ends with it.
        is_over: whether the line has no more to say of it.
        is_sent: whether the worker may have it.
        is_told: whether the supervisor has been asked to see to it.
    """

    __slots__ = (
        "_line",
        "completion",
        "execution_id",
        "is_over",
        "is_sent",
        "is_told",
        "number",
        "reader",
        "sent_at",
    )

    def __init__(self, line: DirectConnection, number: int, completion: Ending) -> None:
        self._line = line
        self.number = number
        self.execution_id = name_call(line.name, number)
        self.completion = completion
        self.reader = Reader.NOBODY
        self.sent_at = _clock.monotonic()
        self.is_over = False
        self.is_sent = False
        self.is_told = False

    def send(self) -> bool:
        """Send it; False: the line is gone, and nothing has happened."""
        self.completion.courier = self
        return self._line.send(self)

    @property
    def is_past(self) -> bool:
        """Whether the line is free for another one.

        Ended by others; or whoever prepared it was interrupted before it was sent.
        """
        if self.completion.done():
            return True
        return not self.is_sent and _clock.monotonic() - self.sent_at > GRACE

    def drop(self) -> None:
        """Give it up where it was not sent: whoever wanted to was interrupted."""
        if not self.is_sent:
            self._line.drop(self)

    def fetch(self, timeout: float | None) -> float | None:
        """Wait for the answer, in the thread that wants it; see `Courier.fetch`."""
        self._line.fetch(self, PATIENCE if timeout is None else min(timeout, PATIENCE))
        if timeout is None or self.is_over:
            return timeout
        return max(0.0, timeout - PATIENCE)

    def leave(self) -> None:
        """Leave the answer to the loop: somebody wants to be told."""
        self._line.leave(self)
