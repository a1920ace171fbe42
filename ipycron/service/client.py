"""The client of the service's own process: it reports to the server what happens."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from ipycron.client.client import Client
from ipycron.client.history import ClientHistory
from ipycron.client.job_logs import JobLogs
from ipycron.client.lives import make_life
from ipycron.errors import HistoryError, SupervisorLost
from ipycron.runlog.keeper import READERS_PATIENCE
from ipycron.runlog.last_runs import LastRuns, read_last_runs
from ipycron.runlog.rows import RunOutcome
from ipycron.runlog.settings import find_settings
from ipycron.runlog.store import VANISHED
from ipycron.scheduling.events import ScheduledExecution

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from concurrent.futures import Future

    from ipycron.client.completion import Completion
    from ipycron.client.event_log import EventLog
    from ipycron.client.record import TaskRecord
    from ipycron.process.service.protocol import Declaration
    from ipycron.process.wire.payload import Payload
    from ipycron.process.wire.protocol import Displayed, Streamed
    from ipycron.runlog.begun import Begun
    from ipycron.runlog.rows import TaskRow
    from ipycron.scheduling.events import AttemptBegan, Notice

JOBS = "ipycron.service.jobs"
"""The logger for what jobs log."""

T = TypeVar("T")


class Observer(Protocol):
    """Receives what happens to the tasks, on the client's loop, in order."""

    def see_notice(self, notice: Notice) -> None:
        """Pass an event on."""

    def see_attempt(self, began: AttemptBegan) -> None:
        """Pass on that a queued attempt has begun."""

    def see_output(self, message: Streamed | Displayed, payload: Payload) -> None:
        """Pass on what a run has written or displayed."""

    def see_record(self, record: logging.LogRecord, task_id: str) -> None:
        """Pass on what a job has logged."""

    def see_refusal(
        self, task_id: str, execution_id: str, error: BaseException
    ) -> None:
        """Tell whoever requested a run that there is none."""

    def see_set_back(self) -> None:
        """Pass on that the slots of all tasks are counted anew (C3)."""


class ServiceClient(Client):
    """A client whose tasks others have declared, and are followed by.

    Attributes:
        observer: what it reports to; None before the server is up.
    """

    history: ServiceHistory

    def __init__(self, event_log: EventLog | None = None) -> None:
        super().__init__(event_log)
        self.history = ServiceHistory(self.warn)
        self.observer: Observer | None = None
        self._job_logs = JobLogs(self.defer, logging.getLogger(JOBS))
        self.keeps = False  # it would attach to itself
        self.echo.is_on = False

    def run(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on the loop on which everything happens."""
        return self._get_engine(is_for_worker=True).run(work)

    async def write_history(self) -> None:
        """Return once the rows so far are written, the supervisor's, too.

        If the supervisor is lost meanwhile, so are those that it has not written.
        """
        engine = self._engine
        flushed = None if engine is None else engine.background.flush_history()
        if flushed is not None:
            with contextlib.suppress(SupervisorLost):
                await flushed
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self.history.flush, READERS_PATIENCE)

    def handle_notice(self, notice: Notice) -> None:
        """Update the task, then report to the server."""
        super().handle_notice(notice)
        if self.observer is not None:
            self.observer.see_notice(notice)

    def handle_set_back(self, seconds: float, since: float) -> None:
        """Follow a clock that was set back, then report it."""
        super().handle_set_back(seconds, since)
        if self.observer is not None:
            self.observer.see_set_back()

    def handle_attempt(self, began: AttemptBegan) -> None:
        """Show that a queued attempt has begun, then report it."""
        super().handle_attempt(began)
        if self.observer is not None:
            self.observer.see_attempt(began)

    def handle_output(self, message: Streamed | Displayed, payload: Payload) -> None:
        """Add to the output of a run, then report it."""
        super().handle_output(message, payload)
        if self.observer is not None:
            self.observer.see_output(message, payload)

    def handle_record(self, record: logging.LogRecord, task_id: str) -> None:
        """Write what a job has logged to the service's log; its clients log it, too."""
        if task_id and self.observer is not None:
            self.observer.see_record(record, task_id)
        task = self.tasks.get(task_id)
        if task is not None:
            record.kept_name = task.name  # for `log.LogFormatter`
        super().handle_record(record, task_id)

    def handle_refusal(
        self, task_id: str, execution_id: str, error: BaseException
    ) -> None:
        """Tell whoever requested the run."""
        super().handle_refusal(task_id, execution_id, error)
        if self.observer is not None:
            self.observer.see_refusal(task_id, execution_id, error)


class ServiceHistory(ClientHistory):
    """The history of tasks that were declared elsewhere, and live again and again.

    What an earlier life owes is found out by the server, for each of them.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        super().__init__(warn)
        self._declared: dict[str, TaskRow] = {}

    def expect(self, task: TaskRecord, declaration: Declaration, life: str) -> None:
        """Note what the history is to say of a task; before it is added.

        Args:
            task: the task.
            declaration: as it was made.
            life: names this life of the task, which has had others.
        """
        row = make_life(task)
        before = declaration.register.life
        self._declared[task.id] = msgspec.structs.replace(
            row,
            key=f"{task.id}.{life}",
            origin=declaration.origin,
            code_hash=row.code_hash if before is None else before.code_hash,
        )

    def read_last_runs(
        self, names: Mapping[str, str], limit: int, *, patience: float
    ) -> dict[str, LastRuns]:
        """Return the last runs of tasks by id; see `last_runs.read_last_runs`.

        Without a history there are none. Reads the file: not on the client's loop.

        Raises:
            HistoryError: if there is no place for the history, or it cannot be read.
        """
        file = (self.settings or find_settings()).file
        nothing = dict.fromkeys(names, LastRuns((), {}))
        if file is None:
            return nothing
        return read_last_runs(file, names, limit, patience=patience)

    def find_unwritten(self, task: TaskRecord, begun: list[Begun]) -> list[Begun]:
        """Return the slots that have begun and of which there is no row.

        Reads the file: not on the client's loop.

        Args:
            task: the task.
            begun: notes of it, at least one.
        """
        slots = [each.slot for each in begun]
        try:
            found = self.find_outcomes(task, min(slots), max(slots))
        except HistoryError:
            return []
        if found is None:
            return []
        return [
            each
            for each in begun
            if each.slot >= found.since and int(each.slot) not in found.by_slot
        ]

    def note_unwritten(self, task: TaskRecord, begun: list[Begun]) -> None:
        """Record slots that have begun, and of which nothing more is known."""
        for each in begun:
            run = ScheduledExecution(
                id=each.run_id,
                reason=each.reason,
                date=each.slot,
                started_at=max(each.at, each.slot),
            )
            summary = f"SupervisorLost: {VANISHED}"
            self._keeper.recorder.note_past(task.id, run, RunOutcome.LOST, summary)

    def begin(self, task: TaskRecord) -> TaskRow | None:
        """Record a task from now on; return its life, None if it is not recorded."""
        row = self._declared.pop(task.id, None)
        if row is not None and task.options.history and self.is_kept:
            self._lives[task.id] = row
            self._keeper.recorder.declare(row)
        return super().begin(task)

    def begins_anew(self, task: TaskRecord) -> bool:  # noqa: ARG002 - see the class
        """Return False: its start need not look for an earlier life."""
        return False


async def ended(completion: Completion[Any]) -> None:
    """Return when a completion has ended; raises its error."""
    loop = asyncio.get_running_loop()
    end: asyncio.Future[None] = loop.create_future()

    def settle(completion: Completion[Any]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(_settle, end, completion.exception())

    completion.watch(settle)
    await end


def _settle(end: asyncio.Future[None], error: BaseException | None) -> None:
    if end.done():
        return
    if error is None:
        end.set_result(None)
    else:
        end.set_exception(error)
