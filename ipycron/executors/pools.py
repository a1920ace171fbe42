"""Jobs on an executor: a pool, a Dask cluster, anything that gives futures.

The schedule stays here, in the client's scheduler; each run goes elsewhere, is a
guest there (`executors/guest.py`), and comes home with its result, output and log.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ipycron.errors import ExecutionStopped, ExecutorError
from ipycron.executors.desk import (
    FactoryDesk,
    check_future,
    describe_cancellation,
    describe_loss,
    describe_refusal,
    make_desk,
)
from ipycron.executors.guest import (
    Visit,
    find_place,
    find_software,
    pack_visit,
    unpack_report,
)
from ipycron.process.wire.job_message import FileJob
from ipycron.process.wire.payload import Payload
from ipycron.process.wire.protocol import Displayed, Load, Run, Streamed
from ipycron.process.worker.logs import rebuild_record
from ipycron.scheduling.aio import settle
from ipycron.scheduling.events import Outcome
from ipycron.scheduling.standby import SharedWorker

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipycron.client.threads import ThreadPool
    from ipycron.executors.desk import Desk
    from ipycron.executors.guest import Report
    from ipycron.scheduling.events import Execution
    from ipycron.scheduling.ports import Worker

    End = asyncio.Future[Outcome]
    Remote = concurrent.futures.Future[bytes]

_log = logging.getLogger("ipycron")


class Sink(Protocol):
    """Who takes what a run has written: the client."""

    def take_output(self, message: Streamed | Displayed, payload: Payload) -> None:
        """A job wrote or displayed something."""

    def take_record(self, record: logging.LogRecord, task_id: str) -> None:
        """A job made a log record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorJob:
    """A job, and the executor that runs it."""

    load: Load
    payload: bytes
    executor: Any


class ExecutorWorker(SharedWorker):
    """Sends runs away, several at once if the scheduler says so.

    A run that is given up is cancelled where it has not begun. Elsewhere it goes on:
    its future here is done when it ends there, and its result is ignored.

    An executor that broke is the death of its worker: the scheduler asks for another
    one, with backoff, and gives the task up after `max_restarts`.
    """

    def __init__(
        self,
        job: ExecutorJob,
        desk: Desk,
        *,
        pool: ThreadPool,
        sink: Sink,
        on_death: Callable[[Worker, BaseException], None],
    ) -> None:
        self._job = job
        self._desk = desk
        self._pool = pool
        self._sink = sink
        self._on_death = on_death
        self._is_dead = False
        self._loop = asyncio.get_running_loop()
        self._runs: dict[End, Remote | None] = {}  # None: not handed in yet
        self._answers: dict[End, asyncio.Future[None]] = {}

    def run(self, execution: Execution) -> End:
        """Send the run away; see `Worker.run`."""
        end: End = self._loop.create_future()
        self._runs[end] = None
        end.add_done_callback(self._forget)
        run = Run(
            execution_id=execution.id,
            reason=execution.reason,
            date=execution.date,
            started_at=execution.started_at or execution.date,
        )
        # In a thread: executors start processes, connect, or wait for room.
        self._pool.submit(partial(self._submit, run, end))
        return end

    def give_up(self, future: End) -> asyncio.Future[None]:
        """Cancel a run, or have it ended; see `Worker.give_up`."""
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

    def _submit(self, run: Run, end: End) -> None:
        try:
            remote = self._desk.submit(run.execution_id, self._pack(run))
            check_future(remote)
        except BaseException as error:  # noqa: BLE001 - border: executor
            self._lose(end, describe_refusal(error), error)
            return
        # First: a run that ends at once is known by then.
        if not self._call_soon(partial(self._follow, end, remote)):
            remote.cancel()
        remote.add_done_callback(partial(self._take, run, end))

    def _pack(self, run: Run) -> bytes:
        job = self._job.load.job
        # As it is now: nothing of a job is kept from run to run.
        source = read_file(job) if isinstance(job, FileJob) else None
        visit = Visit(
            load=self._job.load,
            run=run,
            payload=self._job.payload,
            source=source,
            home=find_place(),
            software=find_software(),
        )
        return pack_visit(visit)

    def _lose(self, end: End, reason: str, cause: BaseException) -> None:
        """Fail a run that the executor did not bring to its end."""
        is_broken = isinstance(cause, concurrent.futures.BrokenExecutor)
        if is_broken:
            self._desk.see_broken()
            reason += self._desk.advice
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
        """Note what came of a run's submission; it may be given up already."""
        if end.done():
            return
        self._runs[end] = remote
        answer = self._answers.get(end)
        if answer is not None:
            self._cancel(end, answer)

    def _cancel(self, end: End, answer: asyncio.Future[None]) -> None:
        """Have a run cancelled, in a thread; `answer` is done when it goes on."""
        remote = self._runs.get(end)
        if remote is None:  # a `submit` that blocks: for now it goes on
            settle(answer)
            return
        is_only_run = len(self._runs) == 1

        def cancel() -> None:
            if remote.cancel() or remote.done():
                return
            if is_only_run and self._desk.end_run():
                return
            _log.warning(
                "task %r: a run is no longer waited for. The executor cannot end it "
                "and goes on with it; the task stays busy until it returns.",
                self._job.load.name,
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
        was_given_up = end in self._answers  # then ipycron itself has ended it
        end.set_exception(error)
        if not (self._is_dead or was_given_up):
            self._is_dead = True
            self._on_death(self, error)

    def _deliver(self, run: Run, end: End, report: Report) -> None:
        if end.done():
            return
        ids = self._job.load.task_id, run.execution_id
        for kind, data, dropped in report.pieces:
            message: Streamed | Displayed
            if kind == "display":
                message = Displayed(*ids)
            else:
                message = Streamed(*ids, kind, dropped)
            self._sink.take_output(message, Payload(data))
        for described in report.logs:
            self._sink.take_record(rebuild_record(described), ids[0])
        value = Payload(report.payload)
        end.set_result(Outcome(is_ok=report.is_ok, value=value, summary=report.summary))

    def _call_soon(self, call: Callable[[], object]) -> bool:
        """Call on the client's loop; return False if it is closed."""
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:
            return False
        return True


class ExecutorLauncher:
    """The scheduler's `Launcher` for tasks with an executor.

    Used on the client's loop. Tasks that share an executor share a desk.
    """

    def __init__(self, pool: ThreadPool, sink: Sink) -> None:
        self._pool = pool
        self._sink = sink
        self._jobs: dict[str, ExecutorJob] = {}
        self._desks: dict[int, Desk] = {}

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._jobs

    def register(self, task_id: str, job: ExecutorJob) -> None:
        """Remember what a task runs, and where."""
        self._jobs[task_id] = job

    def forget(self, task_id: str) -> None:
        """Give up a task's job. May be repeated."""
        job = self._jobs.pop(task_id, None)
        if job is None:
            return
        if all(other.executor is not job.executor for other in self._jobs.values()):
            desk = self._desks.pop(id(job.executor), None)
            if desk is not None:
                self._pool.submit(desk.close)

    async def launch(
        self,
        task_id: str,
        on_death: Callable[[Worker, BaseException], None],
    ) -> ExecutorWorker:
        """Return a worker: runs bring their job along.

        Raises:
            OSError, SyntaxError: if a task file cannot be read, or is not Python.
            Exception: what the factory of an executor raises.
        """
        job = self._jobs[task_id]
        if isinstance(job.load.job, FileJob):
            check_file(job.load.job)
        desk = self._desks.get(id(job.executor))
        if desk is None:
            desk = make_desk(job.executor, self._pool)
            self._desks[id(job.executor)] = desk
        if isinstance(desk, FactoryDesk):
            await self._prepare(desk)
        return ExecutorWorker(
            job, desk, pool=self._pool, sink=self._sink, on_death=on_death
        )

    async def _prepare(self, desk: FactoryDesk) -> None:
        """Have an executor made, in a thread: factories connect, or start processes."""
        loop = asyncio.get_running_loop()
        prepared: asyncio.Future[None] = loop.create_future()

        def prepare() -> None:
            try:
                desk.prepare()
            except BaseException as error:  # noqa: BLE001 - border: the user's factory
                end = partial(_refuse, prepared, error)
            else:
                end = partial(settle, prepared)
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(end)

        self._pool.submit(prepare)
        await prepared


def read_file(job: FileJob) -> bytes:
    """Return what is in a task file now."""
    return Path(os.fsdecode(job.path)).read_bytes()


def check_file(job: FileJob) -> None:
    """Raise what reading and compiling a task file raises."""
    compile(read_file(job), os.fsdecode(job.path), "exec", dont_inherit=True)


def _refuse(prepared: asyncio.Future[None], error: BaseException) -> None:
    if not prepared.done():
        prepared.set_exception(
            error if isinstance(error, Exception) else RuntimeError(repr(error))
        )
