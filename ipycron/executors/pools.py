"""Jobs on an executor: a pool, a Dask cluster, anything that returns futures.

The schedule stays here, in the client's scheduler; each run is sent elsewhere, is a
guest there (`executors/guest.py`), and returns with its result, output and log.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import os
import sys
import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ipycron.errors import (
    ExecutionStopped,
    ExecutorError,
    InvalidOption,
    describe_type,
)
from ipycron.executors.guest import (
    RemoteRun,
    WorkerLost,
    find_place,
    find_software,
    pack_remote_run,
    run_guest,
    unpack_report,
)
from ipycron.process.wire.payload import Payload
from ipycron.process.wire.printable import show_controls
from ipycron.process.wire.protocol import Displayed, FileJob, Load, Run, Streamed
from ipycron.process.worker.logs import rebuild_record
from ipycron.scheduling.aio import settle
from ipycron.scheduling.events import BY_SCHEDULE, Outcome
from ipycron.scheduling.ports import SharedWorker

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipycron.executors.guest import Report
    from ipycron.scheduling.events import ScheduledExecution
    from ipycron.scheduling.ports import Worker

    End = asyncio.Future[Outcome]
    Remote = concurrent.futures.Future[bytes]


_log = logging.getLogger("ipycron")


class ThreadPool(Protocol):
    """The client's threads for blocking calls."""

    def submit(self, call: Callable[[], None]) -> None:
        """Run `call` on a thread soon. It must not raise."""


class Sink(Protocol):
    """Receives what a run has written: the client."""

    def handle_output(self, message: Streamed | Displayed, payload: Payload) -> None:
        """Called when a job wrote or displayed something."""

    def handle_record(self, record: logging.LogRecord, task_id: str) -> None:
        """Called when a job made a log record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorJob:
    """A job, and the executor that runs it.

    Attributes:
        load: the job and its task.
        payload: the job's payload.
        executor: where it runs.
        patience: seconds that a scheduled run may wait in the executor's queue.
        window: seconds after its slot within which it may begin instead, for a task
            that catches up; None for others.
    """

    load: Load
    payload: bytes
    executor: Any
    patience: float
    window: float | None = None


class ExecutorWorker(SharedWorker):
    """Sends runs to an executor, several at once if the scheduler asks for it.

    A run that is given up is cancelled if it has not begun. Otherwise it continues: its
    future here is done when it ends there, and its result is ignored.

    A broken executor counts as the death of its worker: the scheduler asks for another
    one, with backoff, and gives the task up after `max_restarts`.
    """

    def __init__(
        self,
        job: ExecutorJob,
        submitter: Submitter,
        *,
        pool: ThreadPool,
        sink: Sink,
        on_death: Callable[[Worker, BaseException], None],
    ) -> None:
        self._job = job
        self._submitter = submitter
        self._pool = pool
        self._sink = sink
        self._on_death = on_death
        self._is_dead = False
        self._loop = asyncio.get_running_loop()
        self._runs: dict[End, Remote | None] = {}  # None: not submitted yet
        self._answers: dict[End, asyncio.Future[None]] = {}

    def run(self, execution: ScheduledExecution) -> End:
        """Submit the run; see `Worker.run`."""
        end: End = self._loop.create_future()
        self._runs[end] = None
        end.add_done_callback(self._forget)
        run = Run(
            execution_id=execution.id,
            reason=execution.reason,
            date=execution.date,
            started_at=execution.begun_at or execution.date,
            attempt=execution.attempt,
        )
        # In a thread: executors start processes, connect, or wait for room.
        is_first = execution.attempt_started_at is None
        self._pool.submit(partial(self._submit, run, end, is_first=is_first))
        return end

    def give_up(self, future: End) -> asyncio.Future[None]:
        """Cancel a run or end it by force; see `Worker.give_up`."""
        answer = self._answers.get(future)
        if answer is None:
            answer = self._loop.create_future()
            if future.done():
                answer.set_result(None)
            else:
                self._answers[future] = answer
                self._cancel(future, answer)
        return answer

    async def stop(self, *, grace: float) -> None:
        """Give up every run; see `Worker.stop`."""
        if self._runs:
            answers = [self.give_up(end) for end in tuple(self._runs)]
            await asyncio.wait(answers, timeout=grace)

    # --- on a thread of the pool ----------------------------------------------------

    def _submit(self, run: Run, end: End, *, is_first: bool) -> None:
        try:
            latest = self._find_latest(run) if is_first else None
            packed = self._pack(run, latest)
            remote = self._submitter.submit(run.execution_id, packed)
            check_future(remote)
        except BaseException as error:  # noqa: BLE001 - border: executor
            self._lose(end, describe_refusal(error), error)
            return
        # First, so that a run that ends at once is already known.
        if not self._call_soon(partial(self._follow, end, remote)):
            remote.cancel()
        remote.add_done_callback(partial(self._take, run, end))

    def _pack(self, run: Run, latest: float | None) -> bytes:
        job = self._job.load.job
        # The file as it is now: nothing of a job is kept from run to run.
        source = read_file(job) if isinstance(job, FileJob) else None
        remote_run = RemoteRun(
            load=self._job.load,
            run=run,
            payload=self._job.payload,
            source=source,
            home=find_place(),
            software=find_software(),
            latest=latest,
        )
        return pack_remote_run(remote_run)

    def _find_latest(self, run: Run) -> float | None:
        """Return the latest instant at which a run may begin; None for no limit."""
        if run.reason not in BY_SCHEDULE:
            return None
        if self._job.window is not None:
            return run.date + self._job.window
        return run.started_at + self._job.patience

    def _lose(self, end: End, reason: str, cause: BaseException) -> None:
        """Fail a run that the executor did not complete."""
        is_broken = isinstance(cause, concurrent.futures.BrokenExecutor)
        if is_broken:
            self._submitter.handle_broken()
            reason += self._submitter.advice
        error = ExecutorError(name=self._job.load.name, reason=reason)
        error.__cause__ = cause
        fail = self._die if is_broken else self._fail
        self._call_soon(partial(fail, end, error))

    # --- on a thread of the executor's ------------------------------------------------

    def _take(self, run: Run, end: End, remote: Remote) -> None:
        try:
            report = unpack_report(remote.result())
        except concurrent.futures.CancelledError as error:
            self._lose(end, describe_cancellation(error), error)
        except BaseException as error:  # noqa: BLE001 - border: executor
            self._lose(end, describe_loss(error), error)
        else:
            self._call_soon(partial(self._deliver, run, end, report))

    # --- on the client's loop -------------------------------------------------------

    def _forget(self, end: End) -> None:
        self._runs.pop(end, None)
        answer = self._answers.pop(end, None)
        if answer is not None:
            settle(answer)

    def _follow(self, end: End, remote: Remote) -> None:
        """Record the outcome of a run's submission; it may be given up already."""
        if end.done():
            return
        self._runs[end] = remote
        answer = self._answers.get(end)
        if answer is not None:
            self._cancel(end, answer)

    def _cancel(self, end: End, answer: asyncio.Future[None]) -> None:
        """Cancel a run, in a thread; `answer` is done if that is impossible."""
        remote = self._runs.get(end)
        if remote is None:  # `submit` still blocks: the run continues for now
            settle(answer)
            return
        is_only_run = len(self._runs) == 1

        def cancel() -> None:
            if remote.cancel() or remote.done():
                return
            if is_only_run and self._submitter.end_run():
                return
            _log.warning(
                "task %r: a run is no longer waited for. The executor cannot end "
                "it, so it continues; the task stays busy until it returns.",
                self._job.load.name,
                extra={"ipycron_name": self._job.load.name},
            )
            self._call_soon(partial(settle, answer))

        self._pool.submit(cancel)

    def _fail(self, end: End, error: ExecutorError) -> None:
        if end.done():
            return
        outcome = Outcome.of_error(error)
        if end in self._answers:  # cancelled because we asked for it
            outcome = Outcome.of_error(ExecutionStopped(name=self._job.load.name))
        end.set_result(outcome)

    def _die(self, end: End, error: ExecutorError) -> None:
        """Fail a run by the end of its executor, and report that once."""
        if end.done():
            return
        was_given_up = end in self._answers  # ipycron itself has ended the run
        end.set_exception(error)
        if not (self._is_dead or was_given_up):
            self._is_dead = True
            self._on_death(self, error)

    def _miss(self, end: End, lateness: float) -> None:
        """End a run that has waited too long in the executor's queue: it is missed."""
        patience, window = self._job.patience, self._job.window
        if window is not None:
            late = f"{window + lateness:.1f} s after its slot"
            limit = f"the window of catch_up allows ({window:g} s)"
        else:
            late = f"{patience + lateness:.1f} s after submission"
            limit = f"tolerance and start_timeout allow ({patience:g} s)"
        error = ExecutorError(
            name=self._job.load.name,
            reason=f"began it {late}, later than {limit}: it was not run.",
        )
        end.set_result(Outcome.of_error(error, is_missed=True))

    def _deliver(self, run: Run, end: End, report: Report) -> None:
        if end.done():
            return
        if report.lateness is not None:
            self._miss(end, report.lateness)
            return
        ids = self._job.load.task_id, run.execution_id
        for kind, data, *dropped in report.pieces:
            message: Streamed | Displayed
            if kind == "display":
                message = Displayed(*ids)
            else:
                message = Streamed(*ids, kind, *dropped)
            self._sink.handle_output(message, Payload(data))
        for described in report.logs:
            self._sink.handle_record(rebuild_record(described), ids[0])
        judgement = report.judgement
        is_cancelled = judgement is not None and judgement.is_cancelled
        end.set_result(
            Outcome(
                is_ok=report.is_ok or is_cancelled,
                value=Payload(report.payload),
                summary=show_controls(report.summary),
                manner="cancelled" if is_cancelled else "plain",
                judgement=judgement,
            )
        )

    def _call_soon(self, call: Callable[[], object]) -> bool:
        """Call on the client's loop; return False if the loop is closed."""
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:
            return False
        return True


class ExecutorLauncher:
    """The scheduler's `Launcher` for tasks with an executor.

    Used on the client's loop. Tasks that share an executor share a submitter.
    """

    def __init__(self, pool: ThreadPool, sink: Sink) -> None:
        self._pool = pool
        self._sink = sink
        self._jobs: dict[str, ExecutorJob] = {}
        self._desks: dict[int, Submitter] = {}

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._jobs

    def register(self, task_id: str, job: ExecutorJob) -> None:
        """Remember what a task runs, and where."""
        self._jobs[task_id] = job

    def forget(self, task_id: str) -> None:
        """Forget a task's job. Idempotent."""
        job = self._jobs.pop(task_id, None)
        if job is None:
            return
        if all(other.executor is not job.executor for other in self._jobs.values()):
            submitter = self._desks.pop(id(job.executor), None)
            if submitter is not None:
                self._pool.submit(submitter.close)

    async def launch(
        self,
        task_id: str,
        on_death: Callable[[Worker, BaseException], None],
    ) -> ExecutorWorker:
        """Return a worker: each run carries its job along.

        Raises:
            OSError, SyntaxError: if a task file cannot be read, or is not Python.
            Exception: what the factory of an executor raises.
        """
        job = self._jobs[task_id]
        if isinstance(job.load.job, FileJob):
            check_file(job.load.job)
        submitter = self._desks.get(id(job.executor))
        if submitter is None:
            submitter = make_submitter(job.executor, self._pool)
            self._desks[id(job.executor)] = submitter
        if isinstance(submitter, FactorySubmitter):
            await self._prepare(submitter)
        return ExecutorWorker(
            job, submitter, pool=self._pool, sink=self._sink, on_death=on_death
        )

    async def _prepare(self, submitter: FactorySubmitter) -> None:
        """Have an executor made in a thread: factories connect, or start processes."""
        loop = asyncio.get_running_loop()
        prepared: asyncio.Future[None] = loop.create_future()

        def prepare() -> None:
            try:
                submitter.prepare()
            except BaseException as error:  # noqa: BLE001 - border: the user's factory
                end = partial(_refuse, prepared, error)
            else:
                end = partial(settle, prepared)
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(end)

        self._pool.submit(prepare)
        await prepared


def read_file(job: FileJob) -> bytes:
    """Return the current content of a task file."""
    return Path(os.fsdecode(job.path)).read_bytes()


def check_file(job: FileJob) -> None:
    """Raise the error of reading or compiling a task file, if there is one."""
    compile(read_file(job), os.fsdecode(job.path), "exec", dont_inherit=True)


def _refuse(prepared: asyncio.Future[None], error: BaseException) -> None:
    if not prepared.done():
        prepared.set_exception(
            error if isinstance(error, Exception) else RuntimeError(repr(error))
        )


class Submitter(Protocol):
    """Submits runs. Called in threads: it may block."""

    def submit(self, run_id: str, packed: bytes) -> concurrent.futures.Future[bytes]:
        """Have the executor call `run_guest` with a packed run."""

    def handle_broken(self) -> None:
        """Note that the executor is broken: it accepts no more runs."""

    def end_run(self) -> bool:
        """End the only run in progress by force; return False if that is impossible."""

    @property
    def advice(self) -> str:
        """What to do about a broken executor, as the end of a message."""

    def close(self) -> None:
        """Release what was opened here. The user closes their own executor."""


_LASTING = (
    " A pool that broke stays broken: pass a function that makes it, such as "
    "executor=lambda: ProcessPoolExecutor(4), and a new one is made."
)


class PoolSubmitter:
    """Submits runs to a `concurrent.futures.Executor`."""

    def __init__(self, executor: concurrent.futures.Executor) -> None:
        self._executor = executor

    def submit(self, run_id: str, packed: bytes) -> concurrent.futures.Future[bytes]:  # noqa: ARG002 - Dask wants one
        """Submit the run; see `Submitter`."""
        return self._executor.submit(run_guest, packed)

    advice = _LASTING

    def handle_broken(self) -> None:
        """Do nothing: only the owner of the executor can replace it."""

    def end_run(self) -> bool:
        """Return False: the executor belongs to its owner."""
        return False

    def close(self) -> None:
        """Do nothing: nothing was opened."""


class FactorySubmitter:
    """Submits runs to an executor that a function of the user's makes.

    The executor is made at the first start, made again after it breaks, and shut down
    with the last task that uses it.
    """

    advice = " A new one is made."

    def __init__(self, factory: Callable[[], Any], pool: ThreadPool) -> None:
        self._factory = factory
        self._pool = pool
        self._lock = threading.RLock()
        self._executor: Any = None
        self._submitter: Submitter | None = None

    def prepare(self) -> Submitter:
        """Return the current submitter; make the executor if there is none.

        Raises:
            InvalidOption: if the function returns something else.
            Exception: what it raises.
        """
        with self._lock:
            if self._submitter is None:
                executor = self._factory()
                _check_made(executor)
                self._executor = executor
                self._submitter = make_submitter(executor, self._pool)
            return self._submitter

    def submit(self, run_id: str, packed: bytes) -> concurrent.futures.Future[bytes]:
        """Submit the run; see `Submitter`."""
        return self.prepare().submit(run_id, packed)

    def handle_broken(self) -> None:
        """Make a new executor for the next run.

        Called by the executor's own thread. From Python 3.12 on that thread holds a
        lock that a shutdown also takes, so the old executor is shut down in another
        thread.
        """
        self._pool.submit(self._release())

    def end_run(self) -> bool:
        """Kill the pool's processes: loky's, and Python's own from 3.14 on."""
        with self._lock:
            executor = self._executor
            kill = _find_kill(executor)
            if kill is None:
                return False
            self._submitter = self._executor = None
        kill()
        return True

    def close(self) -> None:
        """Shut the executor down; runs that have begun continue."""
        self._release()()

    def _release(self) -> Callable[[], None]:
        """Forget the executor; return the function that shuts it down."""
        with self._lock:
            submitter, self._submitter = self._submitter, None
            executor, self._executor = self._executor, None
        return partial(_shut_down, submitter, executor)


def _shut_down(submitter: Submitter | None, executor: Any) -> None:
    if submitter is not None:
        submitter.close()
    if isinstance(executor, concurrent.futures.Executor):
        executor.shutdown(wait=False)
    elif executor is not None:  # a Dask client
        executor.close()


def _find_kill(executor: Any) -> Callable[[], object] | None:
    """Return the function that kills an executor and its runs, or None."""
    if type(executor).__module__.partition(".")[0] == "loky":
        return partial(executor.shutdown, wait=False, kill_workers=True)
    kill: Callable[[], object] | None = getattr(executor, "kill_workers", None)
    return kill


def find_client(value: Any) -> tuple[Any, dict[str, Any]] | None:
    """Return the Dask client of a client or of its executor, and its submit options.

    None for anything else.
    """
    client = sys.modules.get("distributed.client")
    if client is not None and isinstance(value, client.Client):
        return value, {}
    executor = sys.modules.get("distributed.cfexecutor")
    if executor is not None and isinstance(value, executor.ClientExecutor):
        # Made by get_executor(): by itself it would repeat lost runs.
        options = {k: v for k, v in value._kwargs.items() if k != "pure"}  # noqa: SLF001
        return value._client, options  # noqa: SLF001
    return None


def make_submitter(executor: Any, pool: ThreadPool) -> Submitter:
    """Return the submitter for this executor."""
    client = find_client(executor)
    if client is not None:
        from ipycron.executors.dask import DaskSubmitter  # noqa: PLC0415 - few need it

        return DaskSubmitter(*client, pool.submit)
    if isinstance(executor, concurrent.futures.Executor):
        return PoolSubmitter(executor)
    return FactorySubmitter(executor, pool)


def _check_made(executor: Any) -> None:
    if isinstance(executor, concurrent.futures.Executor) or find_client(executor):
        return
    raise InvalidOption(
        option="executor",
        value=executor,
        expected="a concurrent.futures.Executor or a distributed.Client from the "
        "function that makes it",
    )


def check_future(value: object) -> None:
    """Raise `TypeError` if an executor returned something other than a future."""
    if not isinstance(value, concurrent.futures.Future):
        raise TypeError(
            f"submit() returned {describe_type(value)}, expected a "
            "concurrent.futures.Future"
        )


def describe_refusal(error: BaseException) -> str:
    """Return a run's error if `submit` raised."""
    reason = f"refused the run: {_describe(error)}"
    if not threading.main_thread().is_alive():
        reason += (
            " Python's own pools take no work once the main thread has ended: end "
            "the script with ipycron.wait()."
        )
    return reason


def describe_cancellation(error: BaseException) -> str:
    """Return a run's error if others have cancelled its future."""
    if not str(error):
        return "cancelled the run."
    return f"cancelled the run: {_describe(error)}"


def describe_loss(error: BaseException) -> str:
    """Return a run's error for any other end without a report."""
    return f"lost the run: {_describe(error)}"


def _describe(error: BaseException) -> str:
    """Return an executor's exception in words."""
    # In one line: the first one of an error's text is what most views show.
    name, text = type(error).__name__, " ".join(str(error).split())
    described = f"{name}: {text}" if text else name
    if isinstance(error, WorkerLost):
        described = text
    elif isinstance(error, ModuleNotFoundError) and error.name == "ipycron":
        described += ". Install ipycron where the executor runs its work"
    return described if described.endswith((".", "!", "?")) else f"{described}."
