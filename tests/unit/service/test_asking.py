"""One question to a service that does not behave."""

import contextlib
import socket
import tempfile
import threading
import time
from pathlib import Path

import msgspec
import pytest

from ipycron.errors import ServiceError
from ipycron.process.service.paths import VARIABLE, Holder, find_places, make_private
from ipycron.process.wire.frames import encode_frame
from ipycron.process.wire.protocol import Pong
from ipycron.service.asking import ask_status, find_service

SECONDS = 20


@pytest.fixture
def places():
    """The files of a service; a socket's path is short, that of a test is not."""
    with tempfile.TemporaryDirectory(prefix="ipycron-kept-") as folder:
        places = find_places({VARIABLE: f"{folder}/service"})
        make_private(places.folder)
        yield places


@contextlib.contextmanager
def serving(places, talk):
    """Have a thread talk to whoever connects."""
    holder = Holder(
        pid=1,
        host=socket.gethostname(),
        socket=str(places.socket),
        version="1.0",
        started_at=1.0,
    )
    Path(places.lock).write_bytes(msgspec.json.encode(holder))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(places.socket))
        listener.listen()
        thread = threading.Thread(target=serve, args=(listener, talk))
        thread.start()
        yield
        thread.join(SECONDS)
        assert not thread.is_alive()


def serve(listener, talk):
    """Talk to one client."""
    with listener.accept()[0] as sock, contextlib.suppress(OSError):
        talk(sock)


def send_garbage(sock):
    """Send what is no message, and stay until the client leaves."""
    sock.recv(1)
    sock.sendall(b"HTTP/1.1 400 Bad Request" * 1000)
    while sock.recv(65536):
        pass


def send_forever(sock):
    """Send what nobody has asked for, until the client leaves."""
    data, _ = encode_frame(Pong(), None, ())
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        sock.sendall(data * 100)


@pytest.mark.parametrize("ask", [find_service, ask_status])
def test_answer_that_is_none_is_an_error_of_the_service(places, ask):
    """What the doctor and the command line show as one line."""
    with (
        serving(places, send_garbage),
        pytest.raises(ServiceError, match="it cannot be understood: protocol: a frame"),
    ):
        ask(places, SECONDS)


@pytest.mark.parametrize("ask", [find_service, ask_status])
def test_service_that_never_stops_talking_does_not_answer(places, ask):
    """The deadline is that of the answer, not of each piece."""
    with (
        serving(places, send_forever),
        pytest.raises(ServiceError, match="it does not answer"),
    ):
        ask(places, 0.5)
