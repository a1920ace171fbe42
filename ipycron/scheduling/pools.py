"""Pools: at most so many runs at once, of several tasks (O2)."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_WAITING = 1000
"""Runs that may wait for places in one pool: each of them is kept in memory."""

# Those who left the line that it may contain before it is rebuilt.
_SWEEP_AT = 64


class Lender(Protocol):
    """What lends a place."""

    def take_back(self, place: Place) -> None:
        """Take a place back, or its owner out of the line."""


class AnyPool(Lender, Protocol):
    """A pool as the runs of a task see it; `Pool` is one.

    Attributes:
        limit: how many runs may be in progress at once; None for any number.
        held: how many places are held.
        waiting: how many runs wait for one.
    """

    limit: int | None
    held: int
    waiting: int

    @property
    def is_full(self) -> bool:
        """Whether nobody else may wait."""

    def ask(self, priority: int, on_granted: Callable[[], None]) -> Place:
        """Return a place: held already, or `on_granted` is called once it is."""

    def occupy(self) -> Place:
        """Return a place for a run that has begun, whatever the limit is."""

    def serve(self) -> None:
        """Give the free places to those who wait."""


class Place:
    """A run's place in a pool: waited for, then held, then free again.

    Attributes:
        is_held: whether it counts against the pool's limit.
    """

    __slots__ = ("_on_granted", "_pool", "is_held")

    def __init__(self, pool: Lender, on_granted: Callable[[], None] | None) -> None:
        self._pool: Lender | None = pool
        self._on_granted = on_granted
        self.is_held = False

    @property
    def is_wanted(self) -> bool:
        """Whether it has not been released."""
        return self._pool is not None

    def hold(self) -> None:
        """Count against the limit from now on, and soon call whoever waits for it."""
        self.is_held = True
        if self._on_granted is not None:
            # Not now: a run that ends must not begin another one in the middle of it.
            asyncio.get_running_loop().call_soon(self._call)

    def _call(self) -> None:
        if self._on_granted is not None:
            self._on_granted()

    def release(self) -> None:
        """Free the place, or wait for it no longer. May be repeated."""
        pool, self._pool, self._on_granted = self._pool, None, None
        if pool is not None:
            pool.take_back(self)


class Pool:
    """One pool: its limit, its places and who waits for them.

    Higher priorities come first, and among equal ones those who asked first.
    """

    def __init__(self) -> None:
        self.limit: int | None = None
        self.held = 0
        self.waiting = 0
        self._line: list[tuple[int, int, Place]] = []  # a heap; some want no more
        self._orders = count()

    @property
    def is_full(self) -> bool:
        """Whether nobody else may wait."""
        return self.waiting >= MAX_WAITING

    @property
    def _has_room(self) -> bool:
        return self.limit is None or self.held < self.limit

    def ask(self, priority: int, on_granted: Callable[[], None]) -> Place:
        """Return a place: held already, or `on_granted` is called once it is."""
        if self._has_room:
            return self.occupy()
        place = Place(self, on_granted)
        heapq.heappush(self._line, (-priority, next(self._orders), place))
        self.waiting += 1
        return place

    def occupy(self) -> Place:
        """Return a place for a run that has begun, whatever the limit is."""
        place = Place(self, None)
        place.hold()
        self.held += 1
        return place

    def take_back(self, place: Place) -> None:
        """Take a place back, or its owner out of the line."""
        if place.is_held:
            self.held -= 1
            self.serve()
        else:
            self.waiting -= 1
            if len(self._line) > _SWEEP_AT + 2 * self.waiting:
                self._line = [entry for entry in self._line if entry[2].is_wanted]
                heapq.heapify(self._line)

    def serve(self) -> None:
        """Give the free places to those who wait."""
        while self._line and self._has_room:
            _, _, place = heapq.heappop(self._line)
            if place.is_wanted:
                self.waiting -= 1
                self.held += 1
                place.hold()


class Pools:
    """The pools of one scheduler, by name; None is that of tasks without one.

    Args:
        make: makes a pool; by default one whose places are counted here.

    Attributes:
        is_used: whether there is one; most programs have none.
    """

    def __init__(self, make: Callable[[str | None], AnyPool] | None = None) -> None:
        self._make = make
        self.is_used = False
        self._pools: dict[str | None, AnyPool] = {}

    def get(self, name: str | None) -> AnyPool | None:
        """Return a pool that has, or had, a limit; None for others."""
        return self._pools.get(name)

    def is_limited(self, name: str | None) -> bool:
        """Return whether a pool has a limit."""
        pool = self._pools.get(name)
        return pool is not None and pool.limit is not None

    def set_limit(self, name: str | None, limit: int | None) -> AnyPool:
        """Set a pool's limit, None for none; those who wait are served by `serve`."""
        self.is_used = True
        pool = self._pools.get(name)
        if pool is None:
            pool = Pool() if self._make is None else self._make(name)
            self._pools[name] = pool
        pool.limit = limit
        return pool
