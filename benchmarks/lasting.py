"""Memory over time: an hour of 100 tasks a second, under the fake clock.

    python benchmarks/lasting.py

The scheduler with fake workers, and what the client keeps of each event: mirror,
history, bulletin. What is held must not grow once the histories are full.
"""

from __future__ import annotations

import asyncio
import gc
import time
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from figures import read_private_bytes
from section import Section, exit_with

from ipycron.client.event_log import EventLog
from ipycron.client.state import ObservedState
from ipycron.cron import CronExpression
from ipycron.scheduling.policy import Policy
from ipycron.scheduling.scheduler import Scheduler
from ipycron.testing import FakeClock, FakeLauncher

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipycron.scheduling.events import Notice

TASKS = 100
MINUTE = 60


class Book:
    """What the client keeps of one task."""

    def __init__(self, task_id: str, zone: ZoneInfo) -> None:
        self.id = self.name = task_id
        self.mirror = ObservedState(
            task_id, zone=zone, runs_left=None, defer=lambda call: call()
        )


class Books:
    """Follows every notice as the client does."""

    def __init__(self) -> None:
        zone = ZoneInfo("UTC")
        self.tasks = {str(n): Book(str(n), zone) for n in range(TASKS)}
        self.bulletin: Any = EventLog()
        self.count = 0

    def take(self, notice: Notice) -> None:
        """Follow a notice."""
        book = self.tasks[notice.task_id]
        book.mirror.follow(notice)
        self.bulletin.post(book.id, book.name, notice)
        self.count += 1


async def simulate(minutes: int, note: Callable[[], None]) -> int:
    """Let time pass; `note` is called after each minute. Return the events."""
    clock, books = FakeClock(), Books()
    launcher = FakeLauncher(clock)
    scheduler = Scheduler(clock=clock, launcher=launcher, emit=books.take)
    schedule = CronExpression("* * * * * *", "UTC")
    for task_id in books.tasks:
        scheduler.add(task_id, name=task_id, schedule=schedule, policy=Policy())
        await scheduler.start(task_id)
    for _ in range(minutes):
        await clock.advance(MINUTE)
        for worker in launcher.workers:
            worker.runs.clear()  # a test's fake remembers every run
        note()
    await clock.pass_until(scheduler.shutdown(5))
    return books.count


def main(section: Section) -> None:
    """Measure and print."""
    minutes = section.pick(60, 10)
    memory = []

    def note() -> None:
        gc.collect()
        memory.append(read_private_bytes())

    begin = time.process_time()
    count = asyncio.run(simulate(minutes, note))
    spent = time.process_time() - begin
    grown = (memory[-1] - memory[minutes // 6]) / 1e6
    runs = TASKS * MINUTE * minutes
    assert count >= 2 * runs, f"{count} events of {runs} runs"
    work = f"{minutes} simulated minutes of {TASKS} tasks a second"
    section.add(f"{work}: growth of memory", "MB", max(grown, 0.0), most=1)
    section.add(f"{work}: scheduler and books, CPU a run", "µs", spent / runs * 1e6)


if __name__ == "__main__":
    exit_with(main, __doc__)
