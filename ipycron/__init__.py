"""Run notebook cells, functions and scripts on a cron schedule, in forked workers.

Importing this package imports the standard library only and starts nothing; the
names below are loaded when they are first used.
"""

from __future__ import annotations

from ipycron.lazy import make_getattr

TYPE_CHECKING = False  # typing's costs three times as much as all of this
if TYPE_CHECKING:
    from ipycron.cron import CronExpression, parse, validate, validate_detailed
    from ipycron.errors import CronSyntaxError, IpycronError
    from ipycron.notebook.extension import (
        load_ipython_extension,
        unload_ipython_extension,
    )
    from ipycron.notebook.overview import panel
    from ipycron.process.outcome import Unserializable
    from ipycron.scheduling.context import TaskContext
    from ipycron.scheduling.events import Event
    from ipycron.task.api import (
        create_task,
        get_task,
        get_tasks,
        off,
        on,
        once,
        schedule,
        set_logger,
        set_run_coordinator,
        shutdown,
    )
    from ipycron.task.completion import Completion
    from ipycron.task.execution import Execution
    from ipycron.task.task import Task
    from ipycron.task.waiting import wait

__version__ = "0.1.0"

__all__ = [
    "Completion",
    "CronExpression",
    "CronSyntaxError",
    "Event",
    "Execution",
    "IpycronError",
    "Task",
    "TaskContext",
    "Unserializable",
    "create_task",
    "get_task",
    "get_tasks",
    "load_ipython_extension",
    "off",
    "on",
    "once",
    "panel",
    "parse",
    "schedule",
    "set_logger",
    "set_run_coordinator",
    "shutdown",
    "unload_ipython_extension",
    "validate",
    "validate_detailed",
    "wait",
]

_HOMES = {
    "ipycron.cron": ("CronExpression", "parse", "validate", "validate_detailed"),
    "ipycron.errors": ("CronSyntaxError", "IpycronError"),
    "ipycron.notebook.extension": (
        "load_ipython_extension",
        "unload_ipython_extension",
    ),
    "ipycron.notebook.overview": ("panel",),
    "ipycron.process.outcome": ("Unserializable",),
    "ipycron.scheduling.context": ("TaskContext",),
    "ipycron.scheduling.events": ("Event",),
    "ipycron.task.api": (
        "create_task",
        "get_task",
        "get_tasks",
        "off",
        "on",
        "once",
        "schedule",
        "set_logger",
        "set_run_coordinator",
        "shutdown",
    ),
    "ipycron.task.completion": ("Completion",),
    "ipycron.task.execution": ("Execution",),
    "ipycron.task.task": ("Task",),
    "ipycron.task.waiting": ("wait",),
}
__getattr__ = make_getattr(__name__, _HOMES)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
