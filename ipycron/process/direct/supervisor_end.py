"""The supervisor's end: it lends a worker to the client and takes it back."""

from __future__ import annotations

import contextlib
import os
import select
from collections import OrderedDict
from enum import StrEnum
from typing import TYPE_CHECKING

from ipycron.process.direct.token import encode_free
from ipycron.process.direct.worker_end import (
    date_call,
    make_connection,
    name_call,
    read_call,
)
from ipycron.process.wire.payload import Payload
from ipycron.process.wire.protocol import DirectOpened

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from ipycron.process.direct.token import WorkerToken
    from ipycron.process.wire.channel import Channel, Uplink

SWITCH = "IPYCRON_DIRECT"
"""An environment variable: with ``0``, every call goes through the supervisor."""
_NAME_BYTES = 8
_PATIENCE = 1
"""Milliseconds to wait for the token. A worker holds it for a few microseconds, unless
it was stopped just then; without it, the fate of a call is unknown."""
_MAX_LOST = 100
"""Dead workers whose leases are remembered: the client asks within milliseconds."""
_LAST = 1 << 52
"""No call before 2112 has a higher number: a higher one was written by a job."""


class Fate(StrEnum):
    """What became of a call that was sent to a worker."""

    OPEN = "open"  # it has not begun, and the worker will decline it
    REPORTED = "reported"  # the scheduler follows its run, like any other
    ANSWERED = "answered"  # its run is over; only the client knows how it ended
    UNKNOWN = "unknown"  # the worker holds the token: ask again


class DirectLease:
    """Lends one worker to its client, and takes it back.

    Args:
        loop: the supervisor's.
        kill: kills the worker, for a reason in words.

    Attributes:
        name: the connection's, with which its runs' ids begin; empty without one.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, kill: Callable[[str], None]
    ) -> None:
        self._loop = loop
        self._kill: Callable[[str], None] | None = kill
        self._token: WorkerToken | None = None
        self._last = 1  # a counter holds no 0
        self._is_held = True  # the supervisor holds the token
        self._is_wanted = True  # the scheduler needs the supervisor to hold it
        self._reported = 0  # the last call whose run was reported
        self._on_called: Callable[[str, float], None] | None = None
        self.name = ""
        self._called_id = ""  # a run that was reported and has not been adopted yet

    def open(self, task_id: str, pid: int, worker: Channel, client: Uplink) -> None:
        """Connect a worker and its client, if the system can."""
        if os.environ.get(SWITCH) == "0":
            return
        try:
            ours, theirs, self._token = make_connection()
        except (OSError, AttributeError):
            return  # no descriptors left, or no eventfd: calls take the other way
        self.name = os.urandom(_NAME_BYTES).hex()
        opened = DirectOpened(task_id, self.name, pid)
        with ours, theirs:
            worker.send(opened, fds=(theirs.fileno(), self._token.fd))
            client.forward(opened, Payload(fd=os.dup(ours.fileno())))

    def grant(self, on_called: Callable[[str, float], None]) -> None:
        """Let the client call the worker from now on, if they are connected."""
        self._on_called = on_called
        self._is_wanted = False
        self._put()

    def _put(self) -> None:
        if self._token is not None and self._is_held and not self._is_wanted:
            with contextlib.suppress(BlockingIOError):  # a job has filled it
                self._token.put(encode_free(self._last))
                self._is_held = False

    def hold(self) -> bool:
        """Keep calls from beginning; report one in progress.

        Returns:
            whether the token is held. If not, a call may be in progress.
        """
        self._is_wanted = True
        self._take()
        return self._is_held

    def check(self) -> None:
        """Report a run in progress before its output is read.

        What is read right after this belongs to that run, or to no run.
        """
        if not self._is_held:
            self._take()
            self._loop.call_soon(self._put)

    def _take(self) -> None:
        if self._token is None or self._is_held:
            return
        value = self._token.take() or self._wait(self._token)
        if not value:
            return
        self._is_held = True
        self._last = max(self._last, min(value >> 1, _LAST))
        if value & 1:
            self._report(self._last)

    def _report(self, number: int) -> None:
        """Report a run, once: a job can forge its end, and return later."""
        is_reported, self._reported = number == self._reported, number
        if self._on_called is not None and not is_reported:
            self._is_wanted = True
            self._called_id = name_call(self.name, number)
            self._on_called(self._called_id, date_call(number))

    def handle_end(self, execution_id: str) -> None:
        """Report a run whose end the worker has sent, whatever the token's value is.

        A job can change the value, and the caller must still receive the end.
        """
        name, number = read_call(execution_id)
        if name and name == self.name and number < _LAST:
            self._report(number)

    @staticmethod
    def _wait(token: WorkerToken) -> int:
        watch = select.poll()
        watch.register(token.fd, select.POLLIN)
        return token.take() if watch.poll(_PATIENCE) else 0

    def claim_reported(self, execution_id: str) -> bool:
        """Return whether a starting run is the call reported last; then forget it."""
        is_reported = self._called_id == execution_id
        self._called_id = ""
        return is_reported

    def withdraw(self, execution_id: str) -> Fate:
        """Return what became of a call; a run in progress is reported first."""
        self._take()
        if not self._is_held:
            # A worker that died with the token held it only to answer.
            return Fate.ANSWERED if self._token is None else Fate.UNKNOWN
        _, number = read_call(execution_id)
        if number > self._last:
            self._last = self._reported = number  # the scheduler will report it
            return Fate.OPEN
        self._put()
        return Fate.REPORTED if number == self._reported else Fate.ANSWERED

    def close(self) -> None:
        """Close the token; `withdraw` still knows what became of the last call."""
        self._on_called = self._kill = None
        if self._token is not None:
            self._token.close()
            self._token = None

    def abandon(self) -> None:
        """Kill a worker that does not return the token.

        It was stopped while it held the token, or its job has emptied the eventfd.
        """
        if self._kill is not None:
            self._kill("it did not report what became of a call")


class DirectLeases:
    """The leases of all workers, by connection name; of dead workers for a while."""

    def __init__(self) -> None:
        self._open: dict[str, DirectLease] = {}
        self._lost: OrderedDict[str, DirectLease] = OrderedDict()

    def add(self, lease: DirectLease) -> None:
        """Add a lease. Without a connection it is never looked up."""
        self._open[lease.name] = lease

    def remove(self, lease: DirectLease) -> None:
        """Record that a worker is gone."""
        if self._open.pop(lease.name, None) is not None:
            self._lost[lease.name] = lease
            if len(self._lost) > _MAX_LOST:
                self._lost.popitem(last=False)

    def withdraw(self, execution_id: str, *, is_last: bool) -> Fate:
        """Return what became of a call; see `DirectLease.withdraw`.

        Args:
            execution_id: the call's.
            is_last: whether a worker that still does not answer is killed.
        """
        name, _ = read_call(execution_id)
        lease = self._open.get(name) or self._lost.get(name)
        if lease is None:
            return Fate.ANSWERED
        fate = lease.withdraw(execution_id)
        if fate is Fate.UNKNOWN and is_last:
            lease.abandon()
        return fate
