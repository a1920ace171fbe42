"""The service as a program: `ipycron serve`, or started by the first task that is kept.

It holds a lock as long as it lives. So do its supervisor and zygote: whoever takes the
lock next finds nothing of it left, and no job of the two runs at once.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import signal
import sys
from typing import TYPE_CHECKING

import ipycron
from ipycron.client.completion import Flag
from ipycron.client.registry import registry
from ipycron.errors import ServiceError
from ipycron.process.service.launch import HELD, READY
from ipycron.process.service.paths import (
    EXIT_HELD,
    EXIT_SETUP,
    Places,
    find_places,
    make_private,
)
from ipycron.process.service.protocol import make_greeting
from ipycron.scheduling.clock import SystemClock
from ipycron.service.client import ServiceClient
from ipycron.service.keeper import Keeper
from ipycron.service.lock import Held, Lock
from ipycron.service.log import set_up_log, turn_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from ipycron.process.service.protocol import Greeting

DRAIN_TIMEOUT = 60.0
"""Seconds that runs in progress get when the service is told to end."""
_WATCH_EVERY = 5.0

_log = logging.getLogger("ipycron.service")


class Service:
    """The running service; see the module."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._lock = Lock(places)
        # A signal handler sets it, perhaps in the middle of its `wait`.
        self._ended = Flag()
        self._trouble = ""
        self._timeout = DRAIN_TIMEOUT
        self._is_restart = True

    def run(self, on_ready: Callable[[], None]) -> int:
        """Serve until it is told to end; return the exit code.

        Args:
            on_ready: called when clients can attach.

        Raises:
            Held: if another one runs.
            ServiceError: if it cannot be set up.
        """
        make_private(self._places.folder)
        self._lock.take()
        _raise_file_limit()
        started_at = SystemClock().now()
        greeting = make_greeting(ipycron.__version__, started_at)
        with registry.exchange(self._make_client):
            client = registry.client
            assert isinstance(client, ServiceClient)
            keeper = client.run(self._make_keeper(client, greeting)).result()
            try:
                client.run(keeper.open()).result()
                self._lock.write(greeting)
                _log.info(
                    "ipycron %s serves %s, process %d",
                    greeting.version,
                    self._places.folder,
                    greeting.pid,
                )
                on_ready()
                self._wait(greeting)
                _log.info("ended")
                work = keeper.prepare_end(is_restart=self._is_restart)
                client.run(work).result()
            finally:
                client.shutdown(self._timeout)
                keeper.close()
                os.ftruncate(self._lock.descriptor, 0)
        return 0

    def _make_client(self, event_log: object) -> ServiceClient:  # noqa: ARG002 - its own
        client = ServiceClient()
        client.leashes = (self._lock.descriptor,)
        client.history.begun_file = self._places.begun
        return client

    async def _make_keeper(self, client: ServiceClient, greeting: Greeting) -> Keeper:
        return Keeper(
            client,
            self._places,
            greeting,
            on_end=self.end,
        )

    def _wait(self, greeting: Greeting) -> None:
        """Wait for the end; meanwhile turn the log, and keep the lock."""
        while not self._ended.wait(_WATCH_EVERY):
            turn_log(self._places)
            try:
                self._keep_lock(greeting)
            except Held:
                _log.error("another service runs: ending this one")
                return
            except ServiceError as error:
                if error.reason != self._trouble:
                    _log.warning("%s", error)
                self._trouble = error.reason
            else:
                self._trouble = ""

    def _keep_lock(self, greeting: Greeting) -> None:
        """Take a new lock if this one is gone; write what could not be written."""
        if self._lock.is_lost:
            _log.warning("the lock %s is gone: it is created again", self._places.lock)
            make_private(self._places.folder)
            self._lock.take()
        if not self._lock.is_written:
            self._lock.write(greeting)

    def end(self, timeout: float, is_restart: bool) -> None:  # noqa: FBT001 - a message's
        """Have `run` return; from any thread and from a signal handler."""
        self._timeout = min(max(timeout, 0.0), DRAIN_TIMEOUT)
        self._is_restart = is_restart
        self._ended.set()

    def handle_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """End as a restart does; at once at the second signal."""
        if self._ended.is_set():
            os._exit(1)
        self.end(DRAIN_TIMEOUT, is_restart=True)


def serve(places: Places, on_ready: Callable[[], None] = lambda: None) -> int:
    """Run the service in the foreground; return its exit code.

    Writes its log to stderr, which may be `Places.log`: that is turned. SIGTERM and
    Ctrl-C have it end the runs in progress, within `DRAIN_TIMEOUT`, and hand over to
    the next one.

    Raises:
        ServiceError: if it cannot be set up.
    """
    turn_log(places)
    set_up_log()
    service = Service(places)
    with _handling(service):
        try:
            return service.run(on_ready)
        except Held:
            _log.info("another service holds %s", places.lock)
            return EXIT_HELD


def run_detached(pipe: int) -> None:
    """Run the service that a kernel has started; tell it through a pipe how it went."""

    def answer(data: bytes) -> None:
        with contextlib.suppress(OSError):  # it waits no more
            os.write(pipe, data)
            os.close(pipe)

    code = 1
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        os.set_inheritable(pipe, False)
        places = find_places()
        code = serve(places, lambda: answer(READY))
        if code == EXIT_HELD:
            answer(HELD)
    except ServiceError as error:
        _log.error("%s", error)
        answer(error.reason.encode())
        code = EXIT_SETUP
    except BaseException:  # noqa: BLE001 - border: process main
        _log.exception("ended by an error")
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


@contextlib.contextmanager
def _handling(service: Service) -> Iterator[None]:
    """Have signals end the service; a closed terminal does not."""
    signals = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in signals}
    for number in signals:
        signal.signal(number, service.handle_signal)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _raise_file_limit() -> None:
    """Allow as many descriptors as the system does: clients, and large payloads."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
