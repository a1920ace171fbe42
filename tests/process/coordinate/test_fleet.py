"""Eight processes compete for each fire, with kill -9 (D1, D2)."""

import asyncio
import multiprocessing
import os
import random
import sqlite3
import threading
import time
from collections import Counter

import pytest
import redis
import redis.asyncio as redis_asyncio
from lengths import choose

from ipycron.coordinate import RedisRunCoordinator, SQLiteRunCoordinator
from ipycron.coordinate.session import CoordinatorSession

FORK = multiprocessing.get_context("fork")
PROCESSES = 8
KEYS = 200
LEASE = 60.0
SECONDS = choose(short=2.5, full=4)


def make_sqlite(tmp_path, request):
    """Return a factory of coordinators that use one file."""
    return lambda: SQLiteRunCoordinator(tmp_path / "claims.db")


def make_redis(tmp_path, request):
    """Return a factory of coordinators that use one server, by plain clients."""
    port = request.getfixturevalue("server").port
    return lambda: RedisRunCoordinator(redis.Redis(port=port))


def make_async_redis(tmp_path, request):
    """Return a factory of coordinators that use one server, by asyncio clients."""
    port = request.getfixturevalue("server").port
    return lambda: RedisRunCoordinator(redis_asyncio.Redis(port=port))


@pytest.fixture(params=[make_sqlite, make_redis, make_async_redis])
def make(request, tmp_path, shared_server):
    """Return a factory of coordinators that share their claims."""
    return request.param(tmp_path, request)


def race(make, log, start):
    """Claim all keys in a random order; record those that were won."""
    won = []

    async def run():
        election = CoordinatorSession(make())
        keys = list(range(KEYS))
        random.shuffle(keys)
        for key in keys:
            if await election.should_run(f"k:{key}", LEASE):
                won.append(f"{key}\n")
                await election.on_complete(f"k:{key}")
        await election.aclose()

    start.wait(20)
    asyncio.run(run())
    log.write_text("".join(won))


def fire(make, log, period):
    """Claim one key per period of the monotonic clock, until killed."""

    async def run():
        election = CoordinatorSession(make())
        last = None
        while True:
            slot = int(time.monotonic() / period)
            if slot != last:
                last = slot
                if await election.should_run(f"k:{slot}", LEASE):
                    os.write(log, f"{slot}\n".encode())
                    await election.on_complete(f"k:{slot}")
            await asyncio.sleep((slot + 1) * period - time.monotonic())

    asyncio.run(run())


def read_wins(folder):
    """Return how often each key was won."""
    logs = [path.read_text() for path in folder.glob("*.log")]
    return Counter(int(line) for log in logs for line in log.splitlines())


def test_each_key_is_won_once_when_eight_processes_race(make, tmp_path):
    """They also create the file at the same instant."""
    start = FORK.Barrier(PROCESSES)
    children = [
        FORK.Process(target=race, args=(make, tmp_path / f"{number}.log", start))
        for number in range(PROCESSES)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(50)
        assert child.exitcode == 0
    assert read_wins(tmp_path) == dict.fromkeys(range(KEYS), 1)


def test_no_key_is_won_twice_when_processes_are_killed(make, tmp_path):
    """A killed process loses at most the fire that it has just won."""
    period, seconds, enough = 0.01, SECONDS, 200
    log = os.open(tmp_path / "all.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)

    def start():
        child = FORK.Process(target=fire, args=(make, log, period))
        child.start()
        return child

    children = [start() for _ in range(PROCESSES)]
    kills = 0
    begin = time.monotonic()
    # A busy machine needs longer for as many.
    while time.monotonic() < begin + seconds or (
        len(read_wins(tmp_path)) < enough and time.monotonic() < begin + 40
    ):
        threading.Event().wait(random.uniform(0.01, 0.1))
        victim = children.pop(random.randrange(PROCESSES))
        assert victim.exitcode is None, "it ended by itself"
        victim.kill()
        victim.join(20)
        kills += 1
        children.append(start())
    for child in children:
        assert child.exitcode is None
        child.kill()
        child.join(20)
    os.close(log)

    wins = read_wins(tmp_path)
    claimed = count_claims(make())
    assert max(wins.values()) == 1, "a fire ran twice"
    assert len(wins) >= enough, "the fleet was hardly running"
    assert claimed - len(wins) <= kills + PROCESSES, "claims that nobody ran"


def count_claims(coordinator):
    """Return the number of claims, read directly from the store."""
    if isinstance(coordinator, SQLiteRunCoordinator):
        coordinator.close()
        connection = sqlite3.connect(coordinator.path)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        (count,) = connection.execute("SELECT count(*) FROM claims").fetchone()
        connection.close()
        return count
    pool = coordinator._server._client.connection_pool
    with redis.Redis(port=pool.connection_kwargs["port"]) as client:
        return client.dbsize()
