"""`logging` records of a job, on their way to the client's own handlers."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_SCALARS = (type(None), bool, int, float, str)


class LogForwarder(logging.Handler):
    """A root handler that hands each record, as plain data, to `send`."""

    def __init__(self, send: Callable[[dict[str, Any]], None]) -> None:
        super().__init__()
        self.send = send

    def createLock(self) -> None:  # noqa: N802 - logging's name
        """Do without: `send` has its own, and logging resets each at each fork."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """Send what the filters let through; logging's own wants a lock on 3.13."""
        kept: object = self.filter(record)
        if kept:  # from 3.12 on a filter may give another record
            self.emit(kept if isinstance(kept, logging.LogRecord) else record)
        return bool(kept)

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record; a failure is reported as logging does."""
        try:
            self.send(_describe(record))
        except Exception:  # noqa: BLE001 - logging's own rule for handlers
            self.handleError(record)


# Made in the zygote: a new handler would be 0.1 MB of each worker's own.
_forwarder = LogForwarder(lambda _: None)
_root = logging.getLogger()


def forward_logs(send: Callable[[dict[str, Any]], None], level: int) -> None:
    """Send every record at or above `level` to the client."""
    _forwarder.send = send
    _root.handlers[:] = [_forwarder]
    if _root.level != level:
        _root.setLevel(level)


def rebuild_record(described: dict[str, Any]) -> logging.LogRecord:
    """Return the record in the client; it keeps its name, time, process and text."""
    return logging.makeLogRecord(described)


def _describe(record: logging.LogRecord) -> dict[str, Any]:
    """Return the record's attributes; text for what might not travel.

    Source: as `logging.handlers.QueueHandler.prepare` does it.
    """
    described = {
        name: value if type(value) in _SCALARS else str(value)
        for name, value in record.__dict__.items()
    }
    described["msg"] = record.getMessage()
    described["args"] = None
    described["exc_info"] = None
    if record.exc_info and not record.exc_text:
        formatter = logging.Formatter()
        described["exc_text"] = formatter.formatException(record.exc_info)
    return described
