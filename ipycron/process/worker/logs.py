"""Forwards the `logging` records of a job to the client's own handlers."""

from __future__ import annotations

import functools
import logging
import sys
from typing import TYPE_CHECKING, Any

from ipycron.process.wire.printable import keep_colours

if TYPE_CHECKING:
    from collections.abc import Callable

LoggerState = tuple[int, bool, bool, tuple[logging.Handler, ...]]
_SHOWN = ("msg", "exc_text", "stack_info", "name", "levelname", "threadName")
"""Attributes that handlers print: a job's may hold control sequences."""
_SCALARS = (type(None), bool, int, float, str)


class LogForwarder(logging.Handler):
    """A root handler that passes each record, as plain data, to `send`."""

    def __init__(self, send: Callable[[dict[str, Any]], None]) -> None:
        super().__init__()
        self.send = send

    def createLock(self) -> None:  # noqa: N802 - logging's name
        """Create no lock: `send` has one, and logging resets its locks at each fork."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """Send what passes the filters; logging's own method needs a lock on 3.13."""
        kept: object = self.filter(record)
        if kept:  # from 3.12 on a filter may return another record
            self.emit(kept if isinstance(kept, logging.LogRecord) else record)
        return bool(kept)

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record; a failure is reported as logging does."""
        try:
            self.send(_describe(record))
        except Exception:  # noqa: BLE001 - logging's own rule for handlers
            self.handleError(record)


# All of these are created and installed in the zygote: a worker that changed the class
# of all loggers itself would write 0.1 MB.
_forwarder = LogForwarder(lambda _: None)
_silence = logging.NullHandler()
"""Keeps unconfigured logging of a job from printing: records are forwarded."""
_root = logging.getLogger()
_originals = {
    name: getattr(logging.Logger, name)
    for name in ("callHandlers", "setLevel", "addHandler", "removeHandler")
}
_configure = logging.basicConfig
_changed: dict[logging.Logger, LoggerState] = {}
"""The state of loggers below the root before they were changed, since a `LoggingState`
was created."""


def forward_logs(send: Callable[[dict[str, Any]], None], level: int) -> None:
    """Send every record at or above `level` to the client.

    Not with a handler: jobs configure logging as they like and may remove handlers.
    """
    _forwarder.send = send
    if logging.Logger.callHandlers is not _call_and_forward:
        _take_over()
    _root.handlers[:] = [_silence]
    if _root.level != level:
        _root.setLevel(level)


def stop_forwarding() -> None:
    """Send no more records."""
    _forwarder.send = _ignore
    _root.removeHandler(_silence)


def _ignore(_: dict[str, Any]) -> None:
    pass


def _take_over() -> None:
    """Make loggers forward what they handle, and record their original state."""
    logging.Logger.callHandlers = _call_and_forward  # type: ignore[method-assign]
    for name in _originals.keys() - {"callHandlers"}:
        setattr(logging.Logger, name, _note_before(_originals[name]))
    logging.basicConfig = configure_beside([_silence])


def configure_beside(handlers: list[logging.Handler]) -> Callable[..., None]:
    """Return a `logging.basicConfig` for jobs that ignores our handlers.

    They do not count as existing configuration, and ``force=True`` keeps them.
    """

    @functools.wraps(_configure)
    def configure(**options: Any) -> None:
        ours = [handler for handler in _root.handlers if handler in handlers]
        _root.handlers[:] = [h for h in _root.handlers if h not in handlers]
        try:
            _configure(**options)
        finally:
            _root.handlers[:0] = ours

    return configure


def _call_and_forward(self: logging.Logger, record: logging.LogRecord) -> None:
    """Do what `Logger.callHandlers` does, and forward what reaches the root logger."""
    _originals["callHandlers"](self, record)
    logger: logging.Logger | None = self
    while logger is not None and logger is not _root:
        if not logger.propagate:
            return
        logger = logger.parent
    _forwarder.handle(record)


def _note_before(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method of `Logger` that first records the logger's state."""

    @functools.wraps(method)
    def change(self: logging.Logger, *arguments: Any) -> Any:
        if self is not _root and self not in _changed:
            _changed[self] = _describe_logger(self)
        return method(self, *arguments)

    return change


class LoggingState:
    """The levels and handlers of all loggers when this object is created.

    There is one at a time, for the one job of a worker: a new one replaces it.
    """

    __slots__ = ("_disabled", "_modules", "_root")

    def __init__(self) -> None:
        _changed.clear()
        self._modules = len(sys.modules)
        self._disabled = _root.manager.disable
        self._root = _describe_logger(_root)

    def restore(self) -> None:
        """Put back what has changed.

        The logger of a module imported in the meantime is left alone: the module will
        not be imported again.
        """
        if _root.manager.disable != self._disabled:
            _root.manager.disable = self._disabled
        _restore_logger(_root, self._root)
        if _changed:
            imported = set(list(sys.modules)[self._modules :])
            for logger, state in _changed.items():
                if logger.name.partition(".")[0] not in imported:
                    _restore_logger(logger, state)


def _describe_logger(logger: logging.Logger) -> LoggerState:
    return logger.level, logger.propagate, logger.disabled, tuple(logger.handlers)


def _restore_logger(logger: logging.Logger, state: LoggerState) -> None:
    if _describe_logger(logger) != state:
        level, logger.propagate, logger.disabled, handlers = state
        logger.handlers[:] = handlers
        _originals["setLevel"](logger, level)


def rebuild_record(described: dict[str, Any]) -> logging.LogRecord:
    """Rebuild a record in the client, with its name, time, process and text."""
    for name in _SHOWN:
        if isinstance(described.get(name), str):
            described[name] = keep_colours(described[name])
    return logging.makeLogRecord(described)


def _describe(record: logging.LogRecord) -> dict[str, Any]:
    """Return the record's attributes, as text if they might not travel.

    Source: `logging.handlers.QueueHandler.prepare`.
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
