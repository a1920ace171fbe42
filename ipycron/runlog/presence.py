"""Which process writes, and whether the process that wrote is still there."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import msgspec


class Presence(msgspec.Struct, frozen=True, kw_only=True):
    """Identifies a process beyond its number, which is given to others after its end.

    Attributes:
        host: the machine's name.
        boot: of the boot and of the process numbers' namespace (a container has its
            own); empty where the system has neither.
        pid: the process's number.
        started: when the system says that it started, as text to compare.
    """

    host: str
    boot: str
    pid: int
    started: str


def find_own_presence() -> Presence:
    """Return this process's."""
    pid = os.getpid()
    return Presence(
        # It may be bytes that are no text, which SQLite does not take.
        host=socket.gethostname().encode(errors="backslashreplace").decode(),
        boot=_find_boot(),
        pid=pid,
        started=_find_start(pid) or "",
    )


def is_gone(other: Presence, own: Presence) -> bool:
    """Return whether that process has certainly ended.

    Of another machine's processes nothing is known: they count as present. A machine
    that has booted again, or a container that was started again under its name, has
    none of its earlier processes.
    """
    if other.boot == own.boot and (own.boot or other.host == own.host):
        return _find_start(other.pid) != other.started
    return other.host == own.host


def _find_boot() -> str:
    if sys.platform != "linux":
        return ""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _find_start(pid: int) -> str | None:
    """Return when the process started, None if there is none (or only its remains)."""
    if sys.platform == "linux":
        return _read_start(pid)
    import psutil  # noqa: PLC0415 - Linux does without it

    try:
        return str(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def _read_start(pid: int) -> str | None:
    try:
        status = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    # The name, in brackets, may contain spaces and brackets. Source: proc(5).
    fields = status.rpartition(")")[2].split()
    state, threads, started = fields[0], int(fields[17]), fields[19]
    # A zombie whose other threads go on is alive.
    return None if state in "ZX" and threads <= 1 else started
