"""Log records in a session without logging, and a message at its end.

Where no handler is set up, Python writes warnings to stderr: a notebook shows that
below the cell that ran last. What a task's page or printer shows anyway is not repeated
there, and a job's log records are added to its run's output.
"""

from __future__ import annotations

import atexit
import copy
import logging
import shlex
from typing import TYPE_CHECKING

from ipycron.api import functions as api
from ipycron.client.registry import registry
from ipycron.notebook.display.words import find_shown_run

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from ipycron.notebook.display.task_display import TaskDisplay


class LastResort(logging.Handler):
    """Replaces `logging.lastResort`: ipycron's records go where tasks are shown.

    Args:
        display: where tasks are shown.
        quiet: names of tasks that are not shown.
    """

    def __init__(
        self, display: TaskDisplay, quiet: AbstractSet[str] = frozenset()
    ) -> None:
        super().__init__(logging.WARNING)
        self._display = display
        self._quiet = quiet
        self._former = logging.lastResort

    def install(self) -> None:
        """Install this handler, and report at exit what was still scheduled."""
        logging.lastResort = self
        atexit.register(self.log_scheduled)

    def remove(self) -> None:
        """Restore the previous handler, unless it has been replaced since."""
        if logging.lastResort is self:
            logging.lastResort = self._former
        atexit.unregister(self.log_scheduled)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record where its task is shown; otherwise as Python does."""
        if self._is_shown(record) or self._add_to_output(record):
            return
        former = self._former
        if former is not None and record.levelno >= former.level:
            former.handle(_shorten(record))

    def _is_shown(self, record: logging.LogRecord) -> bool:
        # The attribute of records about a task, see `ipycron.client.announce`.
        name = getattr(record, "ipycron_name", None)
        return name is not None and (name in self._quiet or self._display.has(name))

    def _add_to_output(self, record: logging.LogRecord) -> bool:
        """Add a job's log record to its run's output, if that is shown."""
        task = api.get_tasks().get(getattr(record, "ipycron_task", ""))
        if task is None or not self._display.has(task.name):
            return False
        run = find_shown_run(task)
        if run is None:
            return False
        run.output.write("stderr", f"{self.format(record)}\n".encode(), 0)
        registry.event_log.notify(task.id)
        return True

    @staticmethod
    def log_scheduled() -> None:
        """Log which tasks end with this process (N9)."""
        tasks = api.get_tasks().values()
        left = [task.name for task in tasks if task.is_started and not task.is_kept]
        if left:
            logging.getLogger("ipycron").warning(
                "still scheduled at the end of this session: %s", ", ".join(left)
            )


def _shorten(record: logging.LogRecord) -> logging.LogRecord:
    """Return a task's failure as one line that says how to see its traceback."""
    name = getattr(record, "ipycron_name", None)
    if name is None or record.exc_text is None:
        return record
    short = copy.copy(record)
    short.exc_info = short.exc_text = None
    first, *_ = record.getMessage().splitlines()
    short.msg = f"{first}. %cron show {shlex.quote(name)} has the traceback"
    short.args = None
    return short
