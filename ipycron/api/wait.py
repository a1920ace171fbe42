"""Waiting for tasks: keeps a script or an unattended notebook running."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Iterable
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from ipycron.client.completion import Flag
from ipycron.client.keepalive import is_interactive
from ipycron.client.registry import registry
from ipycron.client.waits import check_may_block, check_not_inside, run_in_thread
from ipycron.errors import InvalidOption
from ipycron.scheduling.checks import check_limit, check_optional_deadline
from ipycron.scheduling.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import timedelta

    from ipycron.api.task import Task
    from ipycron.scheduling.events import TaskContext

_ENDS = ("task:stopped", "task:destroyed", "task:failed")
_RUNS = ("execution:finished", "execution:failed")


def wait(
    tasks: Task | Sequence[Task] | None = None,
    *,
    runs: int | None = None,
    timeout: float | timedelta | None = None,
) -> bool:
    """Block until no started task is left, or until `runs` runs have ended.

    In a script, Ctrl-C and SIGTERM end the wait, and everything is shut down before
    this returns. In a notebook, an interrupt only ends the wait.

    Args:
        tasks: the task or tasks to wait for; by default all but kept ones.
        runs: how many runs of each task must end from now on.
        timeout: the most seconds to wait; None waits for ever.

    Returns:
        Whether the condition was met before the timeout or a signal.

    Raises:
        InvalidOption: if a number is out of range.
        BlockingCall: if an event loop runs in this thread: see `wait_async`.
        SelfWait: if a run calls it that is among those it would wait for.
        KeyboardInterrupt: in a notebook, on an interrupt.
    """
    runs = check_limit("runs", runs)
    seconds = check_optional_deadline("timeout", timeout)
    watch = _Watch(tasks, runs)
    watch.check_not_inside("wait()")
    check_may_block("wait()", "`await ipycron.wait_async()`")
    with _ended_by_signals(watch):
        is_done = watch.wait(seconds)
    if watch.is_signalled:
        registry.close(_SHUTDOWN_TIMEOUT)
    return is_done


async def wait_async(
    tasks: Task | Sequence[Task] | None = None,
    *,
    runs: int | None = None,
    timeout: float | timedelta | None = None,
) -> bool:
    """Like `wait`, to be awaited: the event loop keeps running.

    Signals are left to the program: Ctrl-C cancels what `asyncio.run` runs, including
    this. Nothing is shut down then.
    """
    runs = check_limit("runs", runs)
    seconds = check_optional_deadline("timeout", timeout)
    watch = _Watch(tasks, runs)
    watch.check_not_inside("wait_async()")
    try:
        return await run_in_thread(partial(watch.wait, seconds))
    finally:
        watch.signal()


_SHUTDOWN_TIMEOUT = 5.0
_LOOK_EVERY = 0.2
"""Seconds between checks of the tasks: a failed start emits no event."""


def _check_tasks(tasks: Any) -> list[Task]:
    from ipycron.api.task import Task  # noqa: PLC0415 - there, where there are tasks

    if isinstance(tasks, Task):
        return [tasks]
    listed = list(tasks) if isinstance(tasks, Iterable) else None
    if listed is None or not all(isinstance(task, Task) for task in listed):
        raise InvalidOption(
            option="tasks", value=tasks, expected="tasks, or None for all of them"
        )
    return listed


class _Watch:
    """Counts the events of some tasks until the condition is met."""

    def __init__(self, tasks: Task | Sequence[Task] | None, runs: int | None) -> None:
        self._tasks = None if tasks is None else _check_tasks(tasks)
        self._client = registry.client
        self._runs = runs
        self._counts: dict[str, int] = {}
        self._ended_before: set[str] = set()
        self._done = Flag()
        self.is_signalled = False
        self.follows_signals = False

    def check_not_inside(self, call: str) -> None:
        """Raise `SelfWait` if a run of these tasks is the caller."""
        if self._tasks is None:
            check_not_inside(call)
        for task in self._tasks or ():
            check_not_inside(call, task.id)

    def wait(self, seconds: float | None) -> bool:
        """Return whether the condition was met within `seconds`."""
        events = (*_ENDS, *_RUNS)
        if self._runs is not None:
            # Their events may still be on their way to the listeners.
            tasks = self._get_tasks()
            self._ended_before = {run.id for task in tasks for run in task.history}
        for event in events:
            self._client.listen(event, self._on_event)
        try:
            self._check()
            self._wait(seconds)
        finally:
            for event in events:
                self._client.listeners.remove(event, self._on_event)
        return self._done.is_set() and not self.is_signalled

    def _wait(self, seconds: float | None) -> None:
        clock = SystemClock()
        deadline = math.inf if seconds is None else clock.monotonic() + seconds
        while (left := deadline - clock.monotonic()) > 0:
            if self._done.wait(min(left, _LOOK_EVERY)) or self.is_signalled:
                return
            # In a thread other than the main one, as with `asyncio.to_thread`.
            if self.follows_signals and self._client.keepalive.is_end_requested:
                self.signal()
                return
            self._check()

    def signal(self) -> None:
        """End the wait at the next check.

        For signal handlers and other threads.
        """
        self.is_signalled = True

    def _on_event(self, context: TaskContext) -> None:
        run = context.execution
        if run is not None and context.event in _RUNS:
            if run.id in self._ended_before:
                return
            task_id = context.task.id
            self._counts[task_id] = self._counts.get(task_id, 0) + 1
        self._check()

    def _check(self) -> None:
        if all(self._is_over(task) for task in self._get_tasks()):
            self._done.set()

    def _get_tasks(self) -> list[Task]:
        if self._tasks is not None:
            return self._tasks
        # Kept tasks go on whatever this process waits for.
        handles = self._client.get_handles().values()
        return [task for task in handles if not task.is_kept]

    def _is_over(self, task: Task) -> bool:
        if self._runs is not None and self._counts.get(task.id, 0) >= self._runs:
            return True
        # A task that is stopped, or whose start failed, runs no more.
        return not (task.is_started or task.is_starting)


@contextmanager
def _ended_by_signals(watch: _Watch) -> Iterator[None]:
    """Make Ctrl-C and SIGTERM end the wait of a script's main thread."""
    if is_interactive():
        yield
        return
    if threading.current_thread() is not threading.main_thread():
        watch.follows_signals = True
        yield
        return
    before = {
        number: signal.signal(number, lambda *_: watch.signal())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
