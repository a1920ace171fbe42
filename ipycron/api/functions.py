"""The functions of ipycron: schedule, find, wait, shut down."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from ipycron.api.kept import check_keep, keep_task, look_for_kept, reach_service
from ipycron.api.task import Task, get_record
from ipycron.api.text_table import list_tasks
from ipycron.client.client import LAST_EVENTS
from ipycron.client.completion import log_error
from ipycron.client.jobs import bind_arguments, make_source
from ipycron.client.listeners import check_event, finish_here
from ipycron.client.options import OPTIONS, TaskOptions, check_logger, make_options
from ipycron.client.record import TaskRecord
from ipycron.client.registry import registry
from ipycron.client.schedules import (
    check_bounds,
    check_zone,
    make_trigger,
    read_bounds,
)
from ipycron.client.waits import (
    check_may_block,
    check_not_inside,
    check_not_listening,
    run_in_thread,
)
from ipycron.coordinate.protocol import check_coordinator
from ipycron.errors import (
    InvalidOption,
    IpycronError,
    StartRevoked,
    TaskExists,
    UnknownTask,
    list_names,
    suggest,
)
from ipycron.process.nesting import is_importing
from ipycron.scheduling.checks import (
    check_duration,
    check_flag,
    check_text,
    check_whole,
)
from ipycron.scheduling.clock import SystemClock

if TYPE_CHECKING:
    import logging
    import os
    from collections.abc import Callable, Coroutine, Iterator, Sequence
    from datetime import date, datetime, timedelta, tzinfo
    from typing import Literal, TypedDict, Unpack

    from ipycron.api.task import T
    from ipycron.client.completion import Completion
    from ipycron.coordinate.protocol import RunCoordinator
    from ipycron.cron.trigger import Trigger
    from ipycron.process.wire.protocol import LauncherName
    from ipycron.scheduling.events import Event, EventName, TaskContext
    from ipycron.scheduling.policy import CatchUp
    from ipycron.scheduling.ports import Clock
    from ipycron.scheduling.retry import Retry

    class NoOptions(TypedDict):
        """No further options: a type checker rejects what `make_options` rejects."""


def schedule(
    expression: str | Trigger | timedelta | datetime,
    job: str | os.PathLike[str] | Callable[..., Coroutine[Any, Any, T] | T],
    *,
    name: str | None = None,
    timezone: str | tzinfo | None = None,
    start: datetime | date | str | None = None,
    end: datetime | date | str | None = None,
    exclude: Any = None,
    on_excluded: Literal["skip", "next"] = "skip",
    day_or: bool = True,
    overlap: Literal["allow", "skip", "queue", "replace"] = "allow",
    no_overlap: bool = False,
    max_executions: int | None = None,
    jitter: float | timedelta = 0,
    tolerance: float | timedelta = 1,
    catch_up: Literal["none", "latest", "all"] | CatchUp = "none",
    suppress_missed_warning: bool = False,
    retry: int | Retry = 0,
    pool: str | None = None,
    priority: int = 0,
    timeout: float | timedelta | None = None,
    execute_timeout: float | timedelta | None = None,
    start_timeout: float | timedelta = 5,
    stop_timeout: float | timedelta = 5,
    max_restarts: int = 3,
    distributed: bool = False,
    run_coordinator: RunCoordinator | None = None,
    distributed_lease: float | timedelta = 30,
    logger: logging.Logger | None = None,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    if_exists: Literal["replace", "keep", "error"] = "replace",
    background: bool | None = None,
    launcher: LauncherName | None = None,
    worker_init: Callable[[], Any] | None = None,
    executor: Any = None,
    echo: bool = True,
    history: bool = True,
    keep: bool = False,
    unref: bool = False,
    max_result_bytes: int = 64 * 1024 * 1024,
    **unknown: Unpack[NoOptions],
) -> Task[T]:
    """Create a task, register it and start it.

    Args:
        expression: when to run. Cron text: five fields, or six with seconds first.
            A trigger: `every`, `at`, `rrule`, `any_of`; or its text, such as
            ``"@every 90s"``; or a timedelta for an interval, a datetime for one run.
        job: what to run. A path is a task file, run in a worker process. A function
            runs in this process, or with ``background=True`` in a worker.
            ``sys.exit()`` ends a script's run, with 0 successfully; in a function it is
            a failure, whatever the code: there is no program to end.
        name: a label; by default the task's id.
        timezone: an IANA name or a `tzinfo`; the system's zone by default.
        start: no slot before this instant: a datetime, a date or ISO text, in the
            task's zone if it has none.
        end: no slot after this instant; a date means its end. After the last slot and
            the last run the task is destroyed, as after `max_executions`.
        exclude: when it does not run, though it is due: dates, ``(start, end)`` pairs,
            `holidays`, or text such as ``"sat,sun"``, ``"22:00-06:00"`` and
            ``"2026-12-24..2027-01-01"``; several in a list, or separated by ``;``. In
            the task's zone.
        on_excluded: what becomes of excluded slots: ``"skip"`` nothing, ``"next"`` one
            run at the next time that is not excluded.
        day_or: True: either day field matches, as in cron; False: both must.
        overlap: what becomes of a slot, and of a manual run, while a run is in progress
            in this instance; other instances of a fleet are not checked. ``"allow"``:
            both run. ``"skip"``: the slot is skipped, a manual run refused.
            ``"queue"``: it waits for the end of the run; of the slots that wait, the
            newest remains. ``"replace"``: the run in progress is ended as by a
            timeout, then it runs.
        no_overlap: another word for ``overlap="skip"``.
        max_executions: scheduled runs before the task is destroyed.
        jitter: the longest random delay before a scheduled run, seconds.
        tolerance: how late a run may begin after its slot, seconds.
        catch_up: what to do about slots that fell into a gap (the machine was
            suspended, its clock set forward, no worker was ready), later than
            `tolerance`: ``"none"`` runs none of them, ``"latest"`` the newest, at once,
            ``"all"`` one after another. A `CatchUp` says how far back, and how many.
        suppress_missed_warning: do not log missed executions.
        retry: attempts of a failed run after the first one, with growing waits between
            them; a `Retry` says when, and after which failures. They are one run. The
            task's next slot ends them: its run is the next attempt.
        pool: the name of a pool that `set_pool` has made: its runs, of all tasks
            together, are limited. Those beyond wait, first come, first served.
        priority: among the runs that wait for a place in a pool, higher ones come
            first.
        timeout: the longest duration of a run, or of one attempt, seconds; a longer one
            is ended.
        execute_timeout: how long `execute()` waits, seconds.
        start_timeout: the longest time to load the job, seconds.
        stop_timeout: how long a stop waits for a run in progress, seconds.
        max_restarts: new workers after consecutive deaths without a finished run.
        distributed: ask the run coordinator before each scheduled run.
        run_coordinator: decides which instance of a fleet runs a slot.
        distributed_lease: the duration of a claim on a slot, seconds.
        logger: receives this task's log records.
        args: positional arguments of a function; ``sys.argv[1:]`` of a task file.
        kwargs: keyword arguments of a function.
        env: environment variables to set for the job.
        cwd: the working directory of the job.
        if_exists: what to do if a task with this name exists.
        background: run a function in a worker process.
        launcher: how workers are created: forked by default.
        worker_init: a function that each worker calls before it loads the job, for
            example to set up logging. An error in it fails the start.
        executor: a `concurrent.futures.Executor` or a Dask client that runs the job.
        echo: also show what the job prints on the console of a script.
        history: whether its runs are recorded in the history's file.
        keep: hand the task to the service of this user and Python environment, which
            still runs it when this process has ended. For files, cells and functions
            with ``background=True``; needs a `name`. The call blocks until the service
            has loaded the job (in a coroutine, use `asyncio.to_thread`). Every process
            sees the task in `get_tasks` and may control it; `destroy` ends it,
            `shutdown` does not. Declaring the name again replaces it, once the new one
            is loaded.
        unref: let a script end while this is started.
        max_result_bytes: the largest result that a worker sends.
        **unknown: refused; the error suggests the name that was probably meant.

    Returns:
        The task. It starts in the background; `Task.execute` waits for that. A start
        that fails is logged and leaves the task stopped.

    Raises:
        IpycronError: if the expression, the job or an option is wrong: everything
            that can be checked is checked before anything is started.
        ServiceError: with `keep`, if the service cannot be reached. With `keep`, the
            error of a start is raised, too: nothing is kept then, and a task of that
            name goes on.
        NestedSchedule: if a job calls it. If a job's process only imports the module
            that calls it, the returned task never runs, and a log record says so.
    """
    task: Task[T] = _create(expression, job, locals(), is_started=True)
    if task.status == "stopped":
        task.start().watch(partial(_handle_start, task))
    return task


def create_task(
    expression: str | Trigger | timedelta | datetime,
    job: str | os.PathLike[str] | Callable[..., Coroutine[Any, Any, T] | T],
    *,
    name: str | None = None,
    timezone: str | tzinfo | None = None,
    start: datetime | date | str | None = None,
    end: datetime | date | str | None = None,
    exclude: Any = None,
    on_excluded: Literal["skip", "next"] = "skip",
    day_or: bool = True,
    overlap: Literal["allow", "skip", "queue", "replace"] = "allow",
    no_overlap: bool = False,
    max_executions: int | None = None,
    jitter: float | timedelta = 0,
    tolerance: float | timedelta = 1,
    catch_up: Literal["none", "latest", "all"] | CatchUp = "none",
    suppress_missed_warning: bool = False,
    retry: int | Retry = 0,
    pool: str | None = None,
    priority: int = 0,
    timeout: float | timedelta | None = None,
    execute_timeout: float | timedelta | None = None,
    start_timeout: float | timedelta = 5,
    stop_timeout: float | timedelta = 5,
    max_restarts: int = 3,
    distributed: bool = False,
    run_coordinator: RunCoordinator | None = None,
    distributed_lease: float | timedelta = 30,
    logger: logging.Logger | None = None,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    if_exists: Literal["replace", "keep", "error"] = "replace",
    background: bool | None = None,
    launcher: LauncherName | None = None,
    worker_init: Callable[[], Any] | None = None,
    executor: Any = None,
    echo: bool = True,
    history: bool = True,
    keep: bool = False,
    unref: bool = False,
    max_result_bytes: int = 64 * 1024 * 1024,
    **unknown: Unpack[NoOptions],
) -> Task[T]:
    """Create and register a task, stopped. Arguments and errors as for `schedule`."""
    return _create(expression, job, locals(), is_started=False)


def _create(
    expression: Any, job: Any, arguments: dict[str, Any], *, is_started: bool
) -> Task[Any]:
    """Create a task from the arguments of `schedule` or `create_task`, by name."""
    options = _find_given(arguments)
    job = bind_arguments(job, options)
    checked = make_options(options)
    task_id = uuid.uuid4().hex
    now = _get_clock().now()
    parsed = make_trigger(expression, checked, task_id, now=now)
    parsed.check_fires(now)
    given, checked = checked, read_bounds(parsed, checked, now=now)
    if is_importing():
        from ipycron.api.inert import make_inert_task  # noqa: PLC0415 - most never do

        return make_inert_task(parsed, checked, task_id)
    source = make_source(job, checked)
    check_zone(parsed, source)
    checked = check_keep(checked, source)
    _check_coordinator(checked)
    _check_pool(checked)
    if checked.keep:
        reach_service()
    existing = _find_by_name(checked.name)
    if existing is not None:
        if checked.if_exists == "error":
            raise TaskExists(name=existing.name)
        if checked.if_exists == "keep":
            return existing
        if get_record(existing).is_kept and not checked.keep:
            raise TaskExists(name=existing.name, is_kept=True)
    client = registry.client
    check_bounds(parsed, checked, given, now=client.clock.now())
    source = client.place(source, checked)
    record = TaskRecord(client, parsed, source, checked, task_id=task_id)
    record.cell = _find_cell()
    task: Task[Any] = Task(record)
    if checked.keep:
        keep_task(task, is_started=is_started)
    if existing is not None and not get_record(existing).is_kept:
        existing.destroy()
    if not checked.keep:
        client.add(record)
    _warn(task)
    return task


def _get_clock() -> Clock:
    """Return the clock of the client, without creating one."""
    client = registry.running_client
    return SystemClock() if client is None else client.clock


def _find_cell() -> str | None:
    """Return the front end's id of the running notebook cell; None elsewhere.

    JupyterLab, Notebook and VS Code send one; nbclient and a terminal do not.
    """
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    get_parent = getattr(shell, "get_parent", None)  # ipykernel's shell provides it
    parent = None if get_parent is None else get_parent()
    if not isinstance(parent, dict):
        return None
    cell = parent.get("metadata", {}).get("cellId")
    return cell if isinstance(cell, str) and cell else None


def _find_given(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were given, including unknown ones."""
    given = {
        name: value
        for name, value in arguments.items()
        if name in OPTIONS and value is not OPTIONS[name]
    }
    if arguments["kwargs"] is not None:
        given["kwargs"] = arguments["kwargs"]
    return {**given, **arguments["unknown"]}


def _warn(task: Task) -> None:
    """Log what may be unintended, when the task is declared."""
    expression = task.expression
    for text in expression.warnings:
        extra = {"ipycron_name": task.name}
        task.logger.warning("task %r: %s", task.name, text, extra=extra)
    if expression.is_hashed and expression.hash_id == task.id:
        registry.client.warn_once(
            "task %r has an H in its schedule and no name: it gets a different time at "
            "each start; give it a name to keep one",
            task.name,
            extra={"ipycron_name": task.name},
        )


def _check_coordinator(options: TaskOptions) -> None:
    if options.distributed or options.run_coordinator is not None:
        from ipycron.client.elections import check_election  # noqa: PLC0415 - asyncio

        client = registry.running_client
        check_election(options, None if client is None else client.coordinator)


def _handle_start(task: Task, completion: Completion[None]) -> None:
    """Have a failure reported on the listeners' thread; do nothing on success."""
    if completion.peek() is not None:
        get_record(task).defer(partial(_report_start, task, completion))


def _report_start(task: Task, completion: Completion[None]) -> None:
    error = completion.exception()
    if error is None or isinstance(error, StartRevoked):
        return
    text = "task %r did not start: %s: %s"
    if isinstance(error, IpycronError):
        extra = {"ipycron_name": task.name}
        task.logger.error(text, task.name, type(error).__name__, error, extra=extra)
    else:
        log_error(task.logger, error, text, task.name, task=task.name)


def get_tasks() -> Mapping[str, Task]:
    """Return all tasks that are not destroyed, by id: a read-only snapshot.

    A task can also be looked up by its name; of several with one name, the newest.
    Kept tasks are among them, whichever process has declared them.
    """
    look_for_kept()
    client = registry.running_client
    return TaskMap({} if client is None else client.get_handles())


class TaskMap(Mapping[str, Task]):
    """Tasks by id, with look-up by name as well. Immutable."""

    __slots__ = ("_tasks",)

    def __init__(self, tasks: dict[str, Task]) -> None:
        self._tasks = tasks

    def __getitem__(self, id_or_name: str) -> Task:
        if id_or_name in self._tasks:
            return self._tasks[id_or_name]
        for task in reversed(self._tasks.values()):
            if task.name == id_or_name:
                return task
        known = [task.name for task in self._tasks.values()]
        raise UnknownTask(name=id_or_name, known=known)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)

    def __repr__(self) -> str:
        if not self._tasks:
            return "<TaskMap: no tasks>"
        count = "1 task" if len(self) == 1 else f"{len(self)} tasks"
        return f"<TaskMap: {count}, by id or name>\n{list_tasks(self.values())}"


def get_task(id_or_name: str) -> Task:
    """Return a task by its id or its name; of several with one name, the newest.

    Raises:
        UnknownTask: if there is none; the text suggests a name.
    """
    found = get_tasks().get(id_or_name)
    if found is not None:
        return found
    look_for_kept(is_needed=True)  # another process may just have declared it
    return get_tasks()[id_or_name]


def _check_pool(options: TaskOptions) -> None:
    """Refuse a pool that nobody has made: a typing mistake would lift the limit."""
    name, client = options.pool, registry.client
    if name is None:
        return
    if name not in client.pools:
        known = [pool for pool in client.pools if pool is not None]
        listed = f" Pools: {list_names(known)}." if known else ""
        raise InvalidOption(
            option="pool",
            value=name,
            expected="the name of a pool",
            advice=f"Call ipycron.set_pool({name!r}, limit) first."
            f"{suggest(name, known)}{listed}",
        )


def _find_by_name(name: str | None) -> Task | None:
    client = registry.running_client
    if name is None or client is None:
        return None
    return TaskMap(client.get_handles()).get(name)


def on(event: Event | EventName, listener: Callable[[TaskContext], Any]) -> None:
    """Call `listener` at each `event` of every task; ``"*"`` means all events.

    Kept tasks are among them if their service runs.
    """
    look_for_kept()
    registry.client.listen(event, listener)


def once(event: Event | EventName, listener: Callable[[TaskContext], Any]) -> None:
    """Like `on`, for the next occurrence only."""
    look_for_kept()
    registry.client.listen(event, listener, once=True)


def off(
    event: Event | EventName, listener: Callable[[TaskContext], Any] | None = None
) -> None:
    """Remove a listener of all tasks, or all such listeners of an event."""
    check_event(event)
    client = registry.running_client
    if client is not None:
        client.listeners.remove(event, listener)


def set_logger(logger: logging.Logger | None) -> None:
    """Send all of ipycron's log records to `logger`; None restores ``"ipycron"``."""
    registry.client.logger = check_logger("logger", logger)


def set_pool(name: str | None, limit: int | None) -> None:
    """Let at most `limit` runs of the pool's tasks be in progress at once.

    Further runs wait: those with a higher `priority` come first, and among equal ones
    those that were due first. A place becomes free when the process of a run has ended,
    or, where a worker is kept, its code. Runs in progress continue, even if the limit
    is now lower.

    The supervisor counts the runs of all kinds of tasks together; one is started when
    an inline run asks for a place.

    Args:
        name: the pool's; None is that of all tasks without one.
        limit: at least 1; None for no limit.

    Raises:
        InvalidOption: if a value is of another type or out of range.
    """
    check_text("name", name)
    if limit is not None:
        expected = "a whole number ≥ 1, or None for no limit"
        limit = check_whole("limit", limit, 1, expected)
    registry.client.set_pool(name, limit)


def set_echo(is_on: bool) -> None:  # noqa: FBT001 - as the other setters
    """Set whether what background jobs print is shown on a script's console.

    Each line begins with the task's name if several tasks are started. Notebooks and
    prompts show output in their own ways.
    """
    registry.set_echo(is_on=check_flag("echo", is_on))


def set_run_coordinator(coordinator: Any) -> None:
    """Use `coordinator` for every distributed task without its own.

    None restores the environment variable.
    """
    if coordinator is not None:
        coordinator = check_coordinator(coordinator)
    registry.client.set_coordinator(coordinator)


def shutdown(timeout: float | timedelta = 5) -> None:
    """Destroy all tasks of this process and end all of its processes.

    Kept tasks go on; this process only leaves them.

    Args:
        timeout: seconds that runs in progress, including manual ones, may take before
            they are ended.

    Returns when every process of ipycron is gone. ipycron can then be used again.

    Raises:
        InvalidOption: if `timeout` is not a duration; nothing is shut down then.
        BlockingCall: if an event loop runs in this thread: see `shutdown_async`.
        SelfWait: if a listener calls it, or a run, whose own end it would wait for.
    """
    seconds = check_duration("timeout", timeout)
    check_not_inside("shutdown()")
    check_not_listening("shutdown()")
    check_may_block("shutdown()", "`await ipycron.shutdown_async()`")
    registry.close(seconds)


async def shutdown_async(timeout: float | timedelta = 5) -> None:
    """Like `shutdown`, to be awaited: the event loop keeps running.

    A cancelled caller stops waiting; the shutdown continues.
    """
    seconds = check_duration("timeout", timeout)
    check_not_inside("shutdown_async()")
    check_not_listening("shutdown_async()")
    await run_in_thread(partial(registry.close, seconds))
    registry.release_signals()
    await finish_here(max(seconds, LAST_EVENTS))
