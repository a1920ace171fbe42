"""The one module with state: the client of this process.

Nothing else in the package keeps a global, `ipycron/__init__.py` least of all: it is
executed again by ``%reload_ext``.
"""

from __future__ import annotations

import atexit
import contextlib
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from ipycron.client.client import Client
from ipycron.client.event_log import EventLog
from ipycron.process.unix import call_in_child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

EXIT_TIMEOUT = 0.0
"""Seconds that runs may go on when the interpreter ends."""


class Registry:
    """Holds the client while there is one.

    Attributes:
        event_log: what has happened lately, whichever client it happened in.
    """

    def __init__(self) -> None:
        self.event_log = EventLog()
        self._singles: dict[type, Any] = {}
        # Taken again by a signal's handler that uses ipycron.
        self._lock = threading.RLock()
        self._client: Client | None = None
        self._make: Callable[[EventLog], Client] = Client
        self._is_echoing = True
        self._closing: Client | None = None
        atexit.register(self.close, EXIT_TIMEOUT)
        # As concurrent.futures does: `atexit` comes after the interpreter has waited
        # for its threads. It refuses once that has begun: there is no script to hold.
        with contextlib.suppress(RuntimeError):
            threading._register_atexit(self._see_main_end)  # type: ignore[attr-defined] # noqa: SLF001
        call_in_child(self._leave_in_child)

    @property
    def client(self) -> Client:
        """The client, made when first needed."""
        with self._lock:
            if self._client is None:
                client = self._make(self.event_log)
                client.echo.is_on = self._is_echoing
                if self._client is None:
                    self._client = client
                else:  # a signal's handler has made one meanwhile
                    client.shutdown(0.0)
            return self._client

    @property
    def running_client(self) -> Client | None:
        """The client, or None while there is none."""
        return self._client

    def set_echo(self, *, is_on: bool) -> None:
        """Have this client, and those to come, show output on the console or not."""
        self._is_echoing = is_on
        if self._client is not None:
            self._client.echo.is_on = is_on

    def get_single(self, kind: type[T]) -> T:
        """Return this process's only `kind`, made when first asked for.

        For the layers above, which keep no globals of their own.
        """
        with self._lock:
            if kind not in self._singles:
                self._singles[kind] = kind()
            single: T = self._singles[kind]
            return single

    def close(self, timeout: float) -> None:
        """Shut the client down; the next use makes a new one.

        Returns when its processes are gone, also where another thread shuts it down,
        or a call below this one, or one that was interrupted.
        """
        with self._lock:
            if self._client is not None:
                self._closing, self._client = self._client, None
            closing = self._closing
        if closing is not None:
            closing.shutdown(timeout)

    @contextlib.contextmanager
    def exchange(self, make: Callable[[EventLog], Client]) -> Iterator[None]:
        """Have `make` make the client for a while; the one before comes back then.

        What the other one has at the end is shut down.
        """
        with self._lock:
            before = self._make, self._client, self._closing
            self._make, self._client, self._closing = make, None, None
        try:
            yield
        finally:
            try:
                self.close(EXIT_TIMEOUT)
            finally:
                with self._lock:
                    self._make, self._client, self._closing = before

    def release_signals(self) -> None:
        """Stop watching signals for the client that was shut down in another thread.

        To be called in the main thread, elsewhere it does nothing.
        """
        if self._closing is not None:
            self._closing.keepalive.close()

    def _see_main_end(self) -> None:
        if self._client is not None:
            self._client.keepalive.see_main_end()

    def _leave_in_child(self) -> None:
        """A copy of this process is not the client: it starts with none."""
        client, self._client = self._client, None
        self._closing = None
        self._lock = threading.RLock()
        self.event_log = EventLog()
        self._singles = {}
        if client is not None:
            client.close_in_child()


registry = Registry()
