"""A task's state as its scheduler tells it, kept in the client.

The scheduler may be in another process; nothing here is guessed. Written on the
client's loop, read anywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipycron.process.protocol import Displayed
from ipycron.scheduling.events import Event, Notice, Status
from ipycron.scheduling.events import Execution as ScheduledExecution
from ipycron.task.execution import Execution
from ipycron.task.history import History

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import tzinfo

    from ipycron.process.payload import Payload
    from ipycron.process.protocol import Streamed
    from ipycron.scheduling.events import Outcome

ENDS = (Event.EXECUTION_FINISHED, Event.EXECUTION_FAILED)
"""The events that close a run."""
_EARLY = 100  # pieces of output that wait for the first run


class Mirror:
    """Where a task stands, what runs, what ran last.

    Args:
        task_id: whose state it is.
        zone: the zone of the instants shown.
        runs_left: the limit of scheduled runs, None without one.
        defer: calls a function soon, off the client's loop.
    """

    def __init__(
        self,
        task_id: str,
        *,
        zone: tzinfo,
        runs_left: int | None,
        defer: Callable[[Callable[[], object]], None],
    ) -> None:
        self._task_id = task_id
        self._zone = zone
        self._defer = defer
        self._running: dict[str, Execution] = {}
        self._early: list[tuple[Streamed | Displayed, Payload]] = []
        self.status = Status.STOPPED
        self.runs_left = runs_left
        self.last_run: Execution | None = None
        self.history = History()

    @property
    def running(self) -> tuple[Execution, ...]:
        """The runs in progress, oldest first; a snapshot."""
        return tuple(self._running.copy().values())

    def follow(self, notice: Notice) -> Execution | None:
        """Follow an event; return the run it is about."""
        self.status = notice.status
        self.runs_left = notice.runs_left
        self.history.count(notice)
        scheduled = notice.execution
        if scheduled is None:
            return None
        execution = self._running.get(scheduled.id)
        if execution is None:
            execution = Execution(scheduled, self._zone)
        if notice.event is Event.EXECUTION_STARTED:
            self._open(execution)
        elif notice.event in ENDS:
            assert notice.outcome is not None
            self._close(execution, scheduled, notice.outcome)
        return execution

    def _open(self, execution: Execution) -> None:
        self._running[execution.id] = execution
        early, self._early = self._early, []
        for message, payload in early:
            _add_output(execution, message, payload)

    def _close(
        self, execution: Execution, scheduled: ScheduledExecution, outcome: Outcome
    ) -> None:
        execution.finish(scheduled, outcome)
        self.last_run = execution
        run = self.history.add(execution, outcome)
        # Last: whoever looks meanwhile finds the run in one place or in both.
        self._running.pop(scheduled.id, None)
        if not run.is_ok:
            # The traceback's text in place of the error, soon and elsewhere.
            self._defer(lambda: run.traceback_text)

    def take_output(self, message: Streamed | Displayed, payload: Payload) -> None:
        """Add to the run that made it; late words go to the last run."""
        execution = self._running.get(message.execution_id)
        last = self.last_run
        if execution is None and last is not None and last.id == message.execution_id:
            execution = last
        if execution is None:
            # What a file prints while it loads is seen with its first run.
            self._early = [*self._early[1 - _EARLY :], (message, payload)]
            return
        _add_output(execution, message, payload)

    # --- what no scheduler tells any more ---------------------------------------------

    def describe_lost_runs(self, now: float, outcome: Outcome) -> list[Notice]:
        """Return the ends of all runs in progress, which nobody else will report."""
        return [
            Notice(
                event=Event.EXECUTION_FAILED,
                task_id=self._task_id,
                status=Status.IDLE,
                date=execution.date.timestamp(),
                triggered_at=now,
                execution=_describe_end(execution, now),
                outcome=outcome,
                runs_left=self.runs_left,
            )
            for execution in self.running
        ]

    def describe_change(
        self, event: Event, status: Status, now: float, outcome: Outcome | None = None
    ) -> Notice:
        """Return the notice of an event of the task itself."""
        return Notice(
            event=event,
            task_id=self._task_id,
            status=status,
            date=now,
            triggered_at=now,
            outcome=outcome,
            runs_left=self.runs_left,
        )


def _add_output(
    execution: Execution, message: Streamed | Displayed, payload: Payload
) -> None:
    if isinstance(message, Displayed):
        execution.output.display(payload)
    else:
        execution.output.write(message.stream, bytes(payload.open()), message.dropped)


def _describe_end(execution: Execution, now: float) -> ScheduledExecution:
    started_at = execution.started_at
    return ScheduledExecution(
        id=execution.id,
        reason=execution.reason,
        date=execution.date.timestamp(),
        started_at=None if started_at is None else started_at.timestamp(),
        finished_at=now,
        pid=execution.pid,
    )
