"""The protocols of run coordinators."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING, Protocol, cast

from ipycron.errors import InvalidOption

if TYPE_CHECKING:
    from collections.abc import Awaitable


class RunCoordinator(Protocol):
    """Decides which instance of a fleet runs a fire.

    All instances ask for the same key, ``name:slot``, where the slot is the
    scheduled instant in UTC and not the time of asking. One of them may run.
    A coordinator that keeps claims keeps each for its whole lease, however quick
    the run was: an instance whose clock is late by less than the lease then finds
    the claim, and does not run the fire again.

    Methods may be plain or coroutine functions. Plain ones are called in a thread
    and may block; coroutine functions run on ipycron's loop and must not.
    """

    def should_run(self, key: str, lease: float) -> bool | Awaitable[bool]:
        """Return whether this instance runs the fire; an exception means no.

        Args:
            key: the fire, ``name:slot``.
            lease: seconds that the claim lasts unless it is renewed.
        """

    def on_complete(self, key: str) -> Awaitable[None] | None:
        """Called when the run of `key` has ended, whether it succeeded or failed.

        Called once for each `should_run` that answered True in time.
        """


class NamingCoordinator(RunCoordinator, Protocol):
    """A coordinator that knows which instance holds a claim.

    `find_holder` is called after a `should_run` that answered False, for the event
    `execution:skipped`.
    """

    def find_holder(self, key: str) -> str | Awaitable[str | None] | None:
        """Return the holder of the claim of `key`, as text; None if there is none."""


class RenewingCoordinator(RunCoordinator, Protocol):
    """A coordinator whose claims can outlast their lease.

    `renew` is called every third of a lease from the election to the end of the
    run, so that two calls may fail before a claim is lost. It is never called
    after `on_complete` of the same key.
    """

    def renew(self, key: str, lease: float) -> bool | Awaitable[bool]:
        """Make the claim last `lease` seconds from now, as `should_run` did.

        Returns:
            Whether the claim is still this instance's. False ends the renewal
            (not the run); an exception is reported, and the next call tries again.
        """


def check_coordinator(value: object) -> RunCoordinator:
    """Return `value` if it is a coordinator.

    Raises:
        InvalidOption: if a method is missing, or if `value` is a class.
    """
    names = ("should_run", "on_complete")
    has_methods = all(callable(getattr(value, name, None)) for name in names)
    if has_methods and not isinstance(value, type):
        return cast("RunCoordinator", value)
    raise InvalidOption(
        option="run_coordinator",
        value=value,
        expected="an object with the methods should_run(key, lease) and "
        "on_complete(key)",
        advice="Make an object of this class first." if has_methods else "",
    )


def make_token() -> str:
    """Return a unique token."""
    import secrets  # noqa: PLC0415 - 2 ms, for the few who elect

    return secrets.token_hex(8)


def make_owner(token: str) -> str:
    """Return ``host:process:token``: unique, and readable for people.

    Computed each time, since a forked copy is another owner.
    """
    # A name may be bytes that are no text, which no store takes.
    host = platform.node().encode(errors="backslashreplace").decode()
    return f"{host}:{os.getpid()}:{token}"


def describe_owner(owner: str) -> str:
    """Return the owner that `make_owner` made, as readable text.

    >>> describe_owner("host:12:0f0e")
    'process 12 on host'
    """
    host, process, _ = owner.rsplit(":", 2)
    return f"process {process} on {host}"
