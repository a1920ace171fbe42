"""What the scheduler needs from outside: a clock, workers, a vote, a schedule.

The scheduler runs on one asyncio loop and calls all of these on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from ipycron.scheduling.events import Outcome, ScheduledExecution


class Timer(Protocol):
    """A call that was scheduled for later."""

    def cancel(self) -> None:
        """Cancel the call. May be repeated."""


class Clock(Protocol):
    """The only source of time."""

    def now(self) -> float:
        """Return the wall clock, in Unix seconds. May step in both directions."""

    def monotonic(self) -> float:
        """Return seconds that only ever grow. Durations are measured with it."""

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` on the loop after `delay` monotonic seconds.

        Never early and never from within this call; a millisecond or two late.
        """

    def call_punctually(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Do the same as punctually as the clock can, at some CPU cost."""

    def rest(self, seconds: float) -> None:
        """Leave the cores to other processes for a moment. Blocks the loop."""


class Schedule(Protocol):
    """When a task is due: `ipycron.cron.CronExpression` is one."""

    def find_next(self, after: float) -> int | None:
        """Return the first slot strictly after `after`, Unix seconds, or None."""


class Worker(Protocol):
    """One loaded job, ready to run.

    Attributes:
        pid: its process, or None for a job in the client's own process.
        is_shared: whether it may run several executions at once (inline jobs);
            where False the scheduler asks for one run at a time and launches a
            further worker for an overlapping run.
        is_single_use: whether it ends by itself after its first run, and the next
            one needs another worker.
    """

    @property
    def pid(self) -> int | None: ...  # noqa: D102

    @property
    def is_shared(self) -> bool: ...  # noqa: D102

    @property
    def is_single_use(self) -> bool: ...  # noqa: D102

    def run(self, execution: ScheduledExecution) -> asyncio.Future[Outcome]:
        """Start the job now; the future ends with the run.

        A job that raises is an `Outcome` that is not ok. The future itself fails
        only where the worker is lost: `WorkerCrashed`. What this method itself
        raises is taken the same way.

        A run that takes longer than its `timeout` is given up if the worker is shared
        (`give_up`). Other workers are stopped instead.
        """

    def give_up(self, future: asyncio.Future[Outcome]) -> asyncio.Future[Any]:
        """Ask for the end of one run of a shared worker.

        `future` is what `run` returned. It is done only when the run's code has
        ended: a coroutine may ignore its cancellation, an executor may be unable to
        end what has begun.

        Returns:
            A future that is done when the run is over, or when it is known to go on.
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
        """Have the job begin at `slot`, by the worker's own clock, not after `latest`.

        Called on idle workers only; a worker that cannot do it does nothing. At the
        slot `run` is called with an execution of this id, and does not begin it again.
        `place` is the worker's among all that stand by for this slot.
        `on_begun` is called if the worker shows before that call that it has begun.
        Until then `withdraw` cancels the order.
        """

    def withdraw(self) -> bool:
        """Cancel what `stand_by` ordered; return False if the run has begun."""

    def offer(self, on_called: Callable[[str, float], None]) -> None:
        """Let the client start runs on the worker directly, past the scheduler.

        Called on idle workers only; a worker that cannot do it does nothing. The
        scheduler never learns of a run that ends soon. Otherwise `on_called` is called
        with the run's id and date: when the worker shows that it is in progress, and at
        the latest by `hold`. Then `run` is called with an execution of this id, and
        does not begin it again.
        """

    def hold(self) -> bool:
        """Let no run begin but by `run`; return whether the worker is free.

        If a run is in progress that the client has started, it is reported now.
        """

    async def stop(self, *, grace: float) -> None:
        """End the worker and return when it is gone. May be repeated.

        An idle worker just ends. A busy one is terminated, and killed after
        `grace` seconds; its run's future then fails with `WorkerCrashed` before
        this returns. Raises `StopTimeout` after `grace` if it cannot be killed.
        """


class Launcher(Protocol):
    """Makes workers."""

    async def launch(
        self, task_id: str, on_death: Callable[[Worker, BaseException], None]
    ) -> Worker:
        """Return a worker that has loaded the task's job.

        Raises the load's real error (an `Exception`), or `StartError`. When
        cancelled (the scheduler does so at `start_timeout`), leaves nothing behind
        and ends: stops and shutdowns wait for that.
        `on_death` is called once if the worker later ends without being asked
        to, after the future of its run, if any, has failed.
        """

    def launch_at_once(
        self, task_id: str, on_death: Callable[[Worker, BaseException], None]
    ) -> Worker | None:
        """Do the same where nothing need be waited for; elsewhere return None."""

    def explain_delay(self, task_id: str) -> str:
        """Return why a launch takes so long, and what to do; "" if the job is slow."""


class Held(msgspec.Struct, frozen=True):
    """The answer that another instance runs the slot; `holder` names it."""

    holder: str


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
        crowd: how many they are.
    """

    number: int
    crowd: int


class TaskObserver(Protocol):
    """What the parts of a task report to whatever moves it between its phases."""

    def see_called(self, worker: Worker, execution_id: str, date: float) -> None:
        """A worker has begun a run that its client asked it for directly."""

    def see_ready(self, error: BaseException | None) -> None:
        """A new main worker is loaded.

        `error` is the death that made it necessary, None after a timeout and after a
        single-use worker.
        """

    def see_hopeless(self, error: BaseException) -> None:
        """The task cannot go on: too many deaths in a row, or a broken schedule."""

    def see_exhausted(self) -> None:
        """The last run of `max_executions` has started."""

    def see_quiet(self) -> None:
        """A run has ended, or a long gap of missed slots has been reported."""


class SharedWorker:
    """The common part of workers in the client's own process."""

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
        """Do nothing: there is no process to wake; see `Worker.stand_by`."""

    def withdraw(self) -> bool:
        """Return True: nothing was ordered; see `Worker.withdraw`."""
        return True

    def offer(self, on_called: Callable[[str, float], None]) -> None:
        """Do nothing: every call goes through the scheduler; see `Worker.offer`."""

    def hold(self) -> bool:
        """Return True: there are no other runs; see `Worker.hold`."""
        return True
