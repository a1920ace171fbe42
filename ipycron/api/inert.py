"""Tasks that never run: what `schedule()` returns while a job's code is imported."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ipycron.api.task import Task
from ipycron.client.client import Client
from ipycron.client.jobs import Inline
from ipycron.client.record import TaskRecord
from ipycron.errors import NestedSchedule
from ipycron.process.nesting import MARK, find_caller, find_new_caller

if TYPE_CHECKING:
    from ipycron.client.options import TaskOptions
    from ipycron.cron.trigger import Trigger

_log = logging.getLogger("ipycron")


class InertClient(Client):
    """A client that starts nothing: its tasks stay stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.is_closed = True
        place = find_caller()
        self._error = NestedSchedule(file=place.file, line=place.line, mark=MARK)

    def make_over_error(self, task: TaskRecord) -> BaseException:  # noqa: ARG002
        """Return why a task cannot run; see `Client.make_over_error`."""
        return self._error


def make_inert_task(expression: Trigger, options: TaskOptions, task_id: str) -> Task:
    """Return a task that is stopped for good and not registered, and log why.

    Each line that schedules is logged once. `start()` and `stop()` do nothing,
    `execute()` fails with `NestedSchedule`.
    """
    _report(options.name)
    source = Inline(function=_never, wants_context=False, loop=None, label="job")
    client = InertClient()
    return Task(TaskRecord(client, expression, source, options, task_id=task_id))


def _never() -> None:
    """Placeholder for a job that was not examined."""


def _report(name: str | None) -> None:
    place = find_new_caller()
    if place is None:
        return
    _log.warning(
        "%s, line %d: task %s was not scheduled. A process that runs jobs has only "
        "imported this module, and nothing is scheduled there. Call schedule() under "
        'if __name__ == "__main__":, or in a function that only the main program '
        "calls.",
        place.file,
        place.line,
        "without a name" if name is None else repr(name),
        extra={"ipycron_once": f"{place.file}:{place.line}"},
    )
