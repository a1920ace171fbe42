"""Displays and log records on their way to a client that may be behind."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Protocol

from ipycron.process.supervisor.pumps import INTERVAL
from ipycron.process.wire.protocol import Displayed

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from ipycron.process.wire.message import Message
    from ipycron.process.wire.payload import Payload
    from ipycron.process.wire.protocol import Logged

MAX_HELD = 8
"""Messages of one worker that wait for the client: the last display of a progress bar
is the one that counts."""


class Uplink(Protocol):
    """Where a worker's output goes: the edge to the client."""

    def forward(self, message: Message, payload: Payload) -> None:
        """Send to the client, untouched where there is room."""

    def is_congested(self) -> bool:
        """Return whether the client is behind."""


class Holdback:
    """Passes a worker's messages on; the newest few where the client is behind.

    The worker does not wait for its client, whose kernel may be busy for minutes: the
    schedule goes on. What is left out is counted and told.

    Args:
        uplink: the way to the client.
        loop: the supervisor's.
        tell: takes a line about what was left out.
    """

    def __init__(
        self,
        uplink: Uplink,
        *,
        loop: asyncio.AbstractEventLoop,
        tell: Callable[[str], None],
    ) -> None:
        self._uplink = uplink
        self._loop = loop
        self._tell = tell
        self._held: deque[tuple[Displayed | Logged, Payload]] = deque()
        self._left_out: Counter[str] = Counter()
        self._look: asyncio.TimerHandle | None = None

    def forward(self, message: Displayed | Logged, payload: Payload) -> None:
        """Pass a message on, now or later or never."""
        if not self._held and not self._uplink.is_congested():
            self._uplink.forward(message, payload)
            return
        self._held.append((message, payload))
        if len(self._held) > MAX_HELD:
            oldest, _ = self._held.popleft()
            is_display = isinstance(oldest, Displayed)
            self._left_out["displays" if is_display else "log records"] += 1
        if self._look is None:
            self._look = self._loop.call_later(INTERVAL, self._flush_soon)

    def _flush_soon(self) -> None:
        if self._uplink.is_congested():
            self._look = self._loop.call_later(INTERVAL, self._flush_soon)
        else:
            self.flush()

    def flush(self) -> None:
        """Pass on what is held, now: the run is over. May be repeated."""
        if self._look is not None:
            self._look.cancel()
            self._look = None
        if self._left_out:
            counts = " and ".join(f"{n:,} {what}" for what, n in self._left_out.items())
            self._left_out.clear()
            self._tell(f"… {counts} left out: they came too fast …\n")
        while self._held:
            self._uplink.forward(*self._held.popleft())
