"""Asks the running service one question, without following its tasks."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import ipycron
from ipycron.errors import ServiceError
from ipycron.process.refusal import describe
from ipycron.process.service.attach import SILENT, connect, greet
from ipycron.process.service.protocol import (
    AskStatus,
    FromService,
    Greeting,
    StatusReport,
    make_greeting,
)
from ipycron.process.wire.channel import BlockingChannel

if TYPE_CHECKING:
    from ipycron.process.service.paths import Places

SECONDS = 5.0
"""How long the service may take to answer; it takes a few milliseconds."""


def find_service(places: Places, timeout: float = SECONDS) -> Greeting | None:
    """Return who the running service is, of whatever version; None if none runs.

    Raises:
        ServiceError: if it does not answer in time.
    """
    return greet(places, make_greeting(ipycron.__version__), timeout)


def ask_status(places: Places, timeout: float = SECONDS) -> StatusReport | None:
    """Return what the running service says about itself; None if none runs.

    One of another version answers this, too, as far as it can.

    Raises:
        ServiceError: if it does not answer in time.
    """
    deadline = time.monotonic() + timeout
    sock = connect(places, timeout)
    if sock is None:
        return None
    channel = BlockingChannel(sock, FromService)
    own = make_greeting(ipycron.__version__)
    with contextlib.closing(channel):
        try:
            channel.send(own)
            while True:
                sock.settimeout(max(0.001, deadline - time.monotonic()))
                frame = channel.receive()
                if frame is None:
                    raise ServiceError(reason="it closed the connection")
                frame.payload.close()
                if isinstance(frame.message, Greeting):
                    channel.send(AskStatus(request_id=1))
                elif isinstance(frame.message, StatusReport):
                    return frame.message
        except TimeoutError:
            raise ServiceError(reason=SILENT) from None
        except OSError as error:
            raise ServiceError(reason=describe(error)) from None
