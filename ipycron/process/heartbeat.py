"""Noticing a peer that is there and does nothing: stopped, traced, or stuck.

A process that ends closes its socket; one that hangs does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipycron.process.posix import is_stuck

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

PERIOD = 2.0
"""Seconds between two questions."""
MISSED = 3
"""Questions without an answer after which a peer counts as gone: 8 s at the most."""
SHORT_PERIOD = 0.5
"""Seconds between two questions while a caller waits for the peer's end."""
_LATE = 1.0
"""Seconds of delay that show that this process was stopped, or had no processor."""


class Heartbeat:
    """Asks a peer for a sign of life, and reports when there is none.

    Args:
        loop: this process's.
        pid: the peer's process.
        ask: asks; the answer calls `hear`.
        on_silence: called once, when enough questions have no answer.
        may_be_busy: whether the peer may have reason not to answer, such as an import.
            It is given up then only if the system says that it does not run.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pid: int,
        *,
        ask: Callable[[], object],
        on_silence: Callable[[], object],
        may_be_busy: Callable[[], bool],
    ) -> None:
        self._loop = loop
        self._pid = pid
        self._ask = ask
        self._on_silence = on_silence
        self._may_be_busy = may_be_busy
        self._period = PERIOD
        self._missed = 0
        self._timer = loop.call_later(PERIOD, self._beat)

    def hear(self) -> None:
        """Note a sign of life."""
        self._missed = 0

    def hurry(self) -> None:
        """Ask more often: a caller waits for the peer's end."""
        self._timer.cancel()
        self._period, self._missed = SHORT_PERIOD, 0
        self._beat_later()

    def _beat_later(self) -> None:
        self._timer = self._loop.call_later(self._period, self._beat)

    def _beat(self) -> None:
        if self._loop.time() - self._timer.when() > _LATE:
            self._missed = 0  # the answers may be there, and not be read yet
        if self._missed >= MISSED and self._is_given_up():
            self._on_silence()
            return
        self._missed += 1
        self._ask()
        self._beat_later()

    def _is_given_up(self) -> bool:
        return not self._may_be_busy() or is_stuck(self._pid)

    def close(self) -> None:
        """Ask no more. May be repeated."""
        self._timer.cancel()
