"""The runs of one task, from their beginning to their end."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from ipycron.errors import (
    ExecutionReplaced,
    ExecutionStopped,
    ExecutionTimeout,
)
from ipycron.scheduling.aio import until
from ipycron.scheduling.events import Event, Outcome, ScheduledExecution
from ipycron.scheduling.retry import LONGEST_WAIT, SHORTEST_SNOOZE
from ipycron.scheduling.state import Phase, Run, RunStage
from ipycron.scheduling.workers import GRACE

if TYPE_CHECKING:
    from ipycron.scheduling.election import Election
    from ipycron.scheduling.events import Reason
    from ipycron.scheduling.ports import TaskObserver, Worker
    from ipycron.scheduling.retry import Retry
    from ipycron.scheduling.services import Services
    from ipycron.scheduling.state import TaskState
    from ipycron.scheduling.workers import TaskWorkers


NO_FURTHER = "no further attempt"
NEXT_SLOT = "the next slot of the task"
REPLACED = "the run that replaced it"
DEADLINE = "its deadline"
LINGERS = "its code, which could not be ended"


def covers(policy: Retry, outcome: Outcome) -> bool:
    """Return whether another attempt may follow this failure."""
    if outcome.judgement is not None:
        return not outcome.judgement.is_final
    error = outcome.value
    return not isinstance(error, BaseException) or policy.covers(error)


class RunTracker:
    """Follows each run of one task from the start of its code to its only end (R8).

    The `observer` is notified when the last run of `max_executions` starts, and when
    any run ends.
    """

    __slots__ = (
        "_election",
        "_observer",
        "_retries",
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
        self._retries = state.policy.retries
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
        beginnings = self._services.beginnings
        if beginnings is not None and run.is_scheduled:
            beginnings.add(self._state.id, run.execution)
        self._begin(run)
        try:
            run.future = worker.run(run.execution)
        except Exception as error:  # noqa: BLE001 - the border to the job
            # No thread is left, for example: treated as a worker's death in the run.
            run.future = asyncio.get_running_loop().create_future()
            run.future.set_exception(error)
        # Releasing a claim calls a coordinator, which must see the original context.
        context = self._services.context if self._election is None else None
        run.future.add_done_callback(run, context=context)
        self._set_timer(run)

    def _set_timer(self, run: Run) -> None:
        """Have a run end after `timeout`, or at the deadline of all its attempts."""
        timeout, left = self._state.policy.timeout, None
        if run.deadline is not None:
            left = max(0.0, run.deadline - self._services.clock.monotonic())
        if left is not None and (timeout is None or left < timeout):
            expire = partial(self._reach_deadline, run)
        elif timeout is not None:
            left, expire = timeout, partial(self._expire, run, timeout)
        else:
            return
        run.timer = self._services.clock.call_later(left, expire)

    def fail(self, run: Run, error: BaseException) -> None:
        """Fail a run whose code could not begin; reported like any failure (R8)."""
        self._begin(run)
        self._conclude(run, Outcome.of_error(error))

    def replace(self, run: Run) -> None:
        """End a run in progress for a newer one, as a timeout ends it."""
        if run.verdict is None:
            run.ladder_end = run.ladder_end or REPLACED
            run.verdict = ExecutionReplaced(name=self._state.name)
            self._workers.spawn(self._end(run))

    def replace_resting(self, run: Run) -> None:
        """End a run between two attempts for a newer one."""
        error = ExecutionReplaced(name=self._state.name)
        self._close_resting(run, Outcome.of_error(error))

    def end_ladder(self, run: Run, why: str) -> None:
        """Close a run between two attempts."""
        assert run.last is not None
        run.ladder_end = why
        self._close_resting(run, self._settle_ladder(run, run.last))

    def _close_resting(self, run: Run, outcome: Outcome) -> None:
        """Close a run between two attempts: the second of them is none."""
        assert run.last is not None
        if run.last.snooze is None:
            run.execution.attempt -= 1
        self._close(run, outcome)

    def forget(self, run: Run) -> None:
        """Remove a run from the state, and release its claim."""
        if run.stage is RunStage.PENDING and run.place is not None:
            run.place.release()
        run.stage = RunStage.OVER
        self._state.runs = self._state.runs.remove(run.execution.id)
        if self._election is not None:
            self._election.release(run)

    def mark_stopped(self) -> None:
        """Mark the runs in progress as stopped unless they return in time."""
        for run in self._state.runs.values():
            if run.stage is RunStage.ACTIVE and run.verdict is None:
                run.verdict = ExecutionStopped(name=self._state.name)

    def settle_all(self) -> None:
        """Close the runs in progress, now that their workers are gone."""
        for run in self._state.runs.values():
            if run.stage is RunStage.ACTIVE:
                self.settle(run)

    def _begin(self, run: Run) -> None:
        """Report the start of a run, before any output of it; or begin an attempt."""
        clock = self._services.clock
        if run.stage is RunStage.RESTING:
            self._begin_attempt(run)
            return
        run.stage = RunStage.ACTIVE
        run.execution.started_at = clock.now()
        run.began = clock.monotonic()
        limit = self._retries.deadline
        if limit is not None:
            run.deadline = run.began + limit
        self._announce(run)

    def _begin_attempt(self, run: Run) -> None:
        run.stage, run.last = RunStage.ACTIVE, None
        run.execution.attempt_started_at = self._tell_time(run)
        run.began = self._services.clock.monotonic()
        if run.is_queued:
            self._leave_queue(run)
            self._state.active_count += 1
            self._state.note_attempt(run)

    def queue_attempt(self, run: Run) -> None:
        """Report that an attempt which is due waits for a place, until its deadline."""
        state, clock = self._state, self._services.clock
        run.is_queued = True
        state.active_count -= 1
        if run.deadline is not None:
            left = max(0.0, run.deadline - clock.monotonic())
            run.timer = clock.call_later(left, partial(self._expire_queued, run))
        state.emit(
            Event.EXECUTION_QUEUED, date=run.execution.date, execution=run.execution
        )

    def _expire_queued(self, run: Run) -> None:
        if run.undo is not None:
            run.undo()
            run.undo = None
        self.end_ladder(run, DEADLINE)

    @staticmethod
    def _leave_queue(run: Run) -> None:
        run.is_queued = False
        if run.timer is not None:
            run.timer.cancel()
            run.timer = None

    def _announce(self, run: Run) -> None:
        state = self._state
        state.active_count += 1
        if run.is_scheduled:
            state.started_count += 1
            if state.is_exhausted:
                self._observer.handle_limit_reached()
        state.emit(
            Event.EXECUTION_STARTED,
            now=run.execution.started_at,
            date=run.execution.date,
            execution=run.execution,
        )

    def _expire(self, run: Run, timeout: float) -> None:
        """End a run that takes longer than `timeout`."""
        run.verdict = ExecutionTimeout(name=self._state.name, timeout=timeout)
        self._workers.spawn(self._end(run))

    def _reach_deadline(self, run: Run) -> None:
        """End a run whose attempts have taken too long together."""
        limit = self._retries.deadline
        assert limit is not None
        run.ladder_end = run.ladder_end or DEADLINE
        self._expire(run, limit)

    async def _end(self, run: Run) -> None:
        """Force one run to end and replace its worker (R6)."""
        worker, future = run.worker, run.future
        assert worker is not None
        assert future is not None
        if worker.is_shared:
            # The worker's other runs continue. A coroutine that ignores its
            # cancellation is no longer waited for after the same grace period.
            await until(self._services.clock, GRACE, worker.give_up(future))
        else:
            await self._workers.retire(worker)
        if run.future is future:  # else it is settled, and at its next attempt
            self.settle(run)
        if not worker.is_shared:
            self._workers.replace_main(worker)

    def settle(self, run: Run) -> None:
        """Close a run with its worker's outcome, or the scheduler's verdict."""
        if run.stage is not RunStage.ACTIVE:
            return
        assert run.worker is not None
        self._note_lingering(run)
        error = self._find_error(run)
        was_main = False
        # Whoever sets a verdict also ends the worker.
        if run.verdict is None:
            if error is None:
                self._workers.reset_deaths()
                self._workers.release(run.worker)
            elif not run.worker.is_shared:
                was_main = self._workers.lose(run.worker)
        is_over = self._conclude(run, self._judge(run, error))
        if was_main and error is not None:
            self._workers.replace_dead(error, is_over=is_over)

    def _note_lingering(self, run: Run) -> None:
        """Note that the code of a run that is reported as over is still running."""
        assert run.future is not None
        if run.future.done():
            return
        run.ladder_end = run.ladder_end or LINGERS
        self._state.linger(run.execution.id, run.future)
        run.future.add_done_callback(lambda _: self._observer.handle_work_done())
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
        # A job that returns within the grace period after a stop has returned normally.
        # After a timeout it has failed: it took too long, even if it then returned.
        is_ended = isinstance(run.verdict, ExecutionTimeout | ExecutionReplaced)
        if error is None and not is_ended:
            assert run.future is not None
            return run.future.result()
        return Outcome.of_error(run.verdict or error or RuntimeError("unknown"))

    def _conclude(self, run: Run, outcome: Outcome) -> bool:
        """Close a run, or have another attempt follow; return whether it is closed."""
        if run.timer is not None:
            run.timer.cancel()
            run.timer = None
        wait = None if outcome.is_ok else self._find_wait(run, outcome)
        if wait is None:
            self._close(run, outcome if outcome.is_ok else self._remark(run, outcome))
            return True
        if self._is_cut(run, wait):
            self._close(run, self._settle_ladder(run, outcome))
            return True
        self._rest(run, outcome, wait)
        return False

    def _find_wait(self, run: Run, outcome: Outcome) -> float | None:
        """Return the seconds until the next attempt; None if there is none."""
        policy = self._retries
        if not outcome.is_failure:
            return None
        if outcome.snooze is not None:
            return min(max(SHORTEST_SNOOZE, outcome.snooze), LONGEST_WAIT)
        if run.execution.attempt > policy.times or not covers(policy, outcome):
            return None
        jitter = self._services.uniform(-1.0, 1.0) if policy.jitter else 0.0
        return policy.find_delay(run.execution.attempt, jitter=jitter)

    def _remark(self, run: Run, outcome: Outcome) -> Outcome:
        """Return the outcome of a failed run with the reason why it is the last one."""
        policy = self._retries
        if not (policy.times and outcome.is_failure):
            return outcome
        if run.execution.attempt > policy.times:
            why = f"all {policy.times + 1} are used up"
        else:
            why = "on= does not name this failure"
        return msgspec.structs.replace(outcome, remark=f"{NO_FURTHER}: {why}")

    def _is_cut(self, run: Run, wait: float) -> bool:
        """Return whether the next attempt of a run would begin too late."""
        state, clock = self._state, self._services.clock
        if state.phase is not Phase.STARTED:
            run.ladder_end = run.ladder_end or "the end of the task"
        elif self._is_slot_before(clock.now() + wait):
            run.ladder_end = run.ladder_end or NEXT_SLOT
        elif run.deadline is not None and clock.monotonic() + wait >= run.deadline:
            run.ladder_end = run.ladder_end or DEADLINE
        return bool(run.ladder_end)

    def find_ladder_end(self, run: Run) -> str:
        """Return what ends the attempts of a run whose next one is due; "" if none."""
        if self._is_slot_before(self._services.clock.now()):
            return NEXT_SLOT  # noticed before the slot itself
        is_over = (
            run.deadline is not None
            and self._services.clock.monotonic() >= run.deadline
        )
        return DEADLINE if is_over else ""

    def _is_slot_before(self, instant: float) -> bool:
        slot = self._state.next_slot
        is_before = slot is not None and slot <= instant
        return is_before and not self._retries.past_next

    def _rest(self, run: Run, outcome: Outcome, wait: float) -> None:
        """Report that an attempt has failed, and have the next one follow."""
        state, now = self._state, self._services.clock.now()
        attempt = run.execution.copy()
        attempt.finished_at = self._find_end_time(run, outcome)
        self._free_place(run)
        run.stage, run.last = RunStage.RESTING, outcome
        run.worker = run.future = run.verdict = run.latest = None
        if outcome.snooze is None:
            run.execution.attempt += 1
        state.emit(
            Event.EXECUTION_RETRY,
            date=attempt.date,
            execution=attempt,
            outcome=outcome if outcome.snooze is None else None,
            next_attempt_at=now + wait,
        )
        # A receiver may have stopped the task, which closes the run.
        if run.stage is RunStage.RESTING:
            self._observer.handle_rest(run, wait)

    @staticmethod
    def _settle_ladder(run: Run, outcome: Outcome) -> Outcome:
        """Return the outcome of a run whose attempts were ended, with the reason."""
        remark = f"{NO_FURTHER}: ended by {run.ladder_end}"
        if outcome.snooze is not None:
            # It has not failed: it has asked to be run at a time that does not come.
            return Outcome(
                is_ok=True,
                value=outcome.value,
                summary=remark,
                manner="cancelled",
                finished_at=outcome.finished_at,
                details=outcome.details,
                remark=remark,
            )
        return msgspec.structs.replace(outcome, remark=remark)

    def _close(self, run: Run, outcome: Outcome) -> None:
        """Report the only end of a run."""
        state = self._state
        run.execution.finished_at = self._find_end_time(run, outcome)
        if run.is_queued:
            self._leave_queue(run)
        else:
            state.active_count -= 1
        if run.place is not None:
            self._free_place(run)
        self.forget(run)
        state.emit(
            Event.EXECUTION_FINISHED if outcome.is_ok else Event.EXECUTION_FAILED,
            date=run.execution.date,
            execution=run.execution,
            outcome=outcome,
        )
        if outcome.manner == "missed" and run.is_scheduled:
            state.emit_missed(run.execution.date, run_id=run.execution.id)
        if run.end is not None and not run.end.done():
            run.end.set_result(outcome)
        self._observer.handle_work_done()
        self._workers.offer()

    def _free_place(self, run: Run) -> None:
        """Free a run's place once its process, or its code, has ended."""
        place, run.place = run.place, None
        if place is None:
            return
        if run.future is not None and not run.future.done():
            run.future.add_done_callback(lambda _: place.release())
        else:
            self._workers.call_when_gone(run.worker, place.release)

    def _tell_time(self, run: Run) -> float:
        """Return the time of a clock that is not set back during a run.

        No run ends before it began, and no attempt begins before the one before.
        """
        now, begun = self._services.clock.now(), run.execution.begun_at
        if begun is None or now >= begun:
            return now
        return begun + self._services.clock.monotonic() - run.began

    def _find_end_time(self, run: Run, outcome: Outcome) -> float:
        """Return when the job returned; a crowd's workers report that with a delay."""
        now, reported = self._tell_time(run), outcome.finished_at
        begun = run.execution.begun_at
        # A job can write to its worker's socket, and a clock may have been set.
        if reported is None or begun is None or not begun <= reported <= now:
            return now
        return reported
