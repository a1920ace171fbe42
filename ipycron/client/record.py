"""What the client knows about one task: the record behind the user's handle."""

from __future__ import annotations

import logging
import math
import sys
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ipycron.client.completion import Completion, Waiters, read_nothing
from ipycron.client.instants import check_note, read_moment
from ipycron.client.jobs import Background, Inline, get_folder, make_setting
from ipycron.client.listeners import Listeners
from ipycron.client.recording import Recorder
from ipycron.client.schedules import parse_schedule
from ipycron.client.state import ENDS, ObservedState
from ipycron.client.waits import (
    check_may_block,
    check_not_inside,
    check_not_listening,
    get_call_of_listener,
    get_running_loop,
)
from ipycron.errors import BlockingCall, TaskDestroyed, WaitTimeout
from ipycron.scheduling.bounds import bound, count_from_end
from ipycron.scheduling.events import Event, Pause, Status, to_datetime
from ipycron.scheduling.policy import NO_CATCH_UP, read_catch_up

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from datetime import datetime

    from ipycron.client.event_log import EventLog
    from ipycron.client.executions import Execution
    from ipycron.client.jobs import Source
    from ipycron.client.keepalive import Keepalive
    from ipycron.client.options import TaskOptions
    from ipycron.client.recording import StreamHooks
    from ipycron.client.recovery import Action
    from ipycron.cron.trigger import Trigger
    from ipycron.process.wire.protocol import Setting
    from ipycron.runlog.reading import SlotOutcomes
    from ipycron.scheduling.bounds import Bounded
    from ipycron.scheduling.events import Notice
    from ipycron.scheduling.plan import Outage
    from ipycron.scheduling.policy import CatchUp
    from ipycron.scheduling.ports import Clock
    from ipycron.triggers.exclusions import Included

Home = Literal["local", "supervisor", "service"]
"""Where a task lives: in this process, in its supervisor and workers, or in the
service, which outlives both."""


class TaskClient(Protocol):
    """What a record needs of the client that it belongs to."""

    @property
    def is_closed(self) -> bool:
        """Whether everything is shut down, or about to be."""

    @property
    def is_copy(self) -> bool:
        """Whether this process was forked from the client's."""

    @property
    def clock(self) -> Clock:
        """The clock that its tasks follow."""

    @property
    def listeners(self) -> Listeners:
        """The listeners of all tasks."""

    @property
    def event_log(self) -> EventLog:
        """Receives every change of a task."""

    @property
    def keepalive(self) -> Keepalive:
        """Keeps the process alive for the tasks that require it."""

    @property
    def make_id(self) -> Callable[[], str]:
        """Makes the ids of manual runs."""

    @property
    def streams(self) -> StreamHooks:
        """Records what runs in this process print."""

    @property
    def defer(self) -> Callable[..., None]:
        """Calls a function on the thread of the listeners; see `Dispatcher.submit`."""

    def control(
        self,
        task: TaskRecord,
        action: Action,
        completion: Completion[None],
        *,
        force: bool,
    ) -> None:
        """Start, stop or destroy a task; `completion` ends with it."""

    def pause(
        self,
        task: TaskRecord,
        pause: Pause | None,
        completion: Completion[None],
        *,
        catch_up: CatchUp = NO_CATCH_UP,
    ) -> None:
        """Pause a task, or resume it; `completion` ends with that."""

    def reschedule(self, task: TaskRecord) -> None:
        """Pass the task's new expression to its scheduler."""

    def try_call(self, task: TaskRecord, completion: Completion[Any]) -> bool:
        """Call the task's worker directly; return whether the call was made."""

    def find_outcomes(
        self, task: TaskRecord, first: float, last: float
    ) -> SlotOutcomes | None:
        """Return what became of the task's slots; None if they are not recorded."""

    def submit(self, call: Callable[[], object]) -> bool:
        """Call this on the client's loop; return False if there is none."""

    def execute(
        self, task: TaskRecord, execution_id: str, slot: int | None = None
    ) -> None:
        """Request a run from the task's scheduler; with a slot, one of a backfill."""

    def catch_up(self, *tasks: TaskRecord) -> None:
        """Wait until the tasks' histories contain every run that has ended."""

    def get_logger(self, task: TaskRecord | None) -> logging.Logger:
        """Return the logger for a task."""

    def make_over_error(self, task: TaskRecord) -> BaseException:
        """Return why a task that is over cannot run."""


class Follower(Protocol):
    """A backfill, which stands on its task's record."""

    def follow(self, notice: Notice) -> None:
        """Apply an event of the task."""


class TaskRecord:
    """Everything about one task: its job, its state, its listeners and its callers.

    The user holds an `ipycron.Task`, which shows the public part of this. Methods may
    be called from any thread unless noted.

    Attributes:
        id: unique.
        name: the option `name`, or the id.
        options: all options, checked.
        expression: when it runs.
        source: what it runs.
        client: the client that it belongs to.
        handle: the `Task` that the user holds; listeners receive this very object.
        observed: what its scheduler has reported.
        waiters: its runs that callers wait for.
        backfill: the one in progress, or None.
        setting: the surroundings that a worker copies; None without a worker.
        start_error: the error of the last start; None if it succeeded.
        cell: the front end's id of the notebook cell that created it; None elsewhere.
        outage: what an earlier life left, until the task is started or stopped; see
            `inherit`.
        replaces: the id of a background task that stops at the moment at which this one
            is first started; None if there is none.
    """

    def __init__(
        self,
        client: TaskClient,
        expression: Trigger,
        source: Source,
        options: TaskOptions,
        *,
        task_id: str,
        setting: Setting | None = None,
    ) -> None:
        self.id = task_id
        self.name = options.name or task_id
        self.options = options
        self.expression = expression
        # What counts from its start counts from the first one, unless told otherwise.
        self._floating = expression if options.start is None else None
        self.source = source
        self.client = client
        self.handle: Any = None
        self.observed = ObservedState(
            task_id,
            zone=expression.timezone,
            runs_left=options.max_executions,
            defer=client.defer,
        )
        self.waiters = Waiters()
        self.backfill: Follower | None = None
        self._start: Callable[[], Completion[None] | None] | None = None
        self.start_error: BaseException | None = None
        self.cell: str | None = None
        self.outage: Outage | None = None
        self.replaces: str | None = None
        self._is_ref = not options.unref
        self.listeners = Listeners()
        # It copies the environment: 5 KB that only a worker needs.
        self.setting = setting
        if setting is None and self.is_background:
            self.setting = self._make_setting()

    def _make_setting(self) -> Setting:
        options = self.options
        return make_setting(
            cwd=options.cwd or get_folder(),
            env=options.env,
            path=sys.path,
            max_result_bytes=options.max_result_bytes,
            worker_init=options.worker_init,
            retry_on=options.retries.on,
        )

    def inherit(self, outage: Outage) -> None:
        """Take over the slots that an earlier life left; before the first start.

        For a task that was declared in an earlier process, with the same name and the
        same schedule, and was neither stopped nor destroyed there by name. The first
        start settles the slots: they are caught up on or missed (C1). After a clean end
        a task that does not catch up owes nothing.
        """
        if not outage.is_clean or self.options.gaps.mode != "none":
            self.outage = outage

    # --- what it is -----------------------------------------------------------------

    @property
    def trigger(self) -> Trigger:
        """Its trigger; one that waits for runs to end counts from the last end."""
        end = self.observed.last_end
        return count_from_end(self.expression, end, self.options)

    @property
    def schedule(self) -> Trigger | Bounded | Included:
        """The trigger within the bounds of its task, without excluded slots."""
        return bound(self.trigger, self.options)

    def find_slots(self, count: int, after: float) -> list[datetime]:
        """Return the first `count` slots after an instant, Unix seconds."""
        zone, schedule = self.expression.timezone, self.schedule
        found: list[datetime] = []
        slot = schedule.find_next(after)
        while slot is not None and len(found) < count:
            found.append(to_datetime(slot, zone))
            slot = schedule.find_next(slot)
        return found

    @property
    def pattern(self) -> str:
        """The trigger's text."""
        return self.expression.text

    @property
    def timezone(self) -> str:
        """The schedule's time zone by name."""
        return str(self.expression.timezone)

    @property
    def status(self) -> str:
        """``"stopped"``, ``"idle"``, ``"running"`` or ``"destroyed"``."""
        return self.observed.status

    @property
    def runs_left(self) -> int | None:
        """Scheduled runs left under `max_executions`; None without a limit."""
        return self.observed.runs_left

    @property
    def is_background(self) -> bool:
        """Whether it runs in a worker process."""
        return isinstance(self.source, Background)

    @property
    def home(self) -> Home:
        """Where it lives; see `TaskOwner`."""
        if self.options.keep:
            return "service"
        return "supervisor" if self.is_background else "local"

    @property
    def is_kept(self) -> bool:
        """Whether it lives in the service, beyond the end of this process."""
        return self.options.keep

    @property
    def is_starting(self) -> bool:
        """Whether a start is in progress: until it ends, `status` is ``"stopped"``."""
        find_start = self._start  # the thread that ends it clears this
        if find_start is None or self.client.is_copy:
            return False
        start = find_start()
        # The start is reported a moment before its completion is done.
        is_stopped = self.observed.status is Status.STOPPED
        return start is not None and not start.done() and is_stopped

    @property
    def is_started(self) -> bool:
        """Whether its schedule is armed: neither stopped nor destroyed."""
        return self.observed.status in (Status.IDLE, Status.RUNNING)

    @property
    def is_busy(self) -> bool:
        """Whether any run is in progress, scheduled or manual."""
        return bool(self.observed.running)

    @property
    def is_over(self) -> bool:
        """Whether it can no longer be controlled."""
        return self.observed.status is Status.DESTROYED or self.client.is_closed

    # --- controls -------------------------------------------------------------------

    def control(self, action: Action, *, force: bool = False) -> Completion[None]:
        """Start, stop or destroy it; return the completion."""
        completion: Completion[None] = self.make_completion(action)
        if action == "start":
            self.begin_counting()
        else:
            self.outage = None
            completion.asked_by = get_call_of_listener(self.id)
        if action == "start":
            # Weak: a completion that is never read logs its failure when it is deleted.
            self._start = weakref.ref(completion)
        if self.client.is_copy and action == "start":
            completion.fail(self.client.make_over_error(self))
            return completion
        if self.is_over:
            completion.set(read_nothing)
            return completion
        self.client.control(self, action, completion, force=force)
        if action != "start":
            self._note_stop(completion, is_forced=force)
        if action == "start":
            # A script that is about to end must stay alive until its task has started.
            self._update_keepalive()
            completion.watch(self._handle_start)
        return completion

    def fix_schedule(self) -> None:
        """Have a trigger that counts from the task's start count as it does already."""
        self._floating = None

    def begin_counting(self) -> None:
        """Have a trigger that counts from the task's first start count from now."""
        floating, self._floating = self._floating, None
        if floating is None or self.is_over or self.client.is_copy:
            return
        self.expression = floating.begin(
            self.client.clock.now(), self.expression.timezone
        )
        if self.expression != floating:
            self.client.reschedule(self)

    def _handle_start(self, completion: Completion[None]) -> None:
        self.start_error = completion.peek()
        find_start = self._start
        if find_start is not None and find_start() is completion:
            self._start = None
        self._update_keepalive()
        self.client.event_log.notify(self.id)

    def _note_stop(self, completion: Completion[None], *, is_forced: bool) -> None:
        """Record that a stop waits for a run, and until when."""
        if not self.is_busy:
            return
        patience = 0.0 if is_forced else self.options.stop_timeout
        self.observed.stop_by = self.client.clock.now() + patience
        self.client.event_log.notify(self.id)
        completion.watch(self._handle_stop)

    def _handle_stop(self, _: Completion[None]) -> None:
        self.observed.stop_by = None
        self.client.event_log.notify(self.id)

    @property
    def pause(self) -> Pause | None:
        """Its pause; None if it is not paused, or no longer."""
        pause = self.observed.pause
        is_over = pause is not None and pause.is_over(self.client.clock.now())
        return None if is_over else pause

    def set_pause(self, until: Any, note: Any) -> Completion[None]:
        """Pause it, or change its pause; see `Task.pause`."""
        now, end = self.client.clock.now(), None
        if until is not None:
            zone = self.expression.timezone
            end = math.ceil(read_moment("until", until, zone, now))
        return self._change_pause(
            "pause", Pause(since=now, until=end, note=check_note(note))
        )

    def end_pause(self, catch_up: Any) -> Completion[None]:
        """End its pause, if it has one; see `Task.resume`."""
        given = "none" if catch_up is None else catch_up
        return self._change_pause("resume", None, read_catch_up("catch_up", given))

    def _change_pause(
        self, what: str, pause: Pause | None, catch_up: CatchUp = NO_CATCH_UP
    ) -> Completion[None]:
        completion: Completion[None] = self.make_completion(what)
        if self.client.is_copy:
            completion.fail(self.client.make_over_error(self))
        elif self.is_over:
            completion.set(read_nothing)
        else:
            self.client.pause(self, pause, completion, catch_up=catch_up)
        return completion

    def call(self) -> Completion[Any]:
        """Request a run; return its completion. See `Task.execute`."""
        client = self.client
        completion = self.make_completion("execute")
        # A direct call must not overtake a manual run that was requested before it.
        is_first = not (self.waiters or self.observed.running or self.is_over)
        if is_first and client.try_call(self, completion):
            return completion
        execution_id = client.make_id()
        try:
            self.waiters.add(execution_id, completion)
            # Last: the end of a task ends all of its calls, and this is one by now.
            if self.is_over:
                self.refuse(execution_id, client.make_over_error(self))
            else:
                client.execute(self, execution_id)
        except BaseException:  # a signal handler raised: the caller never gets it
            self.waiters.take(execution_id)
            raise
        return completion

    def catch_up(self) -> None:
        """Wait until the history contains every run that has ended."""
        self.client.catch_up(self)

    def reschedule(self, expression: Any) -> None:
        """Use another trigger; see `Task.reschedule`."""
        parsed = parse_schedule(
            expression,
            self.options,
            self.id,
            self.source,
            now=self.client.clock.now(),
        )
        if self.is_over:
            raise self.client.make_over_error(self)
        self.expression = parsed
        self._floating = None
        self.observed.last_end = None
        self.observed.move_to(parsed.timezone)
        self.client.reschedule(self)

    def set_ref(self, *, is_ref: bool) -> None:
        """Set whether this keeps the process alive while it is started."""
        self._is_ref = is_ref
        self._update_keepalive()

    def _update_keepalive(self) -> None:
        self.client.keepalive.update(self)

    @property
    def is_holding(self) -> bool:
        """Whether it keeps a script alive: ref'd, and started or starting."""
        if isinstance(self.source, Inline) and self.source.has_closed_loop:
            return False
        # In this order: a start ends after the task was reported as started.
        return self._is_ref and (self.is_starting or self.is_started)

    @property
    def has_loop(self) -> bool:
        """Whether it is a coroutine function, which needs its loop."""
        return isinstance(self.source, Inline) and self.source.loop is not None

    @property
    def lacks_loop(self) -> bool:
        """Whether it is a coroutine function whose loop does not run now."""
        return isinstance(self.source, Inline) and self.source.lacks_loop

    def make_completion(self, what: str) -> Completion[Any]:
        """Return a completion for an operation on the task."""
        return Completion(f"{what} of task {self.name!r}", self)

    def check_wait(self, what: str, *, blocks: bool) -> None:
        """Raise if a wait for `what`, which has not ended, could not end.

        Args:
            what: the operation; its first word is the method's name.
            blocks: whether the wait would block this thread.
        """
        if self.client.is_copy:
            raise self.client.make_over_error(self)
        action = what.partition(" ")[0]
        call = f"{action}() of task {self.name!r}"
        mode = self.options.overlap_mode
        waits_for_turn = {"backfill": ("skip", "queue"), "execute": ("queue",)}
        if action in ("stop", "destroy") or mode in waits_for_turn.get(action, ()):
            check_not_inside(call, self.id)
        if action in ("stop", "destroy") and blocks:
            check_not_listening(call, self.id)
        if blocks:
            check_may_block(f"result() of {call}", f"`await task.{action}()`")
            is_end = action in ("stop", "destroy")
            is_run = action in ("execute", "backfill")
            needs_loop = is_run or (is_end and self.is_busy)
            if needs_loop and self._runs_on(get_running_loop()):
                raise BlockingCall(call=call, instead=f"`await task.{action}()`")
            if isinstance(self.source, Inline) and self.source.origin is not None:
                self.source.origin.mark_blocked(get_running_loop())

    def _runs_on(self, loop: asyncio.AbstractEventLoop | None) -> bool:
        """Return whether its coroutine function runs on this loop."""
        source = self.source
        return isinstance(source, Inline) and loop is not None and source.loop is loop

    def defer(self, call: Callable[[], Any]) -> None:
        """Call this on the listeners' thread."""
        label = f"a callback of task {self.name!r}"
        self.client.defer(call, lane=self.id, label=label)

    def refuse(self, execution_id: str, error: BaseException) -> None:
        """Fail the completion of a run that was refused."""
        completion = self.waiters.take(execution_id)
        if completion is not None:
            completion.fail(error)

    def expire(self, execution_id: str, timeout: float) -> None:
        """End the waiting for a run, not the run."""
        self.refuse(execution_id, WaitTimeout(name=self.name, timeout=timeout))

    def refuse_all(self, error: BaseException) -> None:
        """Fail the completions of all runs: none of them will run."""
        for completion in self.waiters.take_all():
            completion.fail(error)

    # --- what happens to it: called on the client's loop -----------------------------

    def end_calls(self, notice: Notice, execution: Execution | None) -> None:
        """Complete what an event ends: a call, or all calls of a destroyed task."""
        if notice.event in ENDS and notice.execution is not None:
            completion = self.waiters.take(notice.execution.id)
            if completion is not None and execution is not None:
                is_ok = notice.event is Event.EXECUTION_FINISHED
                completion.set(execution.read, is_ok=is_ok)
        if self.backfill is not None:
            self.backfill.follow(notice)
        if notice.event is Event.TASK_DESTROYED:
            self.refuse_all(TaskDestroyed(name=self.name))

    @property
    def needs_run_events(self) -> bool:
        """Whether the events of its runs have listeners or are logged."""
        return (
            bool(self.listeners)
            or bool(self.client.listeners)
            or self.logger.isEnabledFor(logging.DEBUG)
        )

    @property
    def logger(self) -> logging.Logger:
        """The logger for this task."""
        return self.client.get_logger(self)

    def record_run(self, execution_id: str) -> AbstractContextManager[None]:
        """Return a context that records the output of a run in this process."""
        run = Recorder(
            self.observed.find_output(execution_id),
            partial(self.client.event_log.notify, self.id),
            passes_on=self.options.echo,
        )
        return self.client.streams.recording(run)

    def __repr__(self) -> str:
        return f"<TaskRecord {self.name!r} {self.status}>"
