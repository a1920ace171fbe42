"""What stands between a slot, or a call, and the code."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ipycron.errors import OverlapError
from ipycron.scheduling.events import Event, Execution
from ipycron.scheduling.run import Run, Stage
from ipycron.scheduling.services import spawn
from ipycron.scheduling.state import Phase
from ipycron.scheduling.workers import Seat

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from ipycron.scheduling.election import Election
    from ipycron.scheduling.events import Outcome, Reason
    from ipycron.scheduling.ports import Worker
    from ipycron.scheduling.runs import Runner
    from ipycron.scheduling.services import Services
    from ipycron.scheduling.slots import Slots
    from ipycron.scheduling.state import Entry
    from ipycron.scheduling.workers import Crew


class Gate:
    """Lets the runs of one task through to the runner, now, later, or never.

    The way of a slot: overlap check, election, random delay, worker. A run on that
    way is pending: it counts for overlap, and a stop drops it. Where there is
    nothing to wait for, the whole way is one synchronous call.

    A slot for which no worker comes in time is missed.
    """

    __slots__ = (
        "_crew",
        "_election",
        "_entry",
        "_runner",
        "_services",
        "_slots",
    )

    def __init__(
        self,
        entry: Entry,
        services: Services,
        *,
        crew: Crew,
        runner: Runner,
        slots: Slots,
        election: Election | None,
    ) -> None:
        self._entry = entry
        self._services = services
        self._crew = crew
        self._runner = runner
        self._slots = slots
        self._election = election

    def fire(self, slot: int, lateness: float) -> None:
        """Run a slot that is due, or skip it because of the runs before it."""
        policy = self._entry.policy
        self._crew.hold()
        if self._entry.runs or self._entry.lingering:
            self._entry.emit(Event.EXECUTION_OVERLAP, date=slot)
            if policy.no_overlap or self._is_spoken_for():
                return
        standby, self._entry.standby = self._entry.standby, None
        execution_id = None if standby is None else standby.execution_id
        run = self._open("scheduled", slot, execution_id)
        run.patience = max(0.0, policy.missed_execution_tolerance - lateness)
        if self._election is not None:
            elect = self._elect(run, self._election)
            run.undo = spawn(self._services.errands, elect).cancel
        else:
            self._delay(run)

    def call(
        self, execution_id: str | None, end: asyncio.Future[Outcome] | None
    ) -> Run:
        """Open a manual run and begin it; without a worker it waits for one.

        `end` is resolved with the run's outcome.

        Raises:
            OverlapError: if another run is pending or in progress, and the task
                allows no overlap.
        """
        entry = self._entry
        busy_run = entry.busy_run if entry.policy.no_overlap else None
        if busy_run is not None:
            raise OverlapError(name=entry.name, execution_id=busy_run)
        run = self._open("invoked", self._services.clock.now(), execution_id)
        run.end = end
        self._begin(run)
        return run

    def adopt(self, worker: Worker, execution_id: str, date: float) -> None:
        """Take note of a manual run that a worker has begun already."""
        run = self._open("invoked", date, execution_id)
        self._crew.occupy(worker)
        self._runner.start(run, worker)

    def serve_waiting(self) -> None:
        """Begin the runs that waited for a worker, which is there now."""
        for run in self._entry.runs.values():
            if run.is_waiting and run.stage is Stage.PENDING:
                self._begin(run)

    def drop(self, error: BaseException, *, is_missed: bool = False) -> None:
        """Give up every run whose code has not begun.

        A manual one fails with `error`. A scheduled one is dropped without an
        event, since its owner ended the task before it; or it is reported as missed.
        """
        for run in self._entry.runs.values():
            if run.stage is not Stage.PENDING:
                continue
            undo(run)
            if not run.is_scheduled:
                self._runner.fail(run, error)
                continue
            self._runner.forget(run)
            if is_missed:
                self._slots.miss(run.execution.date)

    def _open(
        self, reason: Reason, date: float, execution_id: str | None = None
    ) -> Run:
        execution_id = execution_id or self._services.new_id()
        execution = Execution(id=execution_id, reason=reason, date=date)
        run = Run(execution=execution, runner=self._runner)
        self._entry.runs = self._entry.runs.add(execution_id, run)
        return run

    def _is_spoken_for(self) -> bool:
        """Return whether pending runs may need all that is left of the limit."""
        left = self._entry.runs_left
        if left is None:
            return False
        pending = (r for r in self._entry.runs.values() if r.stage is Stage.PENDING)
        return sum(run.is_scheduled for run in pending) >= left

    async def _elect(self, run: Run, election: Election) -> None:
        """Let the fleet decide; asked before any delay, so that one instance waits."""
        refusal = await election.hold(run)
        run.undo = None
        if refusal is None:
            self._delay(run)
            return
        self._runner.forget(run)
        self._entry.emit(
            Event.EXECUTION_SKIPPED,
            date=run.execution.date,
            reason=refusal.reason,
            outcome=refusal.outcome,
        )

    def _delay(self, run: Run) -> None:
        """Begin the run after its random delay (R4)."""
        limit = self._entry.policy.max_random_delay
        if limit > 0:
            delay = self._services.uniform(0.0, limit)
            self._put_off(run, delay, self._begin)
        else:
            self._begin(run)

    def _put_off(self, run: Run, delay: float, step: Callable[[Run], None]) -> None:
        timer = self._services.clock.call_later(delay, partial(step, run))
        run.undo = timer.cancel

    def _begin(self, run: Run) -> None:
        """Find the run a worker."""
        undo(run)
        run.is_waiting = False
        # While a task stops, its workers are for the runs in progress only; a call
        # that came after belongs to the start that waits for the stop.
        if self._entry.phase is not Phase.STARTED or self._crew.seat is Seat.EMPTY:
            run.is_waiting = True
            if run.patience is not None:
                self._put_off(run, run.patience, self._expire)
            return
        worker = self._crew.take()
        if worker is None:
            run.undo = self._crew.spawn(self._hire(run)).cancel
        else:
            self._runner.start(run, worker)

    async def _hire(self, run: Run) -> None:
        """Start a run on a worker of its own, since the main one is busy."""
        try:
            worker = await self._crew.load()
        except Exception as error:  # noqa: BLE001 - the border to the job
            self._runner.fail(run, error)
        else:
            self._runner.start(run, worker)

    def _expire(self, run: Run) -> None:
        """Miss a slot for which no worker came within the tolerance (R7)."""
        self._runner.forget(run)
        self._slots.miss(run.execution.date)


def undo(run: Run) -> None:
    """End what a pending run waits for."""
    if run.undo is not None:
        run.undo()
        run.undo = None
