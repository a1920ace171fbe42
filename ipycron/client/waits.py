"""Refuses waits that could not end, or that would block an event loop.

A run that waits for its own end, and a loop that waits for what runs on it, would time
out seconds later, without an explanation. A context variable identifies the code that a
run calls; threads started by `asyncio.to_thread` inherit it.
"""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from ipycron.client.keepalive import is_interactive
from ipycron.errors import BlockingCall, SelfWait

if TYPE_CHECKING:
    import asyncio
    import concurrent.futures
    from collections.abc import Callable, Iterator
    from contextvars import Token

T = TypeVar("T")

_MOMENT = 0.05
"""Seconds between two checks of whether a loop has begun what it was given."""

_running: ContextVar[tuple[tuple[str, str], ...]] = ContextVar("running", default=())
"""Ids and names of the tasks whose runs called this code, the innermost last."""


class Inside:
    """Marks the code in its context as called by a run of an inline job.

    Each run has one: a generator takes longer.

    Args:
        task_id: the task's.
        name: the task's.
    """

    __slots__ = ("_call", "_token")

    def __init__(self, task_id: str, name: str) -> None:
        self._call = task_id, name
        self._token: Token[tuple[tuple[str, str], ...]]

    def __enter__(self) -> None:
        self._token = _running.set((*_running.get(), self._call))

    def __exit__(self, *_: object) -> None:
        _running.reset(self._token)


def check_not_inside(call: str, task_id: str | None = None) -> None:
    """Raise `SelfWait` if a run would wait for its own end.

    Args:
        call: what would wait.
        task_id: the task whose runs it would wait for; None for all tasks.
    """
    for running_id, name in _running.get():
        if task_id in (None, running_id):
            raise SelfWait(name=name, call=call)


_listening: ContextVar[tuple[str, str] | None] = ContextVar("listening", default=None)
"""Id and name of the task whose listener called this code."""


@contextmanager
def listening(task_id: str, name: str) -> Iterator[None]:
    """Mark the code in this context as called by a listener."""
    token = _listening.set((task_id, name))
    try:
        yield
    finally:
        _listening.reset(token)


async def await_listening(awaitable: Any, task_id: str, name: str) -> Any:
    """Await what a listener has returned, as a part of its call."""
    with listening(task_id, name):
        return await awaitable


def get_call_of_listener(task_id: str | None = None) -> object | None:
    """Return an object that identifies the listener call that this code is part of.

    None if it is part of none. With a task's id, only its listeners count.
    """
    current = _listening.get()
    return current if current is not None and task_id in (None, current[0]) else None


def check_not_listening(call: str, task_id: str | None = None) -> None:
    """Raise `SelfWait` if a listener would wait for something that waits for it.

    Args:
        call: what would wait.
        task_id: the task whose end it would wait for; None for all tasks.
    """
    current = _listening.get()
    if current is not None and task_id in (None, current[0]):
        raise SelfWait(name=current[1], call=call, is_listener=True)


def get_running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop that runs in this thread, without importing asyncio."""
    # A signal handler may call this while asyncio is being imported: no loop then.
    find: Callable[[], asyncio.AbstractEventLoop | None] | None = getattr(
        sys.modules.get("asyncio"), "_get_running_loop", None
    )
    return None if find is None else find()


def check_may_block(call: str, instead: str) -> None:
    """Raise `BlockingCall` if an event loop runs in this thread.

    Not in a notebook: its cells run on the kernel's loop, and may block it.
    """
    if get_running_loop() is not None and not is_interactive():
        raise BlockingCall(call=call, instead=instead)


class OriginLoop:
    """The loop on which a task was created; it awaits what the function returns.

    Args:
        loop: the loop that was running in the thread that created the task.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._is_blocked = False

    def mark_blocked(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Record that a loop is about to be blocked by a wait for the task's run."""
        if loop is self._loop:
            self._is_blocked = True
            loop.call_soon(self._mark_free)

    def _mark_free(self) -> None:
        self._is_blocked = False

    def start(self, awaitable: Any) -> AwaitedElsewhere | None:
        """Await it there, from another thread; return None if the loop is closed."""
        import asyncio  # noqa: PLC0415 - loaded: there is a loop

        awaited = AwaitedElsewhere(awaitable)
        coroutine = awaited.follow()
        try:
            awaited.future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        except RuntimeError:
            coroutine.close()
            return None
        return awaited

    @property
    def is_unavailable(self) -> bool:
        """Whether it is not running, or blocked by a wait for this run."""
        return self._is_blocked or not self._loop.is_running()


class AwaitedElsewhere:
    """An awaitable that a function returned, awaited on another thread's loop."""

    def __init__(self, awaitable: Any) -> None:
        self.future: concurrent.futures.Future[Any]
        self._awaitable = awaitable
        self._lock = threading.RLock()
        self._is_begun = False

    def _begin(self) -> bool:
        with self._lock:
            is_first, self._is_begun = not self._is_begun, True
            return is_first

    async def follow(self) -> Any:
        """Await it, unless it has been withdrawn."""
        return await self._awaitable if self._begin() else None

    def wait(self, origin: OriginLoop) -> bool:
        """Wait for its end; return False if it is withdrawn for lack of a loop."""
        import concurrent.futures  # noqa: PLC0415 - as above

        while not self._is_begun:
            concurrent.futures.wait([self.future], _MOMENT)
            if origin.is_unavailable and self._begin():
                return False
        concurrent.futures.wait([self.future])
        return True


async def run_in_thread(call: Callable[[], T]) -> T:
    """Return what `call` returns, called in a thread of its own.

    Not in the loop's executor: the calls that it waits for may occupy that, and
    `asyncio.run` would wait for it at its end. If the caller is cancelled, the thread
    continues.
    """
    import asyncio  # noqa: PLC0415 - loaded: there is a loop

    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)  # type: ignore[arg-type]
        else:
            future.set_exception(error)

    def work() -> None:
        result, error = None, None
        try:
            result = call()
        except BaseException as failure:  # noqa: BLE001 - it is the caller's
            error = failure
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=work, name="ipycron-wait", daemon=True).start()
    return await future
