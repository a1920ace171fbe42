"""A service in a folder of the test, and a plain client of it."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import sys
import time
import uuid
from pathlib import Path

import psutil

import ipycron
from ipycron.process.service.launch import start_service
from ipycron.process.service.paths import (
    VARIABLE,
    find_places,
    find_socket,
    read_holder,
)
from ipycron.process.service.protocol import (
    AllKnown,
    AskStatus,
    Declaration,
    Declare,
    FromService,
    Known,
    make_greeting,
)
from ipycron.process.wire.channel import BlockingChannel
from ipycron.process.wire.outcome import decode_error
from ipycron.process.wire.payload import Payload
from ipycron.process.wire.protocol import (
    Control,
    FileJob,
    Noticed,
    Register,
    Reply,
    Setting,
)
from ipycron.process.wire.triggers import describe_trigger
from ipycron.process.wire.zones import describe_zone
from ipycron.runlog.settings import make_settings
from ipycron.scheduling.policy import Policy
from ipycron.service.client import ServiceClient
from ipycron.service.keeper import Keeper
from ipycron.triggers.union import read_trigger

PATIENCE = 60.0
"""Seconds for what must happen; the machine may be busy."""


class ServiceOfTest:
    """Starts, kills and finds the service of one folder."""

    def __init__(self, folder, history):
        self.env = {VARIABLE: str(folder), "IPYCRON_HISTORY": str(history)}
        self.history = history
        self.places = find_places(self.env)
        self._attached = []

    def start(self):
        """Start it as the first kept task does; return its process id."""
        before = {name: os.environ.get(name) for name in self.env}
        os.environ.update(self.env)
        try:
            start_service(self.places, PATIENCE)
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
        return self.pid

    @property
    def pid(self):
        """The process that holds the lock, None if there is none."""
        holder = read_holder(self.places)
        return None if holder is None else holder.pid

    def find_family(self):
        """Return all processes of the service, from the top down."""
        pid = self.pid
        if pid is None:  # psutil would take it for this very process
            return []
        with contextlib.suppress(psutil.Error):
            top = psutil.Process(pid)
            return [top, *top.children(recursive=True)]
        return []

    def attach(self):
        """Return a client that has greeted and has read all tasks."""
        path = find_socket(self.places)
        if path is None:
            raise ConnectionRefusedError("there is no service")
        client = Attached(path)
        self._attached.append(client)
        return client

    def kill(self):
        """Kill the service itself, and no other process."""
        os.kill(self.pid, signal.SIGKILL)

    def end(self):
        """End it as `service stop` does, and wait until nothing of it is left."""
        for client in self._attached:
            client.close()
        family = self.find_family()
        if family:
            with contextlib.suppress(psutil.Error):
                family[0].terminate()
        _, alive = psutil.wait_procs(family, PATIENCE)
        for process in alive:
            process.kill()
        return not alive


class KeeperOfTest:
    """A keeper in this process, so that a test can hold its store up."""

    def __init__(self, folder, history):
        self.places = find_places({VARIABLE: str(folder)})
        self.history = history
        self.client = None
        self._stack = contextlib.ExitStack()

    def open(self):
        """Load what is stored, and listen."""
        client = self.client = ServiceClient()
        client.history.use(make_settings(self.history))
        client.history.begun_file = self.places.begun
        keeper = client.run(self._make(client)).result(PATIENCE)

        def close():
            client.run(keeper.prepare_end(is_restart=True)).result(PATIENCE)
            client.shutdown(0)
            keeper.close()

        self._stack.callback(close)
        client.run(keeper.open()).result(PATIENCE)
        return self

    async def _make(self, client):
        greeting = make_greeting(ipycron.__version__)
        return Keeper(client, self.places, greeting, on_end=lambda *_: None)

    def attach(self):
        """Return a client that has greeted."""
        client = Attached(self.places.socket)
        self._stack.callback(client.close)
        return client

    def close(self):
        """End it; it may be opened again."""
        self._stack.close()


class Attached:
    """A client on a plain socket; everything blocks, with a deadline."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        try:
            self.sock.connect(os.fsencode(path))
        except BaseException:
            self.sock.close()
            raise
        self.channel = BlockingChannel(self.sock, FromService)
        self.tasks = {}
        self.notices = []
        self.ids = itertools.count(1)
        self.channel.send(make_greeting(ipycron.__version__))
        self.greeting = self.receive().message
        while not isinstance(self.receive().message, AllKnown):
            pass

    def receive(self):
        """Return the next frame; what it says of tasks is remembered."""
        frame = self.channel.receive()
        if frame is None:
            raise EOFError("the service has closed the connection")
        message = frame.message
        if isinstance(message, Known):
            self.tasks[message.declaration.register.task_id] = message
        elif isinstance(message, Noticed):
            self.notices.append(message)
            if message.status == "destroyed":
                self.tasks.pop(message.task_id, None)
        return frame

    def request(self, make, payload=None):
        """Send a request; return its answer or raise its error."""
        number = next(self.ids)
        self.channel.send(make(number), payload)
        while True:
            frame = self.receive()
            if getattr(frame.message, "request_id", None) == number:
                break
        if isinstance(frame.message, Reply) and not frame.message.is_ok:
            raise decode_error(frame.payload)
        return frame.message

    def declare(self, declaration, payload=None):
        """Have a task kept; return its id."""
        self.request(lambda n: Declare(n, declaration), payload or Payload())
        return declaration.register.task_id

    def control(self, task_id, action, *, force=False):
        """Start, stop or destroy a task."""
        self.request(lambda n: Control(n, task_id, action, force))

    def status(self):
        """Return the service's report."""
        return self.request(AskStatus)

    def find(self, name):
        """Return what is known of a task, by its name; None if it is not kept."""
        found = [k for k in self.tasks.values() if k.declaration.register.name == name]
        assert len(found) < 2
        return found[0] if found else None

    def wait_for(self, event, task_id=None):
        """Return the next notice of an event."""
        deadline = time.monotonic() + PATIENCE
        seen = len(self.notices)
        while time.monotonic() < deadline:
            for notice in self.notices[seen:]:
                if notice.event == event and task_id in (None, notice.task_id):
                    return notice
            seen = len(self.notices)
            self.receive()
        raise TimeoutError(event)

    def close(self):
        """Disconnect."""
        self.channel.close()


def declare_file(path, name, when="* * * * * *", *, origin=None, **options):
    """Return the declaration of a file."""
    task_id = uuid.uuid4().hex
    trigger = read_trigger(when, hash_id=name)
    is_started = options.pop("is_started", True)
    history = options.pop("history", True)
    options.setdefault("start_timeout", PATIENCE)  # its first start is a slow one
    register = Register(
        task_id=task_id,
        name=name,
        pattern=trigger.text,
        zone=describe_zone(trigger.timezone),
        trigger=describe_trigger(trigger),
        policy=Policy(**options),
        job=FileJob(os.fsencode(path)),
        setting=Setting(
            cwd=os.fsencode(Path(path).parent),
            env=dict(os.environb),
            path=tuple(map(os.fsencode, sys.path)),
            log_level=30,
            max_result_bytes=1 << 20,
        ),
        launcher="fork",
    )
    return Declaration(
        register=register,
        origin=origin,
        is_started=is_started,
        history=history,
        version=ipycron.__version__,
    )
