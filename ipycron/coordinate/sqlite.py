"""A coordinator for kernels and scripts of one machine, with nothing to install."""

from __future__ import annotations

import logging
import os
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipycron.coordinate.claimfile import ClaimFile
from ipycron.coordinate.protocol import describe_owner, make_owner, make_token
from ipycron.errors import InvalidOption

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger("ipycron")

# Both are one statement, so one transaction: a process that is killed in between either
# has claimed or has not. `max`, since the wall clock may have stepped back meanwhile.
_TAKE = (
    "INSERT INTO claims VALUES (:key, :owner, :now + :lease) "
    "ON CONFLICT (key) DO UPDATE SET owner = excluded.owner, "
    "expires_at = max(expires_at, excluded.expires_at) WHERE "
)
_CLAIM = _TAKE + "expires_at <= :now"
_RENEW = _TAKE + "expires_at <= :now OR owner = :owner"
_HOLDER = "SELECT owner FROM claims WHERE key = :key"
_CLEAN = "DELETE FROM claims WHERE expires_at <= :now"


class SQLiteRunCoordinator:
    """Claims in an SQLite file, for the processes of one machine.

    Guarantees at most one run per fire among all that use the file. A claim ends
    `lease` seconds, by the machine's wall clock, after the last renewal, and is removed
    when any instance completes a later run. The file may be deleted at any time,
    together with its ``-wal`` and ``-shm``; its claims are then lost, and the next
    fires are coordinated as before.

    Methods are safe in any thread and in forked copies; pickling keeps the path only.

    Args:
        path: the file, created if missing with mode 0600. On a local disk: SQLite's
            locks do not hold on network file systems.
        now: the clock that measures expiry, in Unix seconds.

    Raises:
        InvalidOption: if `path` does not name a file, such as ``":memory:"``.
        CoordinatorError: if the folder is missing or read-only, the file is not a
            database, or it belongs to another user and is writable by everybody. Also
            by each method, if the file cannot be used or stays locked for 4 seconds.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        # Other processes compare with it, so it must be this machine's clock.
        now: Callable[[], float] = time.time,  # noqa: TID251
    ) -> None:
        _check_path(path)
        # Absolute, since the working directory may change.
        named = Path(path).expanduser()
        self.path = named.resolve()
        if named.is_symlink() and self.path.parent != named.parent.resolve():
            _log.warning(
                "run coordinator: %s is a symbolic link out of its folder; the claims "
                "are in %s",
                named,
                self.path,
            )
        self._now = now
        self._token = make_token()
        self._file = ClaimFile(self.path)

    def __repr__(self) -> str:
        return f"<SQLiteRunCoordinator {self.path}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(SQLiteRunCoordinator, now=self._now), (self.path,)

    def should_run(self, key: str, lease: float) -> bool:
        """Claim the fire; return whether it was unclaimed."""
        return self._take(_CLAIM, key, lease)

    def renew(self, key: str, lease: float) -> bool:
        """Extend this process's claim, or make it again if it is gone."""
        return self._take(_RENEW, key, lease)

    def find_holder(self, key: str) -> str | None:
        """Return which process holds the claim; see `NamingCoordinator`."""
        owner = self._file.read(_HOLDER, {"key": key})
        return None if owner is None else describe_owner(owner)

    def on_complete(self, key: str) -> None:  # noqa: ARG002 - protocol
        """Keep the claim of `key`, and remove the expired ones."""
        self._file.change(_CLEAN, {"now": self._now()})

    def close(self) -> None:
        """Close the file. The next request reopens it."""
        self._file.close()

    def _take(self, statement: str, key: str, lease: float) -> bool:
        owner = make_owner(self._token)
        # Read before any waiting for a lock: the lease counts from the request.
        values: dict[str, str | float] = {
            "key": key,
            "owner": owner,
            "now": self._now(),
            "lease": lease,
        }
        return self._file.change(statement, values) == 1


def _check_path(path: Any) -> None:
    """Refuse paths that SQLite treats as a database of this process alone.

    Raises:
        InvalidOption: if no other process could open it: every instance would run each
            fire.
    """
    if not isinstance(path, str | os.PathLike):
        return  # `Path` raises the usual TypeError
    text = os.fsdecode(path)
    if not text.strip() or text == ":memory:" or text.startswith("file:"):
        raise InvalidOption(
            option="path",
            value=path,
            expected="the path of a file that all instances open",
            advice="A database in memory is this process's own: each would run.",
        )
