"""Frames: how messages, payloads and descriptors are laid out on a socket.

A frame is a prefix (sizes, number of descriptors), a header (`protocol.py`), and a
payload, inline or as the first descriptor. Both ends are ours, yet nothing is trusted:
sizes are bounded, headers are validated, descriptors are accepted only where they are
expected. Nothing is read after a violation of the protocol.

A receiver that is out of descriptors does not count as a violation by its peer: Linux
drops those that do not fit (``MSG_CTRUNC``). The frame arrives without them; see
`Frame.is_short`.
"""

from __future__ import annotations

import array
import contextlib
import os
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from ipycron.errors import ProtocolError
from ipycron.process.refusal import describe_shortage, reserve
from ipycron.process.wire.payload import INLINE_BYTES, Payload, make_lost, pack
from ipycron.process.wire.protocol import encode_message, make_decoder

if TYPE_CHECKING:
    from _socket import socket as Socket  # noqa: N812 - `socket.socket` is one
    from collections.abc import Iterable, Sequence

    from ipycron.process.wire.protocol import Message

_PREFIX = struct.Struct("<IIBB")  # header size, inline payload size, fds, payload by fd
MAX_HEADER_BYTES = 16 * 1024 * 1024
"""A header holds a cell's source or a file's arguments, never a user's object."""
SMALL_HEADER_BYTES = 64 * 1024
"""For sockets that jobs can write to: messages hold ids and one line of text."""
_MAX_FDS = 8
_ANCILLARY = (
    socket.CMSG_SPACE(_MAX_FDS * array.array("i").itemsize)
    if hasattr(socket, "CMSG_SPACE")  # not on Windows, where nothing is received
    else 0
)
# As plain numbers: `socket` makes flags of `enum`, and one `&` of these would have each
# worker touch 90 kB of pages that belong to their classes.
_CLOEXEC = int(getattr(socket, "MSG_CMSG_CLOEXEC", 0))
"""Linux's; elsewhere descriptors are marked after they have arrived."""
_TRUNCATED = int(getattr(socket, "MSG_CTRUNC", 0))
_PEEK = int(socket.MSG_PEEK)


class Frame(NamedTuple):
    """A received message and what came with it. The receiver owns the fds.

    Attributes:
        is_short: whether this process had no room for its descriptors. Decoding the
            payload then raises `PayloadLost`.
    """

    message: Any
    payload: Payload
    fds: tuple[int, ...]
    is_short: bool = False


class FrameReader:
    """Turns bytes and descriptors, in the order they came, into frames.

    Args:
        kind: the union of messages that may arrive.
        max_header: bytes of the largest header.
        takes_fds: whether a message may carry descriptors besides its payload's.

    Attributes:
        error: how the peer broke the protocol; nothing is read after that.
    """

    def __init__(
        self, kind: Any, *, max_header: int = MAX_HEADER_BYTES, takes_fds: bool = False
    ) -> None:
        self._decoder = make_decoder(kind)
        self._max_header = max_header
        self._takes_fds = takes_fds
        self._bytes = bytearray()
        self._fds: deque[int | None] = deque()  # None: the rest was dropped
        self.error: ProtocolError | None = None

    def feed(self, data: bytes, fds: Sequence[int | None]) -> list[Frame]:
        """Return the frames that `data` completes, up to a violation: see `error`.

        Args:
            data: bytes as they came.
            fds: the descriptors that came with them; None in place of those that the
                system dropped.
        """
        self._bytes += data
        self._fds.extend(fds)
        frames: list[Frame] = []
        try:
            if self.error is None:
                self._parse_all(frames)
        except ProtocolError as error:
            self.error = error
        if self.error is not None:
            self._bytes.clear()
            self.close()
        return frames

    def close(self) -> None:
        """Close the descriptors of frames that were never completed."""
        _close_all(self._fds)
        self._fds.clear()

    def _parse_all(self, frames: list[Frame]) -> None:
        at = 0
        while (end := self._find_end(at)) is not None:
            frames.append(self._parse(at, end))
            at = end
        if at:
            del self._bytes[:at]
        # Descriptors come with the first byte of their frame: any beyond one frame's
        # belong to no frame.
        if len(self._fds) > (_MAX_FDS if self._bytes else 0):
            raise ProtocolError(reason="descriptors without a frame")

    def _find_end(self, at: int) -> int | None:
        """Return where the frame at `at` ends, or None if it is not all there."""
        if len(self._bytes) - at < _PREFIX.size:
            return None
        header, inline, fds, by_fd = _PREFIX.unpack_from(self._bytes, at)
        if header > self._max_header or inline > INLINE_BYTES or fds > _MAX_FDS:
            raise ProtocolError(reason=f"a frame of {header}+{inline} bytes")
        if by_fd > 1 or fds < by_fd or (fds > by_fd and not self._takes_fds):
            raise ProtocolError(reason=f"a frame with {fds} descriptors")
        end: int = at + _PREFIX.size + header + inline
        return end if len(self._bytes) >= end else None

    def _parse(self, at: int, end: int) -> Frame:
        header, _, count, by_fd = _PREFIX.unpack_from(self._bytes, at)
        start = at + _PREFIX.size
        if count > len(self._fds) and None not in self._fds:
            raise ProtocolError(reason="a frame without its descriptors")
        # Before the descriptors are taken: if decoding fails, `close` closes them.
        message = self._decode(start, start + header)
        fds = self._take_fds(count)
        if fds is None:
            lost = make_lost(describe_shortage())
            return Frame(message, lost, (), is_short=True)
        payload = (
            Payload(fd=fds.pop(0))
            if by_fd
            else Payload(bytes(self._bytes[start + header : end]))
        )
        return Frame(message, payload, tuple(fds))

    def _take_fds(self, count: int) -> list[int] | None:
        """Return a frame's descriptors; None if some of them were dropped."""
        taken: list[int] = []
        while len(taken) < count:
            fd = self._fds.popleft()
            if fd is None:
                _close_all(taken)
                return None
            taken.append(fd)
        return taken

    def _decode(self, start: int, stop: int) -> Any:
        try:
            with memoryview(self._bytes) as view:
                return self._decoder.decode(view[start:stop])
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise ProtocolError(reason=f"not a message: {error}") from error


def fit(payload: Payload | None) -> Payload | None:
    """Return a payload that a frame can carry: a large one as a descriptor.

    One that was received as a descriptor may have been moved into memory since. Where
    the system has no descriptor or memory left for it, a placeholder says so.
    """
    if payload is None or len(payload.data) <= INLINE_BYTES:
        return payload
    try:
        return pack([payload.data])
    except OSError:
        with contextlib.suppress(OSError), reserve.lend():
            return pack([payload.data])
        return make_lost(describe_shortage())
    finally:
        reserve.fill()


def encode_frame(
    message: Message, payload: Payload | None, fds: Sequence[int]
) -> tuple[bytes, list[int]]:
    """Return the bytes of a frame and the descriptors that go with the first one.

    Args:
        message: what it says.
        payload: what goes with it, as `fit` returns it.
        fds: descriptors that the peer is given.

    Raises:
        ProtocolError: if the peer would refuse it.
    """
    header = encode_message(message)
    if len(header) > MAX_HEADER_BYTES:
        raise ProtocolError(reason=f"a message of {len(header):,} bytes")
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


def send_some(sock: Socket, data: memoryview | bytes, fds: Sequence[int]) -> int:
    """Send what the socket accepts, fds with the first byte; return how many bytes."""
    if not fds:
        return sock.send(data)
    rights = array.array("i", fds)
    return sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])


def receive_some(sock: Socket, size: int) -> tuple[bytes, list[int | None]]:
    """Return what has arrived; no bytes mean the end. Raises `OSError`.

    A None after the descriptors stands for those that did not fit in this process.
    """
    try:
        data, ancillary, flags, _ = sock.recvmsg(size, _ANCILLARY, _CLOEXEC)
    except ConnectionResetError:
        return b"", []  # the peer left before it had read everything: also the end
    rights = array.array("i")
    for level, kind, block in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            rights.frombytes(block[: len(block) - len(block) % rights.itemsize])
    if not _CLOEXEC:
        for fd in rights:
            os.set_inheritable(fd, False)
    fds: list[int | None] = list(rights)
    if flags & _TRUNCATED:
        fds.append(None)
    return data, fds


def receive_with_reserve(sock: Socket, size: int) -> tuple[bytes, list[int | None]]:
    """Do the same, with room for arriving descriptors in this process's reserve.

    The caller calls `make_room` afterwards. This costs one more check a read, but a
    dropped descriptor cannot be recovered.
    """
    try:
        # Without room for descriptors, the flag shows whether there are any.
        data, _, flags, _ = sock.recvmsg(size, 0, _PEEK)
    except ConnectionResetError:
        return b"", []
    if not flags & _TRUNCATED:
        return receive_some(sock, max(1, len(data)))
    with reserve.lend():
        return receive_some(sock, size)


def make_room(frames: Sequence[Frame]) -> None:
    """Refill the reserve; if there is no room, move payloads into memory."""
    if reserve.fill():
        return
    for frame in frames:
        with contextlib.suppress(OSError, MemoryError):  # a socket, or no room there
            frame.payload.settle()
    reserve.fill()


def _close_all(fds: Iterable[int | None]) -> None:
    for fd in fds:
        if fd is not None:
            os.close(fd)
