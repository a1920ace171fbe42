"""What a control method returns: a future for notebooks and scripts alike."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from ipycron.errors import IpycronError, StartRevoked
from ipycron.scheduling.wait import settle

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Generator

T = TypeVar("T")


class Owner(Protocol):
    """Whose completion it is: the task."""

    @property
    def logger(self) -> logging.Logger: ...  # noqa: D102

    def defer(self, call: Callable[[], Any]) -> None:
        """Call this on the thread of listeners."""


class Completion(Generic[T]):
    """The end of a start, a stop, a destroy or a run.

    ``await completion`` in a notebook, ``completion.result(timeout)`` in a script;
    both give the result or raise the error. It may be asked any number of times,
    from any thread. A failure that nobody has asked for when the completion is
    thrown away is logged once.

    Args:
        what: a start, a run: for the log.
        owner: the task.
    """

    def __init__(self, what: str, owner: Owner) -> None:
        self._what = what
        self._owner = owner
        self._future: concurrent.futures.Future[Callable[[], T]] = (
            concurrent.futures.Future()
        )
        self._is_asked = False
        self._is_failed = False

    def result(self, timeout: float | None = None) -> T:
        """Wait for the end and return the result.

        Args:
            timeout: seconds to wait; None waits for ever.

        Raises:
            TimeoutError: if it has not ended within `timeout`. It goes on.
            BaseException: whatever it failed with.
        """
        self._is_asked = True
        return self._future.result(timeout)()

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the end and return the error, or None if there is none."""
        self._is_asked = True
        error = self._future.exception(timeout)
        if error is None and self._is_failed:  # a result is not for us to decode
            try:
                self._future.result()()
            except Exception as failure:  # noqa: BLE001 - it is what was asked for
                return failure
        return error

    def peek(self) -> BaseException | None:
        """Return what it has failed with; None if it has not, or not ended.

        Unlike `exception`, this leaves a failure that nobody asks for one to log.
        """
        return self._future.exception() if self._future.done() else None

    def done(self) -> bool:
        """Return whether it has ended."""
        return self._future.done()

    def add_done_callback(self, callback: Callable[[Completion[T]], Any]) -> None:
        """Call `callback` with this when it ends, soon if it has ended.

        It runs where listeners run: it may block, ask, and control tasks.
        """
        self.watch(lambda done: self._owner.defer(partial(callback, done)))

    def __await__(self) -> Generator[Any, None, T]:
        self._is_asked = True
        loop = asyncio.get_running_loop()
        # A future of each waiter: a cancelled await ends the waiting of one.
        waiter: asyncio.Future[None] = loop.create_future()

        def wake(_: object) -> None:
            with contextlib.suppress(RuntimeError):  # the waiter's loop is closed
                loop.call_soon_threadsafe(settle, waiter)

        self._future.add_done_callback(wake)
        yield from waiter.__await__()
        return self._future.result()()

    # --- ipycron's side -------------------------------------------------------------

    def watch(self, callback: Callable[[Completion[T]], Any]) -> None:
        """Call `callback` with this at its end, in the thread that ends it, or now."""
        self._future.add_done_callback(lambda _: callback(self))

    def set(self, read: Callable[[], T], *, is_ok: bool = True) -> None:
        """End it; `read` gives the result, or raises, each time somebody asks."""
        self._is_failed = not is_ok
        with contextlib.suppress(concurrent.futures.InvalidStateError):
            self._future.set_result(read)

    def fail(self, error: BaseException) -> None:
        """End it with an error."""
        self._is_failed = True
        with contextlib.suppress(concurrent.futures.InvalidStateError):
            self._future.set_exception(error)

    def __repr__(self) -> str:
        state = "pending"
        if self._future.done():
            state = "failed" if self._is_failed else "done"
        return f"<Completion of {self._what}: {state}>"

    def __del__(self) -> None:
        if self._is_failed and not self._is_asked and self._future.done():
            # Any thread at all comes by here: the error is decoded elsewhere.
            log = partial(_log_failure, self._owner.logger, self._what, self._future)
            self._owner.defer(log)


def _log_failure(
    logger: logging.Logger,
    what: str,
    future: concurrent.futures.Future[Callable[[], Any]],
) -> None:
    error: BaseException | None = None
    try:
        future.result()()
    except BaseException as failure:  # noqa: BLE001 - it is what is logged
        error = failure
    if isinstance(error, StartRevoked):
        return  # whoever stopped the task knows
    trace = None if isinstance(error, IpycronError) else error
    name = type(error).__name__
    logger.error(
        "%s failed and nobody asked: %s: %s", what, name, error, exc_info=trace
    )
