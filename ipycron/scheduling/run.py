"""One run on its way from slot to end."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from ipycron.scheduling.aio import look_at

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from ipycron.scheduling.events import Execution, Outcome
    from ipycron.scheduling.ports import Timer, Worker
    from ipycron.scheduling.runs import Runner


class Stage(StrEnum):
    """How far a run has come."""

    PENDING = "pending"  # in election, in its random delay, or without a worker
    ACTIVE = "active"  # told as started
    OVER = "over"  # told as finished or failed, or given up while pending


class Run(msgspec.Struct, eq=False, kw_only=True):
    """One run: the execution that is told, and what the scheduler needs to know.

    Called by its future it is settled: a closure for that would be three objects of
    each of a thousand runs for the garbage collector to follow.

    Attributes:
        runner: settles it when its future is done.
        patience: seconds it may wait for a worker before its slot is missed; None:
            as long as it takes.
        undo: ends what a pending run waits for.
        is_waiting: whether that is the main worker.
        key: the slot's name in the fleet while this instance holds its claim.
        worker: who runs it.
        future: its end, as the worker tells it.
        timer: ends it after `timeout`.
        verdict: why the scheduler ended it; told instead of what the worker says.
        end: resolved with its outcome, for whoever called `execute`.
    """

    execution: Execution
    runner: Runner
    patience: float | None = None
    stage: Stage = Stage.PENDING
    undo: Callable[[], object] | None = None
    is_waiting: bool = False
    key: str | None = None
    worker: Worker | None = None
    future: asyncio.Future[Outcome] | None = None
    timer: Timer | None = None
    verdict: Exception | None = None
    end: asyncio.Future[Outcome] | None = None

    def __call__(self, future: asyncio.Future[Outcome]) -> None:
        """Settle the run, as the callback of its future."""
        look_at(future)
        self.runner.settle(self)

    @property
    def is_scheduled(self) -> bool:
        """Whether the schedule asked for it, and it counts towards the limit."""
        return self.execution.reason == "scheduled"
