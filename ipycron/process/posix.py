"""What every process below the client does first: cut itself loose, tie itself down.

Cut loose: a session of its own, default signal handlers, no descriptor that is not
its own. Tied down: it must not outlive its parent, whatever its code is doing.
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
"""Seconds for a zygote to end its workers and leave, before it is killed."""
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
CHANGED_USER = (
    "its job has changed its user, and objects of another user are not loaded here. "
    "Return numbers, or write a file"
)
READ_SECONDS = 0.1
"""Seconds that a display waits for the lines before it to be read: a supervisor that
has no time for a flood must not hold up the job for longer."""
_READ_PAUSE = 0.0002  # seconds: a supervisor with time reads within one or two
_F_SETSIG = 10  # <fcntl.h>, Linux: which signal O_ASYNC sends
_STUCK = ("stopped", "tracing-stop", "disk-sleep")  # as psutil names them
_IGNORED = ("SIGPIPE", "SIGXFSZ")  # as the interpreter itself sets them
_SIGKILL = 9  # has no name on Windows, where this is imported, too


def _load_libc() -> Any:
    try:
        return ctypes.CDLL(None)
    except TypeError:  # Windows; nothing below is called there
        return None


# Loaded once, in the zygote: a worker must not pay for it.
_libc = _load_libc()
_fflush = getattr(_libc, "fflush", None)
_prctl = getattr(_libc, "prctl", None) if sys.platform == "linux" else None
_malloc_trim = getattr(_libc, "malloc_trim", None)  # of glibc


def reset_signals() -> None:
    """Give every signal the handling that a fresh interpreter has."""
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

    The parent may be gone already, between fork and here: then leave at once.
    Its thread counts, not its process: the parent must fork in its main thread.
    """
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def hold_lifeline(fd: int) -> None:
    """Have the kernel end this process group when `fd`'s other end is closed.

    `fd` is the reading end of a pipe that is never written to. Signal-driven I/O needs
    no thread (user code may fork) and works while C code holds the GIL. SIGTERM:
    the zygote follows with SIGKILL.
    """
    if sys.platform == "linux":
        fcntl.fcntl(fd, _F_SETSIG, signal.SIGTERM)
    else:
        # Elsewhere O_ASYNC always sends SIGIO, which would be discarded.
        signal.signal(signal.SIGIO, lambda *_: os.killpg(0, signal.SIGTERM))
    fcntl.fcntl(fd, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)
    if has_ended(fd):
        os._exit(1)  # it was closed before O_ASYNC was set: no signal will come


def has_ended(fd: int, seconds: float = 0.0) -> bool:
    """Return whether the other end of a pipe that carries nothing is closed.

    Args:
        fd: this end.
        seconds: how long to wait for that.
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
    """Let no program that is started here inherit these descriptors.

    Otherwise a helper of the job would inherit them and hold the job's socket open
    after its end.
    """
    for fd in fds:
        os.set_inheritable(fd, False)


def redirect_stdio(stdout: int, stderr: int) -> None:
    """Put these files on descriptors 1 and 2, and /dev/null on 0."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    for fd in {null, stdout, stderr} - {0, 1, 2}:
        os.close(fd)


def open_stdio() -> None:
    """Make fresh text files on the descriptors 0 to 2."""
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = _open_text(1)
    sys.stderr = _open_text(2)
    for name in ("stdin", "stdout", "stderr"):
        setattr(sys, f"__{name}__", getattr(sys, name))


def _open_text(fd: int) -> TextIO:
    # Line by line, so that output is seen while it happens; what cannot be encoded
    # is escaped, so that a print never ends a run.
    return open(
        fd,
        "w",
        encoding="utf-8",
        errors="backslashreplace",
        buffering=1,
        closefd=False,
    )


def flush_stdio() -> None:
    """Push out what Python and C hold. Never raises: the job may have closed it."""
    for stream in (sys.stdout, sys.stderr):
        # Not `contextlib.suppress`: this comes after each run.
        try:  # noqa: SIM105
            stream.flush()
        except Exception:  # noqa: BLE001, S110 - as promised
            pass
    if _fflush is not None:
        _fflush(None)


def trim_heap() -> None:
    """Give memory that is free back to the system, where the C library can."""
    if _malloc_trim is not None:
        _malloc_trim(0)


def read_zombie(pid: int) -> int | None:
    """Return how a process has ended that its parent has not reaped (Linux).

    Returns:
        the status as `os.waitpid` gives it; None while the process lives, and where
        the system does not show it.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - as elsewhere here
            # The name, in parentheses, may hold anything; see proc(5).
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return int(fields[-1]) if fields[0] == b"Z" else None


def is_stuck(pid: int) -> bool:
    """Return whether a process does not run: stopped, traced, waiting for a disk.

    Where the system does not show it, the process counts as running.
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

    Only root's children can. One that is gone already counts as itself.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    # At the limit of descriptors, too: the reserve has one for it.
    try:
        with reserve.lend(), open(f"/proc/{pid}/status", "rb") as file:  # noqa: PTH123
            users = file.read().partition(b"\nUid:")[2].partition(b"\n")[0].split()
    except (FileNotFoundError, ProcessLookupError):  # the latter while it is read
        return False
    except OSError:
        return True
    finally:
        reserve.fill()
    return set(users) != {b"0"}


def wake_with_parent_end() -> None:
    """Have the kernel wake this process, if stopped, when its parent ends (Linux).

    It then reads the end of the parent's socket and exits: no stopped process stays.
    """
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, int(signal.SIGCONT), 0, 0, 0)


def get_signal_name(number: int) -> str:
    """Return a signal's name; its number where it has none."""
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"


def wait_until_read(*ends: tuple[int, int]) -> None:
    """Wait, a moment at most, until what was written to descriptors has been read.

    Args:
        *ends: a descriptor and the request of `ioctl` that counts its unread bytes.
            One without that count (the job has put a file there) is not waited for.
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
