"""What a control method returns: a future for notebooks and scripts alike."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

T = TypeVar("T")

_log = logging.getLogger("ipycron")


class Completion(Generic[T]):
    """The end of a start, a stop, a destroy or a run.

    ``await completion`` in a notebook, ``completion.result(timeout)`` in a script;
    both give the result or raise the error. It may be asked any number of times,
    from any thread. A failure that nobody has asked for when the completion is
    thrown away is logged once.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._future: concurrent.futures.Future[Callable[[], T]] = (
            concurrent.futures.Future()
        )
        self._is_asked = False

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
        if error is None:
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
        """Call `callback` with this when it ends, in ipycron's thread, or now."""
        self._future.add_done_callback(lambda _: callback(self))

    def __await__(self) -> Generator[Any, None, T]:
        self._is_asked = True
        # Shielded: a cancelled await stops the waiting, for this one waiter only.
        read = yield from asyncio.shield(asyncio.wrap_future(self._future)).__await__()
        return read()

    # --- ipycron's side -------------------------------------------------------------

    def set(self, read: Callable[[], T]) -> None:
        """End it; `read` gives the result, or raises, each time somebody asks."""
        with contextlib.suppress(concurrent.futures.InvalidStateError):
            self._future.set_result(read)

    def fail(self, error: BaseException) -> None:
        """End it with an error."""
        with contextlib.suppress(concurrent.futures.InvalidStateError):
            self._future.set_exception(error)

    def __repr__(self) -> str:
        state = "pending"
        if self._future.done():
            state = "failed" if self._future.exception() else "done"
        return f"<Completion of {self._what}: {state}>"

    def __del__(self) -> None:
        if self._is_asked or not self._future.done():
            return
        error = self.exception()
        if error is not None:
            _log.error("%s failed and nobody asked: %s", self._what, error)
