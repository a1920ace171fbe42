"""Asks the running service one question, without following its tasks."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import ipycron
from ipycron.errors import ProtocolError, ServiceError
from ipycron.process.service.attach import SILENT, connect
from ipycron.process.service.protocol import (
    AskStatus,
    FromService,
    Greeting,
    StatusReport,
    make_greeting,
)
from ipycron.process.wire.channel import BlockingChannel

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from ipycron.process.service.paths import Places
    from ipycron.process.wire.protocol import Message

SECONDS = 5.0
"""How long the service may take to answer; it takes a few milliseconds."""


def find_service(places: Places, timeout: float = SECONDS) -> Greeting | None:
    """Return who the running service is, of whatever version; None if none runs.

    Raises:
        ServiceError: if it does not answer within `timeout` seconds.
    """
    with _connect(places, timeout) as channel:
        if channel is None:
            return None
        return next(m for m in channel.receive() if isinstance(m, Greeting))


def ask_status(places: Places, timeout: float = SECONDS) -> StatusReport | None:
    """Return what the running service says about itself; None if none runs.

    One of another version answers this, too, as far as it can.

    Raises:
        ServiceError: if it does not answer within `timeout` seconds.
    """
    with _connect(places, timeout) as channel:
        if channel is None:
            return None
        channel.send(AskStatus(request_id=1))
        return next(m for m in channel.receive() if isinstance(m, StatusReport))


class _Asking:
    """A connection that has greeted, for a limited time."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline
        self._channel = BlockingChannel(sock, FromService)

    def send(self, message: Message) -> None:
        """Send a message."""
        self._channel.send(message)

    def receive(self) -> Iterator[Message]:
        """Yield what comes, without payloads; never ends but with an error."""
        while True:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError  # though there is more to read
            self._sock.settimeout(left)
            frame = self._channel.receive()
            if frame is None:
                raise ServiceError(reason="it closed the connection")
            frame.payload.close()
            yield frame.message

    def close(self) -> None:
        """Disconnect."""
        self._channel.close()


@contextlib.contextmanager
def _connect(places: Places, timeout: float) -> Iterator[_Asking | None]:
    """Connect to the service, if one runs; what goes wrong is a `ServiceError`."""
    deadline = time.monotonic() + timeout
    sock = connect(places, timeout)
    if sock is None:
        yield None
        return
    with contextlib.closing(_Asking(sock, deadline)) as asking:
        try:
            asking.send(make_greeting(ipycron.__version__))
            yield asking
        except TimeoutError:
            raise ServiceError(reason=SILENT) from None
        except OSError as error:
            reason = f"its connection failed: {error.strerror or error}"
            raise ServiceError(reason=reason) from None
        except ProtocolError as error:
            raise ServiceError(reason=f"it cannot be understood: {error}") from None
