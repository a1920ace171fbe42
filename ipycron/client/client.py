"""The client: everything of ipycron that runs in the user's process.

Importing this module loads only what a script needs to create a task and to start the
supervisor. The engine, and asyncio with it, is imported while the supervisor starts.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from collections import deque
from datetime import timedelta
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from ipycron.client.announce import announce, needs_announcement
from ipycron.client.echo import Echo
from ipycron.client.event_log import MAX_ITEMS, EventLog
from ipycron.client.history import HISTORY_LINE, ClientHistory
from ipycron.client.job_logs import JobLogs
from ipycron.client.keepalive import Keepalive
from ipycron.client.listeners import Dispatcher, Listeners
from ipycron.client.recording import StreamHooks
from ipycron.client.threads import ThreadPool
from ipycron.errors import (
    PythonNotFound,
    ServiceLost,
    StartRefused,
    SupervisorLost,
    TaskDestroyed,
    TaskNotInherited,
)
from ipycron.process.refusal import describe
from ipycron.process.supervision import describe_refusal, start_supervisor
from ipycron.process.unix import find_missing_feature
from ipycron.process.wire.protocol import Streamed
from ipycron.runlog.keeper import READERS_PATIENCE
from ipycron.scheduling.bounds import find_excluded
from ipycron.scheduling.clock import SystemClock
from ipycron.scheduling.events import Event, Outcome, Status, to_datetime
from ipycron.scheduling.policy import NO_CATCH_UP
from ipycron.scheduling.services import IdMaker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ipycron.client.completion import Completion, Waiters
    from ipycron.client.engine import Engine
    from ipycron.client.jobs import Source
    from ipycron.client.kept import KeptTasks
    from ipycron.client.options import TaskOptions
    from ipycron.client.record import TaskRecord
    from ipycron.client.recovery import Action
    from ipycron.process.direct.client_end import Answer
    from ipycron.process.supervision import SupervisorProcess
    from ipycron.process.wire.payload import Payload
    from ipycron.process.wire.protocol import Displayed, Preload
    from ipycron.runlog.reading import SlotOutcomes
    from ipycron.runlog.settings import HistorySettings
    from ipycron.scheduling.events import AttemptBegan, Notice, Pause, TaskContext
    from ipycron.scheduling.plan import Outage
    from ipycron.scheduling.policy import CatchUp
    from ipycron.scheduling.ports import Clock


LAST_EVENTS = 1.0
"""Minimum seconds for listeners and log handlers to handle the last events."""

LAST_ROWS = 2.0
"""Seconds for the last rows of the history to be written."""

AGAIN = 60.0
"""Seconds within which all schedulers report one step of the clock."""

_log = logging.getLogger("ipycron")


class Client:
    """Everything of ipycron that runs in this process; created when first needed.

    Attributes:
        tasks: by id, all that are not destroyed.
        listeners: those of all tasks.
        event_log: the last events; it outlives this client.
        logger: for tasks without a logger of their own.
        pools: the limits of all pools, by name; the name None is that of all tasks
            without a pool.
        shares_pools: whether the supervisor counts the places of runs in this process,
            together with those of background tasks.
        leashes: descriptors that each supervisor holds open as long as it lives.
        coordinator: for tasks without a coordinator of their own; may be None.
        clock: its own scheduler's.
        keeps: whether its tasks may be kept, and kept ones are shown.
        make_handle: makes the `Task` of a task that was declared elsewhere.
        make_id: makes the ids of manual runs.
        defer: calls a function on the listeners' thread, after pending listeners.
    """

    def __init__(
        self, event_log: EventLog | None = None, clock: Clock | None = None
    ) -> None:
        self.event_log = event_log or EventLog()
        self.clock: Clock = clock or SystemClock()
        self.tasks: dict[str, TaskRecord] = {}
        self.listeners = Listeners()
        self.logger: logging.Logger | None = None
        self.coordinator: Any = None
        self.shares_pools = True
        self.keeps = True
        self.make_handle: Callable[[TaskRecord], Any] = _make_no_handle
        self.leashes: tuple[int, ...] = ()
        self.pools: dict[str | None, int | None] = {}
        self.make_id = IdMaker()
        self.dispatcher = Dispatcher()
        self.defer = self.dispatcher.submit
        self.echo = Echo(self.defer)
        self.streams = StreamHooks()
        self._job_logs = JobLogs(self.defer)
        self.history = ClientHistory(self.warn)
        self.keepalive = Keepalive()
        self._pool = ThreadPool()
        # Reentrant: a signal handler may start a task or shut everything down while the
        # code that it interrupts does so.
        self._lock = threading.RLock()
        self._engine: Engine | None = None
        self._new: deque[TaskRecord] = deque()  # not yet passed to the engine
        self._supervisor: SupervisorProcess | None = None  # until there is an engine
        self._warned: set[str] = set()
        self._set_back_at: float | None = None  # when that was last reported
        self.is_closed = False
        self._pid = os.getpid()
        self._origin: int | None = None  # in a forked child: the process of the client
        self._abandoned: Engine | None = None

    @property
    def supervisor_pid(self) -> int | None:
        """The supervisor's process id; None while there is no supervisor."""
        return None if self._engine is None else self._engine.background.supervisor_pid

    @property
    def is_attached(self) -> bool:
        """Whether it follows the service of kept tasks."""
        kept = None if self._engine is None else self._engine.kept
        return kept is not None and kept.is_attached

    @property
    def service_pid(self) -> int | None:
        """The process of the service; None if it is not attached."""
        kept = None if self._engine is None else self._engine.kept
        return None if kept is None else kept.service_pid

    # --- from any thread ------------------------------------------------------------

    def get_kept(self) -> KeptTasks:
        """Return the owner of kept tasks; their service may not be reached yet.

        Raises:
            OSError: if no descriptors are left.
        """
        engine = self._engine or self._get_engine(is_for_worker=False)
        return engine.use_kept(self)

    def _get_engine(self, *, is_for_worker: bool) -> Engine:
        """Return the engine, created when first needed.

        It is imported on the calling thread: if a thread of ipycron's own were doing so
        while the user forks, the child could never import these modules.

        Args:
            is_for_worker: whether the supervisor will be needed at once.

        Raises:
            OSError: if no descriptors are left; the call may be repeated.
        """
        with self._lock:
            if self._engine is None:
                self._make_engine(is_for_worker=is_for_worker)
            assert self._engine is not None
            return self._engine

    def _make_engine(self, *, is_for_worker: bool) -> None:
        self._check_open()
        with contextlib.ExitStack() as undo:
            supervisor = None
            if is_for_worker:
                # The engine tries again, and reports the error.
                with contextlib.suppress(OSError, PythonNotFound):
                    supervisor = start_supervisor(None, self.leashes)
                    self._supervisor = supervisor
                    undo.callback(supervisor.kill)
            has_local = any(task.home == "local" for task in list(self._new))
            make_engine = _import_engine(has_local=has_local)
            engine = make_engine(self, self._pool, supervisor, has_local=has_local)
            undo.pop_all()
        if self._engine is None and not self.is_closed:
            self._engine, self._supervisor = engine, None
            self._hand_over()
        else:  # a signal handler has made one, or shut everything down
            engine.shutdown(0.0, lambda: None)
            self._check_open()

    def _check_open(self) -> None:
        if self.is_closed:
            raise RuntimeError("ipycron was shut down")

    def _hand_over(self) -> None:
        """Pass new tasks to the engine, each once."""
        assert self._engine is not None
        while self._new:
            self._engine.add(self._new.popleft())

    def place(self, source: Source, options: TaskOptions) -> Source:  # noqa: ARG002 - `ipycron.testing` places jobs elsewhere
        """Return where a task's job is to run."""
        return source

    def add(self, task: TaskRecord) -> None:
        """Register a task with the scheduler that will run it."""
        with self._lock:
            # First: its import may be interrupted, and nothing has happened then.
            if self._engine is not None and task.home == "local":
                self._engine.prepare_local()
            self._check_open()
            self.tasks[task.id] = task
            self._new.append(task)
            if self._engine is not None:
                self._hand_over()
        self.event_log.notify(task.id)

    def set_coordinator(self, coordinator: Any) -> None:
        """Use it for tasks without a coordinator of their own."""
        self.coordinator = coordinator
        if self._engine is not None:
            self._engine.submit(self._engine.elector.sweep)

    def set_pool(self, name: str | None, limit: int | None) -> None:
        """Limit the runs of a pool that are in progress at once; None: any number."""
        with self._lock:
            self.pools = {**self.pools, name: limit}
            if self._engine is not None:
                self._engine.set_pool(name, limit)

    def use_history(self, settings: HistorySettings) -> None:
        """Have this process and its supervisor write the history there from now on."""
        self.history.use(settings)
        engine = self._engine
        if engine is not None:
            engine.submit(partial(engine.background.keep_history, settings))

    def find_outcomes(
        self, task: TaskRecord, first: float, last: float
    ) -> SlotOutcomes | None:
        """Return what became of a task's slots; None if they are not recorded."""
        self.flush_history(READERS_PATIENCE)
        return self.history.find_outcomes(task, first, last)

    def flush_history(self, timeout: float) -> None:
        """Return once all rows so far are written, or after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        engine = self._engine
        if engine is not None and threading.current_thread() is not engine.thread:
            engine.flush_history(timeout)
        self.history.flush(max(0.0, deadline - time.monotonic()))

    def warm(self, preload: Preload | None = None) -> None:
        """Start the supervisor in advance, if possible, without waiting for it."""
        if not find_missing_feature():
            self._get_engine(is_for_worker=True).warm(preload)

    def control(
        self,
        task: TaskRecord,
        action: Action,
        completion: Completion[None],
        *,
        force: bool,
    ) -> None:
        """Start, stop or destroy a task; `completion` ends with it."""
        try:
            needs_worker = task.home == "supervisor"
            engine = self._engine or self._get_engine(is_for_worker=needs_worker)
        except OSError as error:
            completion.fail(_describe_refusal(task, error))
        else:
            engine.control(task, action, completion, force=force)

    def pause(
        self,
        task: TaskRecord,
        pause: Pause | None,
        completion: Completion[None],
        *,
        catch_up: CatchUp = NO_CATCH_UP,
    ) -> None:
        """Pause a task, or resume it; `completion` ends with that."""
        try:
            engine = self._engine or self._get_engine(is_for_worker=False)
        except OSError as error:
            completion.fail(_describe_refusal(task, error))
        else:
            engine.pause(task, pause, completion, catch_up=catch_up)

    def try_call(self, task: TaskRecord, completion: Completion[Any]) -> bool:
        """Call a task's worker directly; return whether the call was made."""
        engine = self._engine
        return engine is not None and engine.try_call(task, completion)

    def catch_up(self, *tasks: TaskRecord) -> None:
        """Wait until the tasks' histories contain every run whose result is known."""
        if self._engine is not None:
            self._engine.catch_up(tasks)

    def listen(
        self, event: str, listener: Callable[[TaskContext], Any], *, once: bool = False
    ) -> None:
        """Call `listener` at an event of any task, from now on."""
        self.catch_up(*list(self.tasks.values()))
        self.listeners.add(event, listener, once=once)

    def reschedule(self, task: TaskRecord) -> None:
        """Pass the task's new expression to its scheduler, if it has one."""
        with self._lock:
            if self._engine is not None:
                self._engine.reschedule(task)
        self.event_log.notify(task.id)

    def execute(
        self, task: TaskRecord, execution_id: str, slot: int | None = None
    ) -> None:
        """Run a task now, or for a slot; its end, or the refusal, reaches the task."""
        try:
            needs_worker = task.home == "supervisor"
            engine = self._engine or self._get_engine(is_for_worker=needs_worker)
        except OSError as error:
            task.refuse(execution_id, _describe_refusal(task, error))
        else:
            engine.execute(task, execution_id, slot)

    # --- on the client's loop: what happens to tasks --------------------------------

    def submit(self, call: Callable[[], object]) -> bool:
        """Call this on the client's loop; return False if there is none."""
        engine = self._engine
        return engine is not None and engine.submit(call)

    def handle_notice(self, notice: Notice) -> None:
        """Update the task and call its listeners; see `ClientPort`."""
        task = self.tasks.get(notice.task_id)
        if task is None:
            return
        was_started = task.is_started
        execution = task.observed.follow(notice)
        if needs_announcement(task, notice, self.listeners):
            task.defer(
                partial(
                    announce,
                    task,
                    notice,
                    execution,
                    listeners=self.listeners,
                    dispatcher=self.dispatcher,
                )
            )
        task.end_calls(notice, execution)
        # The runs of a started task change nothing; but its loop may have ended.
        if not (was_started and task.is_started) or task.has_loop:
            self.keepalive.update(task)
        if notice.event is Event.TASK_DESTROYED:
            self.tasks.pop(task.id, None)
            self.echo.forget(task.id)
            if self._engine is not None:
                self._engine.forget(task)
        self.event_log.post(task.id, task.name, notice)

    def adopt(self, task: TaskRecord) -> None:
        """Count a kept task among the client's; one that is there has changed."""
        if task.handle is None:
            self.make_handle(task)
        self.tasks.setdefault(task.id, task)
        self.event_log.notify(task.id)

    def handle_own_notice(self, notice: Notice) -> None:
        """Handle a notice of this process's own scheduler, which records it."""
        task = self.tasks.get(notice.task_id)
        self.handle_notice(notice)
        self.history.note(notice, task)

    def handle_attempt(self, began: AttemptBegan) -> None:
        """Show that a queued attempt has begun; see `ClientPort`."""
        task = self.tasks.get(began.task_id)
        if task is not None:
            task.observed.follow_attempt(began)
            self.event_log.notify(task.id)

    def handle_own_attempt(self, began: AttemptBegan) -> None:
        """Do that for this process's own scheduler, and record it."""
        self.handle_attempt(began)
        self.history.note_attempt(began)

    def get_waiters(self, task_id: str) -> Waiters | None:
        """Return a task's waiters; None if the task is gone; see `ClientPort`."""
        task = self.tasks.get(task_id)
        return None if task is None else task.waiters

    def handle_answers(self, task_id: str, answers: list[Answer]) -> None:
        """Bring the task up to date with its direct calls; see `ClientPort`."""
        task = self.tasks.get(task_id)
        if task is None:
            return
        self.history.note_answers(task_id, answers)
        if task.needs_run_events:
            for answer in answers:
                for notice in task.observed.describe_run(*answer):
                    self.handle_notice(notice)
        else:
            task.observed.follow_runs(answers)
            # No more than are remembered: each run is two events.
            shown = [task.observed.describe_run(*a) for a in answers[-MAX_ITEMS // 2 :]]
            notices = chain.from_iterable(shown)
            self.event_log.post(task.id, task.name, *notices)

    def handle_refusal(
        self, task_id: str, execution_id: str, error: BaseException
    ) -> None:
        """Fail the completion of a refused run; see `ClientPort`."""
        task = self.tasks.get(task_id)
        if task is not None:
            task.refuse(execution_id, error)

    def handle_output(self, message: Streamed | Displayed, payload: Payload) -> None:
        """Add to the output of a run; see `ClientPort`."""
        task = self.tasks.get(message.task_id)
        if task is not None:
            task.observed.add_output(message, payload)
            if isinstance(message, Streamed) and task.options.echo:
                self._echo(task, message, payload)
            self.event_log.notify(task.id)

    def _echo(self, task: TaskRecord, message: Streamed, payload: Payload) -> None:
        started = (task for task in self.tasks.values() if task.is_started)
        has_others = len([*islice(started, 2)]) > 1
        self.echo.submit(
            task.id,
            message.stream,
            bytes(payload.open()),
            message.dropped,
            f"[{task.name}] " if has_others else "",
        )

    def handle_record(self, record: logging.LogRecord, task_id: str) -> None:
        """Have the record handled by this process's logging; see `ClientPort`."""
        text = "" if task_id else str(record.msg)
        if text.startswith(HISTORY_LINE) and not self.history.is_news(text):
            return
        self._job_logs.submit(record, self.tasks.get(task_id))

    def handle_loss(
        self,
        error: SupervisorLost,
        open_controls: Mapping[str, Action | None],
        *,
        is_first: bool,
    ) -> list[str]:
        """End the runs that were lost; see `ClientPort`."""
        lost = [task for task in self.tasks.values() if task.home == "supervisor"]
        self.history.note_loss()
        self.history.note_passed_over()
        assert self._engine is not None
        self._engine.elector.abandon({task.id for task in lost})
        now, outcome = self.clock.now(), Outcome.of_error(error)
        if is_first:
            self.get_logger(None).error("%s", error)
        for task in lost:
            self.history.note_last_runs(task, now)
            task.observed.forget_queued()
            for notice in task.observed.describe_loss(
                now, outcome, open_control=open_controls.get(task.id)
            ):
                self.handle_own_notice(notice)
            task.refuse_all(error)
        return [task.id for task in lost if task.is_started]

    def handle_set_back(self, seconds: float, since: float) -> None:
        """Follow a clock that was set back, and log that once; see `ClientPort`.

        Two schedulers may report the same step, one after the other.
        """
        for task in list(self.tasks.values()):
            task.observed.recount(since, self.clock.now())
        clock = self.clock
        if self._set_back_at is None or clock.monotonic() - self._set_back_at > AGAIN:
            self._set_back_at = clock.monotonic()
            self.get_logger(None).warning(
                "the clock was set back by %s: the slots of all tasks are counted "
                "anew, from %s",
                timedelta(seconds=round(seconds)),
                to_datetime(clock.now()).isoformat(" ", "seconds"),
            )

    def warn(self, text: str) -> None:
        """Log a warning; see `ClientPort`."""
        self.get_logger(None).warning("%s", text)

    def handle_missed(self, task_id: str, outage: Outage) -> None:
        """Report the slots missed without a supervisor; see `ClientPort`."""
        task = self.tasks.get(task_id)
        if task is not None:
            excluded = find_excluded(task.trigger, task.options, outage.until)
            for notice in task.observed.describe_missed(
                outage, task.schedule, excluded
            ):
                self.handle_own_notice(notice)

    def handle_failed_resume(
        self, task_id: str, error: BaseException, outage: Outage, *, is_wanted: bool
    ) -> None:
        """Report that a task is stopped; see `ClientPort`."""
        task = self.tasks.get(task_id)
        if task is not None:
            self.handle_missed(task_id, outage)
            event = Event.TASK_FAILED if is_wanted else Event.TASK_STOPPED
            outcome = Outcome.of_error(error) if is_wanted else None
            now = self.clock.now()
            self.handle_own_notice(task.observed.describe_end(event, now, outcome))

    def handle_destroy(self, task_id: str) -> None:
        """Report that a task is destroyed; see `ClientPort`."""
        task = self.tasks.get(task_id)
        if task is not None:
            now = self.clock.now()
            end = task.observed.describe_end(Event.TASK_DESTROYED, now)
            self.handle_own_notice(end)

    def handle_pause(self, task_id: str, pause: Pause | None) -> None:
        """Report a pause or a resume that no scheduler reports; see `ClientPort`."""
        task = self.tasks.get(task_id)
        if task is not None:
            notice = task.observed.describe_pause(pause, self.clock.now())
            if notice is not None:
                self.handle_notice(notice)

    def make_over_error(self, task: TaskRecord) -> BaseException:
        """Return why a task that is over cannot run."""
        if self._origin is not None:
            return TaskNotInherited(name=task.name, pid=self._origin)
        if task.is_kept and task.status != Status.DESTROYED:
            name = f"ipycron.get_task({task.name!r})"
            reason = f"this process has left it by shutdown(); {name} finds the task"
            return ServiceLost(reason=reason)
        return TaskDestroyed(name=task.name)

    @property
    def is_copy(self) -> bool:
        """Whether this process was forked from the client's."""
        return self._origin is not None

    def get_handles(self) -> dict[str, Any]:
        """Return the users' `Task`s, by id; a snapshot."""
        return {task.id: task.handle for task in list(self.tasks.values())}

    def get_logger(self, task: TaskRecord | None) -> logging.Logger:
        """Return the logger for a task: its own, the client's, or ipycron's."""
        own = None if task is None else task.options.logger
        return own or self.logger or _log

    def warn_once(
        self, message: str, *values: object, extra: Mapping[str, object]
    ) -> None:
        """Log a warning unless it was logged before."""
        if message not in self._warned:
            self._warned.add(message)
            self.get_logger(None).warning(message, *values, extra=extra)

    # --- the end --------------------------------------------------------------------

    def shutdown(self, timeout: float) -> None:
        """Stop everything, wait until it is gone, and end the client's threads.

        May be called again: see `Engine.shutdown`.
        """
        with self._lock:
            self.is_closed = True
        self.history.expect_end()
        if self._engine is None:
            self._end_rest()
        else:
            self._engine.shutdown(timeout, self._end_rest)
        self.keepalive.close()
        self._pool.close()
        self.dispatcher.close(timeout=max(timeout, LAST_EVENTS))
        self.history.close(LAST_ROWS)

    def _end_rest(self) -> None:
        """Destroy tasks that were never started, or have lost their supervisor."""
        lost = SupervisorLost(reason="it was lost during the shutdown")
        now, outcome = self.clock.now(), Outcome.of_error(lost)
        for task in list(self.tasks.values()):
            if task.is_kept:
                task.refuse_all(self.make_over_error(task))
                continue
            for notice in task.observed.describe_loss(
                now, outcome, open_control="destroy"
            ):
                self.handle_own_notice(notice)

    def close_in_child(self) -> None:
        """Release everything in a process that the client forked.

        The client's threads do not exist there, they may have held its locks at the
        fork, and its descriptors are shared with the parent.
        """
        self.is_closed = True
        self._origin = self._pid
        self._lock = threading.RLock()
        self.defer = _forget
        self.keepalive.close_in_child()
        self.streams.close_in_child()
        self.history.close_in_child()
        if self._supervisor is not None:
            self._supervisor.sock.close()
        if self._engine is not None:
            self._engine.background.close_in_child()
            if self._engine.kept is not None:
                self._engine.kept.close_in_child()
            self._abandoned, self._engine = self._engine, None
        for task in self.tasks.values():
            task.observed.forget_in_child()


def _make_no_handle(task: TaskRecord) -> Any:
    """Do nothing, where no user is to see kept tasks."""


def _forget(call: Callable[[], Any], *, lane: str | int = "", label: str = "") -> None:
    """Do nothing: the thread for such calls does not exist in this process."""


def _import_engine(*, has_local: bool) -> type[Engine]:
    """Import the engine, and asyncio, completely or not at all.

    When the import of a package is interrupted, `sys.modules` loses the package but
    keeps its modules: the next import would not run those again, and the package would
    lack their names forever.

    Args:
        has_local: whether what schedules this process's own tasks is imported, too.
    """
    try:
        from ipycron.client.engine import Engine  # noqa: PLC0415 - see the module

        if has_local:  # now, when an interrupt leaves nothing half made
            import ipycron.client.local  # noqa: PLC0415
            import ipycron.scheduling.scheduler  # noqa: F401, PLC0415
    except BaseException:
        if "asyncio" not in sys.modules:
            for name in [n for n in sys.modules if n.startswith("asyncio.")]:
                del sys.modules[name]
        raise
    return Engine


def _describe_refusal(task: TaskRecord, error: OSError) -> BaseException:
    if task.is_background:
        return describe_refusal(task.name, error)
    return StartRefused(name=task.name, reason=describe(error))
