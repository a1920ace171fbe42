"""One call by a line, and how its completion gets at the answer."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from ipycron.process.direct.worker_end import name_call
from ipycron.scheduling.clock import SystemClock

if TYPE_CHECKING:
    from ipycron.client.completion import Completion
    from ipycron.process.direct.client_end import Line

PATIENCE = 0.02
"""Seconds that a thread reads by itself. Longer runs gain nothing by it."""
GRACE = 0.03
"""Seconds after which the loop reads, whoever said to: it may have been interrupted."""

_clock = SystemClock()


class Reader(Enum):
    """Who reads the answer to a call."""

    NOBODY = auto()
    CALLER = auto()
    LOOP = auto()


class Called:
    """A call that is under way.

    Attributes:
        execution_id: its run's.
        completion: ends with it.
        is_over: whether the line has no more to say of it.
        is_sent: whether the worker may have it.
        is_told: whether the supervisor has been asked to see to it.
    """

    __slots__ = (
        "_line",
        "completion",
        "execution_id",
        "is_over",
        "is_sent",
        "is_told",
        "number",
        "reader",
        "sent_at",
    )

    def __init__(self, line: Line, number: int, completion: Completion[Any]) -> None:
        self._line = line
        self.number = number
        self.execution_id = name_call(line.name, number)
        self.completion = completion
        self.reader = Reader.NOBODY
        self.sent_at = _clock.monotonic()
        self.is_over = False
        self.is_sent = False
        self.is_told = False

    def send(self) -> bool:
        """Send it; False: the line is gone, and nothing has happened."""
        self.completion.courier = self
        return self._line.send(self)

    @property
    def is_past(self) -> bool:
        """Whether the line is free for another one.

        Ended by others; or whoever prepared it was interrupted before it was sent.
        """
        if self.completion.done():
            return True
        return not self.is_sent and _clock.monotonic() - self.sent_at > GRACE

    def drop(self) -> None:
        """Give it up where it was not sent: whoever wanted to was interrupted."""
        if not self.is_sent:
            self._line.drop(self)

    def fetch(self, timeout: float | None) -> float | None:
        """Wait for the answer, in the thread that wants it; see `Courier.fetch`."""
        self._line.fetch(self, PATIENCE if timeout is None else min(timeout, PATIENCE))
        if timeout is None or self.is_over:
            return timeout
        return max(0.0, timeout - PATIENCE)

    def leave(self) -> None:
        """Leave the answer to the loop: somebody wants to be told."""
        self._line.leave(self)
