"""What clients see: the tasks when they attach, then what happens to each of them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ipycron.process.service.protocol import AllKnown, FailedTask, Known, StatusReport
from ipycron.process.wire.notices import describe_notice
from ipycron.process.wire.outcome import encode_error
from ipycron.process.wire.payload import Payload, pack_data
from ipycron.process.wire.protocol import (
    Continued,
    Displayed,
    Logged,
    Refused,
    Streamed,
)
from ipycron.scheduling.events import Event, Notice
from ipycron.service.server import MAX_ERROR_BYTES, Server, Visitor
from ipycron.service.tasks import KeptTask, make_gone, read_state, send_outputs

if TYPE_CHECKING:
    from ipycron.scheduling.events import AttemptBegan
    from ipycron.service.client import ServiceClient
    from ipycron.service.kept import KeptTasks
    from ipycron.service.saving import Saver

_UNWANTED = (Event.TASK_STARTED, Event.TASK_STOPPED, Event.TASK_DESTROYED)

_log = logging.getLogger("ipycron.service")


class Reports:
    """Observes the tasks: tells all clients what happens, and has the state saved.

    Args:
        client: runs the tasks, and is observed.
        server: where the clients are.
        tasks: the tasks.
        saver: saves their states.
    """

    def __init__(
        self, client: ServiceClient, server: Server, tasks: KeptTasks, saver: Saver
    ) -> None:
        self._client = client
        self._server = server
        self._tasks = tasks
        self._saver = saver
        self._callers: dict[str, Visitor] = {}

    def note_caller(self, execution_id: str, visitor: Visitor) -> None:
        """Remember who requested a run, in case that it is refused."""
        self._callers[execution_id] = visitor

    # --- tasks ----------------------------------------------------------------------

    def attach(self, visitor: Visitor) -> None:
        """Send all tasks; from here on the client follows what happens."""
        for kept in self._tasks.values():
            known = Known(kept.declaration, read_state(kept), is_initial=True)
            visitor.introduce(known)
            if kept.record is not None:
                send_outputs(visitor, kept.record)
        visitor.introduce(AllKnown())
        visitor.is_live = True

    def show(self, kept: KeptTask) -> None:
        """Tell all clients of a task that is new, or has changed.

        Of one that has ended meanwhile they have been told, and must not be again.
        """
        if self._tasks.get(kept.id) is kept:
            self._server.broadcast(Known(kept.declaration, read_state(kept)))

    def fail(self, kept: KeptTask, error: BaseException) -> None:
        """Log, and tell all clients, that a task could not be started."""
        head = str(error).strip().partition("\n")[0]
        kept.error = f"{type(error).__name__}: {head}"
        _log.error("task %r did not start: %s", kept.name, kept.error)
        self.show(kept)

    def tell_gone(self, kept: KeptTask) -> None:
        """Tell all clients that a task is kept no longer."""
        gone = make_gone(kept.id, self._client.clock.now())
        self._server.broadcast(describe_notice(gone))

    def make_report(self, request_id: int) -> StatusReport:
        """Return the answer to `AskStatus`."""
        tasks = self._tasks.values()
        failed = {kept.name: kept.error for kept in tasks if kept.error}
        failed |= self._tasks.unreadable
        records = [kept.record for kept in tasks if kept.record is not None]
        history = self._client.history
        return StatusReport(
            request_id=request_id,
            greeting=self._server.greeting,
            supervisor=self._client.supervisor_pid,
            tasks=len(tasks) + len(self._tasks.unreadable),
            running=sum(len(record.observed.running) for record in records),
            clients=len(self._server),
            dropped=self._server.dropped,
            disconnected=self._server.disconnected,
            failed=tuple(FailedTask(name=n, reason=why) for n, why in failed.items()),
            history_waiting=history.waiting,
            history_lost=history.lost,
            store_error=self._saver.error,
        )

    # --- what happens ---------------------------------------------------------------

    def see_notice(self, notice: Notice) -> None:
        """Pass an event of a kept task on, and save what it changes."""
        kept = self._tasks.get(notice.task_id)
        run = notice.execution
        if run is not None and notice.event in (
            Event.EXECUTION_FINISHED,
            Event.EXECUTION_FAILED,
        ):
            self._callers.pop(run.id, None)
        if kept is None:
            return  # it is not kept yet, or no longer
        if (self._tasks.is_ending or kept.is_replaced) and notice.event in _UNWANTED:
            return  # with the service, or for another one: by nobody's wish
        self._server.broadcast(describe_notice(notice), _encode(notice))
        if notice.event is Event.TASK_DESTROYED:
            del self._tasks[notice.task_id]
            self._saver.remove_soon(notice.task_id)
            return
        self._note_event(kept, notice)
        self.note_state(kept)

    def _note_event(self, kept: KeptTask, notice: Notice) -> None:
        if notice.event in (Event.TASK_STARTED, Event.TASK_RESTARTED):
            kept.error = ""
            self._saver.change(kept, is_started=True, error="")
        elif notice.event is Event.TASK_STOPPED:
            self._saver.change(kept, is_started=False)
        elif notice.event is Event.TASK_FAILED:
            kept.error = "" if notice.outcome is None else notice.outcome.summary
            self._saver.change(kept, is_started=False, error=kept.error)

    def note_state(self, kept: KeptTask) -> None:
        """Have the pause and the runs left saved, if they have changed."""
        assert kept.record is not None
        observed = kept.record.observed
        self._saver.change(kept, pause=observed.pause, runs_left=observed.runs_left)

    def see_set_back(self) -> None:
        """Tell all clients what is known of the tasks, now that the clock is right."""
        for kept in self._tasks.values():
            if kept.record is not None:
                self.note_state(kept)
            self.show(kept)

    def see_attempt(self, began: AttemptBegan) -> None:
        """Pass on that a queued attempt has begun."""
        if began.task_id in self._tasks:
            self._server.broadcast(
                Continued(began.task_id, began.status, began.execution)
            )

    def see_output(self, message: Streamed | Displayed, payload: Payload) -> None:
        """Pass on what a run has written or displayed."""
        if message.task_id in self._tasks:
            self._server.broadcast(message, payload)

    def see_record(self, record: logging.LogRecord, task_id: str) -> None:
        """Pass on what a job has logged."""
        if task_id in self._tasks:
            self._server.broadcast(Logged(task_id, ""), pack_data(record.__dict__))

    def see_refusal(
        self, task_id: str, execution_id: str, error: BaseException
    ) -> None:
        """Tell whoever requested a run that there is none."""
        visitor = self._callers.pop(execution_id, None)
        if visitor is not None:
            payload, _ = encode_error(error, MAX_ERROR_BYTES, str(error))
            visitor.send(Refused(task_id, execution_id), payload)


def _encode(notice: Notice) -> Payload:
    """Return what travels beside a notice: a result, or an error."""
    value = None if notice.outcome is None else notice.outcome.value
    if isinstance(value, Payload):
        return value
    if isinstance(value, BaseException):
        return encode_error(value, MAX_ERROR_BYTES, str(value))[0]
    return Payload()
