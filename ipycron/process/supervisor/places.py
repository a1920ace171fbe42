"""The places that the client's own runs ask for, in the supervisor's pools (O2)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ipycron.process.wire.protocol import PlaceGranted

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipycron.process.wire.protocol import AskPlace
    from ipycron.scheduling.pools import Place, Pools


class ClientPlaces:
    """Holds places for runs in the client, by the client's numbers.

    Args:
        pools: the scheduler's.
        send: sends a message to the client.
    """

    def __init__(self, pools: Pools, send: Callable[[PlaceGranted], None]) -> None:
        self._pools = pools
        self._send = send
        self._places: dict[int, Place] = {}

    def ask(self, message: AskPlace) -> None:
        """Grant a place now or later; take note of one that is held."""
        pool = self._pools.get(message.pool)
        number = message.number
        if message.is_begun:
            if pool is not None:
                self._places[number] = pool.occupy()
            return
        if pool is None:
            self._send(PlaceGranted(number))
            return
        grant = partial(self._send, PlaceGranted(number))
        place = self._places[number] = pool.ask(message.priority, grant)
        if place.is_held:
            grant()

    def take_back(self, number: int) -> None:
        """Free a place, or forget that it was asked for."""
        place = self._places.pop(number, None)
        if place is not None:
            place.release()
