"""Fixtures for tests of processes: tasks of every kind, cells in forked children."""

import textwrap

import pytest
from house import KINDS, WORKERS, House, Shared, end_tasks
from redis_server import Clients, RedisServer, require_redis
from stalls import Sleeper


@pytest.fixture(autouse=True)
def shut_down():
    """Shut ipycron down after each test, except for what its file shares."""
    yield
    end_tasks()


@pytest.fixture(scope="module")
def supervisor():
    """One supervisor for all tests of a file, which never shut ipycron down.

    ``pytestmark = pytest.mark.usefixtures("supervisor")``: it saves each test the start
    of one, a sixth of a second on both cores.
    """
    Shared.start()
    yield
    Shared.close()


@pytest.fixture(params=KINDS)
def house(request, tmp_path):
    """Tasks of each kind in turn: inline, inline-async, forked, spawned."""
    with House(request.param, tmp_path) as house:
        yield house


@pytest.fixture(params=WORKERS)
def workers(request, tmp_path):
    """Tasks that run in their own processes: forked, spawned."""
    with House(request.param, tmp_path) as house:
        yield house


@pytest.fixture
def sleeper():
    """A process that knows how late the machine is."""
    sleeper = Sleeper()
    yield sleeper
    sleeper.end()


@pytest.fixture
def write(tmp_path):
    """Write a task file; return its path."""

    def write_file(source, name="job.py"):
        path = tmp_path / name
        path.write_text(textwrap.dedent(source))
        return path

    return write_file


@pytest.fixture
def run_in_fork(zygote):
    """Run one cell in its own child; return the report."""

    def run_cell(source, **options):
        (report,) = zygote.run({"source": source, **options})
        assert report["status"] == 0, report["stderr"]
        return report

    return run_cell


@pytest.fixture
def make_server(tmp_path):
    """Create Redis servers, not started, that a test may stop at will."""
    require_redis()
    servers = []

    def make(*options):
        servers.append(RedisServer(tmp_path, *options))
        return servers[-1]

    yield make
    for server in servers:
        if server._process is not None:
            server.stop()


@pytest.fixture
def clients():
    """Create clients that are closed at the end."""
    clients = Clients()
    yield clients
    clients.close()
