"""Inline jobs: functions in the client's own process, run by the same scheduler."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from ipycron.client.waits import AwaitedElsewhere, Inside, OriginLoop
from ipycron.errors import ExecutionStopped, RemoteError, RunRefused, StopTimeout
from ipycron.process.refusal import describe
from ipycron.process.wire.outcome import (
    format_traceback,
    safe_str,
    summarize,
    summarize_error,
)
from ipycron.process.wire.printable import show_controls
from ipycron.process.worker.job import follow, is_awaitable, refuse_generator
from ipycron.scheduling.events import Outcome
from ipycron.scheduling.ports import SharedWorker
from ipycron.scheduling.retry import Matcher
from ipycron.scheduling.small_map import NOTHING, SmallMap

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from ipycron.client.threads import ThreadPool
    from ipycron.scheduling.events import ScheduledExecution, TaskContext
    from ipycron.scheduling.retry import Judgement

    MakeContext = Callable[[ScheduledExecution], TaskContext]
    Record = Callable[[str], AbstractContextManager[None]]
    Judge = Callable[[BaseException], Judgement]


judge_any = Matcher(None).judge
"""Judges the failures of jobs that are repeated after any of them."""
COMPLETION_PAUSE = 0.002
"""Seconds that completions are delayed while runs wait for a thread."""
MAX_PAUSES = 5
"""Delays in a row: if every thread is blocked, a run may wait for long."""


class InlineJob:
    """A function, ready to be called with or without the context.

    Args:
        name: the task's.
        task_id: the task's.
        function: sync, or a coroutine function.
        make_context: makes the context of a run; None if the function takes none.
        loop: the loop that a coroutine function runs on, None for sync functions.
        origin: awaits what a sync function returns; None uses a loop of the run's own.
        record: given a run's id, returns a context that records its output; by default
            nothing is recorded.
        judge: says what an exception of the function means for its run.
    """

    __slots__ = (
        "function",
        "judge",
        "loop",
        "make_context",
        "name",
        "origin",
        "record",
        "task_id",
    )

    def __init__(
        self,
        name: str,
        task_id: str,
        function: Callable[..., Any],
        *,
        make_context: MakeContext | None,
        loop: asyncio.AbstractEventLoop | None,
        origin: OriginLoop | None = None,
        record: Record = lambda _: nullcontext(),
        judge: Judge = judge_any,
    ) -> None:
        self.judge = judge
        self.origin = origin
        self.record = record
        self.name = name
        self.task_id = task_id
        self.function = function
        self.make_context = make_context
        self.loop = loop

    def call(self, execution: ScheduledExecution) -> Any:
        """Call the function for one run."""
        if self.make_context is None:
            return self.function()
        return self.function(self.make_context(execution))

    def mark(self) -> Inside:
        """Return a context whose code is known as part of a run."""
        return Inside(self.task_id, self.name)


class CompletionQueue:
    """Passes ended runs from any thread to the scheduler's loop.

    A hundred runs that end together wake the loop once. Starts have priority: a late
    start makes a run late, a late end is only reported late.

    Args:
        loop: the scheduler's.
        has_waiting: returns whether calls are waiting for a thread of the pool.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, *, has_waiting: Callable[[], bool]
    ) -> None:
        self._loop = loop
        self._has_waiting = has_waiting
        self._runs: deque[InlineRun] = deque()
        self._is_called = False
        self._pauses = 0

    def add(self, run: InlineRun) -> None:
        """Complete `run` on the loop soon, after those before it."""
        # First: a call in progress either sees it or is followed by another.
        self._runs.append(run)
        if not self._is_called:
            self._is_called = True
            # Once the client is closed, nothing waits for this run.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._complete)

    def _complete(self) -> None:
        if self._pauses < MAX_PAUSES and self._has_waiting():
            self._pauses += 1
            self._loop.call_later(COMPLETION_PAUSE, self._complete)
            return
        self._pauses = 0
        self._is_called = False
        while self._runs:
            self._runs.popleft().complete()


class InlineRun:
    """One run: in a thread or on a coroutine's loop, then on the scheduler's loop.

    Calling it calls the job. It is one object instead of a closure for each step: the
    closures of a thousand runs would trigger the garbage collector.
    """

    __slots__ = (
        "_awaited",
        "_execution",
        "_is_ended",
        "_outcome",
        "_task",
        "_worker",
        "future",
    )

    def __init__(
        self,
        worker: InlineWorker,
        execution: ScheduledExecution,
        future: asyncio.Future[Outcome],
    ) -> None:
        self._worker = worker
        self._execution = execution
        self._outcome: Outcome
        self._task: asyncio.Task[None] | None = None
        self._awaited: AwaitedElsewhere | None = None
        self._is_ended = False  # by the scheduler, before it returned
        self.future = future

    def __call__(self) -> None:
        """Call a sync function, in a thread of the pool."""
        try:
            job, execution = self._worker.job, self._execution
            with job.mark(), job.record(execution.id):
                result = job.call(execution)
                if is_awaitable(result):
                    result = self._await(result)
            refuse_generator(result)
            outcome = make_success(result)
        except BaseException as error:  # noqa: BLE001 - border: job
            outcome = self._fail(error)
        self.end(outcome)

    def _fail(self, error: BaseException) -> Outcome:
        """Return the outcome of an error; a cancelled run is stopped only if it was."""
        judge = self._worker.job.judge
        if not isinstance(error, asyncio.CancelledError):
            return judge_failure(error, judge)
        if self._is_ended:
            return Outcome.of_error(ExecutionStopped(name=self._worker.job.name))
        return replace(make_cancelled(error), judgement=judge(error))

    def _await(self, awaitable: Any) -> Any:
        """Await on a loop what the function has returned; wait for that."""
        origin = self._worker.job.origin
        if origin is not None:
            self._awaited = origin.start(awaitable)
            if self._awaited is not None and self._awaited.wait(origin):
                if self._awaited.future.cancelled():
                    raise asyncio.CancelledError
                return self._awaited.future.result()
        return asyncio.run(follow(awaitable))

    # --- on a coroutine's own loop ----------------------------------------------------

    def start(self) -> None:
        """Start a coroutine function."""
        self._task = asyncio.get_running_loop().create_task(self._follow())
        self._task.add_done_callback(self._handle_cancelled)

    def _handle_cancelled(self, task: asyncio.Task[None]) -> None:
        """End a run that was cancelled before its first step."""
        if task.cancelled():
            self.end(self._fail(asyncio.CancelledError()))

    def cancel(self) -> None:
        """Cancel a coroutine, which may take its time or ignore it."""
        self._is_ended = True
        if self._task is not None:
            self._task.cancel()
        elif self._awaited is not None:
            self._awaited.future.cancel()

    async def _follow(self) -> None:
        """Call a coroutine function and await it."""
        try:
            job, execution = self._worker.job, self._execution
            with job.mark(), job.record(execution.id):
                result = job.call(execution)
                if is_awaitable(result):
                    result = await result
            refuse_generator(result)
            outcome = make_success(result)
        except BaseException as error:  # noqa: BLE001 - border: job
            outcome = self._fail(error)
        self.end(outcome)

    # --- to the scheduler's loop ------------------------------------------------------

    def end(self, outcome: Outcome) -> None:
        """Pass the outcome to the scheduler's loop."""
        self._outcome = outcome
        self._worker.completions.add(self)

    def complete(self) -> None:
        """Resolve the future, on the scheduler's loop."""
        self._worker.forget(self.future)
        if not self.future.done():
            self.future.set_result(self._outcome)


class InlineWorker(SharedWorker):
    """Runs an inline job, several runs at once if the scheduler starts them.

    Attributes:
        job: what it runs.
        completions: receives its ended runs.
    """

    __slots__ = (
        "_pool",
        "_runs",
        "completions",
        "job",
    )

    def __init__(
        self, job: InlineJob, *, pool: ThreadPool, completions: CompletionQueue
    ) -> None:
        self.job = job
        self.completions = completions
        self._pool = pool
        self._runs: SmallMap[asyncio.Future[Outcome], InlineRun] = NOTHING

    def run(self, execution: ScheduledExecution) -> asyncio.Future[Outcome]:
        """Start the function now; see `Worker.run`."""
        future = asyncio.get_running_loop().create_future()
        run = InlineRun(self, execution, future)
        self._runs = self._runs.add(future, run)
        if self.job.loop is None:
            try:
                self._pool.submit(run)
            except RuntimeError as error:
                self.forget(future)
                raise RunRefused(name=self.job.name, reason=describe(error)) from None
        else:
            self._start_coroutine(run, self.job.loop)
        return future

    def forget(self, future: asyncio.Future[Outcome]) -> None:
        """Remove a run that has ended."""
        self._runs = self._runs.remove(future)

    @staticmethod
    def _start_coroutine(run: InlineRun, loop: asyncio.AbstractEventLoop) -> None:
        try:
            loop.call_soon_threadsafe(run.start)
        except RuntimeError:  # the loop is closed
            run.end(make_failure(RuntimeError(_LOOP_CLOSED)))

    def give_up(self, future: asyncio.Future[Outcome]) -> asyncio.Future[Outcome]:
        """Cancel a coroutine; a thread continues. See `Worker.give_up`."""
        run, loop = self._runs.get(future), self.job.loop
        if run is not None:
            if loop is None:
                run.cancel()
            else:
                self._cancel(run, loop)
        return future

    @staticmethod
    def _cancel(run: InlineRun, loop: asyncio.AbstractEventLoop) -> None:
        with contextlib.suppress(RuntimeError):  # closed
            loop.call_soon_threadsafe(run.cancel)
        if not loop.is_running():
            run.future.cancel()  # a loop that is not running cancels nothing

    async def stop(self, *, grace: float) -> None:
        """Cancel coroutines, wait for them and for threads; see `Worker.stop`."""
        futures = [self.give_up(run.future) for run in self._runs.values()]
        if not futures:
            return
        _, pending = await asyncio.wait(futures, timeout=grace)
        if pending and self.job.loop is None:
            raise StopTimeout(name=self.job.name, timeout=grace)


_LOOP_CLOSED = (
    "the event loop in which the coroutine function was scheduled is closed. Keep it "
    "running, or use background=True."
)


class InlineLauncher:
    """The scheduler's `Launcher` for inline tasks."""

    def __init__(self, pool: ThreadPool) -> None:
        self._pool = pool
        self._completions: CompletionQueue | None = None
        self._jobs: dict[str, InlineJob] = {}

    def register(self, task_id: str, job: InlineJob) -> None:
        """Store a task's job."""
        self._jobs[task_id] = job

    def forget(self, task_id: str) -> None:
        """Forget a task's job. Idempotent."""
        self._jobs.pop(task_id, None)

    def launch(self, task_id: str) -> InlineWorker:
        """Return a worker at once: it has nothing to load and cannot die."""
        job = self._jobs[task_id]
        if self._completions is None:
            self._completions = CompletionQueue(
                asyncio.get_running_loop(), has_waiting=self._pool.has_waiting
            )
        return InlineWorker(job, pool=self._pool, completions=self._completions)


def make_success(result: Any) -> Outcome:
    """Return the outcome of a job that returned here."""
    return Outcome(is_ok=True, value=result, summary=show_controls(summarize(result)))


def judge_failure(error: BaseException, judge: Judge) -> Outcome:
    """Return the outcome of an error of the job's, with what it means for the run."""
    judgement = judge(error)
    if judgement.is_cancelled:
        text = summarize_error(error).partition(": ")[2]
        return Outcome(is_ok=True, summary=text, manner="cancelled")
    if judgement.snooze is not None:
        return Outcome(is_ok=False, judgement=judgement)
    return replace(make_failure(error), judgement=judgement)


def make_cancelled(error: asyncio.CancelledError) -> Outcome:
    """Return the outcome of a job that was cancelled, though nobody ended its run."""
    # Raised again in the caller, it would say that the waiting was cancelled.
    stand_in = RemoteError(
        type_name="CancelledError",
        message=safe_str(error) or _CANCELLED,
        traceback_text=format_traceback(error),
        reason="CancelledError cancels whoever awaits the run",
    )
    summary = show_controls(f"{stand_in}".partition("\n")[0])
    return Outcome(is_ok=False, value=stand_in, summary=summary)


_CANCELLED = (
    "the job raised it, or something that it awaits or its event loop was cancelled; "
    "its task was not stopped."
)


def make_failure(error: BaseException) -> Outcome:
    """Return the outcome of an error that the job raised here."""
    summary = summarize_error(error)
    if not isinstance(error, Exception):
        # Raised again in the caller, these would end the notebook or the script.
        error = RemoteError(
            type_name=type(error).__name__,
            message=safe_str(error),
            traceback_text=format_traceback(error),
            reason=f"{type(error).__name__} ends a program",
        )
    return Outcome(is_ok=False, value=error, summary=summary)
