"""Listeners, called on threads of their own.

A listener may block, raise or run for minutes; it never delays a schedule: the thread
that schedules inline tasks and talks to the supervisor only puts events into a queue.

Listeners are called one after another, in the order of events. One that takes longer
than `PATIENCE` keeps its thread, and only its own later events wait for it; another
thread calls the other listeners. After a second it is logged. At most `MAX_SLOW`
listeners are slow at once. An awaitable that a listener returns is awaited on the event
loop that was running where the listener was added, and delays no other listener.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
import logging
import math
import queue
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from ipycron.client.waits import await_listening, get_running_loop, listening
from ipycron.errors import InvalidOption, suggest
from ipycron.process.unix import call_in_child
from ipycron.scheduling.clock import SystemClock
from ipycron.scheduling.events import Event

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from ipycron.scheduling.events import TaskContext

    Listener = Callable[[TaskContext], Any]
    Lane = str | int
    Item = tuple[Lane, str, Callable[[], Any]]

ANY = "*"

_log = logging.getLogger("ipycron")

_lock = threading.RLock()
"""Held briefly while listeners are added or removed. One lock for all of the tasks, as
there may be many; reentrant, as a signal handler may acquire it again."""
# As concurrent.futures does: another thread may hold it while this one forks.
call_in_child(_lock._at_fork_reinit)  # type: ignore[attr-defined] # noqa: SLF001


_lanes = itertools.count(1)

_EMPTY: dict[str, list[tuple[Subscription, bool]]] = {}
"""The shared empty map of tasks without listeners. Never mutated."""


class Listeners:
    """The listeners of one task, or of all tasks."""

    __slots__ = ("_by_event",)

    def __init__(self) -> None:
        self._by_event = _EMPTY  # until the first one: most tasks have none

    def add(self, event: str, listener: Listener, *, once: bool = False) -> None:
        """Add a listener to an event, or to all with ``"*"``."""
        check_event(event)
        if not callable(listener):
            raise InvalidOption(
                option="listener", value=listener, expected="a function of one argument"
            )
        loop = get_running_loop()
        with _lock:
            own = self._own()
            lane = self._find_lane(listener)
            subscription = (
                Subscription(listener, lane)
                if loop is None
                else LoopListener(listener, lane, loop)
            )
            own.setdefault(str(event), []).append((subscription, once))

    def _find_lane(self, listener: Listener) -> int:
        """Return the lane of a listener, the same for all events that it listens to."""
        known = itertools.chain.from_iterable(self._by_event.values())
        return next((k.lane for k, _ in known if k == listener), None) or next(_lanes)

    def remove(self, event: str, listener: Listener | None = None) -> None:
        """Remove a listener, or all of an event. An unknown one is ignored."""
        check_event(event)
        with _lock:
            self._own()[str(event)] = [
                entry
                for entry in self._by_event.get(str(event), [])
                if listener is not None and entry[0] != listener
            ]

    def _own(self) -> dict[str, list[tuple[Subscription, bool]]]:
        """Return the listeners as a dictionary that may be changed."""
        if self._by_event is _EMPTY:
            self._by_event = {}
        return self._by_event

    def __bool__(self) -> bool:
        return self._by_event is not _EMPTY and any(self._by_event.values())

    def has(self, event: str) -> bool:
        """Return whether there is a listener to this event."""
        if not self._by_event:
            return False
        return self.has_named(event) or bool(self._by_event.get(ANY))

    def has_named(self, event: str) -> bool:
        """Return whether there is a listener to this event by name, not by ``"*"``."""
        return bool(self._by_event.get(event))

    def take(self, event: str) -> list[Subscription]:
        """Return the listeners to call now; remove those of `once`."""
        with _lock:
            entries = []
            for name in (str(event), ANY):
                if name in self._by_event:
                    entries += self._by_event[name]
                    self._by_event[name] = [e for e in self._by_event[name] if not e[1]]
        return [listener for listener, _ in entries]

    @property
    def events(self) -> list[str]:
        """The events that have listeners, including ``"*"``."""
        with _lock:
            return [event for event, entries in self._by_event.items() if entries]

    def clear(self) -> None:
        """Remove all."""
        with _lock:
            self._by_event.clear()


class Subscription:
    """A listener of one task, or of all tasks.

    Args:
        listener: the user's; this is equal to it.
        lane: orders its calls; see `Dispatcher.submit`.
    """

    __slots__ = ("_listener", "lane")

    def __init__(self, listener: Listener, lane: int) -> None:
        self._listener = listener
        self.lane = lane

    def __call__(self, context: TaskContext) -> Any:
        """Call the listener; return what is still to be awaited, if anything."""
        with listening(context.task.id, context.task.name):
            result = self._listener(context)
        if not inspect.isawaitable(result):
            return None
        return self._await(result, context)

    def _await(self, awaitable: Any, context: TaskContext) -> Any:
        return await_listening(awaitable, context.task.id, context.task.name)

    def __eq__(self, other: object) -> bool:
        return self is other or bool(self._listener == other)

    def __hash__(self) -> int:
        return hash(self._listener)


class LoopListener(Subscription):
    """A listener added where an event loop was running; the loop awaits its results.

    One awaitable after another, in the order of events, concurrently with everything
    else: a coroutine that never ends delays only its own later events. If the loop is
    no longer running, the dispatcher awaits the awaitable.

    Args:
        listener: the user's; this is equal to it.
        lane: orders its calls.
        loop: the event loop.
    """

    __slots__ = ("_loop", "_queue", "_worker")

    def __init__(
        self, listener: Listener, lane: int, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(listener, lane)
        self._loop = loop
        self._queue: deque[tuple[str, Any]] = deque()
        self._worker: asyncio.Task[None] | None = None

    def _await(self, awaitable: Any, context: TaskContext) -> Any:
        if self._loop.is_running():
            label = f"a listener of {context.event} of task {context.task.name!r}"
            with contextlib.suppress(RuntimeError):  # closed a moment ago
                self._loop.call_soon_threadsafe(self._take, label, awaitable)
                return None
        return super()._await(awaitable, context)

    def _take(self, label: str, awaitable: Any) -> None:
        self._queue.append((label, awaitable))
        if self._worker is None:
            self._worker = self._loop.create_task(self._work(), name=LISTENER_TASK)

    async def _work(self) -> None:
        try:
            while self._queue:
                label, awaitable = self._queue.popleft()
                late = self._loop.call_later(SLOW, _log_slow, label)
                try:
                    await awaitable
                except Exception:  # noqa: BLE001 - border: listener
                    _log.error("%s failed", label, exc_info=True)
                finally:
                    late.cancel()
        finally:
            self._worker = None


LISTENER_TASK = "ipycron-listener"
"""The name of the tasks of event loops that await listeners."""


def _log_slow(label: str) -> None:
    _log.warning(
        "%s has been running for more than %g s; its later events wait for it",
        label,
        SLOW,
    )


async def finish_here(timeout: float) -> None:
    """Return when the listeners of the running loop have ended, or after `timeout`."""
    import asyncio  # noqa: PLC0415 - loaded: there is a loop

    current = asyncio.current_task()
    tasks = [
        task
        for task in asyncio.all_tasks()
        if task.get_name() == LISTENER_TASK and task is not current
    ]
    if tasks:
        await asyncio.wait(tasks, timeout=timeout)


def check_event(event: str) -> None:
    """Raise `InvalidOption` if this is not an event."""
    if event != ANY and event not in set(Event):
        raise InvalidOption(
            option="event",
            value=event,
            expected=f"'*' or one of {', '.join(Event)}",
            advice=suggest(str(event), map(str, Event)).strip(),
        )


PATIENCE = 0.1
"""Seconds after which a listener no longer holds up others."""
SLOW = 1.0
"""Seconds after which that is logged."""
MAX_SLOW = 100
"""Slow listeners at once; with more of them, all others wait."""
_POLL_INTERVAL = 0.05  # seconds between two checks of the calls in progress
_QUIET_TIME = 60.0  # seconds in which the same message is logged once
_MAX_REMEMBERED = 1024


class _Call:
    """A call in progress on one thread."""

    __slots__ = ("began", "is_logged", "label", "lane")

    def __init__(self, lane: Lane, label: str, began: float) -> None:
        self.lane, self.label, self.began = lane, label, began
        self.is_logged = False


class Dispatcher:
    """The threads that call listeners, in the order of events; see the module.

    Attributes:
        thread: takes calls from the queue; None where the system refuses threads.
    """

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        # Calls that come before those in the queue: a call in progress has added them.
        self._agenda: deque[Item] = deque()
        self._lock = threading.RLock()  # reentrant for signal handlers
        self._is_closed = False
        self._local = threading.local()
        self._clock = SystemClock()
        self._calls: dict[threading.Thread, _Call] = {}
        self._begun = 0
        # By lane, the calls that wait for a slow one.
        self._waiting: dict[Lane, deque[tuple[str, Callable[[], Any]]]] = {}
        self._logged: dict[str, float] = {}  # when each message was logged last
        self._watch: threading.Thread | None = None
        self._is_watched = False
        self._ended = threading.Event()
        self.thread: threading.Thread | None = None
        self._start()

    def _start(self) -> bool:
        """Start the thread; if the system refuses, the next call tries again."""
        thread = threading.Thread(target=self._run, name="ipycron-events", daemon=True)
        with contextlib.suppress(RuntimeError):
            thread.start()
            self.thread = thread
        return self.thread is thread

    def submit(
        self, call: Callable[[], Any], *, lane: Lane = "", label: str = ""
    ) -> None:
        """Call this after everything submitted before. From any thread.

        After `close` it is called at once, in this thread.

        Args:
            call: a function; if it returns an awaitable, that is awaited.
            lane: calls of one lane, such as a listener's, stay in order even if one of
                them is slow.
            label: names a call that fails or is slow in the log.
        """
        with self._lock:
            if not self._is_closed:
                self._queue.put((lane, label, call))
                if self.thread is None:
                    self._start()
                return
        self.call(call, label)

    def follow_up(self, calls: list[Item]) -> None:
        """Make these calls before those submitted; to be used by a call in progress.

        For their lanes, see `submit`.
        """
        with self._lock:
            is_main = self.thread is threading.current_thread()
            if is_main or not self._is_closed:
                self._agenda.extend(calls)
                if not is_main:
                    self._queue.put(("", "", _do_nothing))  # it may be waiting for one
                return
        for _, label, call in calls:
            self.call(call, label)

    def close(self, timeout: float | None = None) -> None:
        """Make the calls that were submitted, then end the threads."""
        with self._lock:
            self._is_closed = True
            self._queue.put(None)
        if self.thread is None:
            self._run()
        self._join(math.inf if timeout is None else timeout)
        self._ended.set()
        watch = self._watch
        if watch is not None and watch is not threading.current_thread():
            watch.join()

    def _join(self, timeout: float) -> None:
        """Wait for the threads that make calls; a slow one may hand over."""
        deadline = self._clock.monotonic() + timeout
        while (left := deadline - self._clock.monotonic()) > 0:
            with self._lock:
                threads = [self.thread, *self._calls]
            living = [t for t in threads if t is not None and t.is_alive()]
            others = [t for t in living if t is not threading.current_thread()]
            if not others:
                return
            others[0].join(min(left, _POLL_INTERVAL))

    def _run(self) -> None:
        """Make calls until the end, or until another thread has taken over."""
        try:
            while (item := self._get_next()) is not None:
                if not self._take(*item):
                    return
        finally:
            loop = getattr(self._local, "loop", None)
            if loop is not None:
                loop.close()

    def _get_next(self) -> Item | None:
        if self._agenda:  # one thread at a time uses it
            return self._agenda.popleft()
        return self._queue.get()

    def _take(self, lane: Lane, label: str, call: Callable[[], Any]) -> bool:
        """Make a call, or queue it in its lane; return whether to take another one."""
        thread = threading.current_thread()
        with self._lock:
            if lane in self._waiting:
                self._waiting[lane].append((label, call))
                return True
            self._begin(thread, lane, label)
        self.call(call, label)
        with self._lock:
            del self._calls[thread]
            if lane not in self._waiting or self.thread in (None, thread):
                return True
        self._drain(thread, lane)
        return False

    def _drain(self, thread: threading.Thread, lane: Lane) -> None:
        """Make the calls that have waited for a slow one."""
        while True:
            with self._lock:
                self._calls.pop(thread, None)
                if not self._waiting[lane]:
                    del self._waiting[lane]
                    return
                label, call = self._waiting[lane].popleft()
                self._begin(thread, lane, label)
            self.call(call, label)

    def call(self, call: Callable[[], Any], label: str = "") -> None:
        """Call, await what it returns, log what it raises."""
        try:
            result = call()
            if inspect.isawaitable(result):
                self._get_loop().run_until_complete(_await(result))
        except BaseException:  # noqa: BLE001 - border: listener, and its sys.exit()
            if self._is_new(label, f"failed {id(getattr(call, 'func', None))}"):
                _log.exception("%s failed", label or "a listener")

    def _get_loop(self) -> asyncio.AbstractEventLoop:
        if getattr(self._local, "loop", None) is None:
            import asyncio  # noqa: PLC0415 - 45 ms, and rarely needed

            self._local.loop = asyncio.new_event_loop()
        loop: asyncio.AbstractEventLoop = self._local.loop
        return loop

    # --- slow ones ------------------------------------------------------------------

    def _begin(self, thread: threading.Thread, lane: Lane, label: str) -> None:
        """Record that a call begins, and start the watch if there is none."""
        self._calls[thread] = _Call(lane, label, self._clock.monotonic())
        self._begun += 1
        if not self._is_watched and not self._ended.is_set():
            watch = threading.Thread(
                target=self._watch_calls, name="ipycron-events-watch", daemon=True
            )
            with contextlib.suppress(RuntimeError):  # no thread, then no watch
                watch.start()
                self._watch, self._is_watched = watch, True

    def _watch_calls(self) -> None:
        """Log slow calls and hand over, until no call was made between two checks."""
        begun = -1
        while not self._ended.wait(_POLL_INTERVAL):
            with self._lock:
                slow = self._find_slow()
                if not self._calls and self._begun == begun:
                    self._is_watched = False  # `close` still waits for it
                    return
                begun = self._begun
            for call in slow:
                if self._is_new(call.label, f"is slow {call.lane}"):
                    _log_slow(call.label or "a listener")

    def _find_slow(self) -> list[_Call]:
        """Return the calls that have become slow; start another thread if needed."""
        now = self._clock.monotonic()
        current = self._calls.get(self.thread) if self.thread is not None else None
        if current is not None and now - current.began > PATIENCE:
            self._hand_over(current.lane)
        slow = [
            call
            for call in self._calls.values()
            if now - call.began > SLOW and not call.is_logged
        ]
        for call in slow:
            call.is_logged = True
        return slow

    def _hand_over(self, lane: Lane) -> None:
        """Have another thread make all calls but those of one lane."""
        if lane not in self._waiting and len(self._waiting) < MAX_SLOW:
            self._waiting[lane] = deque()
            if not self._start():
                del self._waiting[lane]

    def _is_new(self, label: str, what: str) -> bool:
        """Return whether this was not logged in the last minute."""
        if not label:
            return True
        key, now = f"{label} {what}", self._clock.monotonic()
        with self._lock:
            before = self._logged.get(key)
            if before is not None and now - before < _QUIET_TIME:
                return False
            if len(self._logged) >= _MAX_REMEMBERED:
                self._logged.clear()
            self._logged[key] = now
        return True


def _do_nothing() -> None:
    pass


async def _await(awaitable: Any) -> Any:
    return await awaitable
