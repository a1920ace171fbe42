"""Fleets: coordinators that tests look into, executors, a Dask cluster."""

import multiprocessing.resource_tracker

import loky.backend.resource_tracker
import pytest
from house import FORKED, INLINE, House
from redis_server import Clients, RedisServer, require_redis

from ipycron.task.registry import registry


@pytest.fixture(scope="session", autouse=True)
def kept_by_pools():
    """What pools make once and keep is no test's leak: their trackers of resources."""
    multiprocessing.resource_tracker.ensure_running()
    loky.backend.resource_tracker.ensure_running()


def make_house(kind, folder):
    """Yield a house and take it down."""
    house = House(kind, folder)
    yield house
    registry.close(0)
    house.close()


@pytest.fixture(params=[INLINE, FORKED])
def house(request, tmp_path):
    """Tasks of the client's scheduler, and of the supervisor's."""
    yield from make_house(request.param, tmp_path)


@pytest.fixture
def inline(tmp_path):
    """Tasks of the client's scheduler, where both do the same."""
    yield from make_house(INLINE, tmp_path)


@pytest.fixture
def make_server(tmp_path):
    """Make Redis servers, not started, that a test may stop as it likes."""
    require_redis()
    servers = []

    def make(*options):
        servers.append(RedisServer(tmp_path, *options))
        return servers[-1]

    yield make
    for server in servers:
        if server._process is not None:
            server.stop()


@pytest.fixture(scope="session")
def dask_threads(tmp_path_factory):
    """Dask's threads of this process are no test's leak either."""
    from dask_cluster import warm_dask  # noqa: PLC0415 - tests without Dask save 1 s

    warm_dask(tmp_path_factory.mktemp("warm"))


@pytest.fixture
def clients():
    """Make Redis clients that are closed at the end."""
    clients = Clients()
    yield clients
    clients.close()
