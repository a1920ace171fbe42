"""A real Redis server for tests, and clients of both kinds."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
import redis
import redis.asyncio
from ports import find_free_port
from redis.backoff import NoBackoff
from redis.retry import Retry

DYING = """
import os, sys
from ipycron.process.posix import die_with_parent
die_with_parent(int(sys.argv[1]))
os.execvp(sys.argv[2], sys.argv[2:])
"""


class RedisServer:
    """A server on a free loopback port, without persistence unless told.

    It ends with the process that started it in its main thread, even if that is killed
    (Linux).
    """

    def __init__(self, folder, *options):
        self.port = find_free_port()
        self._command = [
            "redis-server",
            *("--port", str(self.port), "--bind", "127.0.0.1"),
            *("--save", "", "--appendonly", "no", "--dir", str(folder)),
            *options,
        ]
        self._process = None

    def start(self):
        """Start it; return once it answers."""
        words = [sys.executable, "-c", DYING, str(os.getpid()), *self._command]
        self._process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while not self._answers():
            assert self._process.poll() is None, "redis-server ended"
            assert time.monotonic() < deadline, "redis-server does not answer"
            threading.Event().wait(0.005)
        return self

    def stop(self, how=signal.SIGTERM):
        """Stop it; return once the process is gone. May be repeated."""
        self._process.send_signal(signal.SIGCONT)
        self._process.send_signal(how)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)

    def restart(self, how=signal.SIGTERM):
        """Stop it and start it again on the same port."""
        self.stop(how)
        self.start()

    def freeze(self):
        """Suspend it: connections stay open, requests are not answered."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self):
        """Resume it."""
        self._process.send_signal(signal.SIGCONT)

    def _answers(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"PING\r\n")
                # A request for a password is an answer, too.
                return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False


class Clients:
    """Makes clients of both kinds, and closes the plain ones."""

    def __init__(self):
        self._made = []

    def make(self, kind, port, *, is_patient=False, **options):
        """Return a client that gives up at once, or that retries if `patient`."""
        retry = redis.asyncio.retry.Retry if kind == "async" else Retry
        options["retry"] = retry(NoBackoff(), 3 if is_patient else 0)
        if is_patient:  # redis 5 needs a list of the errors
            options["retry_on_error"] = [redis.ConnectionError]
        if kind == "async":
            return redis.asyncio.Redis(port=port, **options)
        self._made.append(redis.Redis(port=port, **options))
        return self._made[-1]

    def close(self):
        """Close the plain ones; the asyncio ones have no connection of their own."""
        for client in self._made:
            client.close()


def require_redis():
    """Without the server, skip on a developer's machine and fail in CI."""
    if shutil.which("redis-server") is None:
        message = "redis-server is not installed (Debian: apt install redis-server)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
