"""One edge between two processes: frames over an inherited socket pair.

`Channel` serves an asyncio loop, `BlockingChannel` a program without one. Neither
decides what end of file means: see the package's docstring.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from ipycron.process.refusal import SCARCE, reserve
from ipycron.process.wire.frames import (
    MAX_HEADER_BYTES,
    Frame,
    FrameReader,
    encode_frame,
    fit,
    make_room,
    receive_some,
    receive_with_reserve,
    send_some,
)

if TYPE_CHECKING:
    import asyncio
    from _socket import socket as Socket  # noqa: N812 - `socket.socket` is one
    from collections.abc import Callable, Sequence

    from ipycron.errors import ProtocolError
    from ipycron.process.wire.payload import Payload
    from ipycron.process.wire.protocol import Message

__all__ = ["BlockingChannel", "Channel", "Frame"]

_READ_BYTES = 64 * 1024
"""Well below 128 KB: from that size on `malloc` maps and unmaps each buffer, which
costs 22 µs a message."""
_SMALL_READ_BYTES = 4 * 1024
"""For blocking programs: a large buffer would be most of a worker's memory."""
_DELAYED_BYTES = 64 * 1024
"""More than this is sent at once, so that a peer that does not read is noticed."""
FD_SETSIZE = 1024  # <sys/select.h>
_FLUSH_POLL = 0.005
_DRAIN_READS = 64
_RETRY_DELAY = 0.05
"""Seconds until a send is retried after the system refused memory for it."""


class Channel:
    """An edge on an asyncio loop. Call every method but `send_at_once` on that loop.

    Args:
        sock: this end; the channel owns it.
        kind: the union of messages that may arrive.
        on_frame: called for each frame, in order; its exceptions are logged.
        on_close: called once, when the peer is gone or has broken the protocol (then
            with the error); never after `close()`.
        on_flood: called after a read that filled the buffer: the peer may send more
            than there is time to handle.
        max_header: bytes of the largest header that may arrive.
        read_bytes: how much is read before other edges get their turn.
        keeps_payloads: whether payloads stay in this process. If so, they move into
            memory when descriptors run short; payloads that are passed on give theirs
            back soon.
    """

    def __init__(
        self,
        sock: Socket,
        kind: Any,
        *,
        loop: asyncio.AbstractEventLoop,
        on_frame: Callable[[Frame], None],
        on_close: Callable[[ProtocolError | None], None],
        on_flood: Callable[[], None] | None = None,
        max_header: int = MAX_HEADER_BYTES,
        read_bytes: int = _READ_BYTES,
        keeps_payloads: bool = False,
    ) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._loop = loop
        self._reader = FrameReader(kind, max_header=max_header)
        self._on_frame = on_frame
        self._on_close = on_close
        self._on_flood = on_flood
        self._read_bytes = read_bytes
        self._keeps_payloads = keeps_payloads
        # Held while the socket is written to. A signal handler may acquire it again on
        # the same thread; `_is_writing` then leaves the handler's frame to the loop. (A
        # lock acquired without blocking could stay locked after an interrupt.)
        self._lock = threading.RLock()
        self._is_writing = False
        self._queue: deque[tuple[memoryview, list[int], Payload | None]] = deque()
        self._delayed = bytearray()
        self._delay: asyncio.TimerHandle | None = None
        self.backlog = 0
        self.is_closed = False
        reserve.open()
        loop.add_reader(sock, self._read)

    def send(
        self,
        message: Message,
        payload: Payload | None = None,
        fds: Sequence[int] = (),
    ) -> None:
        """Send a frame, now or as soon as the peer reads.

        Keeps a payload alive until it is sent; `fds` are duplicated if they must wait,
        so the caller may close them at once. A closed channel drops the frame.
        """
        if self.is_closed:
            return
        payload = fit(payload)
        data, sent = encode_frame(message, payload, fds)
        if self._delayed:
            if sent:
                self._send_delayed()  # descriptors leave with the first byte
            else:
                data = self._take_delayed() + data
        self._send_now(data, sent, payload, fds)

    def _send_now(
        self,
        data: bytes,
        sent: list[int],
        payload: Payload | None,
        fds: Sequence[int],
    ) -> None:
        done = 0
        with self._lock:
            if not (self._queue or self._is_writing):
                self._is_writing = True
                try:
                    done = send_some(self._sock, data, sent)
                except BlockingIOError:
                    pass
                except OSError as error:
                    if error.errno not in SCARCE:
                        # The peer is gone; reading will find that out, after its last
                        # messages.
                        return
                finally:
                    self._is_writing = False
        if done == len(data):
            return
        if done:
            sent = []  # they left with the first byte
        self._enqueue(memoryview(data)[done:], sent, payload, fds)

    def send_at_once(self, message: Message) -> bool:
        """Send a frame from any thread, bypassing the loop; never wait for the peer.

        Returns whether it was sent, or is certain to be. If False, nothing was sent:
        have the loop `send` it.
        """
        data, _ = encode_frame(message, None, ())
        with self._lock:
            if self._is_writing or self.is_closed or self._queue or self._delayed:
                return False
            self._is_writing = True
            try:
                done = self._sock.send(data)
                if done < len(data):
                    rest = memoryview(data)[done:]
                    self._queue.appendleft((rest, [], None))
                    self.backlog += len(rest)
                    self._loop.call_soon_threadsafe(self._watch)
            except OSError:
                return False
            finally:
                self._is_writing = False
        return True

    def _watch(self) -> None:
        if self._queue and not self.is_closed:
            self._loop.add_writer(self._sock, self._write)

    def send_within(
        self, delay: float, message: Message, payload: Payload | None = None
    ) -> None:
        """Send a frame with the next one, or after `delay` seconds.

        For messages that are not urgent: one write, and one wake-up of the peer, then
        serves many. Without a delay, the messages of one turn of the loop are sent
        together.
        """
        if self.is_closed:
            return
        payload = fit(payload)
        data, sent = encode_frame(message, payload, ())
        if sent or len(self._delayed) + len(data) > _DELAYED_BYTES:
            self.send(message, payload)
            return
        self._delayed += data
        when = self._loop.time() + delay
        if self._delay is not None and when < self._delay.when():
            self._delay.cancel()
            self._delay = None
        self._delay = self._delay or self._loop.call_at(when, self._send_delayed)

    def _send_delayed(self) -> None:
        data = self._take_delayed()
        if data and not self.is_closed:
            self._send_now(data, [], None, ())

    def _take_delayed(self) -> bytes:
        if self._delay is not None:
            self._delay.cancel()
            self._delay = None
        data, self._delayed = self._delayed, bytearray()
        return bytes(data)

    def _enqueue(
        self,
        data: memoryview,
        sent: list[int],
        payload: Payload | None,
        fds: Sequence[int],
    ) -> None:
        kept = [os.dup(fd) if fd in fds else fd for fd in sent]
        if not self._queue:
            self._loop.add_writer(self._sock, self._write)
        self._queue.append((data, kept, payload))
        self.backlog += len(data)

    def _write(self) -> None:
        with self._lock:
            while self._queue:
                data, fds, payload = self._queue[0]
                try:
                    done = send_some(self._sock, data, fds)
                except BlockingIOError:
                    return
                except OSError as error:
                    if error.errno in SCARCE:
                        self._loop.remove_writer(self._sock)
                        self._loop.call_later(_RETRY_DELAY, self._watch)
                        return
                    self._drop_queue()
                    break
                self._release(fds, payload)
                self.backlog -= done
                if done < len(data):
                    self._queue[0] = (data[done:], [], None)
                    return
                self._queue.popleft()
            self._loop.remove_writer(self._sock)

    @staticmethod
    def _release(fds: list[int], payload: Payload | None) -> None:
        """Close the duplicates that waited; a payload closes its own descriptor."""
        for fd in fds:
            if payload is None or fd != payload.fd:
                os.close(fd)

    def _drop_queue(self) -> None:
        for _, fds, payload in self._queue:
            self._release(fds, payload)
        self._queue.clear()
        self.backlog = 0

    async def flush(self, timeout: float) -> None:
        """Return when all is sent, the peer is gone, or `timeout` seconds pass."""
        import asyncio  # noqa: PLC0415 - a worker imports this module without it

        self._send_delayed()
        deadline = self._loop.time() + timeout
        while (  # noqa: ASYNC110 - polled: once, at the end of a program
            self._queue and not self.is_closed and self._loop.time() < deadline
        ):
            await asyncio.sleep(_FLUSH_POLL)

    def pause(self) -> None:
        """Stop reading until `resume`: the peer waits. Idempotent."""
        self._loop.remove_reader(self._sock)

    def resume(self) -> None:
        """Read again. Idempotent."""
        if not self.is_closed:
            self._loop.add_reader(self._sock, self._read)

    def drain(self) -> None:
        """Read what the peer has sent so far, perhaps before its end."""
        for _ in range(_DRAIN_READS):
            if self.is_closed or not self._read_some():
                return

    def _read(self) -> None:
        size = self._read_some()
        if self._on_flood is not None and size >= self._read_bytes // 2:
            self._on_flood()

    def _read_some(self) -> int:
        """Read and deliver; return how many bytes there were."""
        try:
            data, fds = receive_with_reserve(self._sock, self._read_bytes)
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno in SCARCE:
                self.pause()
                self._loop.call_later(_RETRY_DELAY, self.resume)
                return 0
            data, fds = b"", []
        if not data:
            self._end(None)
            return 0
        frames = self._reader.feed(data, fds)
        if fds:
            make_room(frames if self._keeps_payloads else ())
        for frame in frames:
            if self.is_closed:
                return 0
            self._deliver(frame)
        if self._reader.error is not None:
            self._end(self._reader.error)
        return len(data)

    def _deliver(self, frame: Frame) -> None:
        try:
            self._on_frame(frame)
        except Exception as error:  # noqa: BLE001 - the border of a loop's callback
            facts = {"message": "a message was not understood", "exception": error}
            self._loop.call_exception_handler(facts)  # the next frames still count

    def _end(self, error: ProtocolError | None) -> None:
        on_close = self._on_close
        if not self.is_closed:
            self.close()
            on_close(error)

    def close(self) -> None:
        """Close this end and release its owner. Idempotent."""
        if self.is_closed:
            return
        self.is_closed = True
        self._on_frame = self._on_close = _ignore
        self._on_flood = None
        self.pause()
        self._loop.remove_writer(self._sock)
        self._drop_queue()
        self._take_delayed()
        self._reader.close()
        with self._lock:  # another thread may be about to write to this descriptor
            self._sock.close()
        reserve.close()


def _ignore(_: object) -> None:
    """Do nothing, for a channel that is closed."""


class BlockingChannel:
    """An edge of a blocking program: the worker, the zygote.

    `send` may be called from any thread; `receive` from one, and raises
    `ProtocolError` if the peer broke the protocol.
    """

    def __init__(self, sock: Socket, kind: Any, *, takes_fds: bool = False) -> None:
        self._sock = sock
        self._reader = FrameReader(kind, takes_fds=takes_fds)
        self._frames: deque[Frame] = deque()
        self._lock = threading.RLock()
        self._outbox: deque[tuple[bytes, list[int], Payload | None]] = deque()
        self._is_writing = False

    def fileno(self) -> int:
        """Return the socket's descriptor, for a selector."""
        return self._sock.fileno()

    def send(
        self,
        message: Message,
        payload: Payload | None = None,
        fds: Sequence[int] = (),
    ) -> None:
        """Send a frame; block while the peer does not read. Raises `OSError`."""
        payload = fit(payload)
        # With the payload, which owns its descriptor.
        self._outbox.append((*encode_frame(message, payload, fds), payload))
        with self._lock:
            # A signal handler and a finalizer may send, too, in the middle of this:
            # their frame then follows the one that is being written.
            while self._outbox and not self._is_writing:
                self._is_writing = True
                try:
                    self._write_all()
                finally:
                    self._is_writing = False

    def _write_all(self) -> None:
        while self._outbox:
            data, sent, _ = self._outbox.popleft()
            done = send_some(self._sock, data, sent)
            if done < len(data):
                self._sock.sendall(memoryview(data)[done:])

    def has_frames(self) -> bool:
        """Return whether a frame has already been read and not yet received."""
        return bool(self._frames)

    def wait(self, seconds: float, also: int | None = None) -> bool:
        """Wait until something arrives, possibly end of file; return whether it has.

        As punctual as the kernel allows: `poll` would round up to milliseconds.

        Args:
            seconds: how long to wait.
            also: another descriptor that ends the wait, if `select` can watch it.
        """
        if self._frames:
            return True
        watched: list[Any] = [self._sock]
        if also is not None and also < FD_SETSIZE:
            watched.append(also)
        return self._sock in select.select(watched, [], [], seconds)[0]

    def receive(self) -> Frame | None:
        """Wait for the next frame; None at end of file."""
        while not self._frames:
            frames = self.receive_ready()
            if frames is None:
                return None
            self._frames.extend(frames)
        return self._frames.popleft()

    def receive_ready(self) -> list[Frame] | None:
        """Return what has arrived; wait for at least one byte. None at end of file."""
        if self._reader.error is not None:
            raise self._reader.error
        data, fds = receive_some(self._sock, _SMALL_READ_BYTES)
        return self._reader.feed(data, fds) if data else None

    def close(self) -> None:
        """Close this end. May be repeated."""
        with contextlib.suppress(OSError):
            self._sock.close()


class Uplink(Protocol):
    """Where a worker's output goes: the edge to the client."""

    def forward(self, message: Message, payload: Payload) -> None:
        """Send to the client, unchanged if there is room."""

    def is_congested(self) -> bool:
        """Return whether the client is behind."""
