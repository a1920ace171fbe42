"""What clients, and whoever else gets at the socket, can do to the service: nothing."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from kept_service import PATIENCE, ServiceOfTest, declare_file
from msgspec.structs import replace
from polling import eventually, pause

import ipycron
from ipycron.errors import ServiceError
from ipycron.process.service.paths import find_socket
from ipycron.process.service.protocol import (
    FromService,
    check_greeting,
    make_greeting,
)
from ipycron.process.wire.channel import BlockingChannel
from ipycron.process.wire.protocol import Execute
from ipycron.service.server import MAX_BACKLOG_BYTES


@contextlib.contextmanager
def connect(service):
    """Return a plain socket to the service."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(os.fsencode(find_socket(service.places)))
        yield sock


def read_to_end(sock):
    """Read until the service closes the connection; return how much there was."""
    size = 0
    with contextlib.suppress(ConnectionResetError):
        while data := sock.recv(1 << 16):
            size += len(data)
    return size


GARBAGE = {
    "garbage": os.urandom(4096),
    "a web browser": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a frame of a gigabyte": struct.pack("<IIBB", 1 << 30, 0, 0, 0) + b"x" * 9999,
    "a payload of a gigabyte": struct.pack("<IIBB", 10, 1 << 30, 0, 0) + b"x" * 9999,
    "descriptors that do not come": struct.pack("<IIBB", 1, 0, 8, 1) + b"\x90" * 99,
    "an empty frame": bytes(10),
    "zeros": bytes(1 << 20),
}


@pytest.mark.parametrize("what", GARBAGE)
def test_garbage_ends_its_connection_only(service, slots, what):
    """Nothing of it is kept in memory, and the other clients do not notice."""
    service.start()
    client = service.attach()
    task_id = client.declare(declare_file(slots.job, "report"))
    before = psutil.Process(service.pid).memory_info().rss
    for _ in range(20):
        with connect(service) as sock, contextlib.suppress(BrokenPipeError):
            sock.sendall(GARBAGE[what])
            read_to_end(sock)
    client.wait_for("execution:finished", task_id)
    assert client.status().clients == 1
    assert psutil.Process(service.pid).memory_info().rss - before < 32 << 20


def test_request_without_a_greeting_is_not_served(service, slots):
    """Whoever does not say what it is gets nothing."""
    service.start()
    task_id = service.attach().declare(declare_file(slots.job, "x", "0 0 1 1 *"))
    with connect(service) as sock:
        channel = BlockingChannel(sock, FromService)
        channel.receive()  # its greeting
        channel.send(Execute(task_id, "run-1"))
        assert channel.receive() is None
    assert not slots.read()


def test_silent_connections_keep_nobody_out(service, slots):
    """Five hundred that say nothing: others are served, and they are closed."""
    service.start()
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(connect(service)) for _ in range(500)]
        client = service.attach()
        task_id = client.declare(declare_file(slots.job, "report"))
        assert client.wait_for("execution:finished", task_id).is_ok
        assert client.status().clients == 1
        for sock in silent:
            read_to_end(sock)


def test_slow_reader_loses_output_then_its_connection(service, tmp_path):
    """What it missed is counted; the job and the other clients go on."""
    job = tmp_path / "loud.py"
    job.write_text("def task():\n    for _ in range(300): print('x' * 100_000)\n")
    service.start()
    client, slow = service.attach(), service.attach()
    task_id = client.declare(declare_file(job, "loud"))
    deadline = time.monotonic() + PATIENCE
    while not client.status().dropped:
        assert time.monotonic() < deadline
    assert client.wait_for("execution:finished", task_id).is_ok
    assert slow.greeting.pid == service.pid


def test_client_with_much_to_read_is_not_slow(service, slots):
    """It gets more than the backlog of a slow client may be, and what happens then."""
    service.start()
    client = service.attach()
    for number in range(2 * MAX_BACKLOG_BYTES >> 20):
        plain = declare_file(slots.job, f"task-{number}", is_started=False)
        job = replace(plain.register.job, args=(b"x" * (1 << 20),))
        client.declare(replace(plain, register=replace(plain.register, job=job)))
    task_id = client.declare(declare_file(slots.job, "report"))
    with connect(service) as sock:
        channel = BlockingChannel(sock, FromService)
        channel.send(make_greeting(ipycron.__version__))
        for _ in range(3):  # it does not read yet
            client.wait_for("execution:finished", task_id)
        kinds = [type(channel.receive().message).__name__]
        while kinds[-1] != "Noticed":
            kinds.append(type(channel.receive().message).__name__)
    tasks = len(client.tasks)
    assert kinds == ["Greeting", *["Known"] * tasks, "AllKnown", "Noticed"]
    assert not client.status().disconnected


@pytest.mark.parametrize("how", ["deleted", "replaced by a file", "by a folder"])
def test_socket_is_made_again(service, slots, how):
    """However it went; clients that are attached stay so."""
    service.start()
    client = service.attach()
    task_id = client.declare(declare_file(slots.job, "report"))
    path = service.places.socket
    path.unlink()
    if how == "replaced by a file":
        path.write_text("not a socket")
    elif how == "by a folder":
        path.mkdir()
        pause(1.5)  # it cannot be removed: the service says so and tries again
        path.rmdir()
    assert eventually(lambda: can_attach(service), "a new socket", PATIENCE)
    assert client.wait_for("execution:finished", task_id).is_ok


def can_attach(service):
    """Return whether the service answers."""
    try:
        return service.attach().status().tasks == 1
    except OSError:
        return False


def test_folder_is_closed_again(service, slots):
    """A folder that was opened to others, or closed to the service itself."""
    service.start()
    service.attach().declare(declare_file(slots.job, "report"))
    folder = service.places.socket.parent
    for mode in (0o777, 0o000):
        folder.chmod(mode)
        eventually(lambda: folder.stat().st_mode & 0o777 == 0o700, "0700", PATIENCE)
    assert eventually(lambda: can_attach(service), "an answer", PATIENCE)


def test_deleted_folder_is_made_again(service, slots):
    """With lock, socket and store: a second service finds the first one."""
    pid = service.start()
    client = service.attach()
    task_id = client.declare(declare_file(slots.job, "report"))
    shutil.rmtree(service.places.folder)
    eventually(lambda: service.pid == pid, "a new lock", PATIENCE)
    assert eventually(lambda: can_attach(service), "a new socket", PATIENCE)
    assert service.start() == pid
    client.control(task_id, "stop")  # written to a new store, with the task
    service.kill()
    service.start()
    (known,) = service.attach().tasks.values()
    assert known.state.status == "stopped"


AS_ANOTHER = """
import os, socket, sys
os.setgid(4711)
os.setuid(4711)
sock = socket.socket(socket.AF_UNIX)
sock.settimeout(60)
sock.connect(sys.argv[1])
try:
    print(len(sock.recv(1000)))
except ConnectionResetError:
    print(0)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_another_user_is_refused(tmp_path):
    """Also where the folder's permissions would let it in."""
    folder = Path(tempfile.mkdtemp(prefix="ipycron-kept-"))
    service = ServiceOfTest(folder / "service", tmp_path / "history.sqlite")
    try:
        service.start()
        path = service.places.socket
        answers = []
        for _ in range(20):  # the service closes the folder every second
            for part in (folder, path.parent):
                part.chmod(0o755)
            path.chmod(0o777)
            done = subprocess.run(
                [sys.executable, "-S", "-c", AS_ANOTHER, str(path)],
                capture_output=True,
                text=True,
                check=False,
                timeout=PATIENCE,
            )
            answers.append(done.stdout.strip())
            if answers[-1]:
                break
        assert answers[-1] == "0", done.stderr
        assert "another user (uid 4711) was refused" in service.places.log.read_text()
    finally:
        assert service.end()
        shutil.rmtree(folder)


def test_client_of_another_version_is_told_what_to_do(service, slots):
    """It gets no tasks, but may ask for the status and the end (K7)."""
    service.start()
    service.attach().declare(declare_file(slots.job, "report"))
    with connect(service) as sock:
        channel = BlockingChannel(sock, FromService)
        own = make_greeting("99.0")
        channel.send(own)
        theirs = channel.receive().message
        assert theirs.version == ipycron.__version__
        with pytest.raises(ServiceError, match=r"service is older: .*service restart"):
            check_greeting(own, theirs)
        channel.send(Execute("1", "run-1"))
        assert not service.attach().status().failed
