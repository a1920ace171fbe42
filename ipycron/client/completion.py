"""The future that every control method returns, and what waiting for it needs.

`Waiters` holds the completions of runs in progress; `Wakeup` wakes one waiting thread.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from _thread import RLock  # of C: `threading.RLock` is a call to it
from concurrent.futures import CancelledError, Future
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ipycron.client.waits import get_call_of_listener
from ipycron.errors import IpycronError, StartRevoked
from ipycron.process.unix import call_in_child
from ipycron.process.wire.outcome import read_traceback, safe_str
from ipycron.process.wire.printable import keep_colours, show_controls, strip_colours
from ipycron.scheduling.small_map import NOTHING, SmallMap

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Generator

    from ipycron.process.direct.client_end import AnswerReader


T = TypeVar("T")


class Owner(Protocol):
    """The task that a completion belongs to."""

    @property
    def logger(self) -> logging.Logger: ...  # noqa: D102

    def defer(self, call: Callable[[], Any]) -> None:
        """Call this on the listeners' thread."""

    def check_wait(self, what: str, *, blocks: bool) -> None:
        """Raise if a wait for `what`, which has not ended, could not end."""


class Completion(Future[T]):
    """The end of a start, a stop, a destroy or a run.

    ``await completion`` in a notebook, ``completion.result(timeout)`` in a script;
    both return the result or raise the error, any number of times and in any thread.
    A failure that was never retrieved is logged once, when the completion is deleted.

    It is accepted where a future of `concurrent.futures` is (`wait`, `as_completed`,
    `asyncio.wrap_future`), and where a coroutine is (`asyncio.create_task`,
    `TaskGroup`, `gather`). `asyncio.wait` accepts no coroutine: pass it
    ``asyncio.create_task(completion)``.

    It does not initialize its base class: a future takes 1.3 KB, most of it for
    waiting, and of a hundred tasks that start together most are never awaited.

    Args:
        what: names it in the log: a start, a run.
        owner: the task.

    Attributes:
        answer_reader: reads its end in a waiting thread; internal.
        asked_by: the call of a listener that requested it, if any.
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
        # Not the base class's: see above.
        self._what = what
        self._owner = owner
        # Its end: one of the two is set, once. `_read` returns the result or raises.
        self._read: Callable[[], T] | None = None
        self._error: BaseException | None = None
        self._watchers: tuple[Callable[[Completion[T]], Any], ...] = ()
        self._wakeups: tuple[Wakeup, ...] = ()  # of the threads that wait
        # A lock of its own: a fork may happen while another thread holds one.
        # Reentrant: a finalizer of the user's may acquire it again, anywhere.
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
            TimeoutError: if it has not ended within `timeout`. It continues.
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
        if self._is_failed:  # a result need not be decoded here
            try:
                self._get_result()
            except Exception as failure:  # noqa: BLE001 - it is what was asked for
                return failure
        return None

    def peek(self) -> BaseException | None:
        """Return its error; None if it has none, or has not ended.

        Unlike `exception`, this does not mark the failure as retrieved.
        """
        return self._error

    def done(self) -> bool:
        """Return whether it has ended."""
        return self._read is not None or self._error is not None

    def cancel(self) -> bool:
        """End all waiting for it; the operation itself continues.

        Returns:
            False if it has already ended.
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
        """Call `callback` with this when it ends; soon, if it has ended.

        It is called on the listeners' thread: it may block, and control tasks.
        """
        self.watch(lambda done: self._owner.defer(partial(callback, done)))

    def __await__(self) -> Generator[Any, None, T]:
        import asyncio  # noqa: PLC0415 - 45 ms, loaded where there is a loop

        from ipycron.scheduling.aio import settle  # noqa: PLC0415 - as above

        self._is_asked = True
        if not self.done():
            self._owner.check_wait(self._what, blocks=False)
        loop = asyncio.get_running_loop()
        # A future for each await: a cancelled one does not end the others.
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

    # These methods make it a coroutine for `asyncio.create_task`. Each task has its own
    # await, from the first `send` to the end.

    def send(self, value: None) -> Any:
        """Resume the running task's await; for asyncio."""
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

    # Used by `concurrent.futures.wait` and `as_completed`.

    @property
    def _state(self) -> str:  # type: ignore[override] # nothing else sets it
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
        # What a listener must not wait for is refused even if it would be quick.
        is_own = self.asked_by is not None and self.asked_by is get_call_of_listener()
        if is_own or not self.done():
            self._owner.check_wait(self._what, blocks=True)
        seconds = timeout
        answer_reader = self.answer_reader  # another thread may clear it
        if answer_reader is not None and not self.done():
            timeout = answer_reader.fetch(timeout)
        if self.done():
            return
        wakeup = Wakeup()
        with self._lock:
            if self.done():
                return
            self._wakeups = (*self._wakeups, wakeup)
        try:
            if not wakeup.wait(timeout):
                message = (
                    f"{self._what} has not ended within {seconds:g} s; it continues"
                )
                raise TimeoutError(message)
        finally:
            # Many short waits must not accumulate wakeups.
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
        """Remove the callback of a cancelled await: they must not accumulate."""
        with self._lock:
            self._watchers = tuple(w for w in self._watchers if w is not callback)

    def _call_watcher(self, callback: Callable[[Completion[T]], Any]) -> None:
        try:
            callback(self)
        except Exception:
            # A watcher's error must not keep the others from being called.
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
            self._is_failed = is_failed  # first: readers of the end rely on it
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
        # If its constructor was interrupted, it has neither attribute.
        if getattr(self, "_is_failed", False) and not self._is_asked:
            # Any thread may run this, so the error is decoded elsewhere.
            read, error = self._read, self._error
            log = partial(_log_failure, self._owner.logger, self._what, read, error)
            self._owner.defer(log)


def read_nothing() -> None:
    """Return None, the result of a start, a stop or a destroy."""


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
        return  # the task was stopped on request
    assert error is not None
    text = "%s failed and its result was never retrieved: %s: %s"
    if not isinstance(error, IpycronError):
        log_error(logger, error, text, what)
        return
    name = show_controls(type(error).__name__)
    logger.error(text, what, name, keep_colours(safe_str(error)))


def log_error(
    logger: logging.Logger,
    error: BaseException,
    text: str,
    *arguments: object,
    task: str | None = None,
) -> None:
    """Log an error with its traceback, once: that of where it was raised.

    Logging's own text would add the frames that decode the error here, and its cause,
    which represents the traceback.

    Args:
        logger: by which.
        error: with a worker's traceback or its own.
        text: has places for the arguments, the error's type and its message.
        arguments: of the text.
        task: the task's name, if the record is about a task that views show.
    """
    if not logger.isEnabledFor(logging.ERROR):
        return
    name = show_controls(type(error).__name__)
    record = logger.makeRecord(
        logger.name,
        logging.ERROR,
        __file__,
        0,
        text,
        (*arguments, name, keep_colours(safe_str(error))),
        (type(error), error, error.__traceback__),
    )
    record.exc_text = strip_colours(keep_colours(read_traceback(error))).rstrip()
    if task is not None:
        record.ipycron_name = task
    logger.handle(record)


class Wakeup:
    """Wakes one thread, once.

    Not a `threading.Event`: that is written in Python, around a lock. A signal handler
    that raises there, as the one of Ctrl-C does, can leave the lock locked, and the
    thread that calls `set` blocks forever. Here each step is a single call into C.
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


class Flag:
    """Something that has happened or not, for one thread that waits; see `Wakeup`.

    A signal handler may set it at any line of that thread.
    """

    __slots__ = ("_is_set", "_wakeup")

    def __init__(self) -> None:
        self._is_set = False
        self._wakeup = Wakeup()

    def is_set(self) -> bool:
        """Return whether it has happened."""
        return self._is_set

    def set(self) -> None:
        """Note that it has happened. May be repeated."""
        self._is_set = True
        self._wakeup.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Return whether it has happened within `timeout` seconds; None for ever."""
        if not self._is_set:
            self._wakeup.wait(timeout)
        return self._is_set


_lock = threading.RLock()
"""Held briefly while calls are added or removed. One lock for all of the tasks, as
there may be many; reentrant, as a signal handler may acquire it again."""
# As concurrent.futures does: another thread may hold it while this one forks.
call_in_child(_lock._at_fork_reinit)  # type: ignore[attr-defined] # noqa: SLF001


class Waiters:
    """The completions of a task's manual runs in progress, by id. Thread-safe."""

    __slots__ = ("_completions",)

    def __init__(self) -> None:
        self._completions: SmallMap[str, Completion[Any]] = NOTHING

    def add(self, execution_id: str, completion: Completion[Any]) -> None:
        """Add the completion of a manual run."""
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
