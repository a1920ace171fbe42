"""What all tasks of one scheduler share, including the source of ids."""

from __future__ import annotations

import itertools
import os
from contextvars import Context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from ipycron.scheduling.backoff import RefusalLog
    from ipycron.scheduling.events import AttemptBegan, Notice, Pending
    from ipycron.scheduling.missed import MissedCounter
    from ipycron.scheduling.plan import Recounted
    from ipycron.scheduling.pools import Pools
    from ipycron.scheduling.ports import Beginnings, Clock, Elector, Launcher
    from ipycron.scheduling.timetable import Timetable


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The shared parts and the connections to the outside, for every task.

    Attributes:
        note: receives the runs that wait, and recounts, for the history.
        note_attempt: receives the queued attempts that have begun.
        beginnings: knows which slots begin, before they do; None where nobody asks.
        uniform: draws the random delay of a run between two bounds.
        new_id: creates the id of a scheduled run.
        timetable: calls tasks when their slots are due.
        standby_timetable: calls tasks shortly before their slots are due, so that their
            workers can stand by.
        refusals: warns about starts that the system refuses.
        pools: limit how many runs there are at once.
        async_tasks: asyncio tasks in progress that belong to no run or worker, such as
            starts and stops. Kept here because asyncio only holds tasks weakly, and
            awaited at shutdown.
        context: the context of the callbacks of runs. None of them calls user code, so
            they share one context instead of copying one for each run.
    """

    clock: Clock
    launcher: Launcher
    emit: Callable[[Notice], None]
    note: Callable[[Pending | Recounted], None]
    note_attempt: Callable[[AttemptBegan], None]
    beginnings: Beginnings | None
    elector: Elector | None
    uniform: Callable[[float, float], float]
    new_id: Callable[[], str]
    timetable: Timetable
    standby_timetable: Timetable
    missed: MissedCounter
    refusals: RefusalLog
    pools: Pools
    async_tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    context: Context = field(default_factory=Context)


_PREFIX_BYTES = 8
"""For a million processes in one fleet, the chance of a collision is 1 in 30 million.
Each run in a history has an id: a UUID would take another 16 bytes."""


class IdMaker:
    """Creates ids, in any thread: a random prefix, drawn once, and a number.

    A UUID for each run would have to read entropy from the kernel: 10 to 40 µs a run.
    Belongs to one process: a forked child must create its own.

    >>> make_id = IdMaker()
    >>> make_id() == make_id()
    False
    """

    def __init__(self) -> None:
        self._prefix = os.urandom(_PREFIX_BYTES).hex()
        self._numbers = itertools.count(1)

    def __call__(self) -> str:
        """Return a new, unique id."""
        return f"{self._prefix}-{next(self._numbers)}"
