"""Listeners: who is told what, on a thread of their own.

A listener may block, raise or run for minutes; it delays other listeners, never a
schedule: the thread that schedules inline tasks and talks to the supervisor only puts
events into a queue.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import os
import queue
import threading
from typing import TYPE_CHECKING, Any

from ipycron.errors import InvalidOption
from ipycron.scheduling.events import Event

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from ipycron.scheduling.events import TaskContext

    Listener = Callable[[TaskContext], Any]

ANY = "*"

_lock = threading.RLock()
"""Held for a moment where listeners come and go: one for all, there are many tasks. A
signal's handler may take it again."""
# As concurrent.futures does: another thread may hold it while this one forks.
os.register_at_fork(after_in_child=_lock._at_fork_reinit)  # type: ignore[attr-defined] # noqa: SLF001


_NOBODY: dict[str, list[tuple[Any, bool]]] = {}
"""Of all tasks that nobody listens to. Never changed."""


class Listeners:
    """The listeners of one task, or of all tasks."""

    __slots__ = ("_by_event",)

    def __init__(self) -> None:
        self._by_event = _NOBODY  # until there is somebody: most tasks have none

    def add(self, event: str, listener: Listener, *, once: bool = False) -> None:
        """Add a listener to an event, or to all with ``"*"``."""
        check_event(event)
        if not callable(listener):
            raise InvalidOption(
                option="listener", value=listener, expected="a function of one argument"
            )
        with _lock:
            self._own().setdefault(str(event), []).append((listener, once))

    def remove(self, event: str, listener: Listener | None = None) -> None:
        """Remove a listener, or all of an event. A stranger is ignored."""
        check_event(event)
        with _lock:
            self._own()[str(event)] = [
                entry
                for entry in self._by_event.get(str(event), [])
                if listener is not None and entry[0] != listener
            ]

    def _own(self) -> dict[str, list[tuple[Listener, bool]]]:
        """Return the listeners, to be changed."""
        if self._by_event is _NOBODY:
            self._by_event = {}
        return self._by_event

    def __bool__(self) -> bool:
        return self._by_event is not _NOBODY and any(self._by_event.values())

    def has(self, event: str) -> bool:
        """Return whether anybody listens to this event."""
        if not self._by_event:
            return False
        return self.has_named(event) or bool(self._by_event.get(ANY))

    def has_named(self, event: str) -> bool:
        """Return whether anybody listens to this event by its name."""
        return bool(self._by_event.get(event))

    def take(self, event: str) -> list[Listener]:
        """Return who is to be called now; those of `once` are removed by it."""
        with _lock:
            entries = []
            for name in (str(event), ANY):
                if name in self._by_event:
                    entries += self._by_event[name]
                    self._by_event[name] = [e for e in self._by_event[name] if not e[1]]
        return [listener for listener, _ in entries]

    @property
    def events(self) -> list[str]:
        """The events that anybody listens to, ``"*"`` among them."""
        with _lock:
            return [event for event, entries in self._by_event.items() if entries]

    def clear(self) -> None:
        """Remove all."""
        with _lock:
            self._by_event.clear()


def check_event(event: str) -> None:
    """Raise `InvalidOption` for what is no event."""
    if event != ANY and event not in set(Event):
        raise InvalidOption(
            option="event",
            value=event,
            expected=f"'*' or one of {', '.join(Event)}",
        )


class Dispatcher:
    """The thread that calls listeners, in the order of events."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Callable[[], Any] | None] = queue.SimpleQueue()
        self._lock = threading.RLock()  # a signal's handler may take it again
        self._is_closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self.thread: threading.Thread | None = None
        self._start()

    def _start(self) -> None:
        """Start the thread; where the system refuses it, the next call tries again."""
        thread = threading.Thread(target=self._run, name="ipycron-events", daemon=True)
        with contextlib.suppress(RuntimeError):
            thread.start()
            self.thread = thread

    def submit(self, call: Callable[[], Any]) -> None:
        """Call this after everything submitted before. From any thread.

        Once closed it is called here and now.
        """
        with self._lock:
            if not self._is_closed:
                self._queue.put(call)
                if self.thread is None:
                    self._start()
                return
        self.call(call)

    def close(self, timeout: float | None = None) -> None:
        """Let what was submitted happen, then end the thread."""
        with self._lock:
            self._is_closed = True
            self._queue.put(None)
        if self.thread is None:
            self._run()
        elif threading.current_thread() is not self.thread:
            self.thread.join(timeout)

    def _run(self) -> None:
        while (call := self._queue.get()) is not None:
            self.call(call)
        if self._loop is not None:
            self._loop.close()

    def call(self, call: Callable[[], Any]) -> None:
        """Call, await what it returns, log what it raises."""
        try:
            result = call()
            if inspect.isawaitable(result):
                self._get_loop().run_until_complete(_await(result))
        except BaseException:  # border: listener; a sys.exit() is a failure, too
            logging.getLogger("ipycron").exception("a listener failed")

    def _get_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            import asyncio  # noqa: PLC0415 - 45 ms that most never need here

            self._loop = asyncio.new_event_loop()
        return self._loop


async def _await(awaitable: Any) -> Any:
    return await awaitable
