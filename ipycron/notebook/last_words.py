"""Log records in a session without a log, and what is said at its end.

Where no handler is set up, Python writes warnings to stderr: a notebook shows that
below whatever cell ran last. What a task's page or printer shows anyway need not be
written there.
"""

from __future__ import annotations

import atexit
import logging
from typing import TYPE_CHECKING

from ipycron.task import api

if TYPE_CHECKING:
    from ipycron.notebook.present import Stage


class LastResort(logging.Handler):
    """Takes the place of `logging.lastResort`: ipycron's records go to the stage."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(logging.WARNING)
        self._stage = stage
        self._former = logging.lastResort

    def install(self) -> None:
        """Take the place, and say at exit what was scheduled still."""
        logging.lastResort = self
        atexit.register(self.tell_scheduled)

    def remove(self) -> None:
        """Give the place back, if nobody else has taken it since."""
        if logging.lastResort is self:
            logging.lastResort = self._former
        atexit.unregister(self.tell_scheduled)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, unless it is ipycron's and its task is shown."""
        if self._is_shown(record):
            return
        former = self._former
        if former is not None and record.levelno >= former.level:
            former.handle(record)

    def _is_shown(self, record: logging.LogRecord) -> bool:
        if record.name != "ipycron" or not isinstance(record.args, tuple):
            return False
        name = record.args[0] if record.args else None
        return isinstance(name, str) and self._stage.write_log(
            name, record.getMessage()
        )

    @staticmethod
    def tell_scheduled() -> None:
        """Log which tasks end with this process (N9)."""
        left = [task.name for task in api.get_tasks().values() if task.is_started]
        if left:
            logging.getLogger("ipycron").warning(
                "still scheduled at the end of this session: %s", ", ".join(left)
            )
