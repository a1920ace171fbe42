"""Workers without a job: their runs do what the test's script specifies."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from ipycron.errors import StopTimeout, WorkerCrashed
from ipycron.scheduling.aio import settle
from ipycron.scheduling.events import Outcome
from ipycron.scheduling.retry import Matcher

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipycron.scheduling.events import ScheduledExecution
    from ipycron.scheduling.ports import Clock, Place, Timer, Worker

# The first process id of a fake worker.
_FIRST_PID = 1000


@dataclass(slots=True, kw_only=True)
class Script:
    """What fake workers do from now on. It may be changed at any point in a test.

    Attributes:
        load_seconds: how long a load takes; None: for ever.
        load_error: what a load raises.
        run_seconds: how long a run takes; None: until the test ends it.
        result: what a run returns.
        error: what a run raises.
        dies: whether a run kills its worker.
        is_stubborn: whether a busy worker ignores a polite request to end.
        stands_by: whether a run begins at its slot before the scheduler requests it.
        is_single_use: whether each worker ends after its first run.
    """

    load_seconds: float | None = 0.0
    load_error: Exception | None = None
    run_seconds: float | None = 0.0
    result: Any = None
    error: Exception | None = None
    dies: bool = False
    is_stubborn: bool = False
    stands_by: bool = False
    is_single_use: bool = False

    def make_outcome(self) -> Outcome:
        """Return the outcome of a run that is not interrupted."""
        if self.error is not None:
            return make_failure(self.error)
        return Outcome(is_ok=True, value=self.result, summary=repr(self.result))


def make_failure(error: Exception) -> Outcome:
    """Return the outcome of a run whose job raised, as a worker reports it."""
    judgement = Matcher(None).judge(error)
    if judgement.is_cancelled:
        return Outcome(is_ok=True, summary=str(error), manner="cancelled")
    is_snoozed = judgement.snooze is not None
    outcome = Outcome.of_error(error)
    return replace(outcome, judgement=judgement) if is_snoozed else outcome


class FakeWorker:
    """One loaded fake job.

    Attributes:
        runs: the runs that it was given, in order, including finished ones.
        begun: ids of runs that it began by its own clock.
        place: the place among standby workers that it was last given.
        is_gone: whether it has ended.
    """

    def __init__(
        self,
        *,
        task_id: str,
        pid: int | None,
        clock: Clock,
        script: Script,
        on_death: Callable[[Worker, BaseException], None],
    ) -> None:
        self.task_id = task_id
        self.runs: list[ScheduledExecution] = []
        self.begun: list[str] = []
        self.place: Place | None = None
        self.is_gone = False
        self._standby: tuple[str, Callable[[], None], Timer] | None = None
        self._on_called: Callable[[str, float], None] | None = None
        self._called: tuple[str, float] | None = None
        self._noted: str | None = None
        self._pid = pid
        self._clock = clock
        self._script = script
        self._on_death = on_death
        self._busy: dict[str, asyncio.Future[Outcome]] = {}
        self._gone = asyncio.get_running_loop().create_future()

    @property
    def pid(self) -> int | None:
        """A number unique among fake workers; None if the worker is shared."""
        return self._pid

    @property
    def is_shared(self) -> bool:
        """Whether it runs several executions at once, as inline jobs do."""
        return self._pid is None

    @property
    def is_single_use(self) -> bool:
        """Whether it ends after its first run."""
        return self._script.is_single_use

    @property
    def is_called(self) -> bool:
        """Whether a run is in progress that the scheduler does not know about."""
        return self._called is not None

    @property
    def is_busy(self) -> bool:
        """Whether a run is in progress."""
        return bool(self._busy)

    def stand_by(
        self,
        execution_id: str,
        slot: int,
        *,
        latest: float,
        place: Place,
        on_begun: Callable[[], None],
    ) -> None:
        """Begin a run at its slot, if the script says so."""
        assert not self._busy, "a busy worker was told to stand by"
        self.place = place
        if not self._script.stands_by or self.is_gone:
            return
        look = partial(self._look_at_clock, slot, latest)
        timer = self._clock.call_later(slot - self._clock.now(), look)
        self._standby = execution_id, on_begun, timer

    def withdraw(self) -> bool:
        """Withdraw the run it stands by for, unless it has begun."""
        if self._standby is not None:
            execution_id, _, timer = self._standby
            if execution_id in self.begun:
                return False
            timer.cancel()
            self._standby = None
        return True

    def _look_at_clock(self, slot: int, latest: float) -> None:
        """Begin, unless the clock has been set in the meantime."""
        if slot <= self._clock.now() <= latest:
            self.begin()

    def begin(self) -> None:
        """Begin the run it stands by for: its clock is ahead of the scheduler's."""
        if self._standby is not None and self._standby[0] not in self.begun:
            self.begun.append(self._standby[0])

    def offer(self, on_called: Callable[[str, float], None]) -> None:
        """Accept direct calls from now on."""
        if self.is_shared:
            return
        assert not self.is_single_use, "a worker for one run was offered"
        assert not self._busy, "a busy worker was offered"
        assert self._standby is None, "a worker that stands by was offered"
        self._on_called = on_called

    def hold(self) -> bool:
        """Accept no more calls; report the one in progress, if any."""
        on_called, self._on_called = self._on_called, None
        called, self._called = self._called, None
        if called is None:
            return self.is_shared or not self._busy
        assert on_called is not None
        self._noted = called[0]
        on_called(*called)
        return False

    def call(self, execution_id: str) -> bool:
        """Request a run without the scheduler; return whether it has begun."""
        if self._on_called is None or self._called is not None or self.is_gone:
            return False
        self._called = execution_id, self._clock.now()
        return True

    def answer(self) -> bool:
        """End a call that was not reported; return whether there was one."""
        called, self._called = self._called, None
        return called is not None

    def report_begun(self) -> None:
        """Report that it has begun before the scheduler has reached the slot."""
        assert self._standby is not None
        self._standby[1]()

    def run(self, execution: ScheduledExecution) -> asyncio.Future[Outcome]:
        """Begin a run as the script specifies."""
        if self._standby is not None:
            assert self._standby[0] == execution.id, "it stands by for another run"
            self.begin()
            self._standby = None
        if self._noted is not None:
            assert self._noted == execution.id, "it was called for another run"
            self._noted = None
        assert self._called is None, "a worker that was called was given a run"
        assert not self.is_gone, "a run was given to a worker that is gone"
        assert self.is_shared or not self._busy, "a busy worker was given a run"
        is_used = self.is_single_use and self.runs
        assert not is_used, "a worker for one run was given a second one"
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.runs.append(execution)
        self._busy[execution.id] = future
        future.add_done_callback(lambda _: self._busy.pop(execution.id, None))
        act = partial(self._act, execution.id)
        if self._script.run_seconds == 0:
            asyncio.get_running_loop().call_soon(act)
        elif self._script.run_seconds is not None:
            self._clock.call_later(self._script.run_seconds, act)
        return future

    def finish(self, result: Any = None, *, execution_id: str | None = None) -> None:
        """Let a run, by default the oldest, return."""
        self._end(execution_id, Outcome(is_ok=True, value=result, summary=repr(result)))

    def return_at(self, finished_at: float | None) -> None:
        """End the oldest run with a given reported end time, Unix seconds."""
        self._end(None, Outcome(is_ok=True, finished_at=finished_at))

    def fail(self, error: Exception, *, execution_id: str | None = None) -> None:
        """Let a run, by default the oldest, raise."""
        self._end(execution_id, make_failure(error))

    def die(
        self,
        *,
        exit_code: int | None = None,
        signal_name: str | None = None,
        is_lost: bool = False,
    ) -> None:
        """Make the worker end without a request, during a run or while idle.

        With `is_lost`, it ends because the process that had forked it was lost.
        """
        if not self.is_gone:
            error = self._leave(
                exit_code=exit_code, signal_name=signal_name, is_lost=is_lost
            )
            self._on_death(self, error)

    def give_up(self, future: asyncio.Future[Outcome]) -> asyncio.Future[Outcome]:
        """Cancel a run; a stubborn one continues."""
        if not self._script.is_stubborn:
            future.cancel()
        return future

    async def stop(self, *, grace: float) -> None:
        """End the worker, politely if the script allows it."""
        if not self.is_gone and self._busy and self._script.is_stubborn:
            self._clock.call_later(grace, self._kill)
            await asyncio.wait({self._gone})
            if self.is_shared:
                raise StopTimeout(name=self.task_id, timeout=grace)
        elif not self.is_gone:
            self._leave(signal_name="SIGTERM")

    def _kill(self) -> None:
        if self.is_shared:
            # A thread cannot be ended; the test only stops waiting for it.
            self._note_gone()
        elif not self.is_gone:
            self._leave(signal_name="SIGKILL")

    def _act(self, execution_id: str) -> None:
        """End a run whose time is up."""
        if execution_id not in self._busy:
            return
        if self._script.dies:
            self.die(signal_name="SIGSEGV")
        else:
            self._end(execution_id, self._script.make_outcome())

    def _end(self, execution_id: str | None, outcome: Outcome) -> None:
        if execution_id is None:
            execution_id = next(iter(self._busy))
        future = self._busy.pop(execution_id)
        if not future.done():
            future.set_result(outcome)

    def _leave(self, **how: Any) -> WorkerCrashed:
        if self._standby is not None and not self.withdraw():
            self.report_begun()
        self.hold()
        error = WorkerCrashed(name=self.task_id, **how)
        self._note_gone()
        for future in list(self._busy.values()):
            if not future.done():
                future.set_exception(error)
        self._busy.clear()
        return error

    def _note_gone(self) -> None:
        self.is_gone = True
        if not self._gone.done():
            self._gone.set_result(None)


class FakeLauncher:
    """Launches fake workers and keeps them for the test to look at.

    Args:
        clock: the clock that loads and runs take their time from.
        is_shared: whether workers run several executions at once.
        script: what the workers do; the attribute may be changed later.

    Attributes:
        workers: every worker launched, oldest first.
        loading: launches under way.
    """

    def __init__(
        self, clock: Clock, *, is_shared: bool = False, script: Script | None = None
    ) -> None:
        self.script = script or Script()
        self.workers: list[FakeWorker] = []
        self.loading = 0
        self._clock = clock
        self._is_shared = is_shared

    @property
    def alive(self) -> list[FakeWorker]:
        """The workers that have not ended, oldest first."""
        return [worker for worker in self.workers if not worker.is_gone]

    @property
    def worker(self) -> FakeWorker:
        """The newest worker."""
        return self.workers[-1]

    def explain_delay(self, task_id: str) -> str:  # noqa: ARG002
        """Return nothing: the script specifies how long a load takes."""
        return ""

    def launch_at_once(
        self, task_id: str, on_death: Callable[[Worker, BaseException], None]
    ) -> FakeWorker | None:
        """Load a fake job if that takes no time, as with inline jobs."""
        script = self.script
        if not self._is_shared or script.load_seconds != 0 or script.load_error:
            return None
        return self._make_worker(task_id, on_death)

    async def launch(
        self, task_id: str, on_death: Callable[[Worker, BaseException], None]
    ) -> FakeWorker:
        """Load a fake job as the script specifies."""
        self.loading += 1
        try:
            await self._load()
        finally:
            self.loading -= 1
        return self._make_worker(task_id, on_death)

    def _make_worker(
        self, task_id: str, on_death: Callable[[Worker, BaseException], None]
    ) -> FakeWorker:
        worker = FakeWorker(
            task_id=task_id,
            pid=None if self._is_shared else _FIRST_PID + len(self.workers),
            clock=self._clock,
            script=self.script,
            on_death=on_death,
        )
        self.workers.append(worker)
        return worker

    async def _load(self) -> None:
        script = self.script
        if script.load_seconds != 0:
            loaded = asyncio.get_running_loop().create_future()
            if script.load_seconds is not None:
                self._clock.call_later(script.load_seconds, partial(settle, loaded))
            await loaded
        if script.load_error is not None:
            raise script.load_error
