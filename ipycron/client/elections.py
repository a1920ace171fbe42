"""Elections of distributed tasks: which coordinator is asked, for which supervisor."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ipycron.coordinate.environment import EnvRunCoordinator
from ipycron.coordinate.session import CoordinatorSession
from ipycron.errors import CoordinatorError, InvalidOption
from ipycron.process.wire.protocol import Completed, Elect, Elected
from ipycron.scheduling.policy import LONGEST_CLAIM
from ipycron.scheduling.ports import Held

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Mapping

    from ipycron.client.connection import Connection
    from ipycron.client.options import TaskOptions
    from ipycron.client.record import TaskRecord
    from ipycron.scheduling.ports import Elector


CLOSE_TIMEOUT = 1.0
"""Seconds that a shutdown waits for all coordinators together: a healthy one answers
in milliseconds, and a claim that is not released expires."""

_log = logging.getLogger("ipycron")


@dataclass(slots=True, eq=False)
class _Known:
    """A coordinator in use, and its session.

    Attributes:
        coordinator: kept, so that no other object gets its `id()`.
        uses: elections in progress and claims held.
        is_dropped: whether no task uses it any longer.
    """

    coordinator: Any
    election: CoordinatorSession
    uses: int = 0
    is_dropped: bool = False


class ElectorClient(Protocol):
    """What the elector needs of the client: which coordinators there are."""

    @property
    def tasks(self) -> Mapping[str, TaskRecord]:
        """All tasks that are not destroyed, by id."""

    @property
    def coordinator(self) -> Any:
        """The coordinator of tasks without one of their own, or None."""


class TaskElector:
    """The schedulers' `Elector`: asks the task's coordinator, or the process's.

    If there is neither, the environment variable decides. A claim is released at the
    coordinator that granted it, even if the task has changed or is gone.
    All methods are called on the client's loop.
    """

    def __init__(self, client: ElectorClient) -> None:
        self._client = client
        self._default: EnvRunCoordinator | None = None
        self._known: dict[int, _Known] = {}
        self._claims: dict[tuple[str, str], _Known] = {}
        self._work: set[asyncio.Task[None]] = set()

    async def should_run(self, task_id: str, key: str, lease: float) -> bool | Held:
        """Ask the task's coordinator; see `Elector`."""
        known = self._find(task_id)
        known.uses += 1
        is_elected, holder = False, None
        try:
            is_elected = await known.election.should_run(key, lease)
            if not is_elected:
                holder = await known.election.find_holder(key)
        finally:
            if is_elected:
                self._claims[task_id, key] = known
            else:
                self._leave(known)
        return is_elected if holder is None else Held(holder)

    async def on_complete(self, task_id: str, key: str) -> None:
        """Release the claim soon; see `Elector`. A failure is logged."""
        known = self._claims.pop((task_id, key), None)
        if known is not None:
            self._spawn(self._complete(known, key))

    def abandon(self, task_ids: Collection[str]) -> None:
        """Stop renewing the claims of tasks whose runs are lost.

        The claims last for the rest of their lease: a lost run is not run again.
        """
        for task_id, key in list(self._claims):
            if task_id in task_ids:
                self._spawn(self._complete(self._claims.pop((task_id, key)), key))

    def sweep(self) -> None:
        """Close the coordinators that no task uses any longer."""
        tasks = self._client.tasks.values()
        wanted = {id(task.options.run_coordinator) for task in tasks}
        wanted |= {id(self._client.coordinator), id(self._default)}
        for key, known in list(self._known.items()):
            known.is_dropped = key not in wanted
            self._drop_if_unused(known)

    async def aclose(self) -> None:
        """Release every claim and close every coordinator, within `CLOSE_TIMEOUT`."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                self.abandon({task_id for task_id, _ in self._claims})
                await self._drain()
                for known in self._known.values():
                    self._spawn(self._close(known))
                await self._drain()
        except TimeoutError:
            for task in self._work:
                task.cancel()
            await self._drain()
            _log.warning("a run coordinator did not close within %g s", CLOSE_TIMEOUT)
        self._known.clear()

    def _find(self, task_id: str) -> _Known:
        task = self._client.tasks.get(task_id)
        coordinator = None if task is None else task.options.run_coordinator
        if coordinator is None:
            coordinator = self._client.coordinator
        if coordinator is None:
            coordinator = self._get_default()
        known = self._known.get(id(coordinator))
        if known is None:
            known = _Known(coordinator, CoordinatorSession(coordinator))
            self._known[id(coordinator)] = known
        known.is_dropped = False
        return known

    def _get_default(self) -> EnvRunCoordinator:
        # Created on demand: it raises if the environment variable decides nothing.
        if self._default is None:
            self._default = EnvRunCoordinator()
        return self._default

    async def _complete(self, known: _Known, key: str) -> None:
        try:
            await known.election.on_complete(key)
        except CoordinatorError:
            # The run has ended and is reported; the claim only lasts longer.
            _log.exception("run coordinator: on_complete of %s failed", key)
        finally:
            self._leave(known)

    def _leave(self, known: _Known) -> None:
        known.uses -= 1
        self._drop_if_unused(known)

    def _drop_if_unused(self, known: _Known) -> None:
        if known.is_dropped and not known.uses:
            del self._known[id(known.coordinator)]
            self._spawn(self._close(known))

    async def _close(self, known: _Known) -> None:
        try:
            await known.election.aclose()
        except CoordinatorError:
            _log.exception("run coordinator: close failed")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    async def _drain(self) -> None:
        while self._work:
            await asyncio.wait(self._work)


def check_election(options: TaskOptions, coordinator: Any) -> None:
    """Check that elections can be held for a task, if it is distributed.

    Args:
        options: the task's.
        coordinator: the process's own, None without one.

    Raises:
        InvalidOption: if options exclude each other.
        CoordinatorError: if the environment variable should decide and does not.
    """
    if not options.distributed:
        if options.run_coordinator is not None:
            raise InvalidOption(
                option="run_coordinator",
                value=options.run_coordinator,
                expected="None without distributed=True",
            )
        return
    if options.name is None:
        raise InvalidOption(
            option="name",
            value=None,
            expected="a name with distributed=True: it is the key that all "
            "instances share",
        )
    if options.claim_lease > LONGEST_CLAIM:
        late = "tolerance" if options.patience == options.tolerance else "catch_up"
        raise InvalidOption(
            option=late,
            value=getattr(options, late),
            expected=f"with distributed_lease at most {LONGEST_CLAIM:.0f} s (a year) "
            "in a fleet, which keeps its claims as long as a slot may be late",
        )
    if options.run_coordinator is None and coordinator is None:
        EnvRunCoordinator()  # raises if the environment variable decides nothing


class SupervisorElections:
    """Asks coordinators on behalf of the supervisor.

    Args:
        elector: asks the coordinators.
        is_present: returns whether a connection is the current supervisor's.
    """

    def __init__(
        self, elector: Elector, is_present: Callable[[Connection], bool]
    ) -> None:
        self._elector = elector
        self._is_present = is_present
        self._tasks: set[asyncio.Task[None]] = set()

    def handle(self, message: Elect | Completed, asking: Connection | None) -> None:
        """Hold an election for a supervisor, or pass on the end of a run."""
        if isinstance(message, Elect):
            task = asyncio.ensure_future(self._elect(message, asking))
            task.add_done_callback(self._tasks.discard)
        else:
            work = self._elector.on_complete(message.task_id, message.key)
            task = asyncio.ensure_future(work)
            task.add_done_callback(self._finish)
        self._tasks.add(task)

    def _finish(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logging.getLogger("ipycron").error(
                "run coordinator: on_complete failed", exc_info=error
            )

    async def _elect(self, elect: Elect, asking: Connection | None) -> None:
        error = holder = None
        is_elected = False
        try:
            answer = await self._elector.should_run(
                elect.task_id, elect.key, elect.lease
            )
            is_elected = answer is True
            holder = answer.holder if isinstance(answer, Held) else None
        except CoordinatorError as failure:
            error = failure.reason
        except Exception as failure:  # noqa: BLE001 - a user's coordinator
            error = f"{type(failure).__name__}: {failure}"
        if asking is not None and self._is_present(asking):
            asking.send(Elected(elect.request_id, is_elected, error, holder))
        elif is_elected:
            # Another supervisor would take it for the answer to its own request.
            await self._elector.on_complete(elect.task_id, elect.key)
