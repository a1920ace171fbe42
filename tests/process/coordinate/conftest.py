"""A real Redis server, clients of both kinds, and elections with them."""

import asyncio
import multiprocessing
from multiprocessing import resource_tracker

import pytest
from redis_server import RedisServer, require_redis

from ipycron.coordinate import RedisRunCoordinator
from ipycron.coordinate.session import CoordinatorSession

KEY = "report:2026-11-24T09:00:00.000Z"


class Asker:
    """Coordinators of one kind, called on one loop."""

    def __init__(self, kind, clients, port):
        self._kind = kind
        self._clients = clients
        self._port = port
        self._runner = asyncio.Runner()
        self._elections = []

    def make(self, *, deadline=5.0, prefix="ipycron:claim:", **options):
        """Return a session with a coordinator that has its own client."""
        client = self._clients.make(self._kind, self._port, **options)
        coordinator = RedisRunCoordinator(client, prefix=prefix)
        # Without `renew` in the election: tests here renew by hand.
        self._elections.append(CoordinatorSession(coordinator, deadline=deadline))
        return self._elections[-1]

    def ask(self, election, key=KEY, lease=30):
        """Ask whether to run."""
        return self._runner.run(election.should_run(key, lease))

    def find_holder(self, election, key=KEY):
        """Return the holder of a claim."""
        return self._runner.run(election.find_holder(key))

    def renew(self, election, key=KEY, lease=30):
        """Renew once, like a session."""
        call = election._caller.call
        return self._runner.run(call(election._coordinator.renew, key, lease))

    def complete(self, election, key=KEY):
        """Report the end of a run."""
        self._runner.run(election.on_complete(key))

    def run(self, coroutine):
        """Run a coroutine on the loop."""
        return self._runner.run(coroutine)

    def close(self):
        """Release everything on the loop that it belongs to."""
        for election in self._elections:
            self._runner.run(election.aclose())
        self._runner.close()


@pytest.fixture(scope="session", autouse=True)
def kept_by_multiprocessing():
    """Create what it keeps for good: a process, an arena; no test leaks them."""
    resource_tracker.ensure_running()
    multiprocessing.get_context("fork").Barrier(2)


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory):
    """The server of all tests that never stop it."""
    require_redis()
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.stop()


@pytest.fixture
def server(shared_server, clients):
    """A running server without keys."""
    clients.make("sync", shared_server.port).flushall()
    return shared_server


@pytest.fixture
def asker(kind, clients, server):
    """Use the shared server through clients of the test's kind."""
    asker = Asker(kind, clients, server.port)
    yield asker
    asker.close()


@pytest.fixture
def make_asker(kind, clients):
    """Use another server."""
    askers = []

    def make(port):
        askers.append(Asker(kind, clients, port))
        return askers[-1]

    yield make
    for asker in askers:
        asker.close()
