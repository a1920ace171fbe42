"""Asks one coordinator, and renews the claims that it granted."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from ipycron.coordinate.call import DEADLINE, Caller
from ipycron.coordinate.protocol import check_coordinator
from ipycron.errors import CoordinatorError, describe_type

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ipycron.coordinate.protocol import RunCoordinator

RENEWALS_PER_LEASE = 3
"""Renewals per lease: two in a row may fail before the claim expires."""

_LOST = (
    "another instance holds the claim of a run that is still in progress, because it "
    "could not be renewed in time. The fire may run twice. Use a longer "
    "distributed_lease."
)


def log_problem(key: str, error: CoordinatorError) -> None:
    """Log a failed renewal: the run continues, and no caller waits for an answer."""
    logging.getLogger("ipycron").error(
        "claim %r: could not be renewed", key, exc_info=error
    )


class CoordinatorSession:
    """The elections of one coordinator, sync or async, with a deadline.

    Belongs to one loop; every method is called there. One object serves all tasks
    that share the coordinator.

    Args:
        coordinator: the coordinator to ask. Its optional methods are ``renew(key,
            lease)`` (see `RenewingCoordinator`) and ``close()``, which releases what it
            opened and may be followed by further questions.
        deadline: seconds that each of its answers may take.
        report: called with a key and an error when a claim could not be renewed.

    Raises:
        InvalidOption: if it is not a coordinator.
    """

    def __init__(
        self,
        coordinator: RunCoordinator,
        *,
        deadline: float = DEADLINE,
        report: Callable[[str, CoordinatorError], None] = log_problem,
    ) -> None:
        self._coordinator = check_coordinator(coordinator)
        self._caller = Caller(deadline=deadline)
        self._report = report
        self._renewals: dict[str, _Renewal] = {}

    async def should_run(self, key: str, lease: float) -> bool:
        """Return whether this instance runs the fire `key`.

        After True the claim is renewed until `on_complete`, which must follow.

        Raises:
            CoordinatorError: if there is no clear answer: do not run.
        """
        is_elected = await self._ask(self._coordinator.should_run, key, lease)
        if is_elected and key not in self._renewals:
            self._keep(key, lease)
        return is_elected

    async def find_holder(self, key: str) -> str | None:
        """Return the holder of the fire `key`, as text; None if unknown."""
        find = getattr(self._coordinator, "find_holder", None)
        if find is None:
            return None
        try:
            holder = await self._caller.call(find, key)
        except CoordinatorError:  # the election is decided: this is for display only
            return None
        return holder if isinstance(holder, str) else None

    async def on_complete(self, key: str) -> None:
        """Stop the renewal of `key` and notify the coordinator that its run ended.

        Raises:
            CoordinatorError: if it cannot be notified; worth logging.
        """
        renewal = self._renewals.pop(key, None)
        if renewal is not None:
            await renewal.stop()
        await self._caller.call(self._coordinator.on_complete, key)

    async def aclose(self) -> None:
        """Stop all renewals and let the coordinator close. Idempotent."""
        renewals = list(self._renewals.values())
        self._renewals.clear()
        # Concurrently, since each may wait for an answer until its deadline.
        await asyncio.gather(*(renewal.stop() for renewal in renewals))
        close = getattr(self._coordinator, "close", None)
        if close is not None:
            await self._caller.call(close)

    def _keep(self, key: str, lease: float) -> None:
        renew = getattr(self._coordinator, "renew", None)
        if renew is None:
            return
        self._renewals[key] = _Renewal(
            lambda: self._ask(renew, key, lease),
            interval=lease / RENEWALS_PER_LEASE,
            report=lambda error: self._report(key, error),
        )

    async def _ask(self, method: Callable[..., Any], key: str, lease: float) -> bool:
        answer = await self._caller.call(method, key, lease)
        if isinstance(answer, bool):
            return answer
        raise CoordinatorError(
            reason=f"{type(self._coordinator).__name__}.{method.__name__}() returned "
            f"{describe_type(answer)}, expected True or False."
        )


class _Renewal:
    """Renews one claim until it is stopped or the claim is lost."""

    def __init__(
        self,
        renew: Callable[[], Awaitable[bool]],
        *,
        interval: float,
        report: Callable[[CoordinatorError], None],
    ) -> None:
        self._renew = renew
        self._interval = interval
        self._report = report
        self._is_over = asyncio.Event()
        self._task = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Return when no renewal is in progress: after a call's deadline at most."""
        self._is_over.set()
        await self._task

    async def _keep(self) -> None:
        while not await self._is_over_within(self._interval):
            try:
                is_held = await self._renew()
            except CoordinatorError as error:
                self._report(error)
                continue
            if not is_held:
                self._report(CoordinatorError(reason=_LOST))
                return

    async def _is_over_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._is_over.wait(), seconds)
        except TimeoutError:
            return False
        return True
