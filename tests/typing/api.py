"""The public API as type checkers see it: checked by mypy, never run."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_type

import ipycron
from ipycron.coordinate import RunCoordinator, SQLiteRunCoordinator

if TYPE_CHECKING:
    from collections.abc import Mapping


def job() -> int:
    return 1


async def async_job(context: ipycron.TaskContext) -> str:
    return context.date_local_iso


def listen(context: ipycron.TaskContext) -> None:
    assert_type(context.date, datetime)
    assert_type(context.error, BaseException | None)
    assert_type(context.missed_count, int | None)


async def control(task: ipycron.Task) -> None:
    assert_type(task.start(), ipycron.Completion[None])
    assert_type(task.stop(force=True).result(timeout=1), None)
    assert_type(await task.destroy(), None)
    result: Any = await task.execute()
    assert result


def look(task: ipycron.Task) -> None:
    assert_type(task.next_run, datetime | None)
    assert_type(task.next_runs(3), list[datetime])
    assert_type(task.matches(datetime.now(tz=UTC)), bool)  # noqa: TID251 - never run
    assert_type(task.seconds_to_next, float | None)
    assert_type(task.runs_left, int | None)
    assert_type(task.is_busy, bool)
    run = task.last_run
    if run is not None:
        assert_type(run, ipycron.Execution)
        assert_type(run.duration, float | None)
        assert_type(run.error, BaseException | None)
        assert_type(run.output.stdout, str)
    assert_type(task.on(ipycron.Event.EXECUTION_FINISHED, listen), ipycron.Task)
    assert_type(task.once("*", listen).off("*").unref().ref(), ipycron.Task)


def declare(coordinator: RunCoordinator) -> None:
    ipycron.schedule("* * * * *", job)
    ipycron.schedule("* * * * *", async_job, timeout=timedelta(seconds=3))
    ipycron.create_task(
        ipycron.CronExpression("0 3 * * *", "Europe/Berlin"),
        Path("backup.py"),
        name="backup",
        logger=logging.getLogger("backup"),
        distributed=True,
        run_coordinator=coordinator,
    )
    ipycron.set_run_coordinator(SQLiteRunCoordinator("claims.sqlite"))
    ipycron.set_logger(None)
    assert_type(ipycron.get_task("backup"), ipycron.Task)
    tasks: Mapping[str, ipycron.Task] = ipycron.get_tasks()
    assert_type(ipycron.wait(list(tasks.values()), runs=2, timeout=5), bool)
    assert_type(ipycron.shutdown(timeout=1), None)


def read(text: str) -> None:
    expression = ipycron.CronExpression(text)
    now = datetime.now(tz=UTC)  # noqa: TID251 - never run
    assert_type(expression.next(now), datetime | None)
    assert_type(expression.previous(now), datetime | None)
    assert_type(expression.upcoming(3, now), list[datetime])
    assert_type(expression.describe("de"), str)
    assert_type(ipycron.validate(text), bool)
    assert_type(ipycron.validate_detailed(text).valid, bool)


if __name__ == "__main__":
    asyncio.run(control(ipycron.get_task("backup")))
