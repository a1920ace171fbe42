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

from ipycron.errors import ExecutorError
from ipycron.executors.desk import (
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

    A run that is cancelled ends here at once. Its future is cancelled too; what has
    begun elsewhere may go on there, and its result is ignored.
    """

    def __init__(
        self, job: ExecutorJob, desk: Desk, *, pool: ThreadPool, sink: Sink
    ) -> None:
        self._job = job
        self._desk = desk
        self._pool = pool
        self._sink = sink
        self._loop = asyncio.get_running_loop()
        self._runs: set[End] = set()
        self._cancels: set[asyncio.Future[None]] = set()

    def run(self, execution: Execution) -> End:
        """Send the run away; see `Worker.run`."""
        end: End = self._loop.create_future()
        self._runs.add(end)
        end.add_done_callback(self._runs.discard)
        run = Run(
            execution_id=execution.id,
            reason=execution.reason,
            date=execution.date,
            started_at=execution.started_at or execution.date,
        )
        # In a thread: executors start processes, connect, or wait for room.
        self._pool.submit(partial(self._submit, run, end))
        return end

    async def stop(self, *, grace: float) -> None:
        """Cancel every run; see `Worker.stop`. Nothing can be killed."""
        for end in set(self._runs):
            end.cancel()
        await asyncio.sleep(0)  # the futures' callbacks add to `_cancels`
        if self._cancels:
            await asyncio.wait(set(self._cancels), timeout=grace)

    # --- on a thread of the pool ----------------------------------------------------

    def _submit(self, run: Run, end: End) -> None:
        try:
            remote = self._desk.submit(run.execution_id, self._pack(run))
            check_future(remote)
        except BaseException as error:  # noqa: BLE001 - border: executor
            outcome = self._fail(describe_refusal(error), error)
            self._call_soon(partial(_settle, end, outcome))
            return
        remote.add_done_callback(partial(self._take, run, end))
        if not self._call_soon(partial(self._follow, end, remote)):
            remote.cancel()

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

    def _fail(self, reason: str, cause: BaseException) -> Outcome:
        error = ExecutorError(name=self._job.load.name, reason=reason)
        error.__cause__ = cause
        return Outcome.of_error(error)

    # --- on a thread of the executor's ------------------------------------------------

    def _take(
        self, run: Run, end: End, remote: concurrent.futures.Future[bytes]
    ) -> None:
        try:
            report = unpack_report(remote.result())
        except concurrent.futures.CancelledError as error:
            outcome = self._fail(describe_cancellation(error), error)
            self._call_soon(partial(_settle, end, outcome))
        except BaseException as error:  # noqa: BLE001 - border: executor
            outcome = self._fail(describe_loss(error), error)
            self._call_soon(partial(_settle, end, outcome))
        else:
            self._call_soon(partial(self._deliver, run, end, report))

    # --- on the client's loop -------------------------------------------------------

    def _follow(self, end: End, remote: concurrent.futures.Future[bytes]) -> None:
        """Have the remote future cancelled if the run is."""
        end.add_done_callback(
            lambda done: self._cancel(remote) if done.cancelled() else None
        )

    def _cancel(self, remote: concurrent.futures.Future[bytes]) -> None:
        cancelled: asyncio.Future[None] = self._loop.create_future()
        self._cancels.add(cancelled)
        cancelled.add_done_callback(self._cancels.discard)

        def cancel() -> None:
            if not remote.cancel() and not remote.done():
                _log.warning(
                    "task %r: the executor goes on with a run that was given up; "
                    "its result will be ignored",
                    self._job.load.name,
                )
            self._call_soon(partial(_release, cancelled))

        self._pool.submit(cancel)

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
        on_death: Callable[[Worker, BaseException], None],  # noqa: ARG002
    ) -> ExecutorWorker:
        """Return a worker at once: runs bring their job along, and nothing dies.

        Raises:
            OSError, SyntaxError: if a task file cannot be read, or is not Python.
        """
        job = self._jobs[task_id]
        if isinstance(job.load.job, FileJob):
            check_file(job.load.job)
        desk = self._desks.get(id(job.executor))
        if desk is None:
            desk = make_desk(job.executor, self._pool)
            self._desks[id(job.executor)] = desk
        return ExecutorWorker(job, desk, pool=self._pool, sink=self._sink)


def read_file(job: FileJob) -> bytes:
    """Return what is in a task file now."""
    return Path(os.fsdecode(job.path)).read_bytes()


def check_file(job: FileJob) -> None:
    """Raise what reading and compiling a task file raises."""
    compile(read_file(job), os.fsdecode(job.path), "exec", dont_inherit=True)


def _settle(end: End, outcome: Outcome) -> None:
    if not end.done():
        end.set_result(outcome)


def _release(cancelled: asyncio.Future[None]) -> None:
    with contextlib.suppress(asyncio.InvalidStateError):
        cancelled.set_result(None)
