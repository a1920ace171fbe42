"""The future that every control method returns, and what waiting for it needs.

`Waiters` holds the completions of runs in progress; `Wakeup` wakes one waiting thread.
"""

from __future__ import annotations

import contextlib
import threading
from _thread import RLock  # of C: `threading.RLock` is a call to it
from concurrent.futures import CancelledError, Future
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ipycron.client.waits import get_call_of_listener
from ipycron.errors import IpycronError, StartRevoked
from ipycron.process.unix import call_in_child
from ipycron.process.wire.outcome import safe_str
from ipycron.process.wire.printable import keep_colours, show_controls
from ipycron.scheduling.small_map import NOTHING, SmallMap

if TYPE_CHECKING:
    import asyncio
    import logging
    from collections.abc import Callable, Generator

    from ipycron.process.direct.client_end import AnswerReader


T = TypeVar("T")


class Owner(Protocol):
    """Whose completion it is: the task."""

    @property
    def logger(self) -> logging.Logger: ...  # noqa: D102

    def defer(self, call: Callable[[], Any]) -> None:
        """Call this on the thread of listeners."""

    def check_wait(self, what: str, *, blocks: bool) -> None:
        """Raise if a wait for `what`, which has not ended, could not end."""


class Completion(Future[T]):
    """The end of a start, a stop, a destroy or a run.

    ``await completion`` in a notebook, ``completion.result(timeout)`` in a script;
    both give the result or raise the error. It may be asked any number of times,
    from any thread. A failure that nobody has asked for when the completion is
    thrown away is logged once.

    It is taken where a future of `concurrent.futures` is (`wait`, `as_completed`,
    `asyncio.wrap_future`), and where a coroutine is (`asyncio.create_task`,
    `TaskGroup`, `gather`). `asyncio.wait` refuses whatever `create_task` takes: give it
    ``asyncio.create_task(completion)``.

    Not such a future inside: that is 1.3 KB, most of it for waiting, and of a hundred
    tasks that start together most are never awaited.

    Args:
        what: a start, a run: for the log.
        owner: the task.

    Attributes:
        answer_reader: reads its end in a waiting thread; internal.
        asked_by: the call of a listener that asked for it, if one did.
    """

    __slots__ = (
        "_awaits",
        "_error",
        "_is_asked",
        "_is_failed",
        "_listed",
        "_lock",
        "_owner",
        "_read",
        "_wakeups",
        "_watchers",
        "_what",
        "answer_reader",
        "asked_by",
    )

    def __init__(self, what: str, owner: Owner) -> None:
        # Not the base's: see above.
        self._what = what
        self._owner = owner
        # Its end: one of the two, once. `_read` gives the result, or raises.
        self._read: Callable[[], T] | None = None
        self._error: BaseException | None = None
        self._watchers: tuple[Callable[[Completion[T]], Any], ...] = ()
        self._wakeups: tuple[Wakeup, ...] = ()  # of the threads that wait
        # Of its own: a fork may come while another thread holds one. It may be taken
        # again: by a finalizer of the user's, anywhere.
        self._lock = RLock()
        self.answer_reader: AnswerReader | None = None
        self.asked_by: object | None = None
        self._is_asked = False
        self._is_failed = False
        self._awaits: dict[Any, Generator[Any, None, T]] | None = None
        self._listed: list[Any] | None = None

    def result(self, timeout: float | None = None) -> T:
        """Wait for the end and return the result.

        Args:
            timeout: seconds to wait; None waits for ever.

        Raises:
            TimeoutError: if it has not ended within `timeout`. It goes on.
            BaseException: whatever it failed with.
        """
        self._is_asked = True
        self._wait(timeout)
        return self._get_result()

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the end and return the error, or None if there is none."""
        self._is_asked = True
        self._wait(timeout)
        if self.cancelled():
            raise CancelledError
        if self._error is not None:
            return self._error
        if self._is_failed:  # a result is not for us to decode
            try:
                self._get_result()
            except Exception as failure:  # noqa: BLE001 - it is what was asked for
                return failure
        return None

    def peek(self) -> BaseException | None:
        """Return what it has failed with; None if it has not, or not ended.

        Unlike `exception`, this leaves a failure that nobody asks for one to log.
        """
        return self._error

    def done(self) -> bool:
        """Return whether it has ended."""
        return self._read is not None or self._error is not None

    def cancel(self) -> bool:
        """Stop the waiting, everybody's; what is waited for goes on.

        Returns:
            False if it has ended before.
        """
        with self._lock:
            if self.done():
                return self.cancelled()
            self._is_asked = True
            self._error = CancelledError()
        self._announce()
        return True

    def cancelled(self) -> bool:
        """Return whether it was cancelled."""
        return isinstance(self._error, CancelledError)

    def running(self) -> bool:
        """Return whether it has not ended."""
        return not self.done()

    def add_done_callback(self, callback: Callable[[Any], Any]) -> None:
        """Call `callback` with this when it ends, soon if it has ended.

        It runs where listeners run: it may block, ask, and control tasks.
        """
        self.watch(lambda done: self._owner.defer(partial(callback, done)))

    def __await__(self) -> Generator[Any, None, T]:
        import asyncio  # noqa: PLC0415 - 45 ms; who awaits has it

        from ipycron.scheduling.aio import settle  # noqa: PLC0415 - as above

        self._is_asked = True
        if not self.done():
            self._owner.check_wait(self._what, blocks=False)
        loop = asyncio.get_running_loop()
        # A future of each waiter: a cancelled await ends the waiting of one.
        waiter: asyncio.Future[None] = loop.create_future()

        def wake(_: object) -> None:
            with contextlib.suppress(RuntimeError):  # the waiter's loop is closed
                loop.call_soon_threadsafe(settle, waiter)

        self.watch(wake)
        try:
            yield from waiter.__await__()
        finally:
            self._forget(wake)
        if self.cancelled():
            raise asyncio.CancelledError
        return self._get_result()

    # What makes it a coroutine for `asyncio.create_task`: each task has an await of its
    # own, from the first `send` to the end.

    def send(self, value: None) -> Any:
        """Go on with the running task's await; for asyncio."""
        return self._resume(lambda steps: steps.send(value))

    def throw(self, *error: Any) -> Any:
        """Raise in the running task's await; for asyncio."""
        return self._resume(lambda steps: steps.throw(*error))

    def close(self) -> None:
        """Do nothing: there is nothing to clean up."""

    def _resume(self, step: Callable[[Generator[Any, None, T]], Any]) -> Any:
        import asyncio  # noqa: PLC0415 - as above

        task = asyncio.current_task()
        if self._awaits is None:
            self._awaits = {}
        awaits = self._awaits
        if task not in awaits:
            awaits[task] = self.__await__()
        try:
            return step(awaits[task])
        except BaseException:
            del awaits[task]
            raise

    # What `concurrent.futures.wait` and `as_completed` look at.

    @property
    def _state(self) -> str:  # type: ignore[override] # nobody but us sets it
        if self.cancelled():
            return "CANCELLED_AND_NOTIFIED"
        return "FINISHED" if self.done() else "PENDING"

    @property
    def _condition(self) -> threading.Condition:  # type: ignore[override] # as above
        return threading.Condition(self._lock)

    @property
    def _waiters(self) -> list[Any]:  # type: ignore[override] # as above
        if self._listed is None:
            self._listed = []
        return self._listed

    def _wait(self, timeout: float | None) -> None:
        """Return when it has ended, or raise `TimeoutError`."""
        # What a listener must not wait for is refused even where it was quick.
        is_own = self.asked_by is not None and self.asked_by is get_call_of_listener()
        if is_own or not self.done():
            self._owner.check_wait(self._what, blocks=True)
        seconds = timeout
        answer_reader = self.answer_reader  # it may be gone in a moment
        if answer_reader is not None and not self.done():
            timeout = answer_reader.fetch(timeout)
        wakeup = Wakeup()
        with self._lock:
            if self.done():
                return
            self._wakeups = (*self._wakeups, wakeup)
        try:
            if not wakeup.wait(timeout):
                message = f"{self._what} has not ended within {seconds:g} s; it goes on"
                raise TimeoutError(message)
        finally:
            # Many short waits must not leave as many behind.
            with self._lock:
                self._wakeups = tuple(b for b in self._wakeups if b is not wakeup)

    def _get_result(self) -> T:
        if self._error is not None:
            raise self._error
        assert self._read is not None
        return self._read()

    # --- ipycron's side -------------------------------------------------------------

    def watch(self, callback: Callable[[Completion[T]], Any]) -> None:
        """Call `callback` with this at its end, in the thread that ends it, or now."""
        with self._lock:
            if not self.done():
                self._watchers = (*self._watchers, callback)
                answer_reader = self.answer_reader
                if answer_reader is not None:
                    answer_reader.leave()
                return
        self._call_watcher(callback)

    def _forget(self, callback: Callable[[Completion[T]], Any]) -> None:
        """Forget the callback of a cancelled await: short ones must not pile up."""
        with self._lock:
            self._watchers = tuple(w for w in self._watchers if w is not callback)

    def _call_watcher(self, callback: Callable[[Completion[T]], Any]) -> None:
        try:
            callback(self)
        except Exception:
            # The border to a watcher: the others are called all the same.
            self._owner.logger.exception("a watcher of %r failed", self)

    def set(self, read: Callable[[], T], *, is_ok: bool = True) -> None:
        """End it; `read` returns the result, or raises, each time it is called."""
        self._end(read, None, is_failed=not is_ok)

    def fail(self, error: BaseException) -> None:
        """End it with an error."""
        self._end(None, error, is_failed=True)

    def _end(
        self,
        read: Callable[[], T] | None,
        error: BaseException | None,
        *,
        is_failed: bool,
    ) -> None:
        with self._lock:
            if self.done():
                self._announce()
                return
            self._is_failed = is_failed  # first: a reader of the end must see this
            self._read, self._error = read, error
        self._announce()

    def _announce(self) -> None:
        """Wake and call everything that waits. May be repeated after an interrupt."""
        for wakeup in self._wakeups:
            wakeup.set()
        for waiter in self._listed or ():
            waiter.add_cancelled(self) if self.cancelled() else waiter.add_result(self)
        while self._watchers:
            with self._lock:
                watchers, self._watchers = self._watchers, ()
            for watcher in watchers:
                self._call_watcher(watcher)

    def __repr__(self) -> str:
        state = "pending"
        if self.done():
            state = "failed" if self._is_failed else "done"
        if self.cancelled():
            state = "cancelled"
        return f"<Completion of {self._what}: {state}>"

    def __del__(self) -> None:
        # One that was interrupted while it was made has neither.
        if getattr(self, "_is_failed", False) and not self._is_asked:
            # Any thread at all comes by here: the error is decoded elsewhere.
            read, error = self._read, self._error
            log = partial(_log_failure, self._owner.logger, self._what, read, error)
            self._owner.defer(log)


def read_nothing() -> None:
    """Read the result of what has none: a start, a stop, a destroy."""


def _log_failure(
    logger: logging.Logger,
    what: str,
    read: Callable[[], Any] | None,
    error: BaseException | None,
) -> None:
    if read is not None:
        try:
            read()
        except BaseException as failure:  # noqa: BLE001 - it is what is logged
            error = failure
    if isinstance(error, StartRevoked):
        return  # whoever stopped the task knows
    assert error is not None
    trace = None if isinstance(error, IpycronError) else error
    name = type(error).__name__
    logger.error(
        "%s failed and its result was never retrieved: %s: %s",
        what,
        show_controls(name),
        keep_colours(safe_str(error)),
        exc_info=trace,
    )


class Wakeup:
    """Wakes one thread, once.

    Not a `threading.Event`: that is written in Python, around a lock. A handler that
    raises there, as that of Ctrl-C does, can leave the lock locked, and the thread that
    calls `set` waits for ever. Here each step is one of C.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def wait(self, timeout: float | None = None) -> bool:
        """Return whether it was set within `timeout` seconds; None waits for ever."""
        if timeout is None:
            return self._lock.acquire()
        return self._lock.acquire(timeout=min(max(0.0, timeout), threading.TIMEOUT_MAX))

    def set(self) -> None:
        """Wake the waiting thread. May be repeated."""
        with contextlib.suppress(RuntimeError):  # set already
            self._lock.release()


_lock = threading.RLock()
"""Held for a moment where calls come and go: one for all, there are many tasks. A
signal's handler may take it again."""
# As concurrent.futures does: another thread may hold it while this one forks.
call_in_child(_lock._at_fork_reinit)  # type: ignore[attr-defined] # noqa: SLF001


class Waiters:
    """The called runs of one task that have not ended, by id. Safe in threads."""

    __slots__ = ("_completions",)

    def __init__(self) -> None:
        self._completions: SmallMap[str, Completion[Any]] = NOTHING

    def add(self, execution_id: str, completion: Completion[Any]) -> None:
        """Note that a run was called for."""
        with _lock:
            self._completions = self._completions.add(execution_id, completion)

    def __bool__(self) -> bool:
        return self._completions is not NOTHING

    def take(self, execution_id: str) -> Completion[Any] | None:
        """Remove and return a run's completion, or None without one."""
        if self._completions is NOTHING:
            return None
        with _lock:
            completion = self._completions.get(execution_id)
            self._completions = self._completions.remove(execution_id)
        return completion

    def take_all(self) -> tuple[Completion[Any], ...]:
        """Remove and return the completions of all runs."""
        with _lock:
            completions, self._completions = self._completions, NOTHING
        return completions.values()
