"""The workers of one task: loaded, replaced when they die, stopped."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from ipycron.errors import StartTimeout
from ipycron.scheduling.aio import sleep, spawn, within
from ipycron.scheduling.backoff import find_backoff, is_refusal
from ipycron.scheduling.state import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from ipycron.scheduling.ports import TaskObserver, Timer, Worker
    from ipycron.scheduling.services import Services
    from ipycron.scheduling.state import TaskState

T = TypeVar("T")

# Seconds between terminating a busy worker and killing it (R6). One second is too short
# for a job that closes a database; five are long for a user who is waiting.
GRACE = 2.0


# A worker that serves one run is not kept for a slot that is further away, in seconds:
# the process of a nightly script would be idle all day.
LONGEST_IDLE = 60.0
# Seconds before the slot at which it is loaded.
AHEAD = 10.0


class MainWorkerState(StrEnum):
    """The state of the main worker. Other workers serve one run each."""

    EMPTY = "empty"  # none is loaded yet: runs wait for it
    IDLE = "idle"  # takes a run at once; a loaded shared worker is always idle
    OFFERED = "offered"  # idle, and the client may call it: `hold` it before using it
    BUSY = "busy"  # another run needs its own worker
    LEAVING = "leaving"  # being ended after a timeout; treated like busy
    VACANT = "vacant"  # could not be reloaded: each run loads its own, or fails
    RESTING = "resting"  # is loaded when there is a run, or soon will be: `wake` it


_FREE = (MainWorkerState.IDLE, MainWorkerState.OFFERED)


class TaskWorkers:
    """Owns every worker of one task, and the asyncio tasks that start or end them.

    The main worker lives from start to stop. An overlapping run gets its own worker,
    which is stopped after that run: keeping it would permanently cost memory to save a
    fork of a few milliseconds.

    The `observer` is notified when the main worker has been replaced, with the error of
    the previous one's death, or None after a timeout; and when more workers than
    `max_restarts` have died in a row, with the error of the last death.
    """

    __slots__ = (
        "_deaths",
        "_ends",
        "_observer",
        "_refusals",
        "_replacement",
        "_services",
        "_state",
        "_tasks",
        "_wake",
        "_workers",
        "main",
        "main_state",
    )

    def __init__(
        self, state: TaskState, services: Services, *, observer: TaskObserver
    ) -> None:
        self._state = state
        self._services = services
        self._observer = observer
        # Usually none or one: an empty set would take 0.2 KB per task.
        self._workers: tuple[Worker, ...] = ()
        self._tasks: set[asyncio.Task[Any]] | None = None
        self._replacement: asyncio.Task[None] | None = None
        # Of workers that are being stopped.
        self._ends: tuple[tuple[Worker, asyncio.Task[None]], ...] = ()
        self._deaths = 0
        self._refusals = 0
        self._wake: Timer | None = None
        self.main: Worker | None = None
        self.main_state = MainWorkerState.EMPTY

    async def load(self) -> Worker:
        """Return a new worker of this task, loaded within `start_timeout`.

        Raises:
            StartTimeout: if it takes longer; the launch is then cancelled.
            Exception: the original error of the load.
        """
        name, timeout = self._state.name, self._state.policy.start_timeout
        deaths: list[BaseException] = []
        worker = await within(
            self._services.clock,
            timeout,
            self.spawn(self._launch(deaths)),
            late=lambda: StartTimeout(
                name=name,
                timeout=timeout,
                advice=self._services.launcher.explain_delay(self._state.id),
            ),
        )
        if deaths:
            # It died between the launch and this line, without a run.
            self.spawn(self.retire(worker))
            raise deaths[0]
        return worker

    def load_at_once(self) -> Worker | None:
        """Return a new worker of this task, or None if loading it takes time."""
        launcher = self._services.launcher
        worker = launcher.launch_at_once(self._state.id, self._handle_death)
        if worker is not None:
            self._workers = (*self._workers, worker)
        return worker

    def set_main(self, worker: Worker) -> None:
        """Make a loaded worker the main one."""
        self.main = worker
        self.main_state = MainWorkerState.IDLE

    @property
    def can_stand_by(self) -> bool:
        """Whether the main worker may begin a slot's run by its own clock."""
        policy = self._state.policy
        return not (
            (self.main is not None and self.main.is_shared)
            or policy.distributed
            or policy.jitter
        )

    def clear_main(self) -> None:
        """Stop giving runs to the main worker."""
        self.main = None
        self.main_state = MainWorkerState.EMPTY

    def take(self) -> Worker | None:
        """Return the main worker for one run, or None if it cannot take it now."""
        if not self.hold() or self.main is None:
            return None
        if not self.main.is_shared:
            self.main_state = MainWorkerState.BUSY
        return self.main

    def occupy(self, worker: Worker) -> None:
        """Note that a worker is busy with a run that the scheduler did not start."""
        if worker is self.main and self.main_state in _FREE:
            self.main_state = MainWorkerState.BUSY

    def hold(self) -> bool:
        """Take the main worker back from the client; return whether it is free.

        Call this before looking at the runs in progress: a run that the client has
        started directly is one of them afterwards. The worker itself is asked only if
        it was offered.
        """
        if (
            self.main_state is MainWorkerState.OFFERED
            and self.main is not None
            and self.main.hold()
        ):
            self.main_state = MainWorkerState.IDLE
        return self.main_state is MainWorkerState.IDLE

    def offer(self) -> None:
        """Let the client call the main worker directly while it is idle."""
        state = self._state
        if (
            self.main is not None
            and self.main_state is MainWorkerState.IDLE
            and not self.main.is_shared
            and not self.main.is_single_use
            and state.phase is Phase.STARTED
            and state.standby is None
            and state.policy.timeout is None
            and not state.runs
            and not self._services.pools.is_limited(state.policy.pool)
        ):
            self.main_state = MainWorkerState.OFFERED
            self.main.offer(partial(self._observer.handle_direct_run, self.main))

    def release(self, worker: Worker) -> None:
        """Take back a worker whose run is over."""
        if worker is not self.main:
            self._retire_soon(worker)
            if self.main_state is MainWorkerState.VACANT:
                self._renew()
        elif worker.is_single_use:
            self._renew(self._retire_soon(worker))
        elif self.main_state is MainWorkerState.BUSY:
            self.main_state = MainWorkerState.IDLE

    def _retire_soon(self, worker: Worker) -> asyncio.Task[None]:
        """Begin to stop a worker."""
        end = self.spawn(self.retire(worker))
        self._ends = (*self._ends, (worker, end))
        end.add_done_callback(self._forget_end)
        return end

    def _forget_end(self, end: asyncio.Task[None]) -> None:
        self._ends = tuple(pair for pair in self._ends if pair[1] is not end)

    def call_when_gone(self, worker: Worker | None, call: Callable[[], None]) -> None:
        """Call this once a worker that is being stopped is gone; else at once."""
        end = next((end for leaving, end in self._ends if leaving is worker), None)
        if end is None:
            call()
        else:
            end.add_done_callback(lambda _: call())

    def reset_deaths(self) -> None:
        """Reset the count of deaths, since a worker has survived a run."""
        self._deaths = self._refusals = 0

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start an asyncio task that starts or ends a worker; `stop_all` awaits it."""
        self._tasks = self._tasks or set()
        task = spawn(self._tasks, work)
        task.add_done_callback(self._note_end)
        return task

    def _note_end(self, _: object) -> None:
        self._tasks = self._tasks or None

    async def retire(self, worker: Worker) -> None:
        """Stop a worker and return once it is gone. It gets no further runs."""
        if worker is self.main:
            self.main_state = MainWorkerState.LEAVING
        try:
            await worker.stop(grace=GRACE)
        finally:
            self._workers = tuple(w for w in self._workers if w is not worker)

    def lose(self, worker: Worker) -> bool:
        """Give up a dead worker; return whether it was the main one."""
        # It is stopped nevertheless, to release its remaining resources.
        self._retire_soon(worker)
        if worker is not self.main:
            return False
        self.clear_main()
        return True

    def replace_main(self, worker: Worker) -> None:
        """Replace the main worker after it was ended (R6)."""
        if worker is self.main:
            self.clear_main()
            self._replace_main(None)

    def replace_dead(self, error: BaseException, *, is_over: bool) -> None:
        """Replace the main worker after it died (R7).

        Not counted as a death if its run goes on with another attempt: however many of
        them there are, the worker has died in one run.
        """
        self._replace_main(error if is_over else None)

    async def stop_all(self) -> list[BaseException]:
        """End every worker; once all are gone, return the errors that they raised."""
        if self._replacement is not None:
            self._replacement.cancel()
        self._cancel_wake()
        self.clear_main()
        while self._tasks:
            await asyncio.wait(set(self._tasks))
        ends = [self.retire(worker) for worker in self._workers]
        results = await asyncio.gather(*ends, return_exceptions=True)
        self._deaths = self._refusals = 0
        return [result for result in results if result is not None]

    async def _launch(self, deaths: list[BaseException]) -> Worker:
        """Launch a worker and take ownership of it at once."""
        loop = asyncio.get_running_loop()

        def on_death(worker: Worker, error: BaseException) -> None:
            deaths.append(error)
            if worker is self.main and self.main_state in _FREE:
                self._handle_death(worker, error)  # before it is given a run
            else:
                # After the callbacks of its run's future, which has just failed.
                loop.call_soon(self._handle_death, worker, error)

        worker = await self._services.launcher.launch(self._state.id, on_death)
        self._workers = (*self._workers, worker)
        return worker

    def _handle_death(self, worker: Worker, error: BaseException) -> None:
        """Replace the main worker if it died between two runs."""
        if (
            worker is self.main
            and self.main_state is not MainWorkerState.LEAVING
            and self.lose(worker)
        ):
            self._replace_main(error)

    def rest(self) -> None:
        """Hold no process until shortly before a slot that is far away.

        Only where each run has a process of its own anyway.
        """
        worker = self.main
        if (
            worker is not None
            and worker.is_single_use
            and self.main_state is MainWorkerState.IDLE
            and self._state.standby is None
            and self._find_idle_time() is not None
        ):
            self._retire_soon(worker)
            self._rest()

    def _rest(self) -> None:
        """Be without a main worker until shortly before the next slot."""
        self.clear_main()
        self.main_state = MainWorkerState.RESTING
        seconds = self._find_idle_time()
        assert seconds is not None
        self._wake = self._services.clock.call_later(seconds, self._load_ahead)

    def wake(self) -> None:
        """Load the main worker, if there is none because it rests: for a run."""
        if self.main_state is MainWorkerState.RESTING:
            self._cancel_wake()
            self.clear_main()
            self._replacement = self.spawn(self._load_next(None))

    def _cancel_wake(self) -> None:
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None

    def _find_idle_time(self) -> float | None:
        """Return the seconds until a worker is to be loaded; None if that is soon."""
        slot = self._state.next_slot
        if slot is None or self._state.runs:
            return None  # a run may go on with another attempt
        seconds = slot - self._services.clock.now()
        return seconds - AHEAD if seconds > LONGEST_IDLE else None

    def _load_ahead(self) -> None:
        """Load the main worker: its slot is near, unless it was moved."""
        self._wake = None
        if self._find_idle_time() is not None:
            self._rest()
        else:
            self.wake()

    def _renew(self, end: asyncio.Task[None] | None = None) -> None:
        """Load the next main worker, after the only run of a single-use one.

        Args:
            end: done once the previous worker is gone: the next run may need what it
                holds, such as a port or a lock.
        """
        self.clear_main()
        if self._state.is_exhausted or self._state.has_ended:
            self.main_state = MainWorkerState.VACANT  # a manual run may still come
        elif self._state.phase is not Phase.STARTED:
            pass
        elif self._find_idle_time() is not None:
            self._rest()
        else:
            self._replacement = self.spawn(self._load_next(end))

    async def _load_next(self, end: asyncio.Task[None] | None) -> None:
        """Load a main worker; if that fails, the next run loads its own, or fails.

        The job's file may be half written: that does not count as a death, and the next
        run reads it again.
        """
        if end is not None:
            await asyncio.wait({end})
        try:
            worker = await self.load()
        except Exception:  # noqa: BLE001 - raised again by the next run's own load
            self.main_state = MainWorkerState.VACANT
        else:
            self.set_main(worker)
        self._observer.handle_worker_ready(None)

    def _replace_main(self, error: BaseException | None) -> None:
        if self._state.phase is Phase.STARTED:
            self._replacement = self.spawn(self._load_until_ready(error))

    async def _load_until_ready(self, error: BaseException | None) -> None:
        """Load a main worker; a failed load counts as another death."""
        while True:
            if error is not None and not await self._back_off(error):
                self._observer.handle_failure(error)
                return
            try:
                worker = await self.load()
            except Exception as failure:  # noqa: BLE001 - the border to the job
                error = failure
            else:
                self.set_main(worker)
                self._observer.handle_worker_ready(error)
                return

    async def _back_off(self, error: BaseException) -> bool:
        """Count a death and wait; return False at once if there were too many.

        A refusal by the system is not a death: it is retried without limit.
        """
        if is_refusal(error):
            self._refusals += 1
            if self._refusals > 1:
                self._services.refusals.report(error)
        else:
            self._deaths += 1
            if self._deaths > self._state.policy.max_restarts:
                return False
        delay = find_backoff(max(1, self._deaths, self._refusals))
        await sleep(self._services.clock, delay)
        return True
