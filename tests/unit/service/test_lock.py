"""The lock of a service, and its wait for the end."""

import os
import resource
import signal
import sys
from pathlib import Path

import pytest

from ipycron.errors import ServiceError
from ipycron.process.service.paths import (
    VARIABLE,
    find_places,
    is_held,
    make_private,
    read_holder,
)
from ipycron.process.service.protocol import make_greeting
from ipycron.service import daemon
from ipycron.service.lock import Lock

GREETING = make_greeting("1.0", 5.0)


@pytest.fixture
def places(tmp_path):
    """The files of a service."""
    places = find_places({VARIABLE: str(tmp_path / "service")})
    make_private(places.folder)
    return places


@pytest.fixture
def lock(places):
    """A lock that is held."""
    lock = Lock(places)
    lock.take()
    yield lock
    os.close(lock.descriptor)


def list_descriptors():
    """Return the descriptors of this process."""
    return sorted(path.name for path in Path("/dev/fd").iterdir())


def test_lock_that_was_deleted_is_taken_again_under_its_number(places, lock):
    """Each supervisor inherits it by that, and no descriptor of an old one stays."""
    number = lock.descriptor
    before = list_descriptors()
    for _ in range(5):
        lock.write(GREETING)
        places.lock.unlink()
        assert lock.is_lost
        lock.take()
        assert (lock.descriptor, lock.is_lost, lock.is_written) == (
            number,
            False,
            False,
        )
        assert is_held(places)
        assert not os.get_inheritable(number)
    assert list_descriptors() == before


def test_lock_on_a_full_disk_says_so_and_is_written_later(places, lock):
    """It is no reason for the service to end."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with pytest.raises(ServiceError, match="cannot be written: File too large"):
            lock.write(GREETING)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not lock.is_written
    lock.write(GREETING)
    assert lock.is_written
    assert read_holder(places).pid == GREETING.pid


def test_signal_ends_the_service_whenever_it_comes(places, monkeypatch):
    """At every line of its wait: none of them holds what the handler needs."""
    monkeypatch.setattr(daemon, "_WATCH_EVERY", 0.0)
    usual = signal.getsignal(signal.SIGUSR1)
    for line in range(1, 60):
        service = daemon.Service(places)
        signal.signal(signal.SIGUSR1, service.handle_signal)
        sys.settrace(make_trace(line))
        try:
            service._wait(GREETING)
        finally:
            sys.settrace(None)
            signal.signal(signal.SIGUSR1, usual)
            if service._lock.descriptor >= 0:
                os.close(service._lock.descriptor)


def make_trace(number):
    """Return a trace function that has a signal come at a line, counted from now."""
    left = number

    def trace(_frame, event, _what):
        nonlocal left
        left -= event == "line"
        if event == "line" and left == 0:
            signal.raise_signal(signal.SIGUSR1)
        return trace

    return trace
