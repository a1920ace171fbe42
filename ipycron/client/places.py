"""Pools that runs in this process share with background tasks (O2).

The supervisor counts the places of both: its schedule must not wait for this process,
which may be busy for minutes, while a run here waits for this process anyway.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from ipycron.process.wire.protocol import AskPlace, ReturnPlace
from ipycron.scheduling.pools import MAX_WAITING, Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class SharedPool:
    """A pool as this process's scheduler sees it; see `scheduling.pools.Pool`.

    Without a limit nobody waits, and the supervisor is told of the places that are
    held: a limit may come.
    """

    def __init__(self, name: str | None, places: SharedPlaces) -> None:
        self.limit: int | None = None
        self.held = 0
        self.waiting = 0
        self.name = name
        self._places = places

    @property
    def is_full(self) -> bool:
        """Whether nobody else may wait."""
        return self.waiting >= MAX_WAITING

    def ask(self, priority: int, on_granted: Callable[[], None]) -> Place:
        """Return a place; `on_granted` is called once the supervisor grants it."""
        if self.limit is None:
            return self.occupy()
        place = Place(self, on_granted)
        self.waiting += 1
        self._places.add(self, place, priority)
        return place

    def occupy(self) -> Place:
        """Return a place for a run that has begun, whatever the limit is."""
        place = Place(self, None)
        place.hold()
        self.held += 1
        self._places.add(self, place, 0)
        return place

    def take_back(self, place: Place) -> None:
        """Return a place, or leave the line."""
        if place.is_held:
            self.held -= 1
        else:
            self.waiting -= 1
        self._places.remove(place)

    def serve(self) -> None:
        """Do nothing: the supervisor serves the line."""


class SharedPlaces:
    """The places of this process, by the numbers that the supervisor knows.

    Args:
        send: sends a message to the supervisor, if there is one; starts one for a run
            that waits.
    """

    def __init__(self, send: Callable[[AskPlace | ReturnPlace], None]) -> None:
        self._send = send
        self._numbers = count(1)
        self._asked: dict[int, tuple[SharedPool, Place, int]] = {}

    def make_pool(self, name: str | None) -> SharedPool:
        """Return a pool of this name."""
        return SharedPool(name, self)

    def add(self, pool: SharedPool, place: Place, priority: int) -> None:
        """Ask the supervisor for a place, or tell it of one that is held."""
        number = next(self._numbers)
        self._asked[number] = pool, place, priority
        self._send(AskPlace(number, pool.name, priority, place.is_held))

    def remove(self, place: Place) -> None:
        """Tell the supervisor that a place is not needed any more."""
        for number, (_, known, _) in self._asked.items():
            if known is place:
                del self._asked[number]
                self._send(ReturnPlace(number))
                return

    def grant(self, number: int) -> None:
        """Hold a place that the supervisor has granted, unless it was given up."""
        if number not in self._asked:
            return
        pool, place, _ = self._asked[number]
        if not place.is_held:
            pool.waiting -= 1
            pool.held += 1
            place.hold()

    def serve_alone(self) -> None:
        """Grant places as far as the limits allow: there is no supervisor to do so.

        Nor are there runs of background tasks. The next supervisor is told.
        """
        asked = self._asked.items()
        for number, (pool, place, _) in sorted(asked, key=lambda i: (-i[1][2], i[0])):
            if not place.is_held and (pool.limit is None or pool.held < pool.limit):
                self.grant(number)

    @property
    def has_waiting(self) -> bool:
        """Whether a run waits for a place."""
        return any(not place.is_held for _, place, _ in self._asked.values())

    def list_open(self) -> Iterator[AskPlace]:
        """Yield what a new supervisor must know: held places, then those asked for."""
        asked = sorted(self._asked.items(), key=lambda item: not item[1][1].is_held)
        for number, (pool, place, priority) in asked:
            yield AskPlace(number, pool.name, priority, place.is_held)
