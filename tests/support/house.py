"""The real thing, in four kinds, with helpers for tests."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading

import cloudpickle
import pytest
from jobs import Gate, Log, as_coroutine, as_function
from polling import SECONDS, eventually

import ipycron
from ipycron.client.registry import registry

INLINE, ASYNC, FORKED, SPAWNED = "inline", "inline-async", "forked", "spawned"
KINDS = (INLINE, ASYNC, FORKED, SPAWNED)
WORKERS = (FORKED, SPAWNED)
BOTH = (ASYNC, FORKED)
"""One of either scheduler, for tests that take seconds of real time."""
BOTH_FIRST = pytest.mark.parametrize(
    "house",
    [
        *BOTH,
        *(pytest.param(kind, marks=pytest.mark.full) for kind in (INLINE, SPAWNED)),
    ],
    indirect=True,
)
"""The same; the other kinds by `make test-full`."""
NEVER = "0 0 1 1 *"
EVERY_SECOND = "* * * * * *"
_OPTIONS = {
    INLINE: {},
    ASYNC: {},
    FORKED: {"background": True, "launcher": "fork"},
    SPAWNED: {"background": True, "launcher": "spawn"},
}


class Record:
    """Every event of a task, or of all tasks, in the order of delivery.

    An event may be asked for with the type of its error: ``"task:failed StartError"``.
    """

    def __init__(self, source):
        self.contexts = []
        source.on("*", self.contexts.append)

    @property
    def names(self):
        """The events so far."""
        return [context.event for context in self.contexts]

    @property
    def texts(self):
        """The events so far, each with the type of its error, if it has one."""
        return [describe(context) for context in self.contexts]

    def of(self, event):
        """Return the contexts of one event so far."""
        name, _, error = event.partition(" ")
        return [
            context
            for context in self.contexts
            if context.event == name and error in ("", type(context.error).__name__)
        ]

    def count(self, event):
        """Return how many times an event has occurred so far."""
        return len(self.of(event))

    def wait(self, event, count=1, seconds=SECONDS):
        """Return the contexts of an event once it has occurred that often."""
        eventually(
            lambda: self.count(event) >= count,
            lambda: f"{count} × {event} in {self.texts}",
            seconds,
        )
        return self.of(event)

    def expect(self, *names):
        """Fail unless exactly these events have occurred once all are delivered."""
        drain()
        assert self.names == list(names)


def describe(context):
    """Return an event's name, with the type of its error."""
    error = context.error
    return context.event if error is None else f"{context.event} {type(error).__name__}"


def submit_to_client(call):
    """Have the client's loop make a call, after all earlier requests."""
    registry.client._engine.submit(call)


def drain():
    """Return once all events that have reached this process are delivered.

    A call of a listener that the machine holds up makes another thread go on, and is
    waited for; one that a test holds up is not, beyond two seconds.
    """
    client = registry.running_client
    if client is not None:
        delivered = threading.Event()
        if client._engine is None:  # nothing was ever started
            client.dispatcher.submit(delivered.set)
        else:
            submit_to_client(lambda: client.dispatcher.submit(delivered.set))
        assert delivered.wait(SECONDS), "the dispatcher hangs"
        with contextlib.suppress(AssertionError):
            eventually(lambda: not client.dispatcher._waiting, seconds=2)


class Shared:
    """A client, with its supervisor, shared by the tests of a file."""

    client = None

    @classmethod
    def start(cls):
        """Start it, with the processes and threads that it then keeps."""
        for options in ({"background": True}, {}):
            task = ipycron.create_task(NEVER, int, **options)
            task.start().result(SECONDS)
            task.destroy().result(SECONDS)
        cls.client = registry.client
        cls.client.flush_history(SECONDS)  # its file is open from now on

    @classmethod
    def close(cls):
        """Shut down; fail if a test has done so before."""
        client, cls.client = cls.client, None
        assert registry.running_client is client, "a test has shut ipycron down"
        registry.close(0)


def end_tasks():
    """End everything that a test has started, except what its file shares."""
    client = registry.running_client
    if client is None:
        registry.release_signals()  # a test may have shut down in a thread
        return
    if client is not Shared.client:
        registry.close(0)
        return
    for end in [task.destroy(force=True) for task in ipycron.get_tasks().values()]:
        end.result(SECONDS)
    client.keepalive.close()  # only the main thread can restore its descriptor
    drain()
    for event in ("*", *ipycron.Event):
        ipycron.off(event)


class House:
    """Creates tasks of one kind from bodies (see `jobs`)."""

    def __init__(self, kind, folder):
        self.kind = kind
        self.folder = folder
        self._loop = None
        self._thread = None

    @property
    def is_background(self):
        """Whether jobs run in their own processes."""
        return self.kind in WORKERS

    def gate(self, name="gate"):
        """Return a closed gate."""
        return Gate(self.folder / name)

    def log(self, name="log"):
        """Return an empty log."""
        return Log(self.folder / name)

    def create(self, body, expression=NEVER, **options):
        """Return a stopped task."""
        return self._make(ipycron.create_task, body, expression, options)

    def schedule(self, body, expression=NEVER, **options):
        """Return a task that is being started."""
        return self._make(ipycron.schedule, body, expression, options)

    def start(self, body, expression=NEVER, **options):
        """Return a started task."""
        task = self.create(body, expression, **options)
        task.start().result(SECONDS)
        return task

    def _make(self, make, body, expression, options):
        if self.kind == ASYNC:
            return self.call_on_loop(
                lambda: make(expression, as_coroutine(body), **options)
            )
        if self.is_background and body.__module__ in sys.modules:
            cloudpickle.register_pickle_by_value(sys.modules[body.__module__])
        job = as_function(body)
        return make(expression, job, **_OPTIONS[self.kind], **options)

    def call_on_loop(self, call):
        """Call in the thread of a running event loop, for coroutine jobs."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="home")
            self._thread.start()

        async def run():
            return call()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(SECONDS)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # First: coroutines need their loop until they have ended.
        end_tasks()
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(SECONDS)
            self._loop.close()
