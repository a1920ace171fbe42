"""A Redis server that is down, restarts, hangs, refuses or loses answers (D2)."""

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from polling import SECONDS, eventually
from redis_server import require_redis

from ipycron.coordinate.session import CoordinatorSession
from ipycron.errors import CoordinatorError

SUPPORT = Path(__file__).parents[2] / "support"
KEY = "report:2026-11-24T09:00:00.000Z"
KINDS = pytest.mark.parametrize("kind", ["sync", "async"])


@KINDS
def test_a_coordinator_is_made_before_its_server(make_server, make_asker):
    """Until the server is up every election is an error; then they work."""
    server = make_server()
    asker = make_asker(server.port)
    election = asker.make()
    with pytest.raises(CoordinatorError, match="Redis: ConnectionError") as caught:
        asker.ask(election)
    assert isinstance(caught.value.__cause__, Exception)
    server.start()
    assert asker.ask(election) is True


@KINDS
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_coordinator_outlives_its_server(make_server, make_asker, how):
    """Down is an error, not an answer; once it is up again, elections work."""
    server = make_server().start()
    asker = make_asker(server.port)
    election = asker.make()
    assert asker.ask(election, "k:1")
    server.stop(how)
    with pytest.raises(CoordinatorError, match="Redis: ConnectionError"):
        asker.ask(election, "k:2")
    server.start()
    assert asker.ask(election, "k:3")


@KINDS
def test_a_restart_between_two_fires_is_not_noticed(make_server, make_asker):
    """With a client that retries, a stale connection has no effect."""
    server = make_server().start()
    asker = make_asker(server.port)
    election = asker.make(is_patient=True)
    assert asker.ask(election, "k:1")
    server.restart()
    assert asker.ask(election, "k:2")


@KINDS
def test_claims_outlive_a_killed_server_that_keeps_a_log(make_server, make_asker):
    """With `appendonly yes` the guarantee survives a crash of the server."""
    server = make_server("--appendonly", "yes").start()
    asker = make_asker(server.port)
    first, second = asker.make(is_patient=True), asker.make(is_patient=True)
    assert asker.ask(first)
    server.restart(signal.SIGKILL)
    assert asker.ask(second) is False
    assert asker.renew(first) is True


@KINDS
def test_the_claim_of_a_run_comes_back_when_a_server_forgot_it(make_server, make_asker):
    """Without persistence, claims of runs in progress are made again."""
    server = make_server().start()
    asker = make_asker(server.port)
    first, second = asker.make(is_patient=True), asker.make(is_patient=True)

    async def live():
        assert await first.should_run(KEY, 0.6)
        server.restart()
        deadline = time.monotonic() + SECONDS
        while await second.find_holder(KEY) is None:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        assert not await second.should_run(KEY, 30)
        await first.on_complete(KEY)

    asker.run(live())


@KINDS
def test_a_server_that_hangs_is_an_error_in_time(make_server, make_asker):
    """The loop waits only until the deadline, and the next fire asks again."""
    server = make_server().start()
    asker = make_asker(server.port)
    election = asker.make()
    assert asker.ask(election, "k:1")
    hurried = CoordinatorSession(election._coordinator, deadline=0.3)
    server.freeze()
    with pytest.raises(CoordinatorError, match=r"no answer within 0\.3 s"):
        asker.ask(hurried, "k:2")
    server.thaw()
    # An answer that belongs to "k:2" would be True.
    assert asker.ask(election, "k:1") is False
    assert asker.ask(election, "k:3") is True


@KINDS
@pytest.mark.parametrize("password", [None, "wrong"])
def test_a_wrong_password_is_an_error(make_server, make_asker, password):
    """The error contains the server's text, but not the password."""
    server = make_server("--requirepass", "right").start()
    asker = make_asker(server.port)
    with pytest.raises(CoordinatorError, match="Redis: Authentication") as caught:
        asker.ask(asker.make(password=password))
    assert "wrong " not in str(caught.value)
    assert asker.ask(asker.make(password="right")) is True


@KINDS
def test_a_server_that_refuses_to_write_is_an_error(make_server, make_asker, clients):
    """Full memory is not a lost election."""
    server = make_server().start()
    asker = make_asker(server.port)
    election = asker.make()
    admin = clients.make("sync", server.port)
    admin.config_set("maxmemory", 1)
    with pytest.raises(CoordinatorError, match="Redis: OutOfMemoryError"):
        asker.ask(election)
    admin.config_set("maxmemory", 0)
    assert asker.ask(election) is True


class Proxy:
    """Forwards bytes, and drops the first answer to a claim."""

    def __init__(self, port):
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.lost = 0
        self._connections = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self):
        """End all threads."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            with contextlib.suppress(OSError):  # closed by its thread already
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(SECONDS)
            assert not thread.is_alive()

    def _accept(self):
        while True:
            try:
                inner, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(inner)
            thread = threading.Thread(target=self._pass, args=(inner,))
            self._threads.append(thread)
            thread.start()

    def _pass(self, inner):
        with inner, socket.create_connection(("127.0.0.1", self._port)) as outer:
            while question := inner.recv(65536):
                outer.sendall(question)
                answer = outer.recv(65536)
                if b"EVAL" in question and self.lost == 0:
                    self.lost += 1
                    return
                inner.sendall(answer)


@KINDS
def test_a_claim_whose_answer_was_lost_is_recognised(server, make_asker):
    """The client retries by itself; otherwise the fire would run nowhere."""
    proxy = Proxy(server.port)
    try:
        asker, direct = make_asker(proxy.port), make_asker(server.port)
        assert asker.ask(asker.make(is_patient=True)) is True
        assert proxy.lost == 1
        assert direct.ask(direct.make()) is False
    finally:
        proxy.close()


HOST = f"""
import sys
sys.path.append({str(SUPPORT)!r})
from redis_server import RedisServer
print(RedisServer(sys.argv[1]).start().port, flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells of a parent's end"
)
def test_a_server_ends_with_a_run_of_tests_that_is_killed(tmp_path):
    """No fixture can stop it then."""
    require_redis()

    def is_there():
        with contextlib.suppress(ConnectionError):
            socket.create_connection(("127.0.0.1", port), SECONDS).close()
            return True
        return False

    with subprocess.Popen(
        [sys.executable, "-c", HOST, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as host:
        port = int(host.stdout.readline())
        assert is_there()
        host.kill()
    eventually(lambda: not is_there(), "the server has ended")
