"""The engine: the client's thread, its event loop, and all that runs there.

A daemon thread, ``ipycron``, with an asyncio loop. It calls no user code: inline
functions run on threads of a pool or on the user's loop, listeners and log handlers
on the dispatcher's thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import threading
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ipycron.client.background import BackgroundTasks, ClientPort
from ipycron.client.completion import Wakeup, read_nothing
from ipycron.client.elections import ElectorClient, TaskElector
from ipycron.client.recording import outside_of_runs
from ipycron.errors import ServiceError, StartRevoked, SupervisorLost, TaskDestroyed
from ipycron.process.unix import find_missing_feature
from ipycron.scheduling.policy import NO_CATCH_UP
from ipycron.scheduling.pools import Pools

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable

    from ipycron.client.completion import Completion
    from ipycron.client.kept import KeptClient, KeptTasks
    from ipycron.client.local import LocalTasks
    from ipycron.client.owners import TaskOwner
    from ipycron.client.record import Home, TaskRecord
    from ipycron.client.recovery import Action
    from ipycron.client.threads import ThreadPool
    from ipycron.process.supervision import SupervisorProcess
    from ipycron.process.wire.protocol import Preload
    from ipycron.scheduling.events import AttemptBegan, Notice, Pause
    from ipycron.scheduling.plan import Outage
    from ipycron.scheduling.policy import CatchUp
    from ipycron.scheduling.ports import Clock


class EngineClient(ClientPort, ElectorClient, Protocol):
    """What the engine and its parts need of the client."""

    @property
    def clock(self) -> Clock: ...  # noqa: D102

    @property
    def shares_pools(self) -> bool: ...  # noqa: D102

    def handle_own_notice(self, notice: Notice) -> None: ...  # noqa: D102

    def handle_own_attempt(self, began: AttemptBegan) -> None: ...  # noqa: D102


T = TypeVar("T")


class Engine:
    """Passes requests to the owners of tasks, on the client's loop.

    Args:
        client: the client that it belongs to.
        pool: runs inline functions.
        supervisor: the first one, if it has been started already.
        has_local: whether there is a task that this process schedules itself.

    Attributes:
        background: the tasks in worker processes.
        kept: the tasks in the service; None until the service is used.
        elector: asks the run coordinators.
    """

    def __init__(
        self,
        client: EngineClient,
        pool: ThreadPool,
        supervisor: SupervisorProcess | None,
        *,
        has_local: bool,
    ) -> None:
        self._client = client
        self._pool = pool
        self._loop = asyncio.new_event_loop()
        self._calls: deque[Callable[[], Any]] = deque()  # submitted, not done yet
        self.elector = TaskElector(client)
        self.background = BackgroundTasks(
            client, self.elector, supervisor, loop=self._loop, submit=self.submit
        )
        self._local: LocalTasks | None = None
        self.kept: KeptTasks | None = None
        # The background first: it answers for the places that the others ask for.
        self._owners: dict[Home, TaskOwner] = {"supervisor": self.background}
        self._lock = threading.RLock()  # reentrant for signal handlers
        self._is_gone = False
        self._wakeups: deque[Wakeup] = deque()  # of threads that wait for the end
        self._looking: dict[str, _Look] = {}  # by the task that is to start
        self._end: concurrent.futures.Future[None] | None = None
        if has_local:
            self.prepare_local()
        self.thread = threading.Thread(target=self._run, name="ipycron", daemon=True)
        try:
            self.thread.start()
        except RuntimeError as error:  # "can't start new thread"
            self._loop.close()
            raise OSError(errno.EAGAIN, str(error)) from None

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        if self._local is not None:
            self._local.close()
        self._loop.close()
        # Make the calls still pending: threads may be waiting for them.
        self._calls.extend(c for look in self._looking.values() for c in look.later)
        while self._calls:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._call_all()
        self._is_gone = True
        while self._wakeups:  # the first thread woken may add another
            self._wakeups.popleft().set()

    # --- from any thread ------------------------------------------------------------

    def submit(self, call: Callable[[], Any]) -> bool:
        """Call this on the loop; return False if the loop has ended.

        Takes no lock: a signal handler that shuts everything down may interrupt it.
        """
        self._calls.append(call)
        try:
            # A job's request is not part of its run: whatever starts on the loop would
            # inherit its context, such as elections and other tasks' runs.
            outside_of_runs(self._loop.call_soon_threadsafe, self._call_all)
        except RuntimeError:  # it is closed
            return False
        return True

    def use_kept(self, client: KeptClient) -> KeptTasks:
        """Return the owner of kept tasks, created when first needed.

        It is imported on the calling thread; see `Client`.
        """
        from ipycron.client.kept import KeptTasks  # noqa: PLC0415 - few need it

        with self._lock:
            if self.kept is None:
                self.kept = KeptTasks(client, self._loop)
                self._owners["service"] = self.kept
            return self.kept

    def prepare_local(self) -> None:
        """Create the owner of this process's own tasks, if that was not done yet.

        Its scheduler takes 5 ms to import, which a process with background tasks only,
        or one that only looks at kept ones, need not wait for. As above, it is imported
        on the calling thread.
        """
        with self._lock:
            if self._local is None:
                local = self._make_local()
                if "local" not in self._owners:  # a signal handler may have made it
                    self._local = self._owners["local"] = local

    def _make_local(self) -> LocalTasks:
        from ipycron.client.local import (  # noqa: PLC0415 - as above
            LocalLauncher,
            LocalTasks,
        )
        from ipycron.scheduling.scheduler import Scheduler  # noqa: PLC0415

        client = self._client
        launcher = LocalLauncher(self._pool, client)
        shares = client.shares_pools and not find_missing_feature()
        scheduler = Scheduler(
            pools=Pools(self.background.places.make_pool) if shares else None,
            clock=client.clock,
            launcher=launcher,
            emit=client.handle_own_notice,
            note=client.history.note_pending,
            note_attempt=client.handle_own_attempt,
            elector=self.elector,
            on_set_back=client.handle_set_back,
        )
        # On the loop, which makes pools, too; before any task is added there.
        for name, limit in list(client.pools.items()):
            self.submit(partial(scheduler.set_pool, name, limit))
        return LocalTasks(scheduler, launcher, self._pool, client.history)

    @property
    def async_tasks(self) -> Collection[asyncio.Task[Any]]:
        """The scheduler's asyncio tasks in progress: starts, stops, elections."""
        return () if self._local is None else self._local.async_tasks

    def run(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Run a coroutine on the loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _call_all(self) -> None:
        """Make every submitted call, even if its thread was interrupted in `submit`."""
        while self._calls:
            try:
                self._calls[0]()
            finally:
                self._calls.popleft()  # last: an empty queue means that all is done

    def add(self, task: TaskRecord) -> None:
        """Register a task with its owner."""
        if task.home == "local":
            self.prepare_local()
        self.submit(partial(self._owners[task.home].add, task))

    def set_pool(self, name: str | None, limit: int | None) -> None:
        """Set the limit of a pool, for tasks of every kind."""
        self.submit(partial(self._set_pool, name, limit))

    def _set_pool(self, name: str | None, limit: int | None) -> None:
        for owner in list(self._owners.values()):
            owner.set_pool(name, limit)

    def reschedule(self, task: TaskRecord) -> None:
        """Pass the task's new expression to its owner."""
        self.submit(partial(self._reschedule, task))

    def _reschedule(self, task: TaskRecord) -> None:
        owner = self._owners[task.home]
        if not owner.knows(task.id):
            return
        if not self._comes_later(task, partial(self._reschedule, task)):
            owner.reschedule(task)

    def warm(self, preload: Preload | None) -> None:
        """Start the supervisor in advance, without waiting for it."""
        self.submit(partial(self._warm, preload))

    def _warm(self, preload: Preload | None) -> None:
        if not self.background.is_closed:
            self.background.warm(preload)

    def control(
        self,
        task: TaskRecord,
        action: Action,
        completion: Completion[None],
        *,
        force: bool,
    ) -> None:
        """Start, stop or destroy a task; `completion` ends with it."""
        if action == "start":
            self._owners[task.home].prepare_start()
        call = partial(self._control, task, action, completion, force=force)
        if not self.submit(call):
            completion.set(read_nothing)  # everything is destroyed

    def _control(
        self,
        task: TaskRecord,
        action: Action,
        completion: Completion[None],
        *,
        force: bool,
    ) -> None:
        owner = self._owners[task.home]
        if not owner.knows(task.id):
            completion.set(read_nothing)  # destroyed in the meantime
            return
        call = partial(self._control, task, action, completion, force=force)
        if self._comes_later(task, call):
            return
        # What an earlier life of a kept task has left, the service settles.
        is_own = action == "start" and not task.is_kept
        if is_own and self._client.history.begins_anew(task):
            if task.options.get_policy().gaps.mode != "none":
                look = self._looking[task.id] = _Look(self._loop.create_future())
                look.start = asyncio.ensure_future(self._start_after(task, look))
                _settle(look.start, completion)
                return
            self._in_thread(partial(self._look_back, task))
        _settle(owner.control(task.id, action, force=force), completion)

    def _comes_later(self, task: TaskRecord, call: Callable[[], None]) -> bool:
        """Make this call after the task's start if that looks for an earlier life.

        Before it, a stop would stop nothing, and another start would be without what is
        owed.
        """
        look = self._looking.get(task.id)
        if look is not None:
            look.later.append(call)
        return look is not None

    async def _start_after(self, task: TaskRecord, look: _Look) -> None:
        """Start a task that catches up on what an earlier life has left."""

        def find() -> None:
            outage = self._client.history.find_outage(task)
            self.submit(partial(look.settle, outage))

        self._in_thread(find)
        try:
            task.outage = await look.found
        except asyncio.CancelledError:
            raise StartRevoked(name=task.name) from None
        owner = self._owners[task.home]
        start = None
        if owner.knows(task.id):
            started = owner.control(task.id, "start", force=False)
            start = None if started is None else asyncio.ensure_future(started)
        # After the first step of the start, which such a call may revoke.
        self._loop.call_soon(self._make_later_calls, task.id)
        if start is not None:
            await start

    def _make_later_calls(self, task_id: str) -> None:
        """Make the calls that have waited for a start, in their order."""
        for call in self._looking.pop(task_id).later:
            call()

    async def _give_up_looking(self) -> None:
        """Revoke the starts that look for an earlier life: the disk may be slow.

        What waits for them is settled when the loop has ended.
        """
        given_up = [look for look in self._looking.values() if look.found.cancel()]
        starts = [look.start for look in given_up if look.start is not None]
        await asyncio.gather(*starts, return_exceptions=True)

    def _look_back(self, task: TaskRecord) -> None:
        """Report what an interrupted earlier life has missed; on a thread."""
        outage = self._client.history.find_outage(task)
        if outage is not None and not outage.is_clean:
            self.submit(partial(self._report_missed, task, outage.since))

    def _report_missed(self, task: TaskRecord, since: float) -> None:
        owner = self._owners[task.home]
        if owner.knows(task.id):
            owner.report_missed(task.id, since)

    def _in_thread(self, call: Callable[[], None]) -> None:
        """Call this on a thread that waits for the disk; where there is none, here."""
        thread = threading.Thread(target=call, name="ipycron-history", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            call()

    def pause(
        self,
        task: TaskRecord,
        pause: Pause | None,
        completion: Completion[None],
        *,
        catch_up: CatchUp = NO_CATCH_UP,
    ) -> None:
        """Pause a task, or resume it; `completion` ends with that."""
        if not self.submit(partial(self._pause, task, pause, completion, catch_up)):
            completion.set(read_nothing)  # everything is destroyed

    def _pause(
        self,
        task: TaskRecord,
        pause: Pause | None,
        completion: Completion[None],
        catch_up: CatchUp,
    ) -> None:
        owner = self._owners[task.home]
        if not owner.knows(task.id):
            completion.set(read_nothing)
            return
        call = partial(self._pause, task, pause, completion, catch_up)
        if not self._comes_later(task, call):
            _settle(owner.pause(task.id, pause, catch_up), completion)

    def try_call(self, task: TaskRecord, completion: Completion[Any]) -> bool:
        """Call the task's worker directly; return whether the call was made."""
        if self._calls:
            return False
        if task.options.execute_timeout is not None:
            return False  # the loop must end the wait after the timeout
        return self._owners[task.home].try_call(
            task, completion, is_watched=task.needs_run_events
        )

    def catch_up(self, tasks: Iterable[TaskRecord]) -> None:
        """Wait until the tasks' histories contain every run that has ended so far."""
        direct = self.background.direct
        behind = [task.id for task in tasks if direct.has_answers(task.id)]
        done = Wakeup()

        def catch_up() -> None:
            for task_id in behind:
                direct.catch_up(task_id)
            done.set()

        if not behind:
            return
        if threading.current_thread() is self.thread:
            catch_up()
        elif self.submit(catch_up):
            done.wait()

    def flush_history(self, timeout: float) -> None:
        """Wait until the supervisor has written its rows, at most `timeout` seconds."""
        with contextlib.suppress(RuntimeError, TimeoutError, SupervisorLost):
            self.run(self._flush_history()).result(timeout)

    async def _flush_history(self) -> None:
        self.background.direct.catch_up_all()
        flushed = self.background.flush_history()
        if self.kept is not None:
            with contextlib.suppress(ServiceError):  # who reads, reads what is there
                await self.kept.flush_history()
        if flushed is not None:
            await flushed

    def execute(
        self, task: TaskRecord, execution_id: str, slot: int | None = None
    ) -> None:
        """Run a task now; its end, or the refusal, reaches the task.

        With a `slot` it is a run of a backfill, which nobody waits for.

        A worker's run is requested in the calling thread if no earlier request is still
        to be sent: that saves waking the loop.
        """
        if (
            slot is None
            and task.options.execute_timeout is None
            and not self._calls
            and task.id not in self._looking
            and self._owners[task.home].execute_at_once(task.id, execution_id)
        ):
            return
        if not self.submit(partial(self._execute, task, execution_id, slot)):
            task.refuse(execution_id, TaskDestroyed(name=task.name))

    def _execute(self, task: TaskRecord, execution_id: str, slot: int | None) -> None:
        owner = self._owners[task.home]
        if not owner.knows(task.id):
            task.refuse(execution_id, TaskDestroyed(name=task.name))
            return
        if self._comes_later(task, partial(self._execute, task, execution_id, slot)):
            return
        owner.execute(task.id, execution_id, slot)
        timeout = task.options.execute_timeout
        if timeout is not None and slot is None:
            self._loop.call_later(timeout, task.expire, execution_id, timeout)

    # --- on the loop ----------------------------------------------------------------

    def forget(self, task: TaskRecord) -> None:
        """Forget a destroyed task. Idempotent."""
        self._owners[task.home].forget(task.id)
        if task.options.distributed:
            self.elector.sweep()

    # --- the end --------------------------------------------------------------------

    def shutdown(self, timeout: float, end_rest: Callable[[], None]) -> None:
        """Stop everything, wait until it is gone, and end the thread.

        May be called again after a call was interrupted, and by a signal handler during
        a call: both wait for the same end.

        Args:
            timeout: seconds that runs in progress may take.
            end_rest: called on the loop when every process is gone.
        """
        with self._lock:
            if self._end is None:
                work = self._shutdown(timeout, end_rest)
                self._end = asyncio.run_coroutine_threadsafe(work, self._loop)
                self._end.add_done_callback(self._leave)
        # Neither `result` nor `join` can be interrupted and repeated safely.
        wakeup = Wakeup()
        self._wakeups.append(wakeup)
        if not self._is_gone:
            wakeup.wait()
        self._end.result(0)

    def _leave(self, _: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _shutdown(self, timeout: float, end_rest: Callable[[], None]) -> None:
        await self._give_up_looking()
        if self.kept is not None:
            self.kept.close()
        own: list[LocalTasks | BackgroundTasks] = [self.background]
        if self._local is not None:
            own.insert(0, self._local)
        await asyncio.gather(*(owner.shutdown(timeout) for owner in own))
        await self._give_up_looking()  # those that began meanwhile
        end_rest()
        await self.elector.aclose()


class _Look:
    """The start of a task that reads first what an earlier life of it has left.

    Attributes:
        found: what the life has left.
        start: the start, from reading on.
        later: what has been asked for since, in this order.
    """

    def __init__(self, found: asyncio.Future[Outage | None]) -> None:
        self.found = found
        self.start: asyncio.Future[None] | None = None
        self.later: list[Callable[[], None]] = []

    def settle(self, outage: Outage | None) -> None:
        """Go on with the start, unless it has been given up."""
        if not self.found.done():
            self.found.set_result(outage)


def _settle(work: Awaitable[None] | None, completion: Completion[None]) -> None:
    if work is None:  # done
        completion.set(read_nothing)
        return

    def settle(future: asyncio.Future[Any]) -> None:
        if future.cancelled():
            completion.fail(asyncio.CancelledError())
        elif (error := future.exception()) is not None:
            completion.fail(error)
        else:
            completion.set(read_nothing)

    asyncio.ensure_future(work).add_done_callback(settle)
