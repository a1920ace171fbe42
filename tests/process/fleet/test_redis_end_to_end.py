"""Tasks coordinated by a real Redis server, which goes down and up (D1, D2)."""

import signal
from datetime import UTC

import pytest
from house import EVERY_SECOND, FORKED, INLINE, House, Record
from polling import SECONDS, eventually

from ipycron.coordinate import RedisRunCoordinator

LEASE = 1.2


BOTH = pytest.mark.parametrize(
    "world", [(INLINE, "sync"), (FORKED, "async")], indirect=True, ids=str
)


@pytest.fixture
def world(request, tmp_path, clients):
    """Create distributed tasks of one kind, with clients of one kind."""
    kind, client_kind = getattr(request, "param", (INLINE, "async"))
    with House(kind, tmp_path) as house:

        def make(port, body=lambda _: 42, *, password=None, **options):
            options["run_coordinator"] = RedisRunCoordinator(
                clients.make(client_kind, port, socket_timeout=1, password=password)
            )
            options |= {"name": "report", "distributed": True}
            task = house.create(body, EVERY_SECOND, **options)
            record = Record(task)
            task.start().result(SECONDS)
            return record

        make.house = house
        yield make


def wait_for_error(record):
    """Return the error of the next slot that is skipped."""
    count = len(record.of("execution:skipped"))
    *_, skipped = record.wait("execution:skipped", count=count + 1)
    assert skipped.reason == "coordinator-error"
    return str(skipped.error)


def wait_for_run(record):
    """Return once another run has finished."""
    count = len(record.of("execution:finished"))
    record.wait("execution:finished", count=count + 1)


@BOTH
def test_runs_pause_while_the_server_is_away(make_server, world):
    """Down at creation, killed later: an error per slot, then runs again."""
    server = make_server()
    record = world(server.port)
    assert "run coordinator: Redis: ConnectionError" in wait_for_error(record)
    server.start()
    wait_for_run(record)
    server.stop(signal.SIGKILL)
    assert "run coordinator: Redis: ConnectionError" in wait_for_error(record)
    server.start()
    wait_for_run(record)


def test_nothing_runs_when_the_password_is_wrong(make_server, world):
    """The error is the server's and does not contain the password."""
    server = make_server("--requirepass", "right").start()
    error = wait_for_error(world(server.port, password="mistaken"))
    assert "Redis: AuthenticationError" in error
    assert "mistaken" not in error


def test_claim_outlasts_its_lease_when_the_run_is_longer(make_server, clients, world):
    """Two leases later, another instance still finds the fire claimed."""
    server = make_server().start()
    gate = world.house.gate()

    def wait(ctx):
        yield from gate.pass_through()

    record = world(server.port, wait, distributed_lease=LEASE, no_overlap=True)
    (started, *_) = record.wait("execution:started")
    key = f"report:{started.date.astimezone(UTC).isoformat()}"
    other = RedisRunCoordinator(clients.make("sync", server.port))
    record.wait("execution:overlap", count=3)
    assert other.should_run(key, LEASE) is False
    gate.open()
    eventually(lambda: record.of("execution:finished"))
