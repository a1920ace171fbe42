"""Run notebook cells, functions and scripts on a cron schedule, in forked workers.

Importing this package imports the standard library only and starts nothing; the
names below are loaded when they are first used. Editors and type checkers read them in
`__init__.pyi`.
"""

from __future__ import annotations

from ipycron.lazy import make_getattr

__version__ = "0.1.0"

__all__ = [
    "Backfill",
    "Cancel",
    "CatchUp",
    "Completion",
    "CronExpression",
    "CronSyntaxError",
    "Event",
    "Execution",
    "History",
    "IpycronError",
    "Retry",
    "RunOutcome",
    "RunRecord",
    "Snooze",
    "Task",
    "TaskContext",
    "Trigger",
    "Unserializable",
    "any_of",
    "at",
    "create_task",
    "every",
    "get_pools",
    "get_task",
    "get_tasks",
    "history",
    "holidays",
    "load_ipython_extension",
    "off",
    "on",
    "once",
    "panel",
    "parse",
    "purge_history",
    "rrule",
    "schedule",
    "set_executable",
    "set_history",
    "set_logger",
    "set_pool",
    "set_run_coordinator",
    "shutdown",
    "shutdown_async",
    "unload_ipython_extension",
    "validate",
    "validate_detailed",
    "wait",
    "wait_async",
    "why",
]

_HOMES = {
    "ipycron.cron": ("CronExpression", "parse", "validate", "validate_detailed"),
    "ipycron.errors": ("Cancel", "CronSyntaxError", "IpycronError", "Snooze"),
    "ipycron.cron.trigger": ("Trigger",),
    "ipycron.notebook.magic.extension": (
        "load_ipython_extension",
        "unload_ipython_extension",
    ),
    "ipycron.notebook.widgets.overview": ("panel",),
    "ipycron.process.interpreter": ("set_executable",),
    "ipycron.process.wire.outcome": ("Unserializable",),
    "ipycron.runlog.records": ("RunRecord",),
    "ipycron.runlog.rows": ("RunOutcome",),
    "ipycron.scheduling.events": ("Event", "TaskContext"),
    "ipycron.scheduling.policy": ("CatchUp",),
    "ipycron.scheduling.retry": ("Retry",),
    "ipycron.api.functions": (
        "create_task",
        "get_task",
        "get_tasks",
        "off",
        "on",
        "once",
        "schedule",
        "set_echo",
        "set_logger",
        "set_pool",
        "set_run_coordinator",
        "shutdown",
        "shutdown_async",
    ),
    "ipycron.api.history": ("history", "purge_history", "set_history"),
    "ipycron.api.pools": ("get_pools",),
    "ipycron.api.run_list": ("History",),
    "ipycron.client.backfill": ("Backfill",),
    "ipycron.client.completion": ("Completion",),
    "ipycron.client.executions": ("Execution",),
    "ipycron.api.task": ("Task",),
    "ipycron.api.wait": ("wait", "wait_async"),
    "ipycron.api.why": ("why",),
    "ipycron.triggers.holidays": ("holidays",),
    "ipycron.triggers.instants": ("at",),
    "ipycron.triggers.interval": ("every",),
    "ipycron.triggers.rule": ("rrule",),
    "ipycron.triggers.union": ("any_of",),
}


def _advise(name: str) -> str:
    from ipycron.api.counterparts import find_name  # noqa: PLC0415 - errors are rare

    return find_name(name, __all__)


__getattr__ = make_getattr(__name__, _HOMES, _advise)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
