"""What the scheduler needs from outside: clock, schedule, workers, run coordinator.

The scheduler runs on one asyncio loop and calls all of these on that loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from ipycron.scheduling.events import Outcome, ScheduledExecution


class Timer(Protocol):
    """A call scheduled for later."""

    def cancel(self) -> None:
        """Cancel the call. May be repeated."""


class Clock(Protocol):
    """The only source of time."""

    def now(self) -> float:
        """Return the wall clock's time in Unix seconds. May step in both directions."""

    def monotonic(self) -> float:
        """Return monotonic seconds, for measuring durations."""

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` on the loop after `delay` monotonic seconds.

        Never early, never within this call, and at most a millisecond or two late.
        """

    def call_punctually(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Do the same as punctually as possible, at some CPU cost."""

    def rest(self, seconds: float) -> None:
        """Sleep briefly, leaving the CPU to other processes. Blocks the loop."""


class Schedule(Protocol):
    """When a task is due; `ipycron.cron.CronExpression` is a schedule."""

    def find_next(self, after: float) -> int | None:
        """Return the first slot strictly after `after`, Unix seconds, or None."""


class Worker(Protocol):
    """One loaded job, ready to run.

    Attributes:
        pid: its process, or None for a job in the client's own process.
        is_shared: whether it may run several executions at once (inline jobs). If
            False, the scheduler starts one run at a time on it and launches another
            worker for an overlapping run.
        is_single_use: whether it exits after its first run, so that the next run needs
            another worker.
    """

    @property
    def pid(self) -> int | None: ...  # noqa: D102

    @property
    def is_shared(self) -> bool: ...  # noqa: D102

    @property
    def is_single_use(self) -> bool: ...  # noqa: D102

    def run(self, execution: ScheduledExecution) -> asyncio.Future[Outcome]:
        """Start the job now; the future is done when the run ends.

        If the job raises, the future's result is an `Outcome` that is not ok. The
        future itself fails with `WorkerCrashed` only if the worker is lost. An
        exception raised by this method is handled in the same way.

        A run that exceeds its `timeout` is given up if the worker is shared
        (`give_up`). Other workers are stopped instead.
        """

    def give_up(self, future: asyncio.Future[Outcome]) -> asyncio.Future[Any]:
        """Try to end one run of a shared worker.

        `future` is what `run` returned. It is done only once the run's code has
        ended: a coroutine may ignore its cancellation, and an executor may be unable
        to end a run that has begun.

        Returns:
            A future that is done when the run is over, or is known to be still running.
        """

    def stand_by(
        self,
        execution_id: str,
        slot: int,
        *,
        latest: float,
        place: Place,
        on_begun: Callable[[], None],
    ) -> None:
        """Have the job begin at `slot` by the worker's own clock, not after `latest`.

        Only called on idle workers; workers that do not support it do nothing. At the
        slot, `run` is called with this execution id and does not begin the run again.
        `place` is the worker's place among all workers that stand by for this slot.
        `on_begun` is called if the run is found to have begun before that call. Until
        the run begins, `withdraw` cancels the order.
        """

    def withdraw(self) -> bool:
        """Cancel what `stand_by` ordered; return False if the run has begun."""

    def offer(self, on_called: Callable[[str, float], None]) -> None:
        """Let the client start runs on the worker directly, bypassing the scheduler.

        Only called on idle workers; workers that do not support it do nothing. The
        scheduler is never notified of a run that ends soon. Otherwise `on_called` is
        called with the run's id and date once the run is known to be in progress, at
        the latest by `hold`. `run` is then called with this execution id and does not
        begin the run again.
        """

    def hold(self) -> bool:
        """Undo `offer`: only `run` starts runs now. Return whether the worker is free.

        A run in progress that the client started is reported now.
        """

    async def stop(self, *, grace: float) -> None:
        """End the worker and return once it is gone. May be repeated.

        An idle worker simply exits. A busy one is terminated, and killed after
        `grace` seconds; its run's future then fails with `WorkerCrashed` before
        this returns. Raises `StopTimeout` after `grace` if it cannot be killed.
        """


class Launcher(Protocol):
    """Launches workers."""

    async def launch(
        self, task_id: str, on_death: Callable[[Worker, BaseException], None]
    ) -> Worker:
        """Return a worker that has loaded the task's job.

        Raises the original error of the load (an `Exception`), or `StartError`. If
        cancelled, as the scheduler does at `start_timeout`, it cleans up and ends:
        stops and shutdowns wait for that.
        `on_death` is called once if the worker later ends without being asked to,
        after the future of its run, if any, has failed.
        """

    def launch_at_once(
        self, task_id: str, on_death: Callable[[Worker, BaseException], None]
    ) -> Worker | None:
        """Do the same if there is nothing to wait for; otherwise return None."""

    def explain_delay(self, task_id: str) -> str:
        """Return why a launch is slow and what to do; "" if the job itself is slow."""


class Held(msgspec.Struct, frozen=True):
    """The answer that another instance runs the slot; `holder` names that instance."""

    holder: str


class Beginnings(Protocol):
    """Knows which slots begin, whatever becomes of this process right after that."""

    def add(self, task_id: str, run: ScheduledExecution) -> None:
        """Note that a slot is about to begin. May be repeated."""

    def withdraw(self, task_id: str, run: ScheduledExecution) -> None:
        """Note that a slot does not begin after all."""


class Elector(Protocol):
    """Decides which instance of a fleet runs a slot."""

    async def should_run(self, task_id: str, key: str, lease: float) -> bool | Held:
        """Return whether this instance runs the slot `key` (``name:slot``)."""

    async def on_complete(self, task_id: str, key: str) -> None:
        """Report that the run of `key` has ended, successfully or not."""


class Place(msgspec.Struct, frozen=True):
    """A worker's place among those that stand by for the same moment.

    Attributes:
        number: counted from 0.
        crowd: how many workers stand by.
    """

    number: int
    crowd: int


class TaskObserver(Protocol):
    """Receives reports from the parts of a task; implemented by `Lifecycle`."""

    def handle_direct_run(self, worker: Worker, execution_id: str, date: float) -> None:
        """A worker has begun a run that the client started directly."""

    def handle_worker_ready(self, error: BaseException | None) -> None:
        """A new main worker is loaded.

        `error` is the death of the previous one; None after a timeout and after a
        single-use worker.
        """

    def handle_failure(self, error: BaseException) -> None:
        """The task cannot continue: too many deaths in a row, or a broken schedule."""

    def handle_late(self, slot: int, run_id: str) -> None:
        """A pending run waited too long: its slot is missed, or caught up on later."""

    def handle_rest(self, run: Any, seconds: float) -> None:
        """An attempt of a run has failed; the next one begins after `seconds`."""

    def handle_limit_reached(self) -> None:
        """The last run of `max_executions` has started."""

    def handle_work_done(self) -> None:
        """A run is over or given up, or a long gap of missed slots is reported."""


class SharedWorker:
    """Base class of workers in the client's own process."""

    __slots__ = ()

    pid = None
    is_shared = True
    is_single_use = False

    def stand_by(
        self,
        execution_id: str,
        slot: int,
        *,
        latest: float,
        place: Place,
        on_begun: Callable[[], None],
    ) -> None:
        """Do nothing: there is no process to wake up; see `Worker.stand_by`."""

    def withdraw(self) -> bool:
        """Return True: nothing was ordered; see `Worker.withdraw`."""
        return True

    def offer(self, on_called: Callable[[str, float], None]) -> None:
        """Do nothing: every call goes through the scheduler; see `Worker.offer`."""

    def hold(self) -> bool:
        """Return True: there are no other runs; see `Worker.hold`."""
        return True
