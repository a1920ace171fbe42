"""Asks the run coordinator whether this instance should run a slot (D1)."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from ipycron.errors import CoordinatorError
from ipycron.scheduling.aio import spawn, within
from ipycron.scheduling.events import Outcome
from ipycron.scheduling.ports import Held
from ipycron.scheduling.state import RunStage

if TYPE_CHECKING:
    import asyncio

    from ipycron.scheduling.events import SkipReason
    from ipycron.scheduling.ports import Elector
    from ipycron.scheduling.services import Services
    from ipycron.scheduling.state import Run, TaskState

# Seconds within which a coordinator must answer: orders of magnitude longer than a
# network round trip, shorter than the shortest lease that makes sense.
DEADLINE = 5.0

logger = logging.getLogger("ipycron")


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why a slot does not run here.

    `outcome` holds the coordinator's error; or it is ok and its summary names the
    instance that holds the claim.
    """

    reason: SkipReason
    outcome: Outcome | None = None


class Election:
    """Holds the elections of one task. Any answer other than True refuses the run."""

    __slots__ = (
        "_services",
        "_state",
    )

    def __init__(self, state: TaskState, services: Services) -> None:
        self._state = state
        self._services = services

    async def hold(self, run: Run) -> Refusal | None:
        """Return why the run is refused, or None if this instance is elected."""
        try:
            answer = check_answer(await self._ask(run))
        except Exception as error:  # noqa: BLE001 - the border to the coordinator
            return Refusal(reason="coordinator-error", outcome=Outcome.of_error(error))
        if answer is True:
            return None
        holder = answer.holder if isinstance(answer, Held) else None
        named = None if holder is None else Outcome(is_ok=True, summary=holder)
        return Refusal(reason="not-elected", outcome=named)

    def release(self, run: Run) -> None:
        """Tell the coordinator that a run has ended, if the run held a claim."""
        if run.key is not None:
            spawn(self._services.async_tasks, self._complete(run.key))
            run.key = None

    async def _ask(self, run: Run) -> object:
        state, elector = self._state, self._find_elector()
        slot = datetime.fromtimestamp(run.execution.date, UTC)
        key = f"{state.name}:{slot.isoformat()}"
        call = elector.should_run(state.id, key, state.policy.claim_lease)
        task = spawn(self._services.async_tasks, call)
        task.add_done_callback(partial(self._note_claim, run, key))
        return await within(
            self._services.clock, DEADLINE, task, late=make_timeout_error
        )

    def _note_claim(self, run: Run, key: str, task: asyncio.Task[bool | Held]) -> None:
        """Store a claim on its run, or release it if the run is already over."""
        if task.cancelled() or task.exception() is not None:
            return
        if task.result() is True:
            run.key = key
            if run.stage is RunStage.OVER:
                self.release(run)

    async def _complete(self, key: str) -> None:
        call = self._find_elector().on_complete(self._state.id, key)
        try:
            await within(
                self._services.clock,
                DEADLINE,
                spawn(self._services.async_tasks, call),
                late=make_timeout_error,
            )
        except Exception:
            # The run is over and reported; the claim just lasts until its lease ends.
            logger.exception("run coordinator: on_complete of %s failed", key)

    def _find_elector(self) -> Elector:
        if self._services.elector is None:
            raise CoordinatorError(reason="a distributed task has no coordinator")
        return self._services.elector


def check_answer(answer: object) -> bool | Held:
    """Return a coordinator's answer. Raises `CoordinatorError` if it is invalid."""
    if not isinstance(answer, bool | Held):
        raise CoordinatorError(
            reason=f"should_run answered {answer!r:.200}, expected True or False"
        )
    return answer


def make_timeout_error() -> CoordinatorError:
    """Return the error for a coordinator that takes too long."""
    return CoordinatorError(reason=f"no answer within {DEADLINE:g} s")
