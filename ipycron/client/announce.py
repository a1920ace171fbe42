"""What is logged about tasks, and at which level (L1, L3)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ipycron.scheduling.events import Event

if TYPE_CHECKING:
    from ipycron.api.task import Task
    from ipycron.scheduling.context import TaskContext
    from ipycron.scheduling.events import Notice


_QUIET = {
    Event.TASK_STARTED,
    Event.TASK_STOPPED,
    Event.TASK_DESTROYED,
    Event.EXECUTION_STARTED,
    Event.EXECUTION_FINISHED,
    Event.EXECUTION_MAX_REACHED,
}
"""Events that make a debug record at most."""


def is_logged(task: Task, notice: Notice) -> bool:
    """Return whether `log_event` may have something to say."""
    return notice.event not in _QUIET or task.logger.isEnabledFor(logging.DEBUG)


def log_event(task: Task, notice: Notice, context: TaskContext) -> None:
    """Write the line that an event deserves, if any."""
    logger = task.logger
    match notice.event:
        case Event.EXECUTION_MISSED:
            is_heard = task.listeners.has_named(notice.event)
            if not is_heard and not task.options.suppress_missed_warning:
                _log_missed(task, logger, context)
        case Event.EXECUTION_OVERLAP if task.options.no_overlap:
            logger.warning(
                "task %r: skipped %s, the run before is not over",
                task.name,
                context.date_local_iso,
            )
        case Event.TASK_RESTARTED:
            logger.warning(
                "task %r: the worker died and was replaced: %s",
                task.name,
                context.error,
            )
        case Event.EXECUTION_FAILED if context.execution.reason == "scheduled":
            # A manual run's failure is its caller's to hear (Completion).
            _log_error(task, logger, "a run failed", context.error)
        case Event.TASK_FAILED:
            _log_error(task, logger, "stopped for good", context.error)
        case Event.EXECUTION_SKIPPED if notice.reason == "coordinator-error":
            _log_error(task, logger, "not run, the coordinator failed", context.error)
        case _:
            logger.debug("task %r: %s", task.name, notice.event)


def _log_missed(task: Task, logger: logging.Logger, context: TaskContext) -> None:
    count = context.missed_count or 1
    if count > 1:
        logger.warning(
            "task %r: missed %d executions, the last at %s",
            task.name,
            count,
            context.date_local_iso,
        )
    else:
        logger.warning(
            "task %r: missed the execution at %s", task.name, context.date_local_iso
        )


def _log_error(
    task: Task, logger: logging.Logger, what: str, error: BaseException | None
) -> None:
    logger.error(
        "task %r: %s: %s: %s",
        task.name,
        what,
        type(error).__name__,
        error,
        exc_info=error,
    )
