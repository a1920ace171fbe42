"""Places of this process's runs in pools that the supervisor counts (O2)."""

import asyncio

import pytest

from ipycron.client.places import SharedPlaces
from ipycron.process.wire.protocol import AskPlace, ReturnPlace


@pytest.fixture
def places():
    """Places whose messages are kept in the attribute `sent`."""
    sent = []
    places = SharedPlaces(sent.append)
    places.sent = sent
    return places


def play(steps):
    """Run steps on a loop, on which granted places call back."""

    async def run():
        await steps()
        await asyncio.sleep(0)

    asyncio.run(run())


def test_place_is_asked_for_granted_and_returned(places):
    """One message each."""
    called = []

    async def steps():
        pool = places.make_pool("gpu")
        pool.limit = 1
        place = pool.ask(5, lambda: called.append(1))
        assert places.sent == [AskPlace(1, "gpu", 5, is_begun=False)]
        assert (pool.held, pool.waiting, places.has_waiting) == (0, 1, True)
        places.grant(1)
        places.grant(1)
        await asyncio.sleep(0)
        assert (pool.held, pool.waiting, called) == (1, 0, [1])
        place.release()
        place.release()
        assert places.sent[1:] == [ReturnPlace(1)]
        assert (pool.held, pool.waiting) == (0, 0)

    play(steps)


def test_grant_that_crosses_a_return_is_ignored(places):
    """The supervisor takes the place back when it reads the return."""

    async def steps():
        pool = places.make_pool("gpu")
        pool.limit = 1
        pool.ask(0, pytest.fail).release()
        places.grant(1)
        assert (pool.held, pool.waiting) == (0, 0)

    play(steps)


def test_next_supervisor_is_told_of_held_places_first(places):
    """They count before anybody is let in."""

    async def steps():
        pool = places.make_pool("gpu")
        pool.limit = 1
        pool.ask(0, list)
        pool.occupy()
        told = [(asked.number, asked.is_begun) for asked in places.list_open()]
        assert told == [(2, True), (1, False)]

    play(steps)


def test_without_a_supervisor_the_places_are_counted_here(places):
    """Higher priorities first."""
    called = []

    async def steps():
        pool = places.make_pool("gpu")
        pool.limit = 1
        waiting = [pool.ask(p, lambda p=p: called.append(p)) for p in (0, 5)]
        places.serve_alone()
        places.serve_alone()
        await asyncio.sleep(0)
        assert called == [5]
        waiting[1].release()
        places.serve_alone()
        await asyncio.sleep(0)
        assert called == [5, 0]

    play(steps)
