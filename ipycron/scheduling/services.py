"""What all tasks of one scheduler share, the maker of ids included."""

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
    from ipycron.scheduling.events import Notice
    from ipycron.scheduling.missed import MissedCounter
    from ipycron.scheduling.ports import Clock, Elector, Launcher
    from ipycron.scheduling.timetable import Timetable


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The outside world and the common parts, as every task sees them.

    Attributes:
        uniform: draws the random delay of a run between two bounds.
        new_id: makes the id of a scheduled run.
        timetable: when slots are due.
        outlook: when workers are told of slots that will be due.
        refusals: warns of starts that the system refuses.
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
    missed: MissedCounter
    refusals: RefusalLog
    errands: set[asyncio.Task[Any]] = field(default_factory=set)
    context: Context = field(default_factory=Context)


_PREFIX_BYTES = 8
"""A million processes in one fleet draw two alike with a chance of 1 in 30 million.
Each remembered run has one: a UUID would be another 16 bytes."""


class IdMaker:
    """Makes ids, in any thread: a random prefix, drawn once, and a number.

    A UUID for each run would ask the kernel for entropy, 10 to 40 µs of every run.
    Belongs to one process: a copy that is forked must make its own.

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
