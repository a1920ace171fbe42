"""Passes log records of jobs to the handlers of this process."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipycron.client.record import TaskRecord

MAX_ONCE = 1000
"""Different records that are handled once only; beyond it, repetitions are too."""

MAX_WAITING = 2000
"""Records that may wait for the handlers. A job that logs in a loop is faster than a
file; the newest records beyond this are dropped and counted."""


class JobLogs:
    """Passes records to the handlers, off the client's loop.

    Args:
        defer: calls a function soon, in order, on a thread that may block.
        logger: handles every record, whatever its level; None: the logger of its name
            does, as in the process that made it.
    """

    def __init__(
        self,
        defer: Callable[[Callable[[], object]], None],
        logger: logging.Logger | None = None,
    ) -> None:
        self._defer = defer
        self._logger = logger
        # Each counter is written by one thread: the loop's, or the one of `defer`.
        self._taken = 0
        self._handled = 0
        self._dropped = 0
        self._reported = 0
        self._once: set[str] = set()

    def submit(self, record: logging.LogRecord, task: TaskRecord | None) -> None:
        """Pass on a record soon. Called on the client's loop."""
        if self._is_repeated(record):
            return
        if self._taken - self._handled >= MAX_WAITING:
            self._dropped += 1
            return
        self._taken += 1
        self._defer(partial(self._handle, record, task))

    def _is_repeated(self, record: logging.LogRecord) -> bool:
        """Return whether a record that every new worker makes was received before."""
        key = getattr(record, "ipycron_once", None)
        if key is None or len(self._once) >= MAX_ONCE:
            return False
        is_repeated = key in self._once
        self._once.add(key)
        return is_repeated

    def _handle(self, record: logging.LogRecord, task: TaskRecord | None) -> None:
        try:
            logger = logging.getLogger(record.name)
            if task is not None:
                # For handlers that tell tasks apart, such as a notebook's.
                record.ipycron_task = task.id
                if record.name == "ipycron":
                    logger = task.logger
            if self._logger is not None:
                self._logger.handle(record)
            elif logger.isEnabledFor(record.levelno):
                logger.handle(record)
        finally:
            self._handled += 1
        if self._handled == self._taken:
            self._report_dropped()

    def _report_dropped(self) -> None:
        dropped, self._reported = self._dropped - self._reported, self._dropped
        if dropped > 0:
            logging.getLogger("ipycron").warning(
                "%d log records of tasks were dropped: they arrived too fast", dropped
            )
