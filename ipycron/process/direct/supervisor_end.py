"""A worker that its client may call, as the supervisor sees it."""

from __future__ import annotations

import contextlib
import os
import select
from collections import OrderedDict
from enum import StrEnum
from typing import TYPE_CHECKING

from ipycron.process.direct.token import say_free
from ipycron.process.direct.worker_end import date_call, make_line, name_call, read_call
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
"""Milliseconds. A worker has the word for a few microseconds, unless it is stopped
just then; who else would have to decide without it."""
_MAX_LOST = 100
"""Workers that are gone and have had a line: their clients ask within milliseconds."""
_LAST = 1 << 52
"""No call has a higher number before 2112: a job has put that there."""


class Fate(StrEnum):
    """What became of a call that a worker was sent."""

    OPEN = "open"  # it has not begun, and now it never will
    TOLD = "told"  # it is the scheduler's, like any other run
    ANSWERED = "answered"  # it is over, and nobody but the client knows how it ended
    UNKNOWN = "unknown"  # the worker has the word: ask again


class DirectLease:
    """Offers one worker to its client, and takes it back.

    Attributes:
        name: the line's, the beginning of its runs' ids; empty before there is one.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, kill: Callable[[str], None]
    ) -> None:
        self._loop = loop
        self._kill: Callable[[str], None] | None = kill
        self._token: WorkerToken | None = None
        self._last = 1  # a counter holds no 0
        self._is_held = True  # we have the word
        self._is_wanted = True  # and the scheduler wants us to
        self._told = 0  # the last call that was
        self._on_called: Callable[[str, float], None] | None = None
        self.name = ""
        self._called_id = ""  # told, and nobody has taken note of it yet

    def open(self, task_id: str, pid: int, worker: Channel, client: Uplink) -> None:
        """Make a line between a worker and its client, where that can be."""
        if os.environ.get(SWITCH) == "0":
            return
        try:
            ours, theirs, self._token = make_line()
        except (OSError, AttributeError):
            return  # no descriptors, or none of this kind: it goes without
        self.name = os.urandom(_NAME_BYTES).hex()
        line = DirectOpened(task_id, self.name, pid)
        with ours, theirs:
            worker.send(line, fds=(theirs.fileno(), self._token.fd))
            client.forward(line, Payload(fd=os.dup(ours.fileno())))

    def give(self, on_called: Callable[[str, float], None]) -> None:
        """Let calls begin, if there is a line."""
        self._on_called = on_called
        self._is_wanted = False
        self._put()

    def _put(self) -> None:
        if self._token is not None and self._is_held and not self._is_wanted:
            with contextlib.suppress(BlockingIOError):  # a job has filled it
                self._token.put(say_free(self._last))
                self._is_held = False

    def hold(self) -> bool:
        """Let none begin, and tell of one that has; return whether all is known."""
        self._is_wanted = True
        self._take()
        return self._is_held

    def look(self) -> None:
        """Tell of a run in progress: the worker is about to show something of it.

        What is read right after this belongs to that run, or to none that has begun.
        """
        if not self._is_held:
            self._take()
            self._loop.call_soon(self._put)

    def _take(self) -> None:
        if self._token is None or self._is_held:
            return
        word = self._token.take() or self._wait(self._token)
        if not word:
            return
        self._is_held = True
        self._last = max(self._last, min(word >> 1, _LAST))
        if word & 1:
            self._tell(self._last)

    def _tell(self, number: int) -> None:
        """Tell of a run, once: a job can say that it has ended, and return later."""
        is_told, self._told = number == self._told, number
        if self._on_called is not None and not is_told:
            self._is_wanted = True
            self._called_id = name_call(self.name, number)
            self._on_called(self._called_id, date_call(number))

    def believe(self, execution_id: str) -> None:
        """Tell of a run that its worker says has ended, whatever the token says.

        A job can write there, and whoever waits for its run must hear of the end.
        """
        line, number = read_call(execution_id)
        if line and line == self.name and number < _LAST:
            self._tell(number)

    @staticmethod
    def _wait(token: WorkerToken) -> int:
        watch = select.poll()
        watch.register(token.fd, select.POLLIN)
        return token.take() if watch.poll(_PATIENCE) else 0

    def settle(self, execution_id: str) -> bool:
        """Take note that a run is known; return whether it is one that was told."""
        is_told = self._called_id == execution_id
        self._called_id = ""
        return is_told

    def withdraw(self, execution_id: str) -> Fate:
        """Return what became of a call; one that is in progress is told first."""
        self._take()
        if not self._is_held:
            # One that died with the word was between two lines of ours.
            return Fate.ANSWERED if self._token is None else Fate.UNKNOWN
        _, number = read_call(execution_id)
        if number > self._last:
            self._last = self._told = number  # it will be, by the scheduler
            return Fate.OPEN
        self._put()
        return Fate.TOLD if number == self._told else Fate.ANSWERED

    def close(self) -> None:
        """Give the token up; what became of the last call can still be asked."""
        self._on_called = self._kill = None
        if self._token is not None:
            self._token.close()
            self._token = None

    def abandon(self) -> None:
        """End a worker that keeps the word: stopped just then, or robbed by its job."""
        if self._kill is not None:
            self._kill("it did not say what became of a call")


class DirectLeases:
    """The offers of all workers, by the names of their lines; lost ones for a while."""

    def __init__(self) -> None:
        self._open: dict[str, DirectLease] = {}
        self._lost: OrderedDict[str, DirectLease] = OrderedDict()

    def add(self, offer: DirectLease) -> None:
        """Add one that has a line, or has not: then nobody asks."""
        self._open[offer.name] = offer

    def remove(self, offer: DirectLease) -> None:
        """Note that a worker is gone."""
        if self._open.pop(offer.name, None) is not None:
            self._lost[offer.name] = offer
            if len(self._lost) > _MAX_LOST:
                self._lost.popitem(last=False)

    def withdraw(self, execution_id: str, *, is_last: bool) -> Fate:
        """Return what became of a call; see `DirectLease.withdraw`.

        Args:
            execution_id: the call's.
            is_last: whether it has been asked often enough.
        """
        name, _ = read_call(execution_id)
        offer = self._open.get(name) or self._lost.get(name)
        if offer is None:
            return Fate.ANSWERED
        fate = offer.withdraw(execution_id)
        if fate is Fate.UNKNOWN and is_last:
            offer.abandon()
        return fate
