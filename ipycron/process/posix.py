"""What every process below the client does first: detach, but end with its parent.

It detaches: its own session, default signal handlers, no descriptors but its own. And
it must not outlive its parent, whatever its code is doing.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

from ipycron.process.refusal import reserve
from ipycron.process.unix import fcntl

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TextIO

ORPHAN_GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL for workers whose supervisor is gone."""
ZYGOTE_GRACE = ORPHAN_GRACE + 1.0
"""Seconds for a zygote to end its workers and exit, before it is killed."""
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
CHANGED_USER = (
    "its job has changed its user, and objects of another user are not loaded here. "
    "Return numbers, or write a file"
)
READ_SECONDS = 0.1
"""Seconds that a display waits for earlier output to be read: a supervisor that is busy
with a flood must not block the job for longer."""
_READ_PAUSE = 0.0002  # seconds: an idle supervisor reads within one or two pauses
_F_SETSIG = 10  # <fcntl.h>, Linux: which signal O_ASYNC sends
_STUCK = ("stopped", "tracing-stop", "disk-sleep")  # as psutil names them
_IGNORED = ("SIGPIPE", "SIGXFSZ")  # as the interpreter ignores them
_SIGKILL = 9  # has no name on Windows, where this module is imported, too


def _load_libc() -> Any:
    try:
        return ctypes.CDLL(None)
    except TypeError:  # Windows: nothing below is called there
        return None


# Loaded once, in the zygote, so that workers need not load it.
_libc = _load_libc()
_fflush = getattr(_libc, "fflush", None)
_prctl = getattr(_libc, "prctl", None) if sys.platform == "linux" else None
_malloc_trim = getattr(_libc, "malloc_trim", None)  # of glibc


def reset_signals() -> None:
    """Reset the handling of all signals to that of a fresh interpreter."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if number == signal.SIGINT:
            signal.signal(number, signal.default_int_handler)
        elif get_signal_name(number) in _IGNORED:
            signal.signal(number, signal.SIG_IGN)
        elif signal.getsignal(number) not in (signal.SIG_DFL, None):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def die_with_parent(parent: int, number: int = _SIGKILL) -> None:
    """Have the kernel send `number` when the parent process ends (Linux).

    If the parent is already gone, since the fork, exit at once.
    The kernel watches the thread that forked: the parent must fork in its main thread.
    """
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def hold_lifeline(fd: int) -> None:
    """Have the kernel end this process group when `fd`'s other end is closed.

    `fd` is the reading end of a pipe that is never written to. Signal-driven I/O needs
    no thread (user code may fork) and works while C code holds the GIL. The kernel
    sends SIGTERM; the zygote follows with SIGKILL.
    """
    if sys.platform == "linux":
        fcntl.fcntl(fd, _F_SETSIG, signal.SIGTERM)
    else:
        # Elsewhere O_ASYNC always sends SIGIO, which is ignored by default.
        signal.signal(signal.SIGIO, lambda *_: os.killpg(0, signal.SIGTERM))
    fcntl.fcntl(fd, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)
    if has_ended(fd):
        os._exit(1)  # closed before O_ASYNC was set: no signal will come


def has_ended(fd: int, seconds: float = 0.0) -> bool:
    """Return whether the other end of a pipe that is never written to is closed.

    Args:
        fd: the reading end.
        seconds: how long to wait for the other end to close.
    """
    watch = select.poll()
    watch.register(fd, select.POLLIN)
    return bool(watch.poll(seconds * 1000))


def close_others(keep: Iterable[int]) -> None:
    """Close every descriptor above 2 except `keep`."""
    low = 3
    for fd in sorted(keep):
        os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, os.sysconf("SC_OPEN_MAX"))


def keep_from_children(fds: Iterable[int]) -> None:
    """Keep programs started here from inheriting these descriptors.

    Otherwise a program started by the job would hold the worker's socket open after the
    worker's end.
    """
    for fd in fds:
        os.set_inheritable(fd, False)


def redirect_stdio(stdout: int, stderr: int) -> None:
    """Move these files to descriptors 1 and 2, and /dev/null to 0."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    for fd in {null, stdout, stderr} - {0, 1, 2}:
        os.close(fd)


def open_stdio() -> None:
    """Open new text files on descriptors 0 to 2 and make them `sys.stdin` and so on."""
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = _open_text(1)
    sys.stderr = _open_text(2)
    for name in ("stdin", "stdout", "stderr"):
        setattr(sys, f"__{name}__", getattr(sys, name))


def _open_text(fd: int) -> TextIO:
    # Line-buffered, so that output is seen as it is printed. What cannot be encoded is
    # escaped, so that a print never ends a run.
    return open(
        fd,
        "w",
        encoding="utf-8",
        errors="backslashreplace",
        buffering=1,
        closefd=False,
    )


def flush_stdio() -> None:
    """Flush the buffers of Python and C. Never raises: the job may have closed them."""
    for stream in (sys.stdout, sys.stderr):
        # Not `contextlib.suppress`, which is slower: this happens after each run.
        try:  # noqa: SIM105
            stream.flush()
        except Exception:  # noqa: BLE001, S110 - as promised
            pass
    if _fflush is not None:
        _fflush(None)


def trim_heap() -> None:
    """Return free memory to the system, if the C library can."""
    if _malloc_trim is not None:
        _malloc_trim(0)


def read_zombie(pid: int) -> int | None:
    """Return the exit status of a process that its parent has not reaped (Linux).

    Returns:
        The status as `os.waitpid` gives it; None while the process is alive, or if the
        system does not show the status.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - as elsewhere here
            # The name, in parentheses, may hold anything; see proc(5).
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return int(fields[-1]) if fields[0] == b"Z" else None


def is_stuck(pid: int) -> bool:
    """Return whether a process is suspended, traced or waiting for a disk.

    If the system does not show its state, it counts as running.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - as above
            return file.read().rpartition(b")")[2].split()[0] in b"TtD"
    except FileNotFoundError:
        import psutil  # noqa: PLC0415 - 20 ms, for systems without /proc

        with contextlib.suppress(psutil.Error):
            return psutil.Process(pid).status() in _STUCK
    except OSError:
        pass
    return False


def has_changed_user(pid: int) -> bool:
    """Return whether a child of this process runs as another user (Linux).

    Only root's children can. For a child that is already gone, returns False.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    # Works even when no descriptors are left: the reserve has one for it.
    try:
        with reserve.lend(), open(f"/proc/{pid}/status", "rb") as file:  # noqa: PTH123
            users = file.read().partition(b"\nUid:")[2].partition(b"\n")[0].split()
    except (FileNotFoundError, ProcessLookupError):  # the latter while reading
        return False
    except OSError:
        return True
    finally:
        reserve.fill()
    return set(users) != {b"0"}


def wake_with_parent_end() -> None:
    """Have the kernel resume this process, if suspended, when its parent ends (Linux).

    It then reads end of file from its parent's socket and exits, so that no suspended
    process is left behind.
    """
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, int(signal.SIGCONT), 0, 0, 0)


def get_signal_name(number: int) -> str:
    """Return a signal's name, or "signal" and its number if it has no name."""
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"


def wait_until_read(*ends: tuple[int, int]) -> None:
    """Wait, for `READ_SECONDS` at most, until data written to descriptors is read.

    Args:
        *ends: a descriptor and the `ioctl` request that counts its unread bytes. One
            without such a count (the job may have put a file there) is not waited for.
    """
    deadline = time.monotonic() + READ_SECONDS
    for fd, request in ends:
        with contextlib.suppress(OSError):
            while any(fcntl.ioctl(fd, request, b"\0\0\0\0")):
                if time.monotonic() > deadline:
                    return
                select.select([], [], [], _READ_PAUSE)


def kill_group(pid: int, number: signal.Signals) -> None:
    """Send `number` to the process group that `pid` leads, if it still exists."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
