"""The public names as a type checker sees them. Checked by mypy, never run."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, assert_type

import ipycron
from ipycron import (
    Backfill,
    CatchUp,
    Completion,
    CronExpression,
    Event,
    Execution,
    History,
    RunOutcome,
    RunRecord,
    Task,
    TaskContext,
)
from ipycron.coordinate import RunCoordinator, SQLiteRunCoordinator
from ipycron.errors import IpycronError, WorkerCrashed


def plain() -> int:
    """A job that takes nothing."""
    return 1


def informed(context: TaskContext) -> str:
    """A job that takes the context."""
    assert_type(context.date, datetime)
    assert_type(context.triggered_at, datetime)
    assert_type(context.date_local_iso, str)
    assert_type(context.error, BaseException | None)
    assert_type(context.missed_count, int | None)
    return str(context.task)


async def coroutine() -> None:
    """A coroutine job."""


async def listener(context: TaskContext) -> None:
    """An async listener."""
    assert_type(context.event, str | None)


def pause_and_backfill(task: Task[int]) -> None:
    """A pause ends in every way that people write an instant."""
    assert_type(task.pause(), Completion[None])
    task.pause("09:00", "maintenance")
    task.pause(timedelta(hours=2), note="maintenance")
    task.pause(datetime(2030, 3, 1, 9, tzinfo=UTC))
    assert_type(task.resume(), Completion[None])
    task.resume(catch_up="latest")
    task.resume(CatchUp("all", limit=10))
    assert_type(task.is_paused, bool)
    assert_type(task.paused_until, datetime | None)
    assert_type(task.pause_note, str)
    backfill = task.backfill("2026-03-01", date(2026, 3, 2), only="all")
    assert_type(backfill, Backfill)
    assert_type(backfill.wait(3), bool)
    assert_type(backfill.left, tuple[datetime, ...])
    slots = task.backfill("2026-03-01", "2026-03-02", dry_run=True)
    assert_type(slots, list[datetime])


async def wait_for_backfill(task: Task[int]) -> None:
    """The handle is what awaiting it returns."""
    assert_type(await task.backfill("2026-03-01", "2026-03-02"), Backfill)


def declare() -> None:
    """Paths, functions, coroutine functions; expressions as text and as objects."""
    ipycron.schedule("0 3 * * *", "./tasks/backup.py", args=["--all"], unref=True)
    ipycron.schedule("@daily", Path("backup.py"), timeout=timedelta(minutes=5))
    ipycron.create_task("* * * * *", plain, logger=logging.getLogger())
    ipycron.create_task("* * * * *", informed, background=True)
    ipycron.create_task("* * * * *", coroutine, executor=ThreadPoolExecutor())
    ipycron.create_task("* * * * *", plain, catch_up="latest")
    ipycron.create_task("* * * * *", plain, start="2030-01-01", end=date(2031, 1, 1))
    ipycron.create_task("* * * * *", plain, end=datetime(2031, 1, 1, tzinfo=UTC))
    ipycron.create_task("* * * * *", plain, end=5)  # type: ignore[arg-type] # no date
    retry = ipycron.Retry(3, delay=timedelta(minutes=1), on=[OSError, "timeout", 3])
    ipycron.create_task("* * * * *", plain, retry=retry)
    ipycron.create_task("* * * * *", plain, retry=3)
    ipycron.create_task("* * * * *", plain, retry="3")  # type: ignore[arg-type]
    ipycron.Retry(1, on=int)  # type: ignore[arg-type] # no exception
    gaps = ipycron.CatchUp("all", window=timedelta(hours=1), limit=10)
    ipycron.create_task("* * * * *", plain, catch_up=gaps)
    ipycron.create_task("* * * * *", plain, catch_up="no")  # type: ignore[arg-type]
    ipycron.schedule(ipycron.every("90s", after_finish=True), plain)
    ipycron.schedule(ipycron.at(datetime(2031, 1, 1, tzinfo=UTC), "2032-01-01"), plain)
    ipycron.schedule(ipycron.rrule("FREQ=DAILY", date(2031, 1, 1)), plain)
    ipycron.schedule(ipycron.any_of("@daily", ipycron.every(hours=2)), plain)
    ipycron.schedule(timedelta(minutes=5), plain, exclude=["sat", date(2031, 1, 1)])
    ipycron.schedule("@daily", plain, on_excluded="later")  # type: ignore[arg-type]
    ipycron.schedule(5, plain)  # type: ignore[arg-type] # no trigger
    assert_type(
        ipycron.every("1h").next(datetime(2031, 1, 1, tzinfo=UTC)), datetime | None
    )
    expression = CronExpression("0 9 * * 1-5", "Europe/Berlin", day_or=False)
    ipycron.schedule(expression, lambda: None)
    ipycron.schedule(5, plain)  # type: ignore[arg-type] # no expression
    ipycron.schedule("* * * * *", 5)  # type: ignore[arg-type] # no job
    ipycron.schedule("* * * * *", plain, nam="x")  # type: ignore[call-arg] # no option
    ipycron.schedule("* * * * *", plain, name=5)  # type: ignore[arg-type] # no name
    ipycron.create_task("* * * * *", plain, if_exists="no")  # type: ignore[arg-type]


def return_results() -> None:
    """A typed function's result is the type of its runs' results."""
    assert_type(ipycron.schedule("* * * * *", plain), Task[int])
    assert_type(ipycron.create_task("* * * * *", informed), Task[str])
    assert_type(ipycron.schedule("* * * * *", "backup.py"), Task[Any])
    assert_type(ipycron.schedule("* * * * *", plain).execute(), Completion[int])
    assert_type(ipycron.schedule("* * * * *", plain).execute().result(5), int)


def name_events(task: Task) -> None:
    """Events are members of `Event` or their strings, and nothing else."""
    task.on("*", print).on("execution:finished", print).once(Event.TASK_FAILED, print)
    ipycron.on("task:started", print)
    task.on("task:strted", print)  # type: ignore[arg-type]
    ipycron.off("everything")  # type: ignore[arg-type]


async def control(task: Task) -> None:
    """Every control can be awaited in a notebook and called in a script."""
    start: Completion[None] = task.start()
    assert_type(await task.execute(), Any)
    assert_type(task.execute().result(5), Any)
    assert_type(task.stop(force=True).exception(), BaseException | None)
    assert_type(start.done(), bool)
    start.add_done_callback(lambda done: print(done.done()))  # noqa: T201
    task.destroy().result(timeout=1.5)
    task.stop(True)  # type: ignore[call-arg] # force is a keyword


def look(task: Task) -> None:
    """The attributes of a task."""
    assert_type(task.id, str)
    assert_type(task.name, str)
    assert_type(task.pattern, str)
    assert_type(task.timezone, str)
    assert_type(task.status, str)
    assert_type(task.is_busy, bool)
    assert_type(task.runs_left, int | None)
    assert_type(task.next_run, datetime | None)
    assert_type(task.next_runs(3), list[datetime])
    assert_type(task.matches(datetime(2026, 1, 1, tzinfo=UTC)), bool)
    assert_type(task.seconds_to_next, float | None)
    assert_type(task.running, tuple[Execution, ...])
    assert_type(task.unref().ref(), Task)


def look_at_a_run(run: Execution | None) -> None:
    """The attributes of a run."""
    assert run is not None
    assert_type(run.started_at, datetime | None)
    assert_type(run.duration, float | None)
    assert_type(run.is_ok, bool | None)
    assert_type(run.error, BaseException | None)
    assert_type(run.traceback_text, str | None)
    assert_type(run.output.stdout, str)
    assert_type(run.pid, int | None)


def listen(task: Task) -> None:
    """Events by name and by member; chains of calls."""
    task.on("*", listener).once(Event.TASK_FAILED, print).off("execution:missed")
    ipycron.on("task:started", listener)
    ipycron.once("task:started", lambda context: print(context.task))  # noqa: T201
    ipycron.off("task:started")
    task.on("task:started", 5)  # type: ignore[arg-type] # no listener


def manage(coordinator: RunCoordinator) -> None:
    """The functions of the package."""
    assert_type(ipycron.get_tasks(), Mapping[str, Task])
    assert_type(ipycron.get_task("report"), Task)
    ipycron.get_tasks()["x"] = ipycron.get_task("y")  # type: ignore[index] # read-only
    ipycron.set_logger(None)
    ipycron.set_executable(None)
    ipycron.set_run_coordinator(None)
    ipycron.set_run_coordinator(coordinator)
    ipycron.set_run_coordinator(SQLiteRunCoordinator("claims.sqlite"))
    ipycron.schedule("* * * * *", plain, distributed=True, run_coordinator=coordinator)
    tasks = list(ipycron.get_tasks().values())
    assert_type(ipycron.wait(tasks, timeout=timedelta(hours=1)), bool)
    ipycron.shutdown(timeout=timedelta(seconds=1))
    assert_type(ipycron.wait(runs=3, timeout=60), bool)
    assert_type(ipycron.validate("* * * * *"), bool)
    assert_type(ipycron.validate_detailed("* * * * *").valid, bool)


def compute(expression: CronExpression, zone: tzinfo) -> None:
    """Expressions without tasks."""
    now = datetime(2026, 1, 1, tzinfo=zone)
    assert_type(expression.next(now), datetime | None)
    assert_type(expression.previous(now), datetime | None)
    assert_type(expression.upcoming(3, now), list[datetime])
    assert_type(expression.matches(now), bool)
    assert_type(expression.describe("de"), str)


def handle(error: IpycronError) -> int | None:
    """Errors have typed attributes."""
    if isinstance(error, WorkerCrashed):
        assert_type(error.signal_name, str | None)
        return error.exit_code
    return None


def look_back() -> None:
    """The history: its arguments, its list and its records."""
    found = ipycron.history("report", since="7d", outcome="failures", limit=None)
    assert_type(found, History)
    assert_type(found[0], RunRecord)
    assert_type(found[1:], History)
    assert_type(found[0].at, datetime)
    assert_type(found[0].duration, float | None)
    assert_type(found.summary()[0].success_rate, float | None)
    ipycron.history(["a", "b"], since=timedelta(days=1), until=date(2026, 11, 24))
    ipycron.history(outcome=[RunOutcome.FAILED, "timed_out"])
    ipycron.history(since=90)  # type: ignore[arg-type] # seconds of what
    ipycron.history(outcome="broken")  # type: ignore[arg-type] # no outcome
    found[0].outcome = "finished"  # type: ignore[misc] # immutable
