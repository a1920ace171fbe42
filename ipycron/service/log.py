"""The service's log: what happens to it, what goes wrong with tasks, what jobs log."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipycron.process.service.paths import Places

MAX_LOG_BYTES = 4 << 20
"""A larger log is set aside; one older one is kept."""


class LogFormatter(logging.Formatter):
    """Writes a line with the time; of what a job has logged, with the task's name."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's
        """Return the line without a traceback."""
        line = super().formatMessage(record)
        name = getattr(record, "kept_name", None)
        if name is None:
            return line
        said = record.message
        return f"{line.removesuffix(said)}task {name!r}, {record.name}: {said}"


def set_up_log() -> None:
    """Log to stderr: what happens to the service, and what goes wrong with tasks."""
    handler = logging.StreamHandler()
    handler.setFormatter(LogFormatter())
    log = logging.getLogger("ipycron")
    log.addHandler(handler)
    log.propagate = False
    logging.getLogger("ipycron.service").setLevel(logging.INFO)


def turn_log(places: Places) -> None:
    """Set the log aside if this process writes to it, and it is large.

    One older log is kept. Other processes may still write to it.
    """
    try:
        status = os.fstat(2)
        is_log = os.path.samestat(status, places.log.stat())
        if not is_log or status.st_size < MAX_LOG_BYTES:
            return
        places.log.rename(places.log.with_name(f"{places.log.name}.1"))
        write_to_log(places)
    except OSError:
        return


def write_to_log(places: Places) -> None:
    """Have stdout and stderr be the log, for this process and all below it.

    Raises:
        OSError: if it cannot be written.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    log = os.open(places.log, flags, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
