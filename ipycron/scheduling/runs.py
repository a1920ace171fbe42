"""The runs of one task that are in progress."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from ipycron.errors import ExecutionStopped, ExecutionTimeout
from ipycron.scheduling.aio import until
from ipycron.scheduling.events import Event, Outcome
from ipycron.scheduling.run import Stage
from ipycron.scheduling.workers import GRACE

if TYPE_CHECKING:
    from ipycron.scheduling.election import Election
    from ipycron.scheduling.lifecycle import Lifecycle
    from ipycron.scheduling.ports import Worker
    from ipycron.scheduling.run import Run
    from ipycron.scheduling.services import Services
    from ipycron.scheduling.slots import Slots
    from ipycron.scheduling.state import Entry
    from ipycron.scheduling.workers import Crew


class Runner:
    """Follows each run of one task from the code's start to its one end (R8).

    Tells the `life` when a run has ended. No slot is armed any more when the last run
    of `max_executions` has started.

    """

    __slots__ = (
        "_crew",
        "_election",
        "_entry",
        "_life",
        "_services",
        "_slots",
    )

    def __init__(
        self,
        entry: Entry,
        services: Services,
        *,
        life: Lifecycle,
        crew: Crew,
        slots: Slots,
        election: Election | None,
    ) -> None:
        self._entry = entry
        self._services = services
        self._life = life
        self._crew = crew
        self._slots = slots
        self._election = election

    def start(self, run: Run, worker: Worker) -> None:
        """Run the code on a worker that is free for it."""
        run.worker = worker
        run.execution.pid = worker.pid
        self._announce(run)
        try:
            run.future = worker.run(run.execution)
        except Exception as error:  # noqa: BLE001 - the border to the job
            # Out of threads, say. The worker is lost as if it had died in the run.
            run.future = asyncio.get_running_loop().create_future()
            run.future.set_exception(error)
        # The release of a claim calls a coordinator, in whatever context there was.
        context = self._services.context if self._election is None else None
        run.future.add_done_callback(run, context=context)
        timeout = self._entry.policy.timeout
        if timeout is not None:
            expire = partial(self._expire, run, timeout)
            run.timer = self._services.clock.call_later(timeout, expire)

    def fail(self, run: Run, error: BaseException) -> None:
        """Fail a run whose code could not begin, told as any other failure (R8)."""
        self._announce(run)
        self._close(run, Outcome.of_error(error))

    def forget(self, run: Run) -> None:
        """Take a run out of the books, and release its claim."""
        run.stage = Stage.OVER
        self._entry.runs = self._entry.runs.remove(run.execution.id)
        if self._election is not None:
            self._election.release(run)

    def condemn(self) -> None:
        """Decide that the runs in progress end as stopped, unless they return."""
        for run in self._entry.runs.values():
            if run.stage is Stage.ACTIVE and run.verdict is None:
                run.verdict = ExecutionStopped(name=self._entry.name)

    def settle_all(self) -> None:
        """Close the runs in progress, now that their workers are gone."""
        for run in self._entry.runs.values():
            if run.stage is Stage.ACTIVE:
                self.settle(run)

    def _announce(self, run: Run) -> None:
        """Tell that a run starts, before it can show a sign of life."""
        entry = self._entry
        run.stage = Stage.ACTIVE
        run.undo = None
        run.execution.started_at = self._services.clock.now()
        entry.active_count += 1
        if run.is_scheduled:
            entry.started_count += 1
            if entry.is_exhausted:
                self._slots.disarm()
        entry.emit(
            Event.EXECUTION_STARTED, date=run.execution.date, execution=run.execution
        )

    def _expire(self, run: Run, timeout: float) -> None:
        """End a run that takes longer than `timeout`."""
        run.verdict = ExecutionTimeout(name=self._entry.name, timeout=timeout)
        self._crew.spawn(self._end(run))

    async def _end(self, run: Run) -> None:
        """End one run by force, and see that the schedule has a worker (R6)."""
        assert run.worker is not None
        assert run.future is not None
        if run.worker.is_shared:
            # The worker's other runs go on. A coroutine that ignores its
            # cancellation is no longer waited for after the same grace.
            answer = run.worker.give_up(run.future)
            await until(self._services.clock, GRACE, answer)
            self.settle(run)
        else:
            await self._crew.retire(run.worker)
            self.settle(run)
            self._crew.replace_main(run.worker)

    def settle(self, run: Run) -> None:
        """Close a run as its worker, or the scheduler's verdict, says."""
        if run.stage is Stage.OVER:
            return
        assert run.worker is not None
        self._see_lingering(run)
        error = self._find_error(run)
        was_main = False
        # With a verdict, whoever gave it also ends the worker.
        if run.verdict is None:
            if error is None:
                self._crew.note_survival()
                self._crew.release(run.worker)
            elif not run.worker.is_shared:
                was_main = self._crew.lose(run.worker)
        self._close(run, self._judge(run, error))
        if was_main and error is not None:
            self._crew.mend(error)

    def _see_lingering(self, run: Run) -> None:
        """Note where the code of a run goes on that is about to be told as over."""
        assert run.future is not None
        if run.future.done():
            return
        self._entry.linger(run.execution.id, run.future)
        if isinstance(run.verdict, ExecutionTimeout):
            name, timeout = run.verdict.name, run.verdict.timeout
            run.verdict = ExecutionTimeout(name=name, timeout=timeout, is_ended=False)

    def _find_error(self, run: Run) -> BaseException | None:
        """Return what ended a run from outside its job, or None."""
        future = run.future
        assert future is not None
        if not future.done() or future.cancelled():
            return run.verdict or ExecutionStopped(name=self._entry.name)
        return future.exception()

    def _judge(self, run: Run, error: BaseException | None) -> Outcome:
        # A job that returns in the grace after a stop has returned. After a timeout
        # it has failed: it took too long, whatever it made of the signal.
        if error is None and not isinstance(run.verdict, ExecutionTimeout):
            assert run.future is not None
            return run.future.result()
        return Outcome.of_error(run.verdict or error or RuntimeError("unknown"))

    def _close(self, run: Run, outcome: Outcome) -> None:
        """Tell the one end of a run."""
        entry = self._entry
        if run.timer is not None:
            run.timer.cancel()
        run.execution.finished_at = self._date_end(run, outcome)
        entry.active_count -= 1
        self.forget(run)
        entry.emit(
            Event.EXECUTION_FINISHED if outcome.is_ok else Event.EXECUTION_FAILED,
            date=run.execution.date,
            execution=run.execution,
            outcome=outcome,
        )
        if run.end is not None and not run.end.done():
            run.end.set_result(outcome)
        self._life.see_quiet()
        self._crew.offer()

    def _date_end(self, run: Run, outcome: Outcome) -> float:
        """Return when the job returned; in a crowd that is told a while after."""
        now, told = self._services.clock.now(), outcome.finished_at
        begun = run.execution.started_at
        # A job can write to its worker's socket, and a clock may have been set.
        if told is None or begun is None or not begun <= told <= now:
            return now
        return told
