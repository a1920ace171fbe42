"""The keeper's locks: one for each name, and none when nobody needs it."""

import asyncio
import gc

import pytest

from ipycron.process.service.paths import VARIABLE, find_places
from ipycron.process.service.protocol import make_greeting
from ipycron.service.client import ServiceClient
from ipycron.service.keeper import Keeper


@pytest.fixture
def client():
    """A client without a task."""
    client = ServiceClient()
    yield client
    client.shutdown(20)


def make_keeper(client, folder):
    """Return a keeper that has not opened anything yet."""
    places = find_places({VARIABLE: str(folder / "service")})
    return Keeper(
        client, places, make_greeting("1.0"), on_end=lambda _seconds, _again: None
    )


def test_name_that_nobody_uses_any_more_has_no_lock(client, tmp_path):
    """Else a service would remember every name that it has ever seen."""

    async def main():
        keeper = make_keeper(client, tmp_path)
        for number in range(1000):
            async with keeper._get_lock(f"task {number}"):
                pass
        gc.collect()
        return len(keeper._locks)

    assert asyncio.run(main()) == 0


def test_requests_of_one_name_come_one_after_another(client, tmp_path):
    """Also where the lock is held by its `async with` and by those who wait alone."""
    inside, most = [], []

    async def use(keeper, name):
        async with keeper._get_lock(name):
            inside.append(name)
            most.append(inside.count(name))
            gc.collect()
            await asyncio.sleep(0)
            inside.remove(name)

    async def main():
        keeper = make_keeper(client, tmp_path)
        await asyncio.gather(*(use(keeper, "ab"[n % 2]) for n in range(20)))

    asyncio.run(main())
    assert (len(most), max(most)) == (20, 1)
