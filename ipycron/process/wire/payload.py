"""Payloads: users' objects, passed through processes that never look inside.

A payload is a block of bytes. A small one travels inside its frame, a large one as
a file descriptor beside it (memfd, elsewhere an unlinked file), so that a result of
100 MB costs the supervisor one descriptor and delays no fire.

An object's block consists of the number of buffers, their sizes, the pickle, then the
buffers (pickle protocol 5, out of band), so that a large array is written once and
mapped, never copied into a pickle. One flag says whether the pickle defines or refers
to user-defined objects (see `identity`), another whether the last buffer holds
definitions, which are read only if the receiver lacks what the pickle refers to.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import pickle
import re
import struct
import threading
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from ipycron.process.unix import call_in_child, fcntl
from ipycron.process.wire import identity

if TYPE_CHECKING:
    from collections.abc import Sequence

INLINE_BYTES = 64 * 1024
"""A larger payload travels as a descriptor: about a third of a socket buffer."""

_COUNT = struct.Struct("<IB")
_SIZE = struct.Struct("<Q")
_DEFINES, _HAS_DEFINITIONS = 1, 2
_NO_BUFFERS = _COUNT.pack(0, 0)
_LOST = _COUNT.pack(0xFFFFFFFF, 0)
"""Stands in place of the count: the reason follows, there is no object."""
_PICKLE_AT = _COUNT.size + _SIZE.size  # in a block without buffers
_IOV = 512  # below IOV_MAX (1024 on Linux) of os.writev

T = TypeVar("T")
Buffer = bytes | bytearray | memoryview

_settling = threading.RLock()
# As concurrent.futures does: another thread may hold it while this one forks.
call_in_child(_settling._at_fork_reinit)  # type: ignore[attr-defined] # noqa: SLF001


class PayloadLost(Exception):
    """A payload was sent, but a process on the way had no descriptor free for it."""


class Payload:
    """Bytes, or a descriptor that holds them; the payload owns the descriptor."""

    __slots__ = ("_data", "_fd", "size")

    def __init__(self, data: Buffer = b"", *, fd: int | None = None) -> None:
        self._data = data
        self._fd = fd
        self.size = len(data) if fd is None else os.fstat(fd).st_size

    @property
    def fd(self) -> int | None:
        """The descriptor, still owned by the payload, or None for inline bytes."""
        return self._fd

    @property
    def data(self) -> Buffer:
        """The inline bytes; empty if a descriptor holds them."""
        return self._data

    @property
    def loss(self) -> str | None:
        """Why the payload's bytes are missing; None if they are not."""
        if self._fd is not None or self._data[: _COUNT.size] != _LOST:
            return None
        return bytes(self._data[_COUNT.size :]).decode("utf-8", "replace")

    def open(self) -> memoryview:
        """Return the bytes, writable and private to this process.

        A sealed descriptor is mapped copy-on-write: pages are read when they are
        touched. Any other is copied, since the sender could truncate or change it.
        """
        if self._fd is None:
            return memoryview(bytearray(self._data))
        if self.size == 0:
            return memoryview(bytearray())
        if _is_sealed(self._fd):
            with contextlib.suppress(OSError):  # no descriptor left for it
                private = mmap.mmap(self._fd, self.size, flags=mmap.MAP_PRIVATE)
                return memoryview(private)
        return memoryview(bytearray(os.pread(self._fd, self.size, 0)))

    def settle(self) -> None:
        """Move the bytes into memory and close the descriptor. Thread-safe."""
        with _settling:
            if self._fd is not None:
                self._data = os.pread(self._fd, self.size, 0)
                self.close()

    def detach(self) -> int:
        """Return the descriptor; the caller now owns it."""
        fd, self._fd = self._fd, None
        assert fd is not None
        return fd

    def close(self) -> None:
        """Close the descriptor. Idempotent."""
        fd, self._fd = self._fd, None
        if fd is not None:
            with contextlib.suppress(OSError):
                os.close(fd)

    def __del__(self) -> None:
        self.close()


def pack(parts: Sequence[Buffer]) -> Payload:
    """Return a payload of `parts` one after the other, each written once."""
    size = sum(map(len, parts))
    if size <= INLINE_BYTES:
        return Payload(b"".join(parts))
    fd = open_anonymous()
    try:
        _write_all(fd, parts)
        _seal(fd)
    except BaseException:
        os.close(fd)
        raise
    return Payload(fd=fd)


def pack_pickle(
    pickled: Buffer, buffers: Sequence[Buffer], definitions: Buffer | None = None
) -> Payload:
    """Return the payload of a pickle and its out-of-band buffers.

    Args:
        pickled: the pickle.
        buffers: the buffers.
        definitions: from `dump_object`.
    """
    return pack(_make_block(pickled, buffers, definitions))


def _make_block(
    pickled: Buffer, buffers: Sequence[Buffer], definitions: Buffer | None
) -> list[Buffer]:
    flags = 0 if definitions is None else _DEFINES
    if definitions:
        flags |= _HAS_DEFINITIONS
        buffers = [*buffers, definitions]
    flat = [memoryview(buffer).cast("B") for buffer in buffers]
    sizes = b"".join(_SIZE.pack(len(part)) for part in (pickled, *flat))
    return [_COUNT.pack(len(flat), flags), sizes, pickled, *flat]


def pack_object(value: object, *, is_answer: bool = False) -> Payload:
    """Return the payload of any object, by cloudpickle.

    Raises whatever pickling raises. What `__main__` defines travels by value.

    Args:
        value: the object.
        is_answer: whether it goes back to the process that sent the running job, which
            still has what it sent.
    """
    from ipycron.process.wire.pickler import (  # noqa: PLC0415 - 44 ms that a worker without results saves
        dump_object,
    )

    buffers: list[pickle.PickleBuffer] = []
    pickled, definitions = dump_object(value, buffers.append, is_answer=is_answer)
    return pack_pickle(pickled, [_flatten(buffer) for buffer in buffers], definitions)


def pack_bytes(pickled: Buffer, definitions: Buffer | None = None) -> bytes:
    """Return a pickle as bytes, for `unpack_block`; see `pack_pickle`."""
    return b"".join(_make_block(pickled, (), definitions))


def pack_plain(value: object) -> Payload:
    """Return the payload of built-in values; plain pickle, no cloudpickle loaded."""
    pickled = pickle.dumps(value, protocol=5)
    # Most results of calls come here, small and without buffers.
    return pack((_NO_BUFFERS, _SIZE.pack(len(pickled)), pickled))


def pack_data(value: object) -> Payload:
    """Return the payload of plain data: reading it runs no user code.

    What the format cannot hold, lone surrogates and large integers, becomes text.
    """
    try:
        return pack([msgspec.msgpack.encode(value)])
    except (UnicodeEncodeError, OverflowError, TypeError):
        return pack([msgspec.msgpack.encode(_make_plain(msgspec.to_builtins(value)))])


def _make_plain(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_make_plain(key): _make_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_make_plain(item) for item in value]
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        return str(value)
    return value


def unpack_data(payload: Payload, kind: type[T]) -> T:
    """Return plain data of this type.

    Raises:
        PayloadLost: if it could not be received.
        msgspec.MsgspecError: if it is not of this type.
    """
    if payload.loss is not None:
        raise PayloadLost(payload.loss)
    return msgspec.msgpack.decode(bytes(payload.open()), type=kind)


_CODE = re.compile(rb"[ci\x82-\x84\x93]")
"""Pickle's opcodes that name a class or function; data may contain such bytes."""


def may_run_code(payload: Payload) -> bool:
    """Return whether unpickling may call anything. False is certain."""
    return payload.fd is not None or _CODE.search(payload.data) is not None


def make_lost(reason: str) -> Payload:
    """Return a placeholder for a payload that could not be received."""
    return Payload(_LOST + reason.encode())


def unpack(payload: Payload, *, is_job: bool = False) -> Any:
    """Return the object of a payload. Raises whatever unpickling raises.

    Args:
        payload: what `pack_object` or `pack_plain` has made.
        is_job: whether it is a job to be run by this process.
    """
    if payload.fd is None and payload.data[: _COUNT.size] == _NO_BUFFERS:
        # Most results: nothing refers to these bytes afterwards; no copy is needed.
        return pickle.loads(memoryview(payload.data)[_PICKLE_AT:])  # noqa: S301
    if payload.loss is not None:
        raise PayloadLost(payload.loss)
    return unpack_block(payload.open(), is_job=is_job)


def unpack_block(view: memoryview, *, is_job: bool = False) -> Any:
    """Return the object of a payload's bytes; see `unpack`."""
    count, flags = _COUNT.unpack_from(view)
    at = _COUNT.size
    sizes = [_SIZE.unpack_from(view, at + i * _SIZE.size)[0] for i in range(count + 1)]
    at += _SIZE.size * (count + 1)
    parts = []
    for size in sizes:
        parts.append(view[at : at + size])
        at += size
    if not flags:
        return pickle.loads(parts[0], buffers=parts[1:])  # noqa: S301 - our own worker's
    definitions = parts.pop() if flags & _HAS_DEFINITIONS else b""
    with identity.loading(definitions, is_job=is_job):
        return pickle.loads(parts[0], buffers=parts[1:])  # noqa: S301 - as above


def _flatten(buffer: pickle.PickleBuffer) -> memoryview:
    return buffer.raw()


def open_anonymous() -> int:
    """Return a descriptor of an unnamed file that exists as long as it is held open."""
    with contextlib.suppress(AttributeError, OSError):  # not Linux, or forbidden
        return os.memfd_create("ipycron", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    import tempfile  # noqa: PLC0415 - brings `random`, which reseeds at each fork

    fd, path = tempfile.mkstemp(prefix="ipycron-")
    os.unlink(path)  # noqa: PTH108 - as above
    return fd


def _seal(fd: int) -> None:
    """Make the file immutable, where the system can."""
    with contextlib.suppress(AttributeError, OSError):
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _get_seals() | fcntl.F_SEAL_SEAL)


def _is_sealed(fd: int) -> bool:
    try:
        wanted = _get_seals()
        return fcntl.fcntl(fd, fcntl.F_GET_SEALS) & wanted == wanted
    except (AttributeError, OSError):
        return False


def _get_seals() -> int:
    return fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_WRITE


def _write_all(fd: int, parts: Sequence[Buffer]) -> None:
    pending = [memoryview(part) for part in parts if len(part)]
    while pending:
        written = os.writev(fd, pending[:_IOV])
        while pending and written >= len(pending[0]):
            written -= len(pending.pop(0))
        if written:
            pending[0] = pending[0][written:]
