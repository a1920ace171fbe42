"""Temporary refusals by the system: of processes, threads, descriptors, memory.

None of them means that a peer is broken or that a task has ended. They are reported,
with advice, and the operation is retried.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SCARCE_DESCRIPTORS = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ETOOMANYREFS, errno.EMSGSIZE}
)
SCARCE = SCARCE_DESCRIPTORS | {errno.ENOBUFS, errno.ENOMEM}
"""Socket errors that are caused by this machine, not by the peer."""
_SPARE = 4
"""Descriptors reserved for incoming messages: a message carries at most two, and
decoding it takes one more."""
_NO_THREAD = ("can't start new thread", "no thread can be started")
"""The texts of CPython and of ipycron for EAGAIN."""


def advise(error: BaseException) -> str:
    """Return what the user can do about a refusal, in one or two sentences."""
    number = error.errno if isinstance(error, OSError) else None
    if number in SCARCE_DESCRIPTORS:
        return (
            f"Close files, or raise RLIMIT_NOFILE (`ulimit -n`{_get_file_limit()}) "
            "before Python starts."
        )
    if number == errno.EAGAIN or any(text in str(error) for text in _NO_THREAD):
        return (
            "End processes or threads, or raise RLIMIT_NPROC (`ulimit -u`) or the "
            "container's pids limit."
        )
    if number in {errno.ENOMEM, errno.ENOBUFS} or isinstance(error, MemoryError):
        return "Free memory, or raise the container's memory limit."
    if number in {errno.ENOENT, errno.EACCES, errno.EIO, errno.ENOEXEC}:
        return "Check that Python's own files exist and that their disk is mounted."
    return "Start the task again once the cause is removed."


def describe(error: BaseException) -> str:
    """Return the refusal and what to do about it."""
    text = str(error) or type(error).__name__
    return f"{text.rstrip('.')}. {advise(error)}"


def describe_shortage() -> str:
    """Return why the descriptors of a message could not be received here."""
    error = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    return f"process {os.getpid()} had no descriptor to receive it: {describe(error)}"


def _get_file_limit() -> str:
    try:
        import resource  # noqa: PLC0415 - there is none on Windows
    except ImportError:
        return ""
    return f", now {resource.getrlimit(resource.RLIMIT_NOFILE)[0]}"


class DescriptorReserve:
    """Descriptors kept open as a reserve for when no others are left.

    One per process, held while any of its channels is open. Code that receives
    descriptors borrows them: Linux silently drops descriptors that do not fit, and only
    sets a flag.
    """

    def __init__(self, size: int = _SPARE) -> None:
        self._size = size
        self._held: list[int] = []
        self._users = 0

    def open(self) -> None:
        """Hold descriptors for one more user."""
        self._users += 1
        self.fill()

    def close(self) -> None:
        """Undo one `open`; the last call releases the descriptors."""
        self._users -= 1
        if not self._users:
            self._give_back()

    def fill(self) -> bool:
        """Open missing descriptors; return whether the reserve is full."""
        try:
            while self._users and len(self._held) < self._size:
                self._held.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            return False
        return True

    @contextlib.contextmanager
    def lend(self) -> Iterator[None]:
        """Free the reserve's descriptors for the block. `fill` takes them back."""
        self._give_back()
        yield

    def _give_back(self) -> None:
        while self._held:
            with contextlib.suppress(OSError):  # user code has closed it
                os.close(self._held.pop())


reserve = DescriptorReserve()
