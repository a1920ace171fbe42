from ipycron.api.functions import create_task as create_task
from ipycron.api.functions import get_task as get_task
from ipycron.api.functions import get_tasks as get_tasks
from ipycron.api.functions import off as off
from ipycron.api.functions import on as on
from ipycron.api.functions import once as once
from ipycron.api.functions import schedule as schedule
from ipycron.api.functions import set_logger as set_logger
from ipycron.api.functions import set_pool as set_pool
from ipycron.api.functions import set_run_coordinator as set_run_coordinator
from ipycron.api.functions import shutdown as shutdown
from ipycron.api.functions import shutdown_async as shutdown_async
from ipycron.api.history import history as history
from ipycron.api.history import purge_history as purge_history
from ipycron.api.history import set_history as set_history
from ipycron.api.pools import get_pools as get_pools
from ipycron.api.run_list import History as History
from ipycron.api.task import Task as Task
from ipycron.api.wait import wait as wait
from ipycron.api.wait import wait_async as wait_async
from ipycron.api.why import why as why
from ipycron.client.backfill import Backfill as Backfill
from ipycron.client.completion import Completion as Completion
from ipycron.client.executions import Execution as Execution
from ipycron.cron import CronExpression as CronExpression
from ipycron.cron import parse as parse
from ipycron.cron import validate as validate
from ipycron.cron import validate_detailed as validate_detailed
from ipycron.cron.trigger import Trigger as Trigger
from ipycron.errors import Cancel as Cancel
from ipycron.errors import CronSyntaxError as CronSyntaxError
from ipycron.errors import IpycronError as IpycronError
from ipycron.errors import Snooze as Snooze
from ipycron.notebook.magic.extension import (
    load_ipython_extension as load_ipython_extension,
)
from ipycron.notebook.magic.extension import (
    unload_ipython_extension as unload_ipython_extension,
)
from ipycron.notebook.widgets.overview import panel as panel
from ipycron.process.interpreter import set_executable as set_executable
from ipycron.process.wire.outcome import Unserializable as Unserializable
from ipycron.runlog.records import RunRecord as RunRecord
from ipycron.runlog.rows import RunOutcome as RunOutcome
from ipycron.scheduling.events import Event as Event
from ipycron.scheduling.events import TaskContext as TaskContext
from ipycron.scheduling.policy import CatchUp as CatchUp
from ipycron.scheduling.retry import Retry as Retry
from ipycron.triggers.holidays import holidays as holidays
from ipycron.triggers.instants import at as at
from ipycron.triggers.interval import every as every
from ipycron.triggers.rule import rrule as rrule
from ipycron.triggers.union import any_of as any_of

__version__: str

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
