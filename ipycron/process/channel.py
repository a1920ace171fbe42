"""One edge between two processes: frames over an inherited socket pair.

A frame is a prefix (sizes, number of descriptors), a header (`protocol.py`), and a
payload, inline or as the first descriptor. Both ends are ours, yet nothing is
trusted: sizes are bounded and headers are validated; a violation closes the edge.

`Channel` serves an asyncio loop, `BlockingChannel` a program without one. Neither
decides what an end of file means: see the package's docstring.
"""

from __future__ import annotations

import array
import contextlib
import os
import socket
import struct
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from ipycron.errors import ProtocolError
from ipycron.process.payload import INLINE_BYTES, Payload
from ipycron.process.protocol import Message, encode_message, make_decoder

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

_PREFIX = struct.Struct("<IIBB")  # header size, inline payload size, fds, payload by fd
MAX_HEADER_BYTES = 16 * 1024 * 1024
"""A header holds a cell's source or a file's arguments, never a user's object."""
_MAX_FDS = 8
_READ_BYTES = 256 * 1024
_SMALL_READ_BYTES = 16 * 1024
"""For programs that wait: a large buffer would be the worker's largest memory."""
_ANCILLARY = socket.CMSG_SPACE(_MAX_FDS * array.array("i").itemsize)


class Frame(NamedTuple):
    """A received message with what came beside it. The receiver owns the fds."""

    message: Any
    payload: Payload
    fds: tuple[int, ...]


class FrameReader:
    """Turns bytes and descriptors, in the order they came, into frames."""

    def __init__(self, kind: Any) -> None:
        self._decoder = make_decoder(kind)
        self._bytes = bytearray()
        self._fds: deque[int] = deque()

    def feed(self, data: bytes, fds: Sequence[int]) -> list[Frame]:
        """Return the frames that `data` completes. Raises `ProtocolError`."""
        self._bytes += data
        self._fds.extend(fds)
        frames = []
        at = 0
        while (end := self._find_end(at)) is not None:
            frames.append(self._parse(at, end))
            at = end
        if at:
            del self._bytes[:at]
        return frames

    def close(self) -> None:
        """Give back descriptors of frames that never completed."""
        while self._fds:
            os.close(self._fds.popleft())

    def _find_end(self, at: int) -> int | None:
        """Return where the frame at `at` ends, or None if it is not all there."""
        if len(self._bytes) - at < _PREFIX.size:
            return None
        header, inline, fds, _ = _PREFIX.unpack_from(self._bytes, at)
        if header > MAX_HEADER_BYTES or inline > INLINE_BYTES or fds > _MAX_FDS:
            raise ProtocolError(reason=f"a frame of {header}+{inline} bytes")
        end: int = at + _PREFIX.size + header + inline
        return end if len(self._bytes) >= end else None

    def _parse(self, at: int, end: int) -> Frame:
        header, _, count, by_fd = _PREFIX.unpack_from(self._bytes, at)
        start = at + _PREFIX.size
        if count > len(self._fds) or (by_fd and not count):
            raise ProtocolError(reason="a frame without its descriptors")
        fds = [self._fds.popleft() for _ in range(count)]
        payload = (
            Payload(fd=fds.pop(0))
            if by_fd
            else Payload(bytes(self._bytes[start + header : end]))
        )
        try:
            with memoryview(self._bytes) as view:
                message = self._decoder.decode(view[start : start + header])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            for fd in fds:
                os.close(fd)
            raise ProtocolError(reason=f"a message that is none: {error}") from error
        return Frame(message, payload, tuple(fds))


def _encode(
    message: Message, payload: Payload | None, fds: Sequence[int]
) -> tuple[bytes, list[int]]:
    header = encode_message(message)
    sent = list(fds)
    inline: Any = b""
    by_fd = payload is not None and payload.fd is not None
    if payload is not None:
        if payload.fd is not None:
            sent.insert(0, payload.fd)
        else:
            inline = payload.data
    prefix = _PREFIX.pack(len(header), len(inline), len(sent), by_fd)
    return b"".join((prefix, header, inline)), sent


def _send(sock: socket.socket, data: memoryview | bytes, fds: Sequence[int]) -> int:
    if not fds:
        return sock.send(data)
    rights = array.array("i", fds)
    return sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])


def _receive(sock: socket.socket, size: int) -> tuple[bytes, list[int]]:
    # MSG_CMSG_CLOEXEC is Linux's; elsewhere the descriptors are marked below.
    flags = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
    try:
        data, ancillary, _, _ = sock.recvmsg(size, _ANCILLARY, flags)
    except ConnectionResetError:
        return b"", []  # the peer went away before it had read all: its end, too
    fds = array.array("i")
    for level, kind, rights in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(rights[: len(rights) - len(rights) % fds.itemsize])
    if not flags:
        for fd in fds:
            os.set_inheritable(fd, False)
    return data, list(fds)


class Channel:
    """An edge on an asyncio loop. All methods are called on that loop.

    Args:
        sock: this end; the channel owns it.
        kind: the union of messages that may arrive.
        on_frame: called for each frame, in order.
        on_close: called once when the peer is gone or broke the protocol (then
            with the error), never after `close()`.
    """

    def __init__(
        self,
        sock: socket.socket,
        kind: Any,
        *,
        loop: asyncio.AbstractEventLoop,
        on_frame: Callable[[Frame], None],
        on_close: Callable[[ProtocolError | None], None],
    ) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._loop = loop
        self._reader = FrameReader(kind)
        self._on_frame = on_frame
        self._on_close = on_close
        self._queue: deque[tuple[memoryview, list[int], Payload | None]] = deque()
        self._delayed = bytearray()
        self._delay: asyncio.TimerHandle | None = None
        self.backlog = 0
        self.is_closed = False
        loop.add_reader(sock, self._read)

    def send(
        self,
        message: Message,
        payload: Payload | None = None,
        fds: Sequence[int] = (),
    ) -> None:
        """Send a frame, now or as soon as the peer reads.

        Keeps a payload alive until it is sent; `fds` are duplicated if they must
        wait, so the caller may close them at once. A closed channel drops it.
        """
        if self.is_closed:
            return
        data, sent = _encode(message, payload, fds)
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
        if not self._queue:
            try:
                done = _send(self._sock, data, sent)
            except BlockingIOError:
                pass
            except OSError:
                # The peer is gone; reading tells so, after its last words.
                return
            if done == len(data):
                return
        if done:
            sent = []  # they left with the first byte
        self._enqueue(memoryview(data)[done:], sent, payload, fds)

    def send_within(self, delay: float, message: Message) -> None:
        """Send a frame with the next one, or after `delay` seconds.

        For news that nobody waits for: one write, and one wake-up of the peer,
        then serves many.
        """
        if self.is_closed:
            return
        data, _ = _encode(message, None, ())
        self._delayed += data
        if self._delay is None:
            self._delay = self._loop.call_later(delay, self._send_delayed)

    def _send_delayed(self) -> None:
        data = self._take_delayed()
        if data and not self.is_closed:
            self._send_now(data, [], None, ())

    def _take_delayed(self) -> bytes:
        if self._delay is not None:
            self._delay.cancel()
            self._delay = None
        data = bytes(self._delayed)
        self._delayed.clear()
        return data

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
        while self._queue:
            data, fds, payload = self._queue[0]
            try:
                done = _send(self._sock, data, fds)
            except BlockingIOError:
                return
            except OSError:
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
        """Close the duplicates that waited; a payload closes its own."""
        for fd in fds:
            if payload is None or fd != payload.fd:
                os.close(fd)

    def _drop_queue(self) -> None:
        for _, fds, payload in self._queue:
            self._release(fds, payload)
        self._queue.clear()
        self.backlog = 0

    def _read(self) -> None:
        try:
            data, fds = _receive(self._sock, _READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data, fds = b"", []
        if not data:
            self._end(None)
            return
        try:
            frames = self._reader.feed(data, fds)
        except ProtocolError as error:
            self._end(error)
            return
        for frame in frames:
            if self.is_closed:
                break
            self._on_frame(frame)

    def _end(self, error: ProtocolError | None) -> None:
        if not self.is_closed:
            self.close()
            self._on_close(error)

    def close(self) -> None:
        """Close this end. May be repeated."""
        if self.is_closed:
            return
        self.is_closed = True
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._drop_queue()
        self._take_delayed()
        self._reader.close()
        self._sock.close()


class BlockingChannel:
    """An edge of a program that waits: the worker, the zygote.

    `send` may be called from any thread; `receive` from one.
    """

    def __init__(self, sock: socket.socket, kind: Any) -> None:
        self._sock = sock
        self._reader = FrameReader(kind)
        self._frames: deque[Frame] = deque()
        self._lock = threading.Lock()

    def fileno(self) -> int:
        """Return the socket's descriptor, for a selector."""
        return self._sock.fileno()

    def send(
        self,
        message: Message,
        payload: Payload | None = None,
        fds: Sequence[int] = (),
    ) -> None:
        """Send a frame; waits while the peer does not read. Raises `OSError`."""
        data, sent = _encode(message, payload, fds)
        with self._lock:
            done = _send(self._sock, data, sent)
            if done < len(data):
                self._sock.sendall(memoryview(data)[done:])

    def receive(self) -> Frame | None:
        """Wait for the next frame; None at end of file."""
        while not self._frames:
            data, fds = _receive(self._sock, _SMALL_READ_BYTES)
            if not data:
                return None
            self._frames.extend(self._reader.feed(data, fds))
        return self._frames.popleft()

    def receive_ready(self) -> list[Frame] | None:
        """Return what has arrived, waiting for at least some bytes; None at the end."""
        data, fds = _receive(self._sock, _SMALL_READ_BYTES)
        if not data:
            return None
        return self._reader.feed(data, fds)

    def close(self) -> None:
        """Close this end. May be repeated."""
        with contextlib.suppress(OSError):
            self._sock.close()
