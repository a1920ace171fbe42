"""Names in other schedulers (APScheduler, schedule, node-cron) and their counterparts.

Loaded only to build the text of an error.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING

from ipycron.errors import suggest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_AT_ONCE = "Nothing needs to be called: a started task runs by itself"
_NO_DECORATOR = "schedule(expression, function) is a call, not a decorator"
_SCHEDULER = "There is no scheduler to create: schedule(expression, job) starts a task"

NAMES: Mapping[str, str] = MappingProxyType(
    {
        "add_job": "Use schedule(expression, job, name=…).",
        "add_listener": "Use on(event, listener).",
        "async_io_scheduler": f"{_SCHEDULER}.",
        "asyncio_scheduler": f"{_SCHEDULER}.",
        "background_scheduler": f"{_SCHEDULER}.",
        "blocking_scheduler": f"{_SCHEDULER}, and wait() blocks.",
        "cancel_job": "Use get_task(name).destroy(); a job cannot end its task by what "
        "it returns.",
        "clear": "Use shutdown(), or destroy() on each of get_tasks().",
        "cron_trigger": "Use CronExpression(text), or the text itself.",
        "calendar_interval_trigger": "Use CronExpression(text), or rrule(text).",
        "date_trigger": "Use at(instant).",
        "get_job": "Use get_task(name).",
        "get_jobs": "Use get_tasks().",
        "idle_seconds": "Use seconds_to_next of each of get_tasks().",
        "interval_trigger": "Use every(interval).",
        "modify_job": "Use schedule() with the same name: it replaces the task.",
        "next_run": "Use next_run of each of get_tasks().",
        "or_trigger": "Use any_of(one, other).",
        "pause": "Use pause() on each of get_tasks().",
        "pause_job": "Use get_task(name).pause().",
        "print_jobs": "Use get_tasks(), in a notebook %cron or panel().",
        "remove_all_jobs": "Use shutdown(), or destroy() on each of get_tasks().",
        "remove_job": "Use get_task(name).destroy().",
        "remove_listener": "Use off(event, listener).",
        "repeat": f"{_NO_DECORATOR}.",
        "reschedule_job": "Use get_task(name).reschedule(expression).",
        "resume": "Use resume() on each of get_tasks().",
        "resume_job": "Use get_task(name).resume().",
        "run_all": "Use execute() on each of get_tasks().",
        "run_pending": f"{_AT_ONCE}. wait() keeps a script running.",
        "scheduled_job": f"{_NO_DECORATOR}.",
        "scheduled_task": "Use Task.",
        "scheduler": f"{_SCHEDULER}.",
        "start": f"{_AT_ONCE}.",
        "stop": "Use shutdown(), or stop() on each of get_tasks().",
        "validate_expression": "Use validate(expression).",
    }
)
"""Counterparts of module-level names, in snake case."""

TASK_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "at": "The time is a part of the expression.",
        "cancel": "Use destroy().",
        "do": "The job is given to schedule().",
        "func": "Use source.",
        "get_name": "Use name.",
        "get_next_match": "Use next_run.",
        "get_next_run": "Use next_run.",
        "get_next_runs": "Use next_runs(count).",
        "get_pattern": "Use pattern.",
        "get_status": "Use status.",
        "interval": "Use expression.",
        "is_running": "Use is_busy.",
        "job_func": "Use source.",
        "kwargs": "Use options.",
        "modify": "Use schedule() with the same name: it replaces the task.",
        "ms_to_next": "Use seconds_to_next.",
        "next_run_time": "Use next_run.",
        "now": "Use execute().",
        "on_complete": 'Use on("execution:finished", listener).',
        "pending": "Use is_started.",
        "remove": "Use destroy().",
        "remove_listener": "Use off(event, listener).",
        "run": "Use execute().",
        "tag": "Tasks have a name; tags have no counterpart.",
        "trigger": "Use expression.",
        "until": "Use options.",
        "update": "Use schedule() with the same name: it replaces the task.",
    }
)
"""Counterparts of attributes of jobs and tasks, in snake case."""


def to_snake_case(name: str) -> str:
    """Return a name in snake case."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.replace("-", "_")).lower()


def find_name(
    name: str, known: Iterable[str], elsewhere: Mapping[str, str] = NAMES
) -> str:
    """Return the counterpart of a name that does not exist, after a space."""
    known = list(known)
    plain = to_snake_case(name)
    if plain in known:
        return f" Here it is called {plain!r}."
    if plain in elsewhere:
        return f" {elsewhere[plain]}"
    return suggest(name, known)
