"""The only module with state: the client of this process.

Nothing else in the package keeps globals, least of all `ipycron/__init__.py`, which
``%reload_ext`` executes again.
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

    from ipycron.runlog.settings import HistorySettings

T = TypeVar("T")

EXIT_TIMEOUT = 0.0
"""Seconds that runs may take when the interpreter exits."""


class Registry:
    """Holds the client while there is one.

    Attributes:
        event_log: the last events, of this client and of earlier ones.
        history: where the history is; None: where the environment says.
    """

    def __init__(self) -> None:
        self.event_log = EventLog()
        self._singles: dict[type, Any] = {}
        # Reentrant: a signal handler may use ipycron.
        self._lock = threading.RLock()
        self._client: Client | None = None
        self._make: Callable[[EventLog], Client] = Client
        self._is_echoing = True
        self.history: HistorySettings | None = None
        self._closing: Client | None = None
        atexit.register(self.close, EXIT_TIMEOUT)
        # As concurrent.futures does: `atexit` runs after the interpreter has waited for
        # its threads. It raises once that has begun: no script is left to keep alive.
        with contextlib.suppress(RuntimeError):
            threading._register_atexit(self._handle_main_end)  # type: ignore[attr-defined] # noqa: SLF001
        call_in_child(self._leave_in_child)

    @property
    def client(self) -> Client:
        """The client, created when first needed."""
        with self._lock:
            if self._client is None:
                client = self._make(self.event_log)
                client.echo.is_on = self._is_echoing
                if self.history is not None:
                    client.use_history(self.history)
                if self._client is None:
                    self._client = client
                else:  # a signal handler has created one
                    client.shutdown(0.0)
            return self._client

    @property
    def running_client(self) -> Client | None:
        """The client; None while there is none."""
        return self._client

    def set_echo(self, *, is_on: bool) -> None:
        """Set whether this client and later ones show output on the console."""
        self._is_echoing = is_on
        client = self._client  # another thread may shut it down
        if client is not None:
            client.echo.is_on = is_on

    def set_history(self, settings: HistorySettings) -> None:
        """Write and read the history there, with this client and later ones."""
        self.history = settings
        client = self._client  # as above
        if client is not None:
            client.use_history(settings)

    def get_single(self, kind: type[T]) -> T:
        """Return this process's only `kind`, created when first needed.

        For the layers above, which keep no globals of their own.
        """
        with self._lock:
            if kind not in self._singles:
                self._singles[kind] = kind()
            single: T = self._singles[kind]
            return single

    def close(self, timeout: float) -> None:
        """Shut the client down; the next use creates a new one.

        Returns when its processes are gone, even if another thread is shutting it down,
        or a call that this one interrupts, or one that was interrupted earlier.
        """
        with self._lock:
            if self._client is not None:
                self._closing, self._client = self._client, None
            closing = self._closing
        if closing is not None:
            closing.shutdown(timeout)

    @contextlib.contextmanager
    def exchange(self, make: Callable[[EventLog], Client]) -> Iterator[None]:
        """Use a client that `make` creates, until the context ends.

        Then the new client is shut down and the previous one restored.
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
        """Stop watching signals for a client that was shut down in another thread.

        To be called in the main thread; it does nothing in others.
        """
        closing = self._closing
        if closing is not None:
            closing.keepalive.close()

    def _handle_main_end(self) -> None:
        client = self._client
        if client is not None:
            client.keepalive.handle_main_end()

    def _leave_in_child(self) -> None:
        """Start without a client in a forked child."""
        client, self._client = self._client, None
        self._closing = None
        self._lock = threading.RLock()
        self.event_log = EventLog()
        self._singles = {}
        if client is not None:
            client.close_in_child()


registry = Registry()
