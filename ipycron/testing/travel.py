"""Time travel: a test's tasks run at their slots without any waiting."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import time
from datetime import datetime, timedelta, tzinfo
from functools import partial
from typing import TYPE_CHECKING, Any

from ipycron.client.client import Client
from ipycron.client.jobs import Background, OnExecutor
from ipycron.client.listeners import finish_here
from ipycron.client.registry import registry
from ipycron.client.waits import check_may_block, check_not_inside, run_in_thread
from ipycron.cron import CronExpression
from ipycron.errors import InvalidOption
from ipycron.scheduling.checks import check_duration
from ipycron.testing.clock import FakeClock, FakeTimer
from ipycron.testing.processes import ProcessPerRun

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from ipycron.client.event_log import EventLog
    from ipycron.client.jobs import Source
    from ipycron.client.options import TaskOptions

_LOOK = 0.001
"""Real seconds between two checks of runs in progress."""


@contextlib.contextmanager
def time_travel(
    at: str | float | datetime,
    *,
    timezone: str | tzinfo | None = None,
    patience: float = 10.0,
) -> Iterator[TravelClock]:
    """Run the tasks that are created in the block on a time that the test moves.

    Time stands still at `at` until the clock's `advance` is called, which returns when
    everything due on the way has happened: runs have ended and listeners have been
    called. `next_run`, `context.date`, `last_run` and whatever else ipycron shows are
    in this time; the job's own clocks (`time.time()`, `datetime.now()`) are the
    computer's.

    Functions run in this process as always. Background tasks (functions with
    ``background=True`` and files) get a new process for each run: no module state is
    kept from run to run. Their scheduler is this process's.

    Tasks created before the block are not visible in it, and continue in real time.
    When the block ends, its tasks are destroyed. `ipycron.on`, `set_logger` and
    `set_run_coordinator` apply only within the block. Blocks may be nested.

    Args:
        at: ISO text, a datetime, or Unix seconds. Values without a zone are in
            `timezone`.
        timezone: an IANA name or a `tzinfo`; the system's zone by default.
        patience: real seconds that `advance` waits for runs that begin on the way; runs
            that take longer continue, and are not waited for again.

    Raises:
        InvalidOption: if `at` is not an instant, or `patience` not a duration.

    Example:
        >>> import ipycron
        >>> with time_travel("2026-12-01 08:59", timezone="Europe/Berlin") as clock:
        ...     task = ipycron.schedule(
        ...         "0 9 * * *", lambda: print("run"), timezone="Europe/Berlin"
        ...     )
        ...     clock.advance(60)
        ...     print(task.next_run)
        run
        2026-12-02 09:00:00+01:00
    """
    zone = CronExpression("* * * * *", timezone).timezone
    real_seconds = check_duration("patience", patience)
    clock = TravelClock(_read_instant(at, zone), zone, patience=real_seconds)
    with registry.exchange(clock.make_client):
        yield clock


def _read_instant(at: Any, zone: tzinfo) -> float:
    if isinstance(at, str):
        with contextlib.suppress(ValueError):
            at = datetime.fromisoformat(at)
    if isinstance(at, datetime):
        return (at if at.tzinfo is not None else at.replace(tzinfo=zone)).timestamp()
    if isinstance(at, int | float) and not isinstance(at, bool):
        return float(at)
    raise InvalidOption(
        option="at",
        value=at,
        expected="an instant: '2026-12-01 08:59', a datetime, or Unix seconds",
    )


class TravelClock:
    """The time of a `time_travel` block, to be moved by the test.

    Args:
        at: the initial time, Unix seconds.
        zone: the zone of the instants that it returns and accepts.
        patience: real seconds to wait for runs; see `time_travel`.
    """

    def __init__(self, at: float, zone: tzinfo, *, patience: float) -> None:
        self._at = at
        self._zone = zone
        self._patience = patience
        self._client: TravelClient | None = None

    def make_client(self, event_log: EventLog) -> Client:
        """Return a client that runs on this time."""
        at = self._at if self._client is None else self._client.travelled.now()
        self._client = TravelClient(event_log, at, patience=self._patience)
        return self._client

    @property
    def now(self) -> datetime:
        """The current time of this clock."""
        return datetime.fromtimestamp(self._get_client().travelled.now(), self._zone)

    def advance(self, seconds: float | timedelta = 0) -> None:
        """Let time pass; return when everything due on the way has happened.

        Raises:
            InvalidOption: if `seconds` is not a duration.
            BlockingCall: if an event loop runs in this thread: see `advance_async`.
            SelfWait: if a run calls it.
        """
        wanted = check_duration("seconds", seconds)
        check_not_inside("advance()")
        check_may_block("advance()", "`await clock.advance_async(…)`")
        self._advance(wanted)

    async def advance_async(self, seconds: float | timedelta = 0) -> None:
        """Like `advance`, to be awaited: the event loop keeps running."""
        wanted = check_duration("seconds", seconds)
        check_not_inside("advance_async()")
        await run_in_thread(partial(self._advance, wanted))
        await finish_here(self._patience)

    def advance_to(self, at: str | float | datetime) -> None:
        """Let time pass until an instant, as `advance` does.

        Raises:
            InvalidOption: if it is not an instant, or is in the past.
        """
        self.advance(_read_instant(at, self._zone) - self._get_client().travelled.now())

    def step(self, seconds: float | timedelta) -> None:
        """Set the clock forward, or back by a negative number; nothing runs meanwhile.

        This is what a laptop's sleep does: slots that passed are missed, or run if they
        are within `tolerance` or the window of `catch_up`. As with a real step, it is
        noticed within five seconds, so `advance` afterwards.
        """
        wanted = seconds.total_seconds() if isinstance(seconds, timedelta) else seconds
        client = self._get_client()
        client.run(_call(partial(client.travelled.step, wanted))).result()

    def _advance(self, seconds: float) -> None:
        client = self._get_client()
        client.travelled.note()
        client.run(client.travelled.advance(seconds)).result()

    def _get_client(self) -> TravelClient:
        client = registry.client
        assert isinstance(client, TravelClient)
        return client


async def _call(call: Callable[[], None]) -> None:
    call()


class TravelClient(Client):
    """A client whose only scheduler runs on a time that the test moves.

    Attributes:
        travelled: that time.
    """

    def __init__(self, event_log: EventLog, at: float, *, patience: float) -> None:
        self.travelled = _Clock(at, self, patience=patience)
        super().__init__(event_log, self.travelled)
        self.shares_pools = False  # there are no other runs
        self.keeps = False  # the service is in real time
        event_log.watch(self.travelled.note)

    def place(self, source: Source, options: TaskOptions) -> Source:
        """Run what would run in a worker in a new process for each run."""
        if not isinstance(source, Background):
            return source
        executor = ProcessPerRun(cwd=options.cwd, env=options.env)
        return OnExecutor(
            job=source.job,
            payload=source.payload,
            executor=executor,
            label=source.label,
        )

    def run(self, work: Any) -> concurrent.futures.Future[Any]:
        """Have the engine's loop run a coroutine."""
        return self._get_engine(is_for_worker=False).run(work)

    def find_async_tasks(self) -> Collection[asyncio.Task[Any]]:
        """Return what the scheduler waits for, apart from runs."""
        return frozenset() if self._engine is None else self._engine.async_tasks

    def shutdown(self, timeout: float) -> None:
        """Shut down in real time, since fake time does not move meanwhile."""
        if self._engine is not None:
            self._engine.submit(self.travelled.release)
        super().shutdown(timeout)
        self.event_log.unwatch(self.travelled.note)


class _Clock(FakeClock):
    """Fake time on the engine's loop, which waits for runs in threads and processes."""

    def __init__(self, at: float, client: TravelClient, *, patience: float) -> None:
        super().__init__(at)
        self._client = client
        self._patience = patience
        self._given_up: set[str] = set()
        self._has_news = True
        self._is_released = False

    def call_later(self, delay: float, callback: Callable[[], None]) -> FakeTimer:
        """Call `callback` when time has been moved so far."""
        if not self._is_released:
            return super().call_later(delay, callback)
        timer = FakeTimer(callback)
        asyncio.get_running_loop().call_later(max(0.0, delay), timer.fire)
        return timer

    def note(self, _: str = "") -> None:
        """Record that something has happened for which listeners may be called."""
        self._has_news = True

    def release(self) -> None:
        """Make timers follow real time from now on."""
        self._is_released = True
        loop = asyncio.get_running_loop()
        for deadline, _, timer in self._timers:
            loop.call_later((deadline - self._monotonic) / 1e9, timer.fire)
        self._timers.clear()

    async def settle(self) -> None:
        """Return when no run is in progress and listeners have been called."""
        await super().settle()
        deadline = time.monotonic() + self._patience
        while time.monotonic() < deadline:
            if not self._find_work():
                if not self._has_news:
                    return
                self._has_news = False
                told: concurrent.futures.Future[None] = concurrent.futures.Future()
                self._client.defer(partial(told.set_result, None))
                left = max(0.0, deadline - time.monotonic())
                await asyncio.wait([asyncio.wrap_future(told)], timeout=left)
                await super().settle()
                continue  # a listener may have requested a run
            await asyncio.sleep(_LOOK)
            await super().settle()
        self._given_up |= self._find_work()

    def _find_work(self) -> set[str]:
        """Return what is in progress in real time: runs, starts, elections."""
        work = {f"task {id(task)}" for task in self._client.find_async_tasks()}
        for task in list(self._client.tasks.values()):
            work |= {run.id for run in task.observed.running}
            if task.is_starting:
                work.add(f"start {task.id}")
        return work - self._given_up
