"""What all tasks of one scheduler share."""

from __future__ import annotations

import asyncio
from contextvars import Context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from ipycron.scheduling.aio import look_at

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from ipycron.scheduling.events import Notice
    from ipycron.scheduling.missed import Tally
    from ipycron.scheduling.ports import Clock, Elector, Launcher
    from ipycron.scheduling.timetable import Timetable

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The outside world and the common parts, as every task sees them.

    Attributes:
        uniform: draws the random delay of a run between two bounds.
        new_id: makes the id of a scheduled run.
        timetable: when slots are due.
        outlook: when workers are told that they will be.
        errands: small tasks under way that belong to no run or worker, starts and
            stops among them; kept here because asyncio itself holds tasks weakly, and
            awaited at shutdown.
        context: of the callbacks of runs, none of which calls code of the user's: one
            for all in place of a copy for each run in progress.
    """

    clock: Clock
    launcher: Launcher
    emit: Callable[[Notice], None]
    elector: Elector | None
    uniform: Callable[[float, float], float]
    new_id: Callable[[], str]
    timetable: Timetable
    outlook: Timetable
    tally: Tally
    errands: set[asyncio.Task[Any]] = field(default_factory=set)
    context: Context = field(default_factory=Context)


def spawn(
    home: set[asyncio.Task[Any]], work: Coroutine[Any, Any, T]
) -> asyncio.Task[T]:
    """Start a task that `home` holds until it is done; its failure is seen."""
    task = asyncio.get_running_loop().create_task(work)
    home.add(task)
    task.add_done_callback(home.discard)
    task.add_done_callback(look_at)
    return task
