"""The lock of a service: there is one for an environment, and its file says which."""

from __future__ import annotations

import fcntl
import os
import socket
import threading
import time
from typing import TYPE_CHECKING

import msgspec

from ipycron.errors import ServiceError
from ipycron.process.service.paths import Holder, read_holder
from ipycron.runlog.presence import find_own_presence, is_gone

if TYPE_CHECKING:
    from ipycron.process.service.paths import Places
    from ipycron.process.service.protocol import Greeting

LOCK_TIMEOUT = 15.0
"""Seconds for what is left of a killed service to end."""
_POLL = 0.05


class Held(Exception):
    """Another service holds the lock."""


class Lock:
    """The lock of a service, for as long as the process lives.

    Attributes:
        descriptor: the lock file's; inherited by the supervisor and its zygote. Stays
            the same when the lock is taken again.
        is_written: whether the file says who holds it.
    """

    def __init__(self, places: Places) -> None:
        self._places = places
        self.descriptor = -1
        self.is_written = False

    def take(self) -> None:
        """Take the lock; wait for what is left of a service that was killed.

        Raises:
            Held: if another service has it.
            ServiceError: if it cannot be taken.
        """
        deadline = time.monotonic() + LOCK_TIMEOUT
        while not self._take_nowait():
            if self._is_served():
                raise Held
            if time.monotonic() > deadline:
                raise ServiceError(
                    reason=f"processes of an earlier service still hold "
                    f"{self._places.lock}, and do not end. End them: `ipycron doctor` "
                    "lists them"
                )
            threading.Event().wait(_POLL)

    def _take_nowait(self) -> bool:
        path = self._places.lock
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(path, flags, 0o600)
        except OSError as error:
            reason = f"the lock {path} cannot be opened: {error.strerror}"
            raise ServiceError(reason=reason) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                self._hold(descriptor)
                return True
        except (BlockingIOError, FileNotFoundError):
            pass
        except OSError as error:
            os.close(descriptor)
            reason = f"{path} cannot be locked: {error.strerror}. Its file system has "
            raise ServiceError(reason=f"{reason}no locks") from error
        os.close(descriptor)
        return False

    def _hold(self, descriptor: int) -> None:
        self.is_written = False
        if self.descriptor < 0:
            self.descriptor = descriptor
            return
        # Supervisors that are started from now on inherit it by its number.
        os.dup2(descriptor, self.descriptor, inheritable=False)
        os.close(descriptor)

    def _is_served(self) -> bool:
        """Return whether the process that the lock file names is still there."""
        holder = read_holder(self._places)
        if holder is None:
            return False
        if holder.host != socket.gethostname():
            return True
        return is_present(holder)

    def write(self, greeting: Greeting) -> None:
        """Say in the file who holds it, for clients and for the next service.

        Raises:
            ServiceError: if it cannot be written; then no client finds the service.
        """
        holder = Holder(
            pid=greeting.pid,
            host=socket.gethostname(),
            socket=str(self._places.socket),
            version=greeting.version,
            started_at=greeting.started_at,
            started=find_own_presence().started,
        )
        data = msgspec.json.encode(holder)
        try:
            os.pwrite(self.descriptor, data, 0)
            os.ftruncate(self.descriptor, len(data))
        except OSError as error:
            path, what = self._places.lock, error.strerror
            reason = f"the lock {path} cannot be written: {what}. Free some space"
            raise ServiceError(reason=reason) from error
        self.is_written = True

    @property
    def is_lost(self) -> bool:
        """Whether the file was deleted: another service could take a new one."""
        try:
            return os.fstat(self.descriptor).st_ino != self._places.lock.stat().st_ino
        except OSError:
            return True


def is_present(holder: Holder) -> bool:
    """Return whether that process of this machine runs, and no other by its number."""
    own = find_own_presence()
    other = msgspec.structs.replace(own, pid=holder.pid, started=holder.started)
    return not is_gone(other, own)
