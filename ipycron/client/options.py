"""The options of a task, declared once for the API, the magics and the command line."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import inspect
import logging
import os
import re
import sys
from dataclasses import dataclass, fields
from datetime import UTC, datetime, tzinfo
from functools import partial
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, get_args

from ipycron.coordinate.protocol import check_coordinator
from ipycron.errors import InvalidOption, UnknownOption, describe_value
from ipycron.process.wire.protocol import LauncherName
from ipycron.process.worker.job import is_generator_function, takes_context
from ipycron.scheduling.checks import (
    OptionKind,
    check_flag,
    check_optional_deadline,
    check_options,
    check_text,
    check_whole,
    option,
)
from ipycron.scheduling.policy import (
    CatchUp,
    Policy,
    check_catch_up_limit,
    check_catch_up_mode,
)
from ipycron.scheduling.retry import Retry, check_number, check_on, check_wait
from ipycron.triggers.exclude import check_exclude
from ipycron.triggers.instants import read_instant

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


IF_EXISTS = ("replace", "keep", "error")


def _check_timezone(name: str, value: Any) -> Any:
    if value is None or isinstance(value, str | tzinfo):
        return value
    raise InvalidOption(
        option=name, value=value, expected="an IANA name, a tzinfo, or None"
    )


def _check_bound(name: str, value: Any) -> Any:
    """Accept an instant; its zone is applied once the expression is known."""
    if value is None:
        return None
    advice = "create_task() leaves a task stopped." if value is False else ""
    read_instant(name, value, UTC, advice=advice)
    return value


def _is_native(text: Any) -> bool:
    """Return whether the system can represent this text: as a C string, in bytes."""
    if not isinstance(text, str) or "\0" in text:
        return False
    try:
        os.fsencode(text)
    except UnicodeEncodeError:  # a lone surrogate that represents no byte
        return False
    return True


def _check_args(name: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, list | tuple) and all(map(_is_native, value)):
        return tuple(value)
    raise InvalidOption(option=name, value=value, expected="a list of str")


def _check_env(name: str, value: Any) -> dict[str, str] | None:
    if value is None:
        return None
    try:
        items = dict(value)
        if all(_is_native(text) for pair in items.items() for text in pair):
            return items
    except (TypeError, ValueError):
        pass
    raise InvalidOption(option=name, value=value, expected="a dict of str to str")


def _check_cwd(name: str, value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, str | os.PathLike) and os.path.isdir(value):  # noqa: PTH112
        return os.path.abspath(value)  # noqa: PTH100 - keeps symbolic links
    raise InvalidOption(option=name, value=value, expected="an existing folder")


def _check_choice(choices: Sequence[str]) -> Any:
    def check(name: str, value: Any) -> str | None:
        if value is not None and value not in choices:
            listed = ", ".join(map(repr, choices))
            raise InvalidOption(option=name, value=value, expected=f"one of {listed}")
        return value  # type: ignore[no-any-return]

    return check


def check_logger(name: str, value: Any) -> logging.Logger | None:
    """Accept a logger, or None for the default."""
    if value is None or isinstance(value, logging.Logger):
        return value
    raise InvalidOption(option=name, value=value, expected="a logging.Logger, or None")


def _check_size(name: str, value: Any) -> int:
    return check_whole(name, value, 1, "a number of bytes ≥ 1")


def _check_optional_flag(name: str, value: Any) -> bool | None:
    return None if value is None else check_flag(name, value)


def _check_run_coordinator(name: str, value: Any) -> Any:  # noqa: ARG001 - a check
    return None if value is None else check_coordinator(value)


def _check_any(name: str, value: Any) -> Any:  # noqa: ARG001 - the shape of a check
    return value


def check_worker_init(name: str, value: Any) -> Any:
    """Accept a function that requires nothing and runs when it is called, or None."""
    if value is None:
        return None
    never_runs = inspect.iscoroutinefunction(value) or is_generator_function(value)
    if callable(value) and not never_runs:
        with contextlib.suppress(TypeError):  # it requires several
            if not takes_context(value):
                return value
    raise InvalidOption(
        option=name,
        value=value,
        expected="a function without required parameters; no coroutine function",
    )


def check_executor(name: str, value: Any) -> Any:
    """Accept an executor, a Dask client, a function that makes one, or None."""
    if value is None or isinstance(value, concurrent.futures.Executor):
        return value
    if "distributed" in sys.modules:
        from ipycron.executors.pools import find_client  # noqa: PLC0415 - asyncio

        if find_client(value) is not None:
            return value
    if isinstance(value, FunctionType | MethodType | partial):
        return value
    raise InvalidOption(
        option=name,
        value=value,
        expected="a concurrent.futures.Executor or a distributed.Client",
        advice=_advise(value),
    )


def _advise(value: Any) -> str:
    if isinstance(value, type):
        return "Make an object of this class first."
    if callable(getattr(value, "get_client", None)):
        return "distributed.Client(cluster) makes one from a Dask cluster."
    if callable(getattr(value, "executor", None)):
        return "Pass what its method executor() returns."
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions(Policy):
    """All options of a task, apart from its expression and its job."""

    name: str | None = option(
        None, check_text, "label; by default the id", kind=OptionKind.TEXT
    )
    timezone: str | tzinfo | None = option(
        None,
        _check_timezone,
        "IANA name; by default the system's zone",
        kind=OptionKind.TEXT,
    )
    start: datetime | None = option(
        None,
        _check_bound,
        "no slot before this instant: ISO text, in the task's zone",
        kind=OptionKind.TEXT,
    )
    end: datetime | None = option(
        None,
        _check_bound,
        "no slot after this instant: ISO text; then the task is destroyed",
        kind=OptionKind.TEXT,
    )
    exclude: Any = option(
        None,
        check_exclude,
        "when not to run: sat,sun; 22:00-06:00; 2026-12-24..2027-01-01; holidays:DE",
        kind=OptionKind.TEXTS,
    )
    day_or: bool = option(
        True,
        check_flag,
        "either day field matches (cron's rule), else both must",
        kind=OptionKind.FLAG,
    )
    suppress_missed_warning: bool = option(
        False, check_flag, "do not log missed executions", kind=OptionKind.FLAG
    )
    execute_timeout: float | None = option(
        None,
        check_optional_deadline,
        "how long execute() waits, seconds",
        kind=OptionKind.DURATION,
    )
    run_coordinator: Any = option(
        None,
        _check_run_coordinator,
        "decides which instance of a fleet runs a slot",
        kind=OptionKind.OBJECT,
    )
    logger: logging.Logger | None = option(
        None, check_logger, "takes this task's log records", kind=OptionKind.OBJECT
    )
    args: tuple[str, ...] = option(
        (), _check_args, "sys.argv[1:] of a task file", kind=OptionKind.NAMES
    )
    env: dict[str, str] | None = option(
        None,
        _check_env,
        "environment variables to set for the job",
        kind=OptionKind.PAIR,
    )
    cwd: str | None = option(
        None, _check_cwd, "working directory of the job", kind=OptionKind.TEXT
    )
    if_exists: str = option(
        "replace",
        _check_choice(IF_EXISTS),
        "what to do if a task of this name exists: replace, keep, error",
        kind=OptionKind.TEXT,
    )
    background: bool | None = option(
        None,
        _check_optional_flag,
        "run a function in a worker process",
        kind=OptionKind.FLAG,
    )
    launcher: LauncherName | None = option(
        None,
        _check_choice(get_args(LauncherName)),
        "how workers are created",
        kind=OptionKind.TEXT,
    )
    worker_init: Callable[[], Any] | None = option(
        None,
        check_worker_init,
        "a function that each worker calls before it loads the job",
        kind=OptionKind.OBJECT,
    )
    executor: Any = option(
        None,
        check_executor,
        "a concurrent.futures.Executor or a Dask client that runs the job elsewhere",
        kind=OptionKind.OBJECT,
    )
    echo: bool = option(
        True,
        check_flag,
        "show a job's output on the console of a script",
        kind=OptionKind.FLAG,
    )
    history: bool = option(
        True,
        check_flag,
        "record its runs in the history's file",
        kind=OptionKind.FLAG,
    )
    keep: bool = option(
        False,
        check_flag,
        "hand it to the service, which outlives this process; needs a name",
        kind=OptionKind.FLAG,
    )
    unref: bool = option(
        False,
        check_flag,
        "let a script end while this is started",
        kind=OptionKind.FLAG,
    )
    max_result_bytes: int = option(
        64 * 1024 * 1024,
        _check_size,
        "largest result that a worker sends, bytes",
        kind=OptionKind.NUMBER,
    )

    def __repr__(self) -> str:
        """Show the options that were given; secret ones without their values."""
        shown = [
            f"{f.name}={describe_value(f.name, getattr(self, f.name))}"
            for f in fields(self)
            if getattr(self, f.name) != f.default
        ]
        return f"TaskOptions({', '.join(shown)})"

    def get_policy(self) -> Policy:
        """Return the options that the scheduler uses."""
        given = {f.name: getattr(self, f.name) for f in fields(Policy)}
        if isinstance(self.retry, Retry):
            given["retry"] = self.retry.as_names
        policy = Policy(**given)
        shared: Policy = _share(policy)
        return shared


def _check_number(least: float, most: float | None = None) -> Any:
    def check(name: str, value: Any) -> float | None:
        return None if value is None else check_number(name, value, least, most)

    return check


def _check_wait(name: str, value: Any) -> float | None:
    return None if value is None else check_wait(name, value)


def _check_failures(name: str, value: Any) -> tuple[Any, ...] | None:
    """Accept words: the names of exception classes, exit codes."""
    if value is None:
        return None
    is_code = [isinstance(word, str) and word.isdecimal() for word in value]
    items = zip(value, is_code, strict=True)
    return check_on(name, [int(word) if is_it else word for word, is_it in items])


@dataclass(frozen=True, slots=True, kw_only=True)
class Knobs:
    """What magics and the command line spell out of options that are objects."""

    catch_up_window: float | None = option(
        None,
        check_optional_deadline,
        "how old a slot may be to be caught up on, seconds; a day by default",
        kind=OptionKind.DURATION,
    )
    catch_up_limit: int | None = option(
        None,
        check_catch_up_limit,
        "how many slots --catch-up all runs at most; 100 by default",
        kind=OptionKind.NUMBER,
    )
    retry_delay: float | None = option(
        None,
        _check_wait,
        "time before the second attempt of --retry; 10 s by default",
        kind=OptionKind.DURATION,
    )
    retry_backoff: float | None = option(
        None,
        _check_number(1),
        "factor by which each wait is longer than the one before; 2 by default",
        kind=OptionKind.FACTOR,
    )
    retry_max_delay: float | None = option(
        None,
        _check_wait,
        "longest time between two attempts; 10 minutes by default",
        kind=OptionKind.DURATION,
    )
    retry_jitter: float | None = option(
        None,
        _check_number(0, 1),
        "random fraction of each wait, 0 to 1; 0.1 by default",
        kind=OptionKind.FACTOR,
    )
    retry_on: tuple[Any, ...] | None = option(
        None,
        _check_failures,
        "failures that are repeated: exceptions, timeout, crash, exit codes",
        kind=OptionKind.NAMES,
    )
    retry_past_next: bool = option(
        False,
        check_flag,
        "go on with the attempts after the next slot",
        kind=OptionKind.FLAG,
    )
    retry_deadline: float | None = option(
        None,
        check_optional_deadline,
        "longest time of all attempts together",
        kind=OptionKind.DURATION,
    )


def fold_knobs(given: dict[str, Any]) -> dict[str, Any]:
    """Return options in which the knobs have become parts of their objects.

    Raises:
        InvalidOption: if a knob is given without the option that it belongs to, or if
            its value is out of range.
    """
    options = dict(given)
    _fold_retry(options)
    knobs = _take_knobs(options, "catch_up")
    if not knobs:
        return options
    mode = check_catch_up_mode("catch_up", options.get("catch_up", "none"))
    if mode == "none":
        expected = "'latest' or 'all' with --catch-up-window or --catch-up-limit"
        raise InvalidOption(option="catch_up", value=mode, expected=expected)
    return {**options, "catch_up": CatchUp(mode, **knobs)}


def _take_knobs(options: dict[str, Any], owner: str) -> dict[str, Any]:
    """Remove the knobs of one option; return those that were given."""
    start = f"{owner}_"
    names = [f.name for f in fields(Knobs) if f.name.startswith(start)]
    taken = {name: options.pop(name, None) for name in names}
    return {
        name.removeprefix(start): value
        for name, value in taken.items()
        if value is not None and value is not False  # 0 is a value, if a wrong one
    }


def _fold_retry(options: dict[str, Any]) -> None:
    knobs = _take_knobs(options, "retry")
    if not knobs:
        return
    times = options.get("retry", 0)
    if not times:
        flags = [f"--retry-{name.replace('_', '-')}" for name in knobs]
        raise InvalidOption(
            option=flags[0],
            value=next(iter(knobs.values())),
            expected=f"--retry with {' and '.join(flags)}",
            advice="Add --retry 3 for up to three more attempts.",
        )
    if "on" in knobs:
        knobs["on"] = _check_failures("on", knobs["on"])
    options["retry"] = Retry(times, **knobs)


_OWN = frozenset(
    {"name", "env", "run_coordinator", "logger", "worker_init", "executor"}
    | {"start", "end", "retry", "exclude"}
)
"""Options whose values are specific to a task, or not plain: some cannot be hashed,
such as dateutil's zones, and equal instants may have different zones."""


@functools.lru_cache(maxsize=64)
def _share(options: Any) -> Any:
    """Return one object for equal options: most tasks share them."""
    return options


_ELSEWHERE = {
    "timezone": "tz time_zone timezone_name tzinfo cron_tz zone",
    "jitter": "max_random_delay random_delay randomized_delay randomized_delay_sec "
    "splay random_sleep",
    "tolerance": "missed_execution_tolerance misfire_grace_time grace_time grace "
    "starting_deadline_seconds recover_missed_executions",
    "overlap": "concurrency_policy overlap_policy allow_overlap",
    "no_overlap": "max_instances max_active_runs "
    "prevent_overlap protect singleton concurrency skip_if_running "
    "without_overlapping mutex",
    "max_executions": "max_runs max_run run_limit repeat times count limit",
    "name": "id job_id task_id title label job_name dag_id",
    "if_exists": "replace_existing",
    "timeout": "execution_timeout time_limit hard_time_limit soft_time_limit "
    "max_run_time timeout_seconds active_deadline_seconds",
    "cwd": "working_directory workdir working_dir",
    "env": "environment environ env_vars",
    "args": "argv arguments parameters",
    "background": "process subprocess detached",
    "unref": "daemon unref_timeout",
    "distributed": "on_one_server",
    "distributed_lease": "lease lock_ttl",
    "start": "start_date start_time starts_at not_before",
    "end": "end_date end_time ends_at expires not_after until",
    "pool": "queue pool_name resource",
    "priority": "priority_weight",
    "exclude": "skip excluded exclude_dates blackout",
    "retry": "retries max_retries attempts max_attempts tries backoff_limit",
    "catch_up": "coalesce catchup persistent misfire_policy run_missed",
}
"""The names of our options in APScheduler, Celery, Airflow, Kubernetes, systemd,
Laravel and node's cron packages."""
_OTHER_WAYS = {
    "Keyword arguments are for functions; a task file takes args=[…].": "kwargs",
    "Whether runs overlap is decided by each instance for itself, not for the fleet: a "
    "lock that an instance holds while it stands still could not be trusted. Have the "
    "job hold one that its work checks.": "fleet_overlap",
    "Call execute() on the task to run it at once.": "run_on_init run_immediately "
    "run_on_start next_run_time",
    "create_task() leaves a task stopped.": "scheduled enabled paused",
    "When it runs is the expression: '*/10 9-17 * * mon-fri', or '@every 90s'.": ""
    "second minute hour day week month year day_of_week seconds minutes hours days "
    "weeks interval schedule_interval every at crontab cron trigger",
    "Pass retry=3, or retry=Retry(3, delay=30).": "retry_delay retry_backoff backoff "
    "retry_exponential_backoff autoretry_for default_retry_delay",
    "Pass max_executions=1.": "once run_once",
    "Pass timezone=, a name or a datetime.timezone.": "utc_offset",
    "Pass keep=True: the task then outlives the program.": "jobstore persist durable",
    "Tasks have a name; tags have no counterpart.": "tag tags",
    'Use on("execution:failed", listener) of the task.': "on_failure on_error",
    'Use on("execution:finished", listener) of the task.': "on_success on_complete",
}
"""What to do instead of an option that has no counterpart."""


def find_advice(name: str) -> str:
    """Return the counterpart of another scheduler's option, after a space."""
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.replace("-", "_")).lower()
    for ours, theirs in _ELSEWHERE.items():
        if plain in theirs.split():
            return f" Here it is called {ours!r}."
    for advice, theirs in _OTHER_WAYS.items():
        if plain in theirs.split():
            return f" {advice}"
    return ""


OPTIONS: dict[str, Any] = {f.name: f.default for f in fields(TaskOptions)}
"""Every option with its default."""


def make_options(given: dict[str, Any]) -> TaskOptions:
    """Return the options, all of them checked.

    Raises:
        UnknownOption: if a name is not an option; the text suggests one.
        InvalidOption: if a value has the wrong type or is out of range.
    """
    for name in given:
        if name not in OPTIONS:
            raise UnknownOption(option=name, known=OPTIONS, advice=find_advice(name))
    options = TaskOptions(**check_options(TaskOptions, given))
    if options.no_overlap and given.get("overlap", "skip") != "skip":
        raise InvalidOption(
            option="overlap",
            value=options.overlap,
            expected="'skip' with no_overlap, which means the same",
            advice="Give one of the two.",
        )
    if _OWN & given.keys() or isinstance(options.timezone, tzinfo):
        return options
    shared: TaskOptions = _share(options)
    return shared
