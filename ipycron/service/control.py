"""Starts, stops and restarts the service, from outside and in any version."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

import psutil

from ipycron.errors import ServiceError
from ipycron.process.service import managed
from ipycron.process.service.launch import start_service
from ipycron.process.service.paths import is_held, read_holder
from ipycron.service.asking import find_service
from ipycron.service.lock import is_present
from ipycron.service.units import DRAIN_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipycron.process.service.paths import Places

KILL_SECONDS = 10.0
"""How long a killed process may take to be gone."""


def start(places: Places) -> tuple[int, bool]:
    """Start the service unless one runs.

    Returns:
        Its process, and whether it was started by this call.

    Raises:
        ServiceError: if it cannot be started, or one runs and does not answer.
    """
    running = find_service(places)
    if running is not None:
        return running.pid, False
    start_service(places)
    started = find_service(places)
    if started is None:
        raise ServiceError(
            reason="it ended as soon as it was started. `ipycron service log` shows why"
        )
    return started.pid, True


def find_process(places: Places) -> int | None:
    """Return the process of the running service; None if none runs.

    One that does not answer is found by the lock that it holds.

    Raises:
        ServiceError: if it cannot be reached, and its lock is not held either.
    """
    try:
        service = find_service(places)
    except ServiceError:
        if not is_held(places):
            raise
        service = None
    if service is not None:
        return service.pid
    if not is_held(places):
        return None
    holder = read_holder(places)
    # Otherwise it was killed, and its supervisor, which holds the lock, too, is about
    # to end. Whoever starts the next one waits for that.
    return None if holder is None or not is_present(holder) else holder.pid


def find_holders(places: Places) -> list[int]:
    """Return the processes of this user that have the lock file open, on Linux.

    A killed service's supervisor is among them until it has ended.
    """
    try:
        identity = places.lock.stat().st_dev, places.lock.stat().st_ino
        numbers = [int(name) for name in os.listdir("/proc") if name.isdecimal()]  # noqa: PTH208
    except OSError:
        return []
    return [pid for pid in sorted(numbers) if identity in _find_open(pid)]


def _find_open(pid: int) -> Iterator[tuple[int, int]]:
    """Yield device and inode of each file that a process has open."""
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)  # noqa: PTH208 - of every process
    except OSError:  # it is another user's, or gone
        return
    for name in names:
        with contextlib.suppress(OSError):
            status = os.stat(f"{folder}/{name}")  # noqa: PTH116 - as above
            yield status.st_dev, status.st_ino


def stop(places: Places, timeout: float = DRAIN_SECONDS) -> int | None:
    """Stop the service: runs in progress come to their end, then it exits.

    Args:
        places: whose service.
        timeout: seconds after which it is killed with everything below it.

    Returns:
        The process that was stopped; None if none ran.

    Raises:
        ServiceError: if it cannot be stopped.
    """
    pid = find_process(places)
    if pid is None:
        return None
    if pid == os.getpid():
        raise ServiceError(reason="it cannot stop itself this way")
    unit = managed.find_unit(places.folder)
    is_installed = unit is not None and unit.exists()
    if is_installed and managed.find_main_pid(places.folder) == pid:
        _stop_unit(places, timeout)
        timeout = KILL_SECONDS
        if not psutil.pid_exists(pid):
            return pid
    _end(pid, timeout)
    return pid


def _stop_unit(places: Places, timeout: float) -> None:
    """Have the manager stop it: a kill of ours would look like a crash to it."""
    answer = managed.stop_managed(places.folder, timeout + KILL_SECONDS)
    if not answer.is_ok:
        raise ServiceError(reason=f"its unit cannot be stopped: {answer.error}")


def _end(pid: int, timeout: float) -> None:
    """End a process: SIGTERM, time to drain, SIGKILL.

    Raises:
        ServiceError: if it may not be ended, or does not end.
    """
    try:
        process = psutil.Process(pid)
        process.send_signal(signal.SIGTERM)
        if process.status() == psutil.STATUS_STOPPED:
            process.send_signal(signal.SIGCONT)  # or it would not see the other
        if _wait(process, timeout):
            return
        process.kill()
    except psutil.NoSuchProcess:
        return
    except psutil.AccessDenied:
        raise ServiceError(
            reason=f"process {pid} is another user's and cannot be ended"
        ) from None
    if not _wait(process, KILL_SECONDS):
        raise ServiceError(
            reason=f"process {pid} has not ended within {KILL_SECONDS:g} s of SIGKILL: "
            "it waits for a disk or a device"
        )


def _wait(process: psutil.Process, timeout: float) -> bool:
    """Return whether the process ends within `timeout` seconds."""
    try:
        process.wait(timeout)
    except psutil.TimeoutExpired:
        return False
    return True


def restart(places: Places, timeout: float = DRAIN_SECONDS) -> tuple[int | None, int]:
    """Stop the service and start another; one that is not there is started.

    Returns:
        The process that was stopped, None if none ran, and the new one.

    Raises:
        ServiceError: if it cannot be stopped or started.
    """
    stopped = stop(places, timeout)
    started, _ = start(places)
    return stopped, started
