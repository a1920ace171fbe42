"""Detects a peer that exists but does nothing: suspended, traced or stuck.

A process that ends closes its socket; one that hangs does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipycron.process.posix import is_stuck

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

PERIOD = 2.0
"""Seconds between two pings."""
MISSED = 3
"""Unanswered pings after which a peer counts as gone: within 8 s."""
SHORT_PERIOD = 0.5
"""Seconds between two pings while a caller waits for the peer's end."""
_LATE = 1.0
"""A timer this many seconds late means that this process was suspended or starved."""


class Heartbeat:
    """Pings a peer, and reports when it no longer answers.

    Args:
        loop: this process's event loop.
        pid: the peer's process id.
        send_ping: sends a ping; whoever receives the answer calls `note_alive`.
        on_silence: called once, when enough pings are unanswered.
        may_be_busy: returns whether the peer may have a reason not to answer, such as
            an import. It is then given up only if the system says it is not running.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pid: int,
        *,
        send_ping: Callable[[], object],
        on_silence: Callable[[], object],
        may_be_busy: Callable[[], bool],
    ) -> None:
        self._loop = loop
        self._pid = pid
        self._send_ping = send_ping
        self._on_silence = on_silence
        self._may_be_busy = may_be_busy
        self._period = PERIOD
        self._missed = 0
        self._timer = loop.call_later(PERIOD, self._beat)

    def note_alive(self) -> None:
        """Note that the peer has answered."""
        self._missed = 0

    def hurry(self) -> None:
        """Ping more often: a caller is waiting for the peer's end."""
        self._timer.cancel()
        self._period, self._missed = SHORT_PERIOD, 0
        self._beat_later()

    def _beat_later(self) -> None:
        self._timer = self._loop.call_later(self._period, self._beat)

    def _beat(self) -> None:
        if self._loop.time() - self._timer.when() > _LATE:
            self._missed = 0  # the answers may have arrived but not been read yet
        if self._missed >= MISSED and self._is_given_up():
            self._on_silence()
            return
        self._missed += 1
        self._send_ping()
        self._beat_later()

    def _is_given_up(self) -> bool:
        return not self._may_be_busy() or is_stuck(self._pid)

    def close(self) -> None:
        """Stop pinging. May be repeated."""
        self._timer.cancel()
