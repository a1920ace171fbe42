"""The runs of one task: what begins one, and how each ends."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from ipycron.errors import ExecutionStopped, ExecutionTimeout, OverlapError
from ipycron.scheduling.aio import spawn, until
from ipycron.scheduling.events import Event, Outcome, ScheduledExecution
from ipycron.scheduling.state import Phase, Run, RunStage
from ipycron.scheduling.timetable import LONGEST_SLEEP
from ipycron.scheduling.workers import GRACE, MainWorkerState

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipycron.scheduling.election import Election
    from ipycron.scheduling.events import Reason
    from ipycron.scheduling.ports import TaskObserver, Worker
    from ipycron.scheduling.services import Services
    from ipycron.scheduling.state import TaskState
    from ipycron.scheduling.workers import TaskWorkers


# Seconds, as in `plan`.
_ROUNDING = 1e-6


class Admission:
    """Starts the runs of one task, at once or later, or drops them.

    The steps of a slot: overlap check, election, random delay, worker. Until the last
    one a run is pending: it counts for overlap, and a stop drops it. If no step has to
    wait, all of them are one synchronous call.

    A slot that gets no worker in time is missed. So is one that waited while the
    computer slept: after each wait the lateness is checked again, by the wall clock,
    before the run begins (C2).
    """

    __slots__ = (
        "_election",
        "_services",
        "_state",
        "_tracker",
        "_workers",
    )

    def __init__(
        self,
        state: TaskState,
        services: Services,
        *,
        workers: TaskWorkers,
        tracker: RunTracker,
        election: Election | None,
    ) -> None:
        self._state = state
        self._services = services
        self._workers = workers
        self._tracker = tracker
        self._election = election

    def fire(self, slot: int, lateness: float, execution_id: str | None = None) -> None:
        """Run a slot that is due, or skip it because of the runs before it.

        Args:
            slot: in Unix seconds.
            lateness: seconds since then.
            execution_id: the run's, where a worker that stood by has begun it; None
                draws one.
        """
        policy = self._state.policy
        self._workers.hold()
        if self._state.runs or self._state.lingering:
            self._state.emit(Event.EXECUTION_OVERLAP, date=slot)
            if policy.no_overlap or self._is_spoken_for():
                return
        run = self._tracker.open("scheduled", slot, execution_id)
        patience = max(0.0, policy.tolerance - lateness)
        run.latest = self._services.clock.now() + patience
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
        state = self._state
        busy_run = state.busy_run if state.policy.no_overlap else None
        if busy_run is not None:
            raise OverlapError(name=state.name, execution_id=busy_run)
        now = self._services.clock.now()
        run = self._tracker.open("invoked", now, execution_id, end=end)
        self._begin(run)
        return run

    def adopt(self, worker: Worker, execution_id: str, date: float) -> None:
        """Follow a manual run that a worker has begun already."""
        run = self._tracker.open("invoked", date, execution_id)
        self._workers.occupy(worker)
        self._tracker.start(run, worker)

    def serve_waiting(self) -> None:
        """Begin the runs that waited for a worker, which is loaded now."""
        for run in self._state.runs.values():
            if run.is_waiting and run.stage is RunStage.PENDING:
                self._begin(run)

    def drop(self, error: BaseException, *, is_missed: bool = False) -> None:
        """Give up every run whose code has not begun.

        A manual one fails with `error`. A scheduled one is dropped without an
        event, since its owner ended the task before it; or it is reported as missed.
        """
        for run in self._state.runs.values():
            if run.stage is not RunStage.PENDING:
                continue
            undo(run)
            if not run.is_scheduled:
                self._tracker.fail(run, error)
                continue
            self._tracker.forget(run)
            if is_missed:
                self._state.emit_missed(run.execution.date)

    def _is_spoken_for(self) -> bool:
        """Return whether pending runs may need all that is left of the limit."""
        left = self._state.runs_left
        if left is None:
            return False
        pending = (r for r in self._state.runs.values() if r.stage is RunStage.PENDING)
        return sum(run.is_scheduled for run in pending) >= left

    async def _elect(self, run: Run, election: Election) -> None:
        """Let the fleet decide; asked before any delay, so that one instance waits."""
        refusal = await election.hold(run)
        run.undo = None
        if refusal is None:
            self._delay(run)
            return
        self._tracker.forget(run)
        self._state.emit(
            Event.EXECUTION_SKIPPED,
            date=run.execution.date,
            reason=refusal.reason,
            outcome=refusal.outcome,
        )

    def _delay(self, run: Run) -> None:
        """Begin the run after its random delay (R4).

        Not where it is late before: an election in an instance that stood still may
        have claimed a slot whose claim had run out.
        """
        limit = self._state.policy.jitter
        if limit > 0 and not self._is_late(run):
            delay = self._services.uniform(0.0, limit)
            tolerance = self._state.policy.tolerance
            run.latest = self._services.clock.now() + delay + tolerance
            self._put_off(run, delay, self._begin)
        else:
            self._begin(run)

    def _put_off(self, run: Run, delay: float, step: Callable[[Run], None]) -> None:
        """Do a step after `delay` seconds by the wall clock or the monotonic one.

        A suspend stops the monotonic clock, a correction may set back the wall clock.
        """
        clock = self._services.clock
        instant, deadline = clock.now() + delay, clock.monotonic() + delay

        def look() -> None:
            left = min(instant - clock.now(), deadline - clock.monotonic())
            if left > _ROUNDING:
                run.undo = clock.call_later(min(left, LONGEST_SLEEP), look).cancel
            else:
                step(run)

        run.undo = clock.call_later(min(delay, LONGEST_SLEEP), look).cancel

    def _excuse(self, run: Run, began: float, limit: float) -> None:
        """Give a run the time that others took, by the monotonic clock.

        No more than they may take: in a process that stood still it goes on.
        """
        if run.latest is not None:
            run.latest += min(self._services.clock.monotonic() - began, limit)

    def _is_late(self, run: Run) -> bool:
        """Return whether it is too late for a run to begin."""
        now = self._services.clock.now()
        return run.latest is not None and now > run.latest + _ROUNDING

    def _begin(self, run: Run) -> None:
        """Start the run on a worker, or have it wait for one."""
        undo(run)
        run.is_waiting = False
        if self._is_late(run):
            self._expire(run)
            return
        # While a task stops, its workers are for the runs in progress only; a call
        # that came after belongs to the start that waits for the stop.
        if (
            self._state.phase is not Phase.STARTED
            or self._workers.main_state is MainWorkerState.EMPTY
        ):
            run.is_waiting = True
            if run.latest is not None:
                patience = run.latest - self._services.clock.now()
                self._put_off(run, max(0.0, patience), self._expire)
            return
        worker = self._workers.take()
        if worker is None:
            run.undo = self._workers.spawn(self._hire(run)).cancel
        else:
            self._tracker.start(run, worker)

    async def _hire(self, run: Run) -> None:
        """Start a run on a worker of its own, since the main one is busy."""
        began = self._services.clock.monotonic()
        try:
            worker = await self._workers.load()
        except Exception as error:  # noqa: BLE001 - the border to the job
            run.undo = None
            self._tracker.fail(run, error)
            return
        run.undo = None
        self._excuse(run, began, self._state.policy.start_timeout)
        if self._is_late(run):
            self._workers.release(worker)
            self._expire(run)
        else:
            self._tracker.start(run, worker)

    def _expire(self, run: Run) -> None:
        """Miss a slot that could not begin within the tolerance (R7, C2)."""
        self._tracker.forget(run)
        self._state.emit_missed(run.execution.date)


def undo(run: Run) -> None:
    """End what a pending run waits for."""
    if run.undo is not None:
        run.undo()
        run.undo = None


class RunTracker:
    """Follows each run of one task from the code's start to its one end (R8).

    The `observer` receives the start of the last run of `max_executions`, and the end
    of every run.
    """

    __slots__ = (
        "_election",
        "_observer",
        "_services",
        "_state",
        "_workers",
    )

    def __init__(
        self,
        state: TaskState,
        services: Services,
        *,
        observer: TaskObserver,
        workers: TaskWorkers,
        election: Election | None,
    ) -> None:
        self._state = state
        self._services = services
        self._observer = observer
        self._workers = workers
        self._election = election

    def open(
        self,
        reason: Reason,
        date: float,
        execution_id: str | None = None,
        *,
        end: asyncio.Future[Outcome] | None = None,
    ) -> Run:
        """Return a new pending run; `end` is resolved with its outcome."""
        execution_id = execution_id or self._services.new_id()
        execution = ScheduledExecution(id=execution_id, reason=reason, date=date)
        run = Run(execution=execution, observer=self, end=end)
        self._state.runs = self._state.runs.add(execution_id, run)
        return run

    def start(self, run: Run, worker: Worker) -> None:
        """Run the code on a worker that is free for it."""
        run.worker = worker
        run.execution.pid = worker.pid
        self._announce(run)
        try:
            run.future = worker.run(run.execution)
        except Exception as error:  # noqa: BLE001 - the border to the job
            # No more threads, for example: treated as a worker that died in the run.
            run.future = asyncio.get_running_loop().create_future()
            run.future.set_exception(error)
        # The release of a claim calls a coordinator, in whatever context there was.
        context = self._services.context if self._election is None else None
        run.future.add_done_callback(run, context=context)
        timeout = self._state.policy.timeout
        if timeout is not None:
            expire = partial(self._expire, run, timeout)
            run.timer = self._services.clock.call_later(timeout, expire)

    def fail(self, run: Run, error: BaseException) -> None:
        """Fail a run whose code could not begin; reported as any failure (R8)."""
        self._announce(run)
        self._close(run, Outcome.of_error(error))

    def forget(self, run: Run) -> None:
        """Remove a run from the state, and release its claim."""
        run.stage = RunStage.OVER
        self._state.runs = self._state.runs.remove(run.execution.id)
        if self._election is not None:
            self._election.release(run)

    def condemn(self) -> None:
        """Mark the runs in progress as stopped, unless they return in time."""
        for run in self._state.runs.values():
            if run.stage is RunStage.ACTIVE and run.verdict is None:
                run.verdict = ExecutionStopped(name=self._state.name)

    def settle_all(self) -> None:
        """Close the runs in progress, now that their workers are gone."""
        for run in self._state.runs.values():
            if run.stage is RunStage.ACTIVE:
                self.settle(run)

    def _announce(self, run: Run) -> None:
        """Report the start of a run, before any output of it."""
        state = self._state
        run.stage = RunStage.ACTIVE
        run.execution.started_at = self._services.clock.now()
        state.active_count += 1
        if run.is_scheduled:
            state.started_count += 1
            if state.is_exhausted:
                self._observer.see_exhausted()
        state.emit(
            Event.EXECUTION_STARTED, date=run.execution.date, execution=run.execution
        )

    def _expire(self, run: Run, timeout: float) -> None:
        """End a run that takes longer than `timeout`."""
        run.verdict = ExecutionTimeout(name=self._state.name, timeout=timeout)
        self._workers.spawn(self._end(run))

    async def _end(self, run: Run) -> None:
        """End one run by force, and replace its worker (R6)."""
        assert run.worker is not None
        assert run.future is not None
        if run.worker.is_shared:
            # The worker's other runs go on. A coroutine that ignores its
            # cancellation is no longer waited for after the same grace.
            answer = run.worker.give_up(run.future)
            await until(self._services.clock, GRACE, answer)
            self.settle(run)
        else:
            await self._workers.retire(run.worker)
            self.settle(run)
            self._workers.replace_main(run.worker)

    def settle(self, run: Run) -> None:
        """Close a run with its worker's outcome, or the scheduler's verdict."""
        if run.stage is RunStage.OVER:
            return
        assert run.worker is not None
        self._see_lingering(run)
        error = self._find_error(run)
        was_main = False
        # A verdict's author also ends the worker.
        if run.verdict is None:
            if error is None:
                self._workers.note_survival()
                self._workers.release(run.worker)
            elif not run.worker.is_shared:
                was_main = self._workers.lose(run.worker)
        self._close(run, self._judge(run, error))
        if was_main and error is not None:
            self._workers.mend(error)

    def _see_lingering(self, run: Run) -> None:
        """Note that the code of a run goes on that is about to be reported as over."""
        assert run.future is not None
        if run.future.done():
            return
        self._state.linger(run.execution.id, run.future)
        if isinstance(run.verdict, ExecutionTimeout):
            name, timeout = run.verdict.name, run.verdict.timeout
            run.verdict = ExecutionTimeout(name=name, timeout=timeout, is_ended=False)

    def _find_error(self, run: Run) -> BaseException | None:
        """Return what ended a run from outside its job, or None."""
        future = run.future
        assert future is not None
        if not future.done() or future.cancelled():
            return run.verdict or ExecutionStopped(name=self._state.name)
        return future.exception()

    def _judge(self, run: Run, error: BaseException | None) -> Outcome:
        # A job that returns in the grace after a stop has returned. After a timeout
        # it has failed: it took too long, whatever it made of the signal.
        if error is None and not isinstance(run.verdict, ExecutionTimeout):
            assert run.future is not None
            return run.future.result()
        return Outcome.of_error(run.verdict or error or RuntimeError("unknown"))

    def _close(self, run: Run, outcome: Outcome) -> None:
        """Report the only end of a run."""
        state = self._state
        if run.timer is not None:
            run.timer.cancel()
        run.execution.finished_at = self._date_end(run, outcome)
        state.active_count -= 1
        self.forget(run)
        state.emit(
            Event.EXECUTION_FINISHED if outcome.is_ok else Event.EXECUTION_FAILED,
            date=run.execution.date,
            execution=run.execution,
            outcome=outcome,
        )
        if outcome.is_missed and run.is_scheduled:
            state.emit_missed(run.execution.date)
        if run.end is not None and not run.end.done():
            run.end.set_result(outcome)
        self._observer.see_quiet()
        self._workers.offer()

    def _date_end(self, run: Run, outcome: Outcome) -> float:
        """Return when the job returned; in a crowd that is told a while after."""
        now, told = self._services.clock.now(), outcome.finished_at
        begun = run.execution.started_at
        # A job can write to its worker's socket, and a clock may have been set.
        if told is None or begun is None or not begun <= told <= now:
            return now
        return told
