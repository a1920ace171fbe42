"""Calls a coordinator's method, plain or coroutine, with a deadline.

A coordinator is foreign code. Whatever it does (block, raise, exit, never answer), the
caller's loop keeps running and the caller gets a `CoordinatorError`.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import traceback
from collections import deque
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from ipycron.errors import CoordinatorError

if TYPE_CHECKING:
    from collections.abc import Callable


_Call = tuple["Future[Any]", "Callable[[], Any]"]


class CallThreads:
    """Makes calls in a few daemon threads, which end when no call is waiting.

    Not a `ThreadPoolExecutor`: the interpreter joins its threads at exit, and one
    call that never returns would keep the process alive. With all threads stuck,
    further calls wait; a waiting call that is cancelled is never made.

    Args:
        limit: the largest number of threads at one time.
    """

    def __init__(self, *, limit: int = 16) -> None:
        self._limit = limit
        self._lock = threading.RLock()
        self._waiting: deque[_Call] = deque()
        self._count = 0

    def submit(self, function: Callable[[], Any]) -> Future[Any]:
        """Call `function` in a thread, as soon as one is free."""
        future: Future[Any] = Future()
        with self._lock:
            self._waiting.append((future, function))
            if self._count == self._limit:
                return future
            self._count += 1
        try:
            threading.Thread(
                target=self._serve, name="ipycron-coordinator", daemon=True
            ).start()
        except RuntimeError:  # the system refuses another thread
            with self._lock:
                self._count -= 1
            future.cancel()
            raise
        return future

    def _serve(self) -> None:
        while True:
            with self._lock:
                # Decided under the lock that `submit` holds, so that a thread that is
                # about to end leaves no call behind.
                if not self._waiting:
                    self._count -= 1
                    return
                future, function = self._waiting.popleft()
            _make_call(future, function)
            # An idle thread would keep the last call's objects alive.
            del future, function


def _make_call(future: Future[Any], function: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function()
    except BaseException as error:  # noqa: BLE001 - a thread's border: it is handed on
        future.set_exception(error)
    else:
        future.set_result(result)


DEADLINE = 5.0
"""Seconds within which a coordinator must answer. Source: node-cron 4.6.0."""


class Caller:
    """Makes the calls of one coordinator. Used on one loop.

    Each coordinator has its own caller, and so its own threads: one that blocks delays
    no other.

    Args:
        deadline: seconds from the call to the answer, including the wait for a thread.
    """

    def __init__(self, *, deadline: float = DEADLINE) -> None:
        self._deadline = deadline
        self._threads = CallThreads()

    async def call(self, method: Callable[..., Any], *args: Any) -> Any:
        """Return what `method` returns, awaited if need be.

        Raises:
            CoordinatorError: if it raises, or does not answer by the deadline. A
                coroutine is then cancelled; a thread cannot be, and its answer
                is ignored.
        """
        task = asyncio.create_task(self._answer(method, args))
        try:
            # Not wait_for: it waits for a coroutine that refuses its cancellation.
            await asyncio.wait({task}, timeout=self._deadline)
        finally:
            if not task.done():
                task.cancel()
                task.add_done_callback(_discard)
        if not task.done():
            raise CoordinatorError(
                reason=f"{_name(method)} gave no answer within {self._deadline:g} s."
            )
        if task.cancelled():
            raise CoordinatorError(reason=f"{_name(method)} was cancelled.")
        return task.result()

    async def _answer(self, method: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        try:
            if inspect.iscoroutinefunction(method):
                answer = method(*args)
            else:
                answer = await self._answer_in_thread(method, args)
            return await answer if inspect.isawaitable(answer) else answer
        except (asyncio.CancelledError, GeneratorExit, CoordinatorError):
            raise
        # SystemExit too: it would leave the task and end the loop.
        except BaseException as error:  # noqa: BLE001 - a border: it is converted
            _fail(method, error)

    async def _answer_in_thread(
        self, method: Callable[..., Any], args: tuple[Any, ...]
    ) -> Any:
        attempt = partial(_attempt, method, args)
        return await asyncio.wrap_future(self._threads.submit(attempt))


def _attempt(method: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """Call in the thread; convert errors there: a future cannot carry StopIteration."""
    try:
        return method(*args)
    except CoordinatorError:
        raise
    except BaseException as error:  # noqa: BLE001 - a border: it is converted
        _fail(method, error)


def _fail(method: Callable[..., Any], error: BaseException) -> NoReturn:
    # Not str(error), which would run foreign code again.
    text = traceback.format_exception_only(error)[-1].strip()
    raise CoordinatorError(reason=f"{_name(method)} raised {text:.500}") from error


def _name(method: Callable[..., Any]) -> str:
    name = getattr(method, "__name__", type(method).__name__)
    owner = getattr(method, "__self__", None)
    return f"{name}()" if owner is None else f"{type(owner).__name__}.{name}()"


def _discard(task: asyncio.Task[Any]) -> None:
    """Consume a late answer, so that its error is not reported as never retrieved."""
    if not task.cancelled():
        task.exception()
