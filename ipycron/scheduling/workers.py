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
    from collections.abc import Coroutine

    from ipycron.scheduling.ports import TaskObserver, Worker
    from ipycron.scheduling.services import Services
    from ipycron.scheduling.state import TaskState

T = TypeVar("T")

# Seconds between asking a busy worker to end and killing it (R6). A second is too
# short for a job that closes a database, five are long for a user who waits.
GRACE = 2.0


class MainWorkerState(StrEnum):
    """The state of the main worker's place. Other workers serve one run each."""

    EMPTY = "empty"  # none is loaded: runs wait for it
    IDLE = "idle"  # takes a run at once; a shared worker is never anything else
    OFFERED = "offered"  # idle, and its client may call it: held before it is used
    BUSY = "busy"  # a further run needs a worker of its own
    LEAVING = "leaving"  # being ended after a timeout; as busy
    VACANT = "vacant"  # could not be loaded anew: each run loads a worker, or fails


_FREE = (MainWorkerState.IDLE, MainWorkerState.OFFERED)


class TaskWorkers:
    """Owns every worker of one task, and every task that makes or ends one.

    The main worker lives from start to stop. An overlapping run gets a worker of
    its own, which is stopped after that run: keeping it would cost memory all day to
    save a fork of a few milliseconds.

    The `observer` receives each main worker that was replaced, with the error of the
    death that made it necessary, None after a timeout; and the error of the last death
    when there were more in a row than `max_restarts`.
    """

    __slots__ = (
        "_deaths",
        "_mending",
        "_observer",
        "_refusals",
        "_services",
        "_state",
        "_tasks",
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
        # Few, and none at all most of the time: an empty set is 0.2 KB of each task.
        self._workers: tuple[Worker, ...] = ()
        self._tasks: set[asyncio.Task[Any]] | None = None
        self._mending: asyncio.Task[None] | None = None
        self._deaths = 0
        self._refusals = 0
        self.main: Worker | None = None
        self.main_state = MainWorkerState.EMPTY

    async def load(self) -> Worker:
        """Return a new worker of this task, loaded within `start_timeout`.

        Raises:
            StartTimeout: if it takes longer; the launch is cancelled then.
            Exception: what the load raised, as it came.
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
            # It died between the launch and this line, where no run was on it.
            self.spawn(self.retire(worker))
            raise deaths[0]
        return worker

    def load_at_once(self) -> Worker | None:
        """Return a new worker of this task, or None where it must be waited for."""
        launcher = self._services.launcher
        worker = launcher.launch_at_once(self._state.id, self._see_death)
        if worker is not None:
            self._workers = (*self._workers, worker)
        return worker

    def seat_main(self, worker: Worker) -> None:
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

    def unseat(self) -> None:
        """Give no run to the main worker any more."""
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
        """Note that a worker has begun a run that the scheduler did not start."""
        if worker is self.main and self.main_state in _FREE:
            self.main_state = MainWorkerState.BUSY

    def hold(self) -> bool:
        """Take the main worker back from its client; return whether it is free.

        Called before the runs in progress are looked at. A run that has begun without
        the scheduler is one of them from now on. The worker itself is asked only where
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
        ):
            self.main_state = MainWorkerState.OFFERED
            self.main.offer(partial(self._observer.see_called, self.main))

    def release(self, worker: Worker) -> None:
        """Take back a worker whose run is over."""
        if worker is not self.main:
            self.spawn(self.retire(worker))
            if self.main_state is MainWorkerState.VACANT:
                self._renew()
        elif worker.is_single_use:
            self._renew(self.spawn(self.retire(worker)))
        elif self.main_state is MainWorkerState.BUSY:
            self.main_state = MainWorkerState.IDLE

    def note_survival(self) -> None:
        """Start counting deaths anew: a worker has lived through a run."""
        self._deaths = self._refusals = 0

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a task that makes or ends a worker; `dismiss` waits for it."""
        self._tasks = self._tasks or set()
        task = spawn(self._tasks, work)
        task.add_done_callback(self._note_end)
        return task

    def _note_end(self, _: object) -> None:
        self._tasks = self._tasks or None

    async def retire(self, worker: Worker) -> None:
        """Stop a worker and return when it is gone. It gets no further run."""
        if worker is self.main:
            self.main_state = MainWorkerState.LEAVING
        try:
            await worker.stop(grace=GRACE)
        finally:
            self._workers = tuple(w for w in self._workers if w is not worker)

    def lose(self, worker: Worker) -> bool:
        """Give up a worker that is dead; return whether it was the main one."""
        # It is stopped all the same, to release its last resources.
        self.spawn(self.retire(worker))
        if worker is not self.main:
            return False
        self.unseat()
        return True

    def replace_main(self, worker: Worker) -> None:
        """Put a new main worker in the place of one that was ended (R6)."""
        if worker is self.main:
            self.unseat()
            self._mend(None)

    def mend(self, error: BaseException) -> None:
        """Put a new main worker in the place of one that died (R7)."""
        self._mend(error)

    async def dismiss(self) -> list[BaseException]:
        """End every worker and return when all are gone, with what they raised."""
        if self._mending is not None:
            self._mending.cancel()
        self.unseat()
        while self._tasks:
            await asyncio.wait(set(self._tasks))
        ends = [self.retire(worker) for worker in self._workers]
        results = await asyncio.gather(*ends, return_exceptions=True)
        self._deaths = self._refusals = 0
        return [result for result in results if result is not None]

    async def _launch(self, deaths: list[BaseException]) -> Worker:
        """Launch a worker and own it from its first moment."""
        loop = asyncio.get_running_loop()

        def on_death(worker: Worker, error: BaseException) -> None:
            deaths.append(error)
            if worker is self.main and self.main_state in _FREE:
                self._see_death(worker, error)  # before it is given a run
            else:
                # After the callbacks of its run's future, which has just failed.
                loop.call_soon(self._see_death, worker, error)

        worker = await self._services.launcher.launch(self._state.id, on_death)
        self._workers = (*self._workers, worker)
        return worker

    def _see_death(self, worker: Worker, error: BaseException) -> None:
        """Replace a worker that died between two runs."""
        if (
            worker is self.main
            and self.main_state is not MainWorkerState.LEAVING
            and self.lose(worker)
        ):
            self._mend(error)

    def _renew(self, end: asyncio.Task[None] | None = None) -> None:
        """Load the next main worker, after the only run of the one before.

        Args:
            end: ends when that one is gone: what it holds, a port or a lock, the next
                run may want.
        """
        self.unseat()
        if self._state.is_exhausted:
            self.main_state = MainWorkerState.VACANT  # a call may still come
        elif self._state.phase is Phase.STARTED:
            self._mending = self.spawn(self._load_next(end))

    async def _load_next(self, end: asyncio.Task[None] | None) -> None:
        """Load a main worker; if that fails, the next run loads one, or fails.

        The job's file may be half written: this is no death, and the next run reads
        it again.
        """
        if end is not None:
            await asyncio.wait({end})
        try:
            worker = await self.load()
        except Exception:  # noqa: BLE001 - raised again by the next run's own load
            self.main_state = MainWorkerState.VACANT
        else:
            self.seat_main(worker)
        self._observer.see_ready(None)

    def _mend(self, error: BaseException | None) -> None:
        if self._state.phase is Phase.STARTED:
            self._mending = self.spawn(self._load_until_ready(error))

    async def _load_until_ready(self, error: BaseException | None) -> None:
        """Load a main worker; a load that fails is one more death."""
        while True:
            if error is not None and not await self._back_off(error):
                self._observer.see_hopeless(error)
                return
            try:
                worker = await self.load()
            except Exception as failure:  # noqa: BLE001 - the border to the job
                error = failure
            else:
                self.seat_main(worker)
                self._observer.see_ready(error)
                return

    async def _back_off(self, error: BaseException) -> bool:
        """Count a death and wait; return False at once if there were too many.

        A refusal of the system is no death: it is retried without limit.
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
