"""Pumps: read what workers write to their pipes, bound it, and pass it on in time.

Two bounds keep a job from flooding the rest:

* a pipe is read only as fast as the schedule allows: after a full read it rests, for
  longer the more pipes flood, and its writer waits;
* between two deliveries (`INTERVAL`) a stream keeps its newest `WINDOW_BYTES`; what is
  left out is counted. Only the head of a run's output is delivered completely and
  immediately.

The receiving end is `runlog.output.OutputLog`.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections import Counter, deque
from typing import TYPE_CHECKING

from ipycron.process.unix import fcntl, termios
from ipycron.process.wire.protocol import Displayed
from ipycron.runlog.output import HEAD_BYTES, TAIL_BYTES

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from ipycron.process.wire.channel import Uplink
    from ipycron.process.wire.payload import Payload
    from ipycron.process.wire.protocol import Logged


INTERVAL = 0.25
"""Seconds between deliveries of one stream: four a second are enough to read."""
WINDOW_BYTES = TAIL_BYTES
_PIPE_BYTES = 64 * 1024
"""A pipe's capacity on Linux. A larger buffer would be mapped and unmapped for each
line; see `channel`."""
_FULL_BYTES = _PIPE_BYTES // 2
_LARGE_PIPE_BYTES = 256 * 1024
"""The capacity of a pipe once it floods: a gigabyte then takes seconds."""
_REST = 0.001
_LAST_OUTPUT_BYTES = 4096


class Flood:
    """Counts the resting descriptors, for all readers of one supervisor."""

    def __init__(self) -> None:
        self.count = 0


class Rest:
    """Stops reading a flooding descriptor for a moment; its writer waits.

    Args:
        flood: the more of its descriptors rest, the longer the pause.
        pause: stops the reading.
        resume: starts it again.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        flood: Flood,
        *,
        pause: Callable[[], object],
        resume: Callable[[], object],
    ) -> None:
        self._loop = loop
        self._flood = flood
        self._pause = pause
        self._resume = resume
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Pause, and resume soon."""
        if self._handle is None:
            self._pause()
            self._flood.count += 1
            delay = _REST * self._flood.count
            self._handle = self._loop.call_later(delay, self._end)

    def _end(self) -> None:
        self.cancel()
        self._resume()

    def cancel(self) -> None:
        """Do not resume. Idempotent."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
            self._flood.count -= 1


class Pump:
    """Reads one pipe on the supervisor's loop and delivers what it reads.

    Args:
        fd: the reading end; the pump owns it.
        deliver: called with bytes, and with the number of bytes and of line ends left
            out before them.
        is_congested: whether the receiver is behind; then nothing is delivered.
        flood: shared by all pumps of a loop.
        before: called before each read, to assign the output to a run.
    """

    def __init__(
        self,
        fd: int,
        *,
        loop: asyncio.AbstractEventLoop,
        deliver: Callable[[bytes, int, int], None],
        is_congested: Callable[[], bool],
        flood: Flood,
        before: Callable[[], None],
    ) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._loop = loop
        self._deliver = deliver
        self._is_congested = is_congested
        self._before = before
        self._rest = Rest(loop, flood, pause=self._pause, resume=self._resume)
        self._is_large = False
        self._head = bytearray()
        self._head_left = HEAD_BYTES
        self._pending = bytearray()
        self._dropped = self._dropped_lines = 0
        self._delivered_at = 0.0
        self._delivery: asyncio.TimerHandle | None = None
        self._last_output = b""
        self.is_closed = False
        self._resume()

    def _resume(self) -> None:
        self._loop.add_reader(self._fd, self._read)

    def _pause(self) -> None:
        self._loop.remove_reader(self._fd)

    def _read(self) -> None:
        data = self._read_some(_LARGE_PIPE_BYTES if self._is_large else _PIPE_BYTES)
        if data == b"":
            self.close()
        elif data is not None and len(data) >= _FULL_BYTES:
            self._enlarge()
            self._rest.start()

    def _enlarge(self) -> None:
        """Enlarge the pipe, if the system can, so that the writer rarely waits."""
        if not self._is_large and hasattr(fcntl, "F_SETPIPE_SZ"):
            self._is_large = True
            with contextlib.suppress(OSError):  # this user has too many large pipes
                fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, _LARGE_PIPE_BYTES)

    def _read_some(self, size: int) -> bytes | None:
        """Return what was read and kept; empty at the end of file, None if nothing."""
        self._before()
        try:
            data = os.read(self._fd, size)
        except BlockingIOError:
            return None
        except OSError:
            return b""
        if data:
            self._keep(data)
        return data

    def _keep(self, data: bytes) -> None:
        self._head += data[: self._head_left]
        self._pending += data[self._head_left :]
        self._head_left = max(0, self._head_left - len(data))
        while len(self._head) > WINDOW_BYTES and not self._is_congested():
            self._send_head(WINDOW_BYTES)
        excess = len(self._pending) - WINDOW_BYTES
        if excess > 0:
            self._dropped += excess
            self._dropped_lines += self._pending.count(b"\n", 0, excess)
            del self._pending[:excess]
        if self._delivery is None:
            delay = max(0.0, self._delivered_at + INTERVAL - self._loop.time())
            self._delivery = self._loop.call_later(delay, self._deliver_soon)

    def _deliver_soon(self) -> None:
        self._delivery = None
        if self._is_congested():
            self._delivery = self._loop.call_later(INTERVAL, self._deliver_soon)
        else:
            self.flush()

    def flush(self) -> None:
        """Deliver what is kept, now."""
        if self._delivery is not None:
            self._delivery.cancel()
            self._delivery = None
        while self._head:
            self._send_head(WINDOW_BYTES)
        if self._pending:
            data, dropped = bytes(self._pending), (self._dropped, self._dropped_lines)
            self._pending.clear()
            self._dropped = self._dropped_lines = 0
            self._send(data, *dropped)

    def _send_head(self, size: int) -> None:
        data = bytes(self._head[:size])
        del self._head[:size]
        self._send(data, 0, 0)

    def _send(self, data: bytes, dropped: int, dropped_lines: int) -> None:
        self._last_output = (self._last_output + data)[-_LAST_OUTPUT_BYTES:]
        self._delivered_at = self._loop.time()
        self._deliver(data, dropped, dropped_lines)

    def begin_run(self) -> None:
        """Deliver what is kept: what follows is the head of another run's output."""
        self.flush()
        self._head_left = HEAD_BYTES

    def drain(self) -> None:
        """Read all that was written before this call, and deliver it.

        What is written in the meantime is left for later: the amount is fixed at the
        beginning.
        """
        left = self._count_readable()
        while left > 0:
            data = self._read_some(min(left, _LARGE_PIPE_BYTES))
            if not data:
                break
            left -= len(data)
        self.flush()

    def _count_readable(self) -> int:
        if self.is_closed:
            return 0
        answer = fcntl.ioctl(self._fd, termios.FIONREAD, b"\0\0\0\0")
        count: int = struct.unpack("i", answer)[0]
        return count

    def get_last_output(self) -> str:
        """Return the end of what was delivered, for the report of a crash."""
        return self._last_output.decode("utf-8", "replace").strip()

    def close(self) -> None:
        """Deliver what is left and close the pipe. Idempotent."""
        if self.is_closed:
            return
        self._rest.cancel()
        self._pause()
        self.flush()
        self.is_closed = True
        os.close(self._fd)
        # Without these reference cycles a dead worker's memory is freed at once.
        del self._deliver, self._rest, self._before


MAX_HELD = 8
"""Messages of one worker that wait for the client: of a progress bar's displays, only
the last one matters."""


class Holdback:
    """Passes a worker's messages on; only the newest few while the client is behind.

    The worker does not wait for its client, whose kernel may be busy for minutes: the
    schedule continues. What is left out is counted and reported.

    Args:
        uplink: the way to the client.
        loop: the supervisor's.
        report: called with a line about what was left out.
    """

    def __init__(
        self,
        uplink: Uplink,
        *,
        loop: asyncio.AbstractEventLoop,
        report: Callable[[str], None],
    ) -> None:
        self._uplink = uplink
        self._loop = loop
        self._report = report
        self._held: deque[tuple[Displayed | Logged, Payload]] = deque()
        self._left_out: Counter[str] = Counter()
        self._look: asyncio.TimerHandle | None = None

    def forward(self, message: Displayed | Logged, payload: Payload) -> None:
        """Pass a message on now or later, or drop it."""
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
        """Pass on what is held now, since the run is over. Idempotent."""
        if self._look is not None:
            self._look.cancel()
            self._look = None
        if self._left_out:
            counts = " and ".join(f"{n:,} {what}" for what, n in self._left_out.items())
            self._left_out.clear()
            self._report(f"… {counts} left out: they arrived too fast …\n")
        while self._held:
            self._uplink.forward(*self._held.popleft())
