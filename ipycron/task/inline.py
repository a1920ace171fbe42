"""Inline jobs: functions in the client's own process, run by the same scheduler."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from ipycron.errors import ExecutionStopped, RemoteError, StopTimeout
from ipycron.process.outcome import format_traceback, summarize, summarize_error
from ipycron.scheduling.events import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipycron.scheduling.context import TaskContext
    from ipycron.scheduling.events import Execution
    from ipycron.scheduling.ports import Worker
    from ipycron.task.threads import ThreadPool

    MakeContext = Callable[[Execution], TaskContext]


class InlineJob:
    """A function, ready to be called with or without the context.

    Args:
        function: sync, or a coroutine function.
        wants_context: whether it is called with one.
        make_context: makes it for a run.
        home: the loop that a coroutine function runs on, None for sync functions.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        wants_context: bool,
        make_context: MakeContext,
        home: asyncio.AbstractEventLoop | None,
    ) -> None:
        self.function = function
        self.wants_context = wants_context
        self.make_context = make_context
        self.home = home

    def call(self, execution: Execution) -> Any:
        """Call the function for one run."""
        if self.wants_context:
            return self.function(self.make_context(execution))
        return self.function()


LANDING_PAUSE = 0.002
"""Seconds that the ends of runs stand back for runs that wait for a thread."""
MAX_PAUSES = 5
"""How often in a row: what waits may wait for long, if every thread is blocked."""


class Landing:
    """Brings the ends of runs from any thread to the scheduler's loop.

    A hundred that end together wake the loop once. Beginnings come first: a slot that
    is told late runs late, an end that is told late is told late.

    Args:
        loop: the scheduler's.
        has_waiting: tells whether calls wait for a thread of the pool.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, *, has_waiting: Callable[[], bool]
    ) -> None:
        self._loop = loop
        self._has_waiting = has_waiting
        self._ends: deque[Callable[[], None]] = deque()
        self._is_called = False
        self._pauses = 0

    def bring(self, end: Callable[[], None]) -> None:
        """Call `end` on the loop soon, after what was brought before."""
        # First: a call that is under way either finds it or is made again.
        self._ends.append(end)
        if not self._is_called:
            self._is_called = True
            # Once the client is closed nobody waits for this run any more.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._land)

    def _land(self) -> None:
        if self._pauses < MAX_PAUSES and self._has_waiting():
            self._pauses += 1
            self._loop.call_later(LANDING_PAUSE, self._land)
            return
        self._pauses = 0
        self._is_called = False
        while self._ends:
            self._ends.popleft()()


class InlineWorker:
    """Runs an inline job, several runs at once if the scheduler says so."""

    pid = None
    is_shared = True

    def __init__(
        self, name: str, job: InlineJob, *, pool: ThreadPool, landing: Landing
    ) -> None:
        self._name = name
        self._job = job
        self._pool = pool
        self._landing = landing
        self._loop = asyncio.get_running_loop()
        self._runs: set[asyncio.Future[Outcome]] = set()

    def run(self, execution: Execution) -> asyncio.Future[Outcome]:
        """Start the function now; see `Worker.run`."""
        future = self._loop.create_future()
        self._runs.add(future)
        if self._job.home is None:
            self._pool.submit(partial(self._call, execution, future))
        else:
            self._start_coroutine(execution, future)
        return future

    def _call(self, execution: Execution, future: asyncio.Future[Outcome]) -> None:
        try:
            result = self._job.call(execution)
            outcome = Outcome(is_ok=True, value=result, summary=summarize(result))
        except BaseException as error:  # noqa: BLE001 - border: job
            outcome = make_failure(error)
        self._settle_soon(future, outcome)

    def _start_coroutine(
        self, execution: Execution, future: asyncio.Future[Outcome]
    ) -> None:
        assert self._job.home is not None
        coroutine = self._await(execution, future)
        try:
            running = asyncio.run_coroutine_threadsafe(coroutine, self._job.home)
        except RuntimeError as error:  # the notebook's or script's loop is closed
            coroutine.close()
            self._settle_soon(future, make_failure(error))
            return
        # The scheduler cancels the run's future; the coroutine must hear of it.
        future.add_done_callback(
            lambda done: running.cancel() if done.cancelled() else None
        )

    async def _await(
        self, execution: Execution, future: asyncio.Future[Outcome]
    ) -> None:
        try:
            result = self._job.call(execution)
            if inspect.isawaitable(result):
                result = await result
            outcome = Outcome(is_ok=True, value=result, summary=summarize(result))
        except asyncio.CancelledError:
            outcome = make_failure(ExecutionStopped(name=self._name))
        except BaseException as error:  # noqa: BLE001 - border: job
            outcome = make_failure(error)
        self._settle_soon(future, outcome)

    def _settle_soon(self, future: asyncio.Future[Outcome], outcome: Outcome) -> None:
        self._landing.bring(partial(self._settle, future, outcome))

    def _settle(self, future: asyncio.Future[Outcome], outcome: Outcome) -> None:
        self._runs.discard(future)
        if not future.done():
            future.set_result(outcome)

    async def stop(self, *, grace: float) -> None:
        """Cancel coroutines, wait for threads; see `Worker.stop`."""
        runs = set(self._runs)
        if self._job.home is not None:
            for run in runs:
                run.cancel()
        elif runs:
            _, pending = await asyncio.wait(runs, timeout=grace)
            if pending:
                raise StopTimeout(name=self._name, timeout=grace)


class InlineLauncher:
    """The scheduler's `Launcher` for inline tasks."""

    def __init__(self, pool: ThreadPool) -> None:
        self._pool = pool
        self._landing: Landing | None = None
        self._jobs: dict[str, tuple[str, InlineJob]] = {}

    def register(self, task_id: str, name: str, job: InlineJob) -> None:
        """Remember what a task calls."""
        self._jobs[task_id] = name, job

    def forget(self, task_id: str) -> None:
        """Give up a task's function. May be repeated."""
        self._jobs.pop(task_id, None)

    async def launch(
        self,
        task_id: str,
        on_death: Callable[[Worker, BaseException], None],  # noqa: ARG002
    ) -> InlineWorker:
        """Return a worker at once: there is nothing to load, and nothing dies."""
        name, job = self._jobs[task_id]
        if self._landing is None:
            self._landing = Landing(
                asyncio.get_running_loop(), has_waiting=self._pool.has_waiting
            )
        return InlineWorker(name, job, pool=self._pool, landing=self._landing)


def make_failure(error: BaseException) -> Outcome:
    """Return the outcome of an error that the job raised here."""
    summary = summarize_error(error)
    if not isinstance(error, Exception):
        # Raised again by whoever asks, these would end the notebook or the script.
        error = RemoteError(
            type_name=type(error).__name__,
            message=str(error),
            traceback_text=format_traceback(error),
            reason=f"{type(error).__name__} ends a program",
        )
    return Outcome(is_ok=False, value=error, summary=summary)
