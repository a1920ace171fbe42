"""Claims on a real Redis server, by plain and asyncio clients (D2)."""

import asyncio
import os
import platform
import threading
import time

import pytest
import redis.asyncio as redis_asyncio
from polling import SECONDS, eventually
from stalls import LONG

from ipycron.coordinate import Health, RedisRunCoordinator
from ipycron.coordinate.redisserver import BlockingServer
from ipycron.coordinate.session import CoordinatorSession
from ipycron.errors import CoordinatorError, InvalidOption

KEY = "report:2026-11-24T09:00:00.000Z"
KINDS = pytest.mark.parametrize("kind", ["sync", "async"])


# --- claims ----------------------------------------------------------------------


@KINDS
def test_should_run_is_true_for_the_first_that_asks_only(asker):
    """One fire, one instance; asking twice is not granted, either."""
    first, second = asker.make(), asker.make()
    assert asker.ask(first) is True
    assert asker.ask(second) is False
    assert asker.ask(first) is False
    assert asker.ask(second, "report:other") is True


@KINDS
def test_holder_of_a_claim_is_named(asker):
    """By process and machine; unclaimed keys have no holder."""
    first, second = asker.make(), asker.make()
    assert asker.find_holder(second) is None
    assert asker.ask(first)
    named = f"process {os.getpid()} on {platform.node()}"
    assert asker.find_holder(second) == named


@KINDS
def test_a_claim_is_kept_for_its_whole_lease_when_the_run_was_quick(
    asker, clients, server
):
    """An instance whose clock is late by less than the lease does not run it."""
    first, second = asker.make(), asker.make()
    assert asker.ask(first, lease=30)
    asker.complete(first)
    assert not asker.ask(second)
    left = clients.make("sync", server.port).pttl(f"ipycron:claim:{KEY}")
    assert 10_000 < left <= 30_000


@KINDS
def test_a_claim_ends_when_its_lease_has_passed(asker):
    """By the server's clock; fractions of a millisecond are rounded up."""
    first, second = asker.make(), asker.make()
    started = time.monotonic()
    assert asker.ask(first, lease=0.2)
    asker.complete(first)
    eventually(lambda: asker.ask(second, lease=0.0001))
    assert time.monotonic() - started > 0.19


@KINDS
def test_a_claim_is_renewed_while_the_run_lasts(asker, sleeper):
    """A run of two leases is never run elsewhere."""
    first, second = asker.make(), asker.make()

    async def live():
        assert await first.should_run(KEY, 1)
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            if await second.should_run(KEY, 30):
                assert sleeper.end() > LONG, "the machine did not stand still"
                return
            await asyncio.sleep(0.01)
        await first.on_complete(KEY)
        assert not await second.should_run(KEY, 30)
        deadline = time.monotonic() + SECONDS
        while not await second.should_run(KEY, 30):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)

    asker.run(live())


@KINDS
def test_renew_is_refused_while_another_holds_the_claim(asker, clients, server):
    """Only the holder renews, and the other's lease is not changed."""
    first, second = asker.make(), asker.make()
    assert asker.ask(first, lease=30)
    assert asker.renew(second, lease=3000) is False
    assert asker.renew(first, lease=60) is True
    left = clients.make("sync", server.port).pttl(f"ipycron:claim:{KEY}")
    assert 40_000 < left <= 60_000


@KINDS
def test_renew_makes_the_claim_again_when_the_server_forgot_it(asker, clients, server):
    """The run is still in progress."""
    first, second = asker.make(), asker.make()
    assert asker.ask(first)
    clients.make("sync", server.port).flushall()
    assert asker.renew(first) is True
    assert asker.ask(second) is False


@KINDS
def test_keys_begin_with_the_prefix_and_hold_any_text(asker, clients, server):
    """Two fleets may share a server, and names may be any text."""
    name = "ü☃ * \r\n\x00 {a}"
    first, second = asker.make(), asker.make(prefix="night:")
    assert asker.ask(first, name)
    assert asker.ask(second, name)
    keys = clients.make("sync", server.port).keys()
    assert set(keys) == {f"ipycron:claim:{name}".encode(), f"night:{name}".encode()}


@KINDS
def test_a_client_may_decode_responses(asker):
    """The caller's setting makes no difference."""
    first, second = asker.make(decode_responses=True), asker.make(protocol=3)
    assert asker.ask(first) is True
    assert asker.ask(second) is False
    assert asker.renew(first) is True


@KINDS
def test_more_elections_at_one_instant_than_connections_all_get_an_answer(asker):
    """Hundreds of tasks due at midnight wait for free connections."""
    first, second = asker.make(), asker.make()

    async def ask(election):
        keys = [f"task {number}:midnight" for number in range(300)]
        answers = [election.should_run(key, 30) for key in keys]
        return await asyncio.gather(*answers)

    assert asker.run(ask(first)) == [True] * 300
    assert asker.run(ask(second)) == [False] * 300


# --- loops, connections, clocks --------------------------------------------------


def test_an_asyncio_client_may_belong_to_a_loop_that_stands_still(server, clients):
    """A notebook's client works on ipycron's loop while a cell is busy."""

    async def notebook():
        client = clients.make("async", server.port)
        await client.ping()
        coordinator = RedisRunCoordinator(client)
        answers = []

        async def ask():
            election = CoordinatorSession(coordinator)
            answers.append(await election.should_run(KEY, 30))
            await election.aclose()

        thread = threading.Thread(target=asyncio.run, args=(ask(),))
        thread.start()
        thread.join(SECONDS)  # this loop does nothing meanwhile
        assert answers == [True]
        assert await coordinator.should_run(KEY, 30) is False
        assert (await coordinator.health_check()).is_ok
        await coordinator.close()
        await client.ping()
        await client.aclose()

    asyncio.run(notebook())


def test_a_client_whose_pool_is_special_is_used_as_it_is(server):
    """Not all of its settings are in the pool, as with Sentinel."""

    class SpecialPool(redis_asyncio.ConnectionPool):
        pass

    async def ask():
        client = redis_asyncio.Redis.from_pool(SpecialPool(port=server.port))
        coordinator = RedisRunCoordinator(client)
        connection = await client.client_id()
        assert await coordinator.should_run(KEY, 30)
        await coordinator.close()
        assert await client.client_id() == connection
        await client.aclose()

    asyncio.run(ask())


def count_connections(admin):
    """Return a function that counts the connections made from now on.

    Of those that are there already, some may be about to end.
    """
    before = {client["id"] for client in admin.client_list()}
    return lambda: len({client["id"] for client in admin.client_list()} - before)


@KINDS
def test_close_ends_the_connections_that_were_opened_here(asker, kind, clients, server):
    """Only those; the next request opens others."""
    count = count_connections(clients.make("sync", server.port))
    election = asker.make()
    assert asker.ask(election, "k:1")
    assert count() == 1
    asker.run(election.aclose())
    eventually(lambda: count() == (kind == "sync"))
    assert asker.ask(election, "k:2")
    asker.run(election.aclose())
    asker.run(election.aclose())


@KINDS
@pytest.mark.parametrize(
    ("shift", "is_ok"),
    [(0, True), (0.4, True), (-0.4, True), (3, False), (-3, False)],
)
def test_health_check_reports_how_far_the_clock_is_ahead(
    kind, clients, server, shift, is_ok
):
    """Negative if behind; the check leaves no connection open."""

    async def check():
        client = clients.make(kind, server.port)
        # The server's clock is this machine's, so the drift is the shift.
        wall = time.time  # noqa: TID251
        coordinator = RedisRunCoordinator(client, now=lambda: wall() + shift)
        begin = time.monotonic()
        health = coordinator.health_check()
        health = await health if kind == "async" else health
        # A busy machine may read the two clocks at two moments.
        between = time.monotonic() - begin
        assert health == Health(is_ok=is_ok, drift=health.drift)
        assert health.drift == pytest.approx(shift, abs=0.05 + between)
        strict = coordinator.health_check(threshold=1e-9)
        assert not (await strict if kind == "async" else strict).is_ok

    asyncio.run(check())


@KINDS
def test_health_check_connects_before_it_reads_the_clock(kind, clients, server):
    """A slow handshake does not count as drift."""
    count = count_connections(clients.make("sync", server.port))
    connected = []

    def now():
        connected.append(count())
        return 0.0

    async def check():
        coordinator = RedisRunCoordinator(clients.make(kind, server.port), now=now)
        health = coordinator.health_check()
        assert not (await health if kind == "async" else health).is_ok

    asyncio.run(check())
    assert connected == [1, 1]


@KINDS
def test_health_check_raises_when_the_server_is_away(kind, make_server, clients):
    """An unreachable server is an error."""
    server = make_server()

    async def check():
        client = clients.make(kind, server.port)
        health = RedisRunCoordinator(client).health_check()
        return await health if kind == "async" else health

    with pytest.raises(CoordinatorError, match="Redis: ConnectionError"):
        asyncio.run(check())


# --- bad input -------------------------------------------------------------------


@pytest.mark.parametrize("client", [None, "redis://:secret@host", dict])
def test_invalid_client_is_refused_without_showing_it(client):
    """A URL may contain a password."""
    with pytest.raises(InvalidOption) as caught:
        RedisRunCoordinator(client)
    assert str(caught.value) == (
        f"client: got {type(client)!r}, expected a redis.Redis or "
        "redis.asyncio.Redis. redis.Redis.from_url(url) makes one from a URL."
    )


def test_a_client_class_and_an_invalid_prefix_are_refused(clients):
    """On creation, not at the first fire."""
    with pytest.raises(InvalidOption, match="client"):
        RedisRunCoordinator(redis_asyncio.Redis)
    client = clients.make("sync", 1)
    with pytest.raises(InvalidOption, match="prefix: got 7, expected a string"):
        RedisRunCoordinator(client, prefix=7)
    assert repr(RedisRunCoordinator(client)) == "<RedisRunCoordinator ipycron:claim:*>"


def test_a_plain_client_never_waits_on_a_loop():
    """The logic is written as coroutines, which must never suspend here."""
    forever = asyncio.sleep(0)
    with pytest.raises(AssertionError, match="suspended without a loop"):
        BlockingServer(None).finish(forever)
    forever.close()
