"""The client's end of the service's socket: connect, greet, request, follow."""

from __future__ import annotations

import itertools
import os
import socket
from typing import TYPE_CHECKING

from ipycron.errors import ServiceError
from ipycron.process.refusal import describe
from ipycron.process.service.paths import find_socket
from ipycron.process.service.peer import find_user
from ipycron.process.service.protocol import (
    FromService,
    Going,
    Greeting,
    check_greeting,
)
from ipycron.process.wire.channel import Channel
from ipycron.process.wire.outcome import decode_error
from ipycron.process.wire.protocol import Reply

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from ipycron.errors import ProtocolError
    from ipycron.process.service.paths import Places
    from ipycron.process.wire.channel import Frame
    from ipycron.process.wire.payload import Payload
    from ipycron.process.wire.protocol import Message

GREET_TIMEOUT = 5.0
"""Seconds for the service to answer; it takes a few milliseconds."""
SILENT = (
    "it does not answer: it is stopped, or waits for a disk. `ipycron service restart` "
    "ends it and starts another"
)


def connect(places: Places, timeout: float = GREET_TIMEOUT) -> socket.socket | None:
    """Return a socket that is connected to the service; None if none is running.

    Raises:
        ServiceError: if there is one that cannot be reached, or is another user's.
    """
    path = find_socket(places)
    if path is None:
        return None
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(timeout)  # it blocks while the queue of connections is full
        sock.connect(os.fsencode(path))
        _check_peer(sock)
    except (FileNotFoundError, ConnectionRefusedError):
        sock.close()
        return None  # it has ended
    except TimeoutError:
        sock.close()
        raise ServiceError(reason=SILENT) from None
    except OSError as error:
        sock.close()
        raise ServiceError(
            reason=f"its socket {path} cannot be used: {describe(error)}"
        ) from None
    except ServiceError:
        sock.close()
        raise
    return sock


def _check_peer(sock: socket.socket) -> None:
    """Refuse what another user listens with: results run code when they are read."""
    user = find_user(sock)
    if user != os.geteuid():
        raise ServiceError(
            reason=f"its socket belongs to another user (uid {user}), who could read "
            "what is sent there. Nothing was sent"
        )


class ServiceLink:
    """A connection to the service. Methods are called on one loop.

    Args:
        sock: a connected socket; owned by this object from now on.
        own: this process's greeting, which is sent at once.
        on_frame: receives every message but replies, once the greetings agree.
        on_lost: called once if the connection ends unrequested, after every open
            request has failed with the same error.

    Attributes:
        service: the greeting of the service; None until it has arrived.
    """

    def __init__(
        self,
        sock: socket.socket,
        own: Greeting,
        *,
        loop: asyncio.AbstractEventLoop,
        on_frame: Callable[[Frame], None],
        on_lost: Callable[[ServiceError], None],
    ) -> None:
        self._sock = sock
        self._own = own
        self._loop = loop
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._ids = itertools.count(1)
        self._requests: dict[int, asyncio.Future[None]] = {}
        self._farewell = ""
        self.service: Greeting | None = None
        self._channel = Channel(
            sock,
            FromService,
            loop=loop,
            on_frame=self._handle,
            on_close=self._lose,
            keeps_payloads=True,
        )
        self._channel.send(own)

    def send(self, message: Message) -> None:
        """Send a message that has no reply."""
        self._channel.send(message)

    def request(
        self, make_message: Callable[[int], Message], payload: Payload | None = None
    ) -> asyncio.Future[None]:
        """Send a message that is answered by a `Reply`, with which the future ends.

        Args:
            make_message: takes the request's id.
            payload: the message's payload.
        """
        request_id = next(self._ids)
        future: asyncio.Future[None] = self._loop.create_future()
        if self._channel.is_closed:
            future.set_exception(ServiceError(reason="its connection was closed"))
            return future
        self._requests[request_id] = future
        self._channel.send(make_message(request_id), payload)
        return future

    def _handle(self, frame: Frame) -> None:
        message = frame.message
        if isinstance(message, Greeting):
            self._meet(message)
        elif isinstance(message, Reply):
            self._settle(message, frame.payload)
        elif self.service is not None:
            if isinstance(message, Going):
                self._farewell = message.reason
            self._on_frame(frame)

    def _meet(self, greeting: Greeting) -> None:
        try:
            check_greeting(self._own, greeting)
        except ServiceError as error:
            self._end(error)
        else:
            self.service = greeting

    def _settle(self, reply: Reply, payload: Payload) -> None:
        future = self._requests.pop(reply.request_id, None)
        if future is None or future.done():
            return
        if reply.is_ok:
            future.set_result(None)
        else:
            future.set_exception(decode_error(payload))

    def _lose(self, error: ProtocolError | None) -> None:
        gone = "it ended"
        if self.service is None:
            gone = "it closed the connection before it had answered"
        reason = str(error or self._farewell or gone)
        self._end(ServiceError(reason=reason))

    def _end(self, error: ServiceError) -> None:
        self._channel.close()
        self._fail_requests(error)
        self._on_lost(error)

    def _fail_requests(self, error: ServiceError) -> None:
        requests, self._requests = self._requests, {}
        for future in requests.values():
            if not future.done():
                future.set_exception(error)

    def close(self) -> None:
        """Leave: nothing that the service keeps changes by that. Idempotent."""
        self._channel.close()
        self._fail_requests(ServiceError(reason="this process has left it"))

    def close_in_child(self) -> None:
        """Close our end in a process that the client forked."""
        self._sock.close()
