"""The server: the service's socket, and who is attached to it.

Runs on the loop of the service's client. It trusts nobody: another user's process is
refused, a frame that is none ends its connection, and whoever reads too slowly loses
output first and the connection then. No client can keep another one waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import math
import os
import socket
from typing import TYPE_CHECKING, Any

from ipycron.errors import ServiceError
from ipycron.process.service.paths import make_private
from ipycron.process.service.peer import find_user
from ipycron.process.service.protocol import (
    FromKeeper,
    Greeting,
    check_greeting,
)
from ipycron.process.wire.channel import Channel, Frame
from ipycron.process.wire.frames import fit
from ipycron.process.wire.outcome import encode_error
from ipycron.process.wire.protocol import (
    Displayed,
    Logged,
    Ping,
    Pong,
    Reply,
    Streamed,
)
from ipycron.runlog.file import identify

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

    from ipycron.errors import ProtocolError
    from ipycron.process.wire.payload import Payload
    from ipycron.process.wire.protocol import Message

MAX_CLIENTS = 1000
"""Attached at once; more are closed at once, and come again."""
GREETING_TIMEOUT = 30.0
"""Seconds for a client to say what it is."""
CONGESTION_BYTES = 4 * 1024 * 1024
"""Unsent bytes above which a client gets no more output."""
MAX_BACKLOG_BYTES = 4 * CONGESTION_BYTES
"""Unsent bytes above which it is disconnected: when it is back, it gets the state. What
it gets when it attaches does not count."""
WATCH_EVERY = 1.0
"""Seconds between two looks at whether the socket is still there."""
MAX_ERROR_BYTES = 1 << 20
_BACKLOG = 512
_OUTPUT = (Streamed, Displayed, Logged)
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_PAUSE = 0.1
"""Seconds until the next accept where there is no descriptor left for it."""

_log = logging.getLogger("ipycron.service")


class Visitor:
    """One connection to a client.

    Attributes:
        greeting: what the client is; None until it has said so.
        misfit: why the two versions do not fit together; None if they do.
        is_live: whether it has been sent all tasks, and follows what happens.
    """

    def __init__(self, server: Server, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self._server = server
        self._limit: float = MAX_BACKLOG_BYTES
        self.greeting: Greeting | None = None
        self.misfit: ServiceError | None = None
        self.is_live = False
        self.requests: set[asyncio.Task[None]] = set()
        self.channel = Channel(
            sock, FromKeeper, loop=loop, on_frame=self._handle, on_close=self._lose
        )
        self._timer = loop.call_later(GREETING_TIMEOUT, self._give_up)

    def send(self, message: Message, payload: Payload | None = None) -> None:
        """Send a message, or less of it to a client that does not keep up."""
        backlog = self.channel.backlog
        if backlog > self._limit:
            self._server.disconnected += 1
            _log.warning("%s reads too slowly: it was disconnected", self)
            self.close()
            return
        if backlog > CONGESTION_BYTES and isinstance(message, _OUTPUT):
            self._server.dropped += 0 if payload is None else payload.size
            return
        self.channel.send(message, payload)

    def introduce(self, message: Message) -> None:
        """Send what a client gets when it attaches: many messages in one write."""
        self.channel.send_within(0, message)

    def answer(self, request_id: int, work: Coroutine[Any, Any, None]) -> None:
        """Reply when `work` is done, with its error if it fails."""
        task = asyncio.ensure_future(self._answer(request_id, work))
        self.requests.add(task)
        task.add_done_callback(self.requests.discard)

    async def _answer(self, request_id: int, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - border: process main
            self.refuse(request_id, error)
        else:
            self.send(Reply(request_id, is_ok=True))

    def refuse(self, request_id: int, error: BaseException) -> None:
        """Reply with an error."""
        payload, _ = encode_error(error, MAX_ERROR_BYTES, str(error))
        self.send(Reply(request_id, is_ok=False), payload)

    def close(self) -> None:
        """Disconnect. What it has requested goes on. Idempotent."""
        self._timer.cancel()
        self.channel.close()
        self._server.forget(self)

    def _handle(self, frame: Frame) -> None:
        message = frame.message
        if isinstance(message, Greeting):
            self._greet(message)
        elif self.greeting is None:
            _log.warning("a client sent no greeting: it was disconnected")
            self.close()
        elif isinstance(message, Ping):
            self.send(Pong())
        else:
            self._server.handle(self, message, frame)

    def _greet(self, greeting: Greeting) -> None:
        if self.greeting is not None:
            return
        self._timer.cancel()
        self.greeting = greeting
        try:
            check_greeting(greeting, self._server.greeting)
        except ServiceError as error:
            # It has our greeting, and finds the same out by itself. It may ask for the
            # status and for the end, but gets no tasks, which it might misread.
            self.misfit = error
            return
        # Whoever has just come has not been slow, however much it has to read first.
        self._limit = math.inf
        self._server.attach(self)
        self._limit = MAX_BACKLOG_BYTES + self.channel.backlog

    def _lose(self, error: ProtocolError | None) -> None:
        if error is not None:
            _log.warning("%s was disconnected: %s", self, error)
        self.close()

    def _give_up(self) -> None:
        if self.greeting is None:
            self.close()

    def __str__(self) -> str:
        greeting = self.greeting
        return "a client" if greeting is None else f"the client {greeting.pid}"


class Server:
    """Listens, and passes on what clients request.

    Args:
        path: of the socket.
        greeting: the service's.
        on_attach: called when a client has greeted: it gets all tasks.
        on_message: called with everything else that it sends.

    Attributes:
        dropped: bytes of output that slow clients did not get.
        disconnected: how many clients were disconnected as too slow.
    """

    def __init__(
        self,
        path: Path,
        greeting: Greeting,
        *,
        on_attach: Callable[[Visitor], None],
        on_message: Callable[[Visitor, Message, Frame], None],
    ) -> None:
        self.greeting = greeting
        self.handle = on_message
        self.attach = on_attach
        self.dropped = self.disconnected = 0
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._visitors: set[Visitor] = set()
        self._sock: socket.socket | None = None
        self._identity: object = None
        self._watch: asyncio.TimerHandle | None = None
        self._trouble = ""

    def __len__(self) -> int:
        return sum(visitor.greeting is not None for visitor in self._visitors)

    def __iter__(self) -> Iterator[Visitor]:
        return iter([visitor for visitor in self._visitors if visitor.is_live])

    def open(self) -> None:
        """Listen; replace a socket that an earlier service has left.

        Only the holder of the lock may call this.

        Raises:
            ServiceError: if there can be no socket there.
        """
        self._listen()
        self._watch = self._loop.call_later(WATCH_EVERY, self._check_place)

    def _listen(self) -> None:
        make_private(self._path.parent)
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.setblocking(False)
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()
            sock.bind(os.fsencode(self._path))
            self._path.chmod(0o600)
            sock.listen(_BACKLOG)
        except OSError as error:
            sock.close()
            raise ServiceError(
                reason=f"it cannot listen at {self._path}: {error.strerror or error}"
            ) from error
        before, self._sock = self._sock, sock
        if before is not None:
            self._close_socket(before)
        self._identity = identify(self._path)
        self._loop.add_reader(sock, self._accept)

    def _close_socket(self, sock: socket.socket) -> None:
        self._loop.remove_reader(sock)
        sock.close()

    def _check_place(self) -> None:
        """Listen anew if the socket is gone: deleted, replaced, its folder closed."""
        self._watch = self._loop.call_later(WATCH_EVERY, self._check_place)
        try:
            make_private(self._path.parent)
            if identify(self._path) != self._identity:
                _log.warning("the socket %s is gone: it is created again", self._path)
                self._listen()
        except ServiceError as error:
            if str(error) != self._trouble:
                self._trouble = str(error)
                _log.warning("%s", error)
        else:
            self._trouble = ""

    def _accept(self) -> None:
        assert self._sock is not None
        while True:
            try:
                sock, _ = self._sock.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _NO_ROOM:
                    self._rest()
                return
            self._admit(sock)

    def _rest(self) -> None:
        """Accept no one for a moment: there is no descriptor left."""
        sock = self._sock
        assert sock is not None
        self._loop.remove_reader(sock)
        self._loop.call_later(_PAUSE, self._go_on, sock)

    def _go_on(self, sock: socket.socket) -> None:
        if self._sock is sock:
            self._loop.add_reader(sock, self._accept)

    def _admit(self, sock: socket.socket) -> None:
        user = find_user(sock)
        if user != os.geteuid():
            _log.warning("a process of another user (uid %s) was refused", user)
            sock.close()
        elif len(self._visitors) >= MAX_CLIENTS:
            _log.warning("more than %d clients: one was refused", MAX_CLIENTS)
            sock.close()
        else:
            visitor = Visitor(self, sock)
            self._visitors.add(visitor)
            visitor.channel.send(self.greeting)

    def forget(self, visitor: Visitor) -> None:
        """Forget a client that is gone. Idempotent."""
        self._visitors.discard(visitor)

    def broadcast(self, message: Message, payload: Payload | None = None) -> None:
        """Send a message to every client that follows what happens."""
        payload = fit(payload)  # once for all of them
        for visitor in self:
            visitor.send(message, payload)

    def close(self) -> None:
        """Accept no one any more, and disconnect all; also when the loop is closed."""
        if self._watch is not None:
            self._watch.cancel()
        if self._sock is not None:
            self._close_socket(self._sock)
            self._sock = None
            if identify(self._path) == self._identity:
                with contextlib.suppress(OSError):
                    self._path.unlink()
        for visitor in list(self._visitors):
            visitor.close()
