"""How an event reaches listeners and logs: on the dispatcher's thread."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ipycron.client.announce import log_event
from ipycron.client.executions import hold_value, read_value
from ipycron.scheduling.context import TaskContext, to_datetime

if TYPE_CHECKING:
    from ipycron.api.task import Task
    from ipycron.client.client import Client
    from ipycron.client.executions import Execution
    from ipycron.scheduling.events import Notice


def announce(
    client: Client, task: Task, notice: Notice, execution: Execution | None
) -> None:
    """Write the line that an event deserves, and call who listens to it."""
    outcome = notice.outcome
    error = None
    if outcome is not None and not outcome.is_ok:
        error = read_value(hold_value(outcome))
    zone = task.expression.timezone
    context = TaskContext(
        date=to_datetime(notice.date, zone),
        triggered_at=to_datetime(notice.triggered_at, zone),
        task=task,
        execution=execution,
        reason=notice.reason,
        error=error,
        missed_count=notice.missed_count,
        event=str(notice.event),
    )
    log_event(task, notice, context)
    for listeners in (task.listeners, client.listeners):
        for listener in listeners.take(notice.event):
            client.dispatcher.call(partial(listener, context))
