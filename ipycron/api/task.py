"""A task: a job on a schedule, as the user holds it."""

from __future__ import annotations

import logging
import sys
import weakref
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Self

from ipycron.client.announce import announce, is_logged
from ipycron.client.client import call
from ipycron.client.completion import Completion, Waiters, read_nothing
from ipycron.client.jobs import Background, Inline, get_folder, make_setting
from ipycron.client.listeners import Listeners
from ipycron.client.state import ENDS, ObservedState
from ipycron.client.waits import check_may_block, check_not_inside, get_running_loop
from ipycron.errors import BlockingCall, TaskDestroyed, WaitTimeout
from ipycron.scheduling.clock import SystemClock
from ipycron.scheduling.events import Event, Status
from ipycron.scheduling.plan import find_start

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from ipycron.client.client import Client
    from ipycron.client.executions import Execution, History
    from ipycron.client.jobs import Source
    from ipycron.client.options import TaskOptions
    from ipycron.client.recovery import Action
    from ipycron.cron import CronExpression
    from ipycron.process.wire.payload import Payload
    from ipycron.process.wire.protocol import Register, Setting
    from ipycron.scheduling.events import EventName, Notice, TaskContext


_OF_SCHEDULE = ("expression", "pattern", "timezone", "next_run")

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    T = TypeVar("T", default=Any)  # of a file's task, say, nobody knows the result
else:
    from typing import TypeVar

    T = TypeVar("T")


class Task(Generic[T]):
    """A job on a schedule, whose runs return a `T`.

    Made by `schedule()` and `create_task()`. Every method may be called from any
    thread. The task follows the events of its scheduler: what its properties say
    was true when the last event arrived, a moment ago.

    Attributes:
        id: unique.
        name: the option `name`, or the id.
        options: all options, checked.
        expression: when it runs.
        source: what it runs.
        observed: what its scheduler has reported; for ipycron itself.
        calls: its runs that were called for; for ipycron itself.
    """

    def __init__(
        self,
        client: Client,
        expression: CronExpression,
        source: Source,
        options: TaskOptions,
        *,
        task_id: str,
    ) -> None:
        self.id = task_id
        self.name = options.name or task_id
        self.options = options
        self.expression = expression
        self.source = source
        self._client = client
        self.observed = ObservedState(
            task_id,
            zone=expression.timezone,
            runs_left=options.max_executions,
            defer=client.defer,
        )
        self.calls = Waiters()
        self._start: Callable[[], Completion[None] | None] | None = None
        self._start_error: BaseException | None = None
        self._is_ref = not options.unref
        self.listeners = Listeners()
        # A copy of the environment: 5 KB that only a worker needs.
        self._setting = self._take_setting() if self.is_background else None
        self._is_made = True

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and "_is_made" in vars(self):
            advice = "Use reschedule()" if name in _OF_SCHEDULE else "Schedule it anew"
            message = f"{name!r} of a task cannot be set. {advice}."
            raise AttributeError(message, name=name, obj=self)
        super().__setattr__(name, value)

    def _take_setting(self) -> Setting:
        options = self.options
        return make_setting(
            cwd=options.cwd or get_folder(),
            env=options.env,
            path=sys.path,
            max_result_bytes=options.max_result_bytes,
        )

    # --- what it is -----------------------------------------------------------------

    @property
    def pattern(self) -> str:
        """The expression's text."""
        return self.expression.text

    @property
    def timezone(self) -> str:
        """The schedule's time zone by name."""
        return str(self.expression.timezone)

    @property
    def is_background(self) -> bool:
        """Whether it runs in a worker process."""
        return isinstance(self.source, Background)

    @property
    def status(self) -> str:
        """``"stopped"``, ``"idle"``, ``"running"`` or ``"destroyed"``."""
        return self.observed.status

    @property
    def is_starting(self) -> bool:
        """Whether a start is under way: `status` is ``"stopped"`` until it is over."""
        if self._start is None or self._client.is_copy:
            return False
        start = self._start()
        return start is not None and not start.done()

    @property
    def start_error(self) -> BaseException | None:
        """What the last start failed with; None after a good one."""
        return self._start_error

    @property
    def is_started(self) -> bool:
        """Whether its schedule is armed: neither stopped nor destroyed."""
        return self.observed.status in (Status.IDLE, Status.RUNNING)

    @property
    def is_busy(self) -> bool:
        """Whether any run is in progress, scheduled or manual."""
        return bool(self.observed.running)

    @property
    def running(self) -> tuple[Execution, ...]:
        """The runs in progress, oldest first; a snapshot."""
        return self.observed.running

    @property
    def last_run(self) -> Execution | None:
        """The run that ended last, or None."""
        self._client.catch_up(self)
        return self.observed.last_run

    @property
    def history(self) -> History:
        """The last runs, oldest first, without their results."""
        self._client.catch_up(self)
        return self.observed.history

    @property
    def runs_left(self) -> int | None:
        """Scheduled runs left under `max_executions`; None without a limit."""
        return self.observed.runs_left

    # --- when it runs ---------------------------------------------------------------

    @property
    def next_run(self) -> datetime | None:
        """The next slot; None unless started or about to be.

        Random delays are not known yet. Where the clock was set back by up to three
        hours, the slots that have passed already are not run again.
        """
        if not (self.is_started or self.is_starting) or self.runs_left == 0:
            return None
        after = find_start(SystemClock().now(), self.observed.passed)
        return self.expression.next(datetime.fromtimestamp(after, UTC))

    def next_runs(self, count: int) -> list[datetime]:
        """Return the next `count` slots from now, started or not."""
        return self.expression.upcoming(count, self._now())

    def matches(self, instant: datetime) -> bool:
        """Return whether `instant` is a slot of the schedule."""
        return self.expression.matches(instant)

    @property
    def seconds_to_next(self) -> float | None:
        """Seconds until `next_run`, None where there is none."""
        following = self.next_run
        if following is None:
            return None
        return max(0.0, following.timestamp() - SystemClock().now())

    @staticmethod
    def _now() -> datetime:
        return datetime.fromtimestamp(SystemClock().now(), UTC)

    def reschedule(self, expression: str | CronExpression) -> Task:
        """Follow another expression from now on; everything else stays.

        Runs in progress go on; listeners, history and limits are kept. Text is read
        with the task's options: its time zone, `day_or`.

        Raises:
            CronSyntaxError: if the expression is wrong; nothing has changed then.
            TaskDestroyed: if the task is.
        """
        from ipycron.api.functions import parse_schedule  # noqa: PLC0415 - it imports us

        parsed = parse_schedule(expression, self.options, self.id, self.source)
        if self.is_over:
            raise self._client.make_over_error(self)
        vars(self)["expression"] = parsed
        self.observed.move_to(parsed.timezone)
        self._client.reschedule(self)
        return self

    # --- controls -------------------------------------------------------------------

    def start(self) -> Completion[None]:
        """Load the job and arm the schedule.

        The completion fails with the error of the job's own code, `StartTimeout`
        or `StartError`; then nothing is left running. A started or destroyed task
        stays as it is.
        """
        return self._control("start", force=False)

    def stop(self, *, force: bool = False) -> Completion[None]:
        """Disarm the schedule and end the worker; complete when it is gone.

        Args:
            force: do not wait for a run in progress. Without it the run has
                `stop_timeout` seconds, then SIGTERM, then SIGKILL.
        """
        return self._control("stop", force=force)

    def destroy(self, *, force: bool = False) -> Completion[None]:
        """Stop the task for good and take it out of the registry."""
        return self._control("destroy", force=force)

    def _control(self, action: Action, *, force: bool) -> Completion[None]:
        completion: Completion[None] = self.make_completion(action)
        if action == "start":
            # Held by who does the work; one that nobody asks logs at its own end.
            self._start = weakref.ref(completion)
        if self._client.is_copy and action == "start":
            completion.fail(self._client.make_over_error(self))
            return completion
        if self.is_over:
            completion.set(read_nothing)
            return completion
        self._client.control(self, action, completion, force=force)
        if action != "start":
            self._note_stop(completion, is_forced=force)
        if action == "start":
            # A script that ends right now must live to see its task start.
            self._update_keepalive()
            completion.watch(self._see_start)
        return completion

    def _note_stop(self, completion: Completion[None], *, is_forced: bool) -> None:
        """Have it seen that a stop waits for a run, and until when."""
        if not self.is_busy:
            return
        patience = 0.0 if is_forced else self.options.stop_timeout
        self.observed.stop_by = SystemClock().now() + patience
        self._client.event_log.tell(self.id)
        completion.watch(self._see_stop)

    def _see_stop(self, _: Completion[None]) -> None:
        self.observed.stop_by = None
        self._client.event_log.tell(self.id)

    def make_completion(self, what: str) -> Completion[Any]:
        """Return the completion of what is asked of it."""
        return Completion(f"{what} of task {self.name!r}", self)

    def check_wait(self, what: str, *, blocks: bool) -> None:
        """Raise if a wait for `what`, which has not ended, could not end.

        Args:
            what: the control's name, and more.
            blocks: whether this thread would do nothing else meanwhile.
        """
        if self._client.is_copy:
            raise self._client.make_over_error(self)
        action = what.partition(" ")[0]
        call = f"{action}() of task {self.name!r}"
        if action in ("stop", "destroy"):
            check_not_inside(call, self.id)
        if blocks:
            check_may_block(f"result() of {call}", f"`await task.{action}()`")
            needs_loop = action == "execute" or (action != "start" and self.is_busy)
            if needs_loop and self._runs_on(get_running_loop()):
                raise BlockingCall(call=call, instead=f"`await task.{action}()`")
            if isinstance(self.source, Inline) and self.source.origin is not None:
                self.source.origin.see_blocked(get_running_loop())

    def _runs_on(self, loop: asyncio.AbstractEventLoop | None) -> bool:
        """Return whether a loop is that of its coroutine function."""
        source = self.source
        return isinstance(source, Inline) and loop is not None and source.home is loop

    def defer(self, call: Callable[[], Any]) -> None:
        """Call this where listeners are called."""
        label = f"a callback of task {self.name!r}"
        self._client.defer(call, lane=self.id, label=label)

    def _see_start(self, completion: Completion[None]) -> None:
        self._start_error = completion.peek()
        if self._start is not None and self._start() is completion:
            self._start = None
        self._update_keepalive()
        self._client.event_log.tell(self.id)

    @property
    def is_over(self) -> bool:
        """Whether nothing can be asked of it any more."""
        return self.observed.status is Status.DESTROYED or self._client.is_closed

    def execute(self) -> Completion[T]:
        """Run the job now, beside its schedule; complete with this run's result.

        Waits for a start in progress. The completion fails with the job's error,
        or `TaskNotStarted`, `TaskDestroyed`, `OverlapError`, and `WaitTimeout`
        after `execute_timeout` (the run goes on).
        """
        return call(self._client, self)

    def refuse(self, execution_id: str, error: BaseException) -> None:
        """End the completion of a run that did not come about."""
        completion = self.calls.take(execution_id)
        if completion is not None:
            completion.fail(error)

    def expire(self, execution_id: str, timeout: float) -> None:
        """End the waiting for a run, not the run."""
        self.refuse(execution_id, WaitTimeout(name=self.name, timeout=timeout))

    def ref(self) -> Self:
        """Keep the process alive while this is started (the default)."""
        return self._set_ref(is_ref=True)

    def unref(self) -> Self:
        """Let a script end while this is started."""
        return self._set_ref(is_ref=False)

    def _set_ref(self, *, is_ref: bool) -> Self:
        self._is_ref = is_ref
        self._update_keepalive()
        return self

    def _update_keepalive(self) -> None:
        self._client.keepalive.update(self)

    @property
    def is_holding(self) -> bool:
        """Whether it keeps a script alive: ref'd, and started or about to be."""
        if isinstance(self.source, Inline) and self.source.is_homeless:
            return False
        # In this order: a start is over when the task has been told as started.
        return self._is_ref and (self.is_starting or self.is_started)

    @property
    def is_stranded(self) -> bool:
        """Whether it is a coroutine function whose loop does not run now."""
        return isinstance(self.source, Inline) and self.source.is_stranded

    if not TYPE_CHECKING:  # a type checker would take it for every attribute

        def __getattr__(self, name: str) -> Any:
            message = f"a task has no attribute {name!r}."
            if not name.startswith("_"):
                from ipycron.api.elsewhere import (  # noqa: PLC0415 - errors are rare
                    TASK_NAMES,
                    find_name,
                )

                known = [known for known in dir(Task) if not known.startswith("_")]
                message += find_name(name, known, TASK_NAMES)
            raise AttributeError(message, name=name, obj=self)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.destroy()

    # --- listeners ------------------------------------------------------------------

    def on(
        self, event: Event | EventName, listener: Callable[[TaskContext], Any]
    ) -> Self:
        """Call `listener` with a `TaskContext` at each `event`; ``"*"`` means all.

        It is called on a thread of ipycron's, for one event after the other. What it
        returns is awaited on the event loop that ran where it was added, else on that
        thread. What it raises is logged. One that takes longer than a second is
        logged, too, and delays no other task's listeners any more.
        """
        self._client.catch_up(self)
        self.listeners.add(event, listener)
        return self

    def once(
        self, event: Event | EventName, listener: Callable[[TaskContext], Any]
    ) -> Self:
        """As `on`, for the next time only."""
        self._client.catch_up(self)
        self.listeners.add(event, listener, once=True)
        return self

    def off(
        self,
        event: Event | EventName,
        listener: Callable[[TaskContext], Any] | None = None,
    ) -> Self:
        """Remove a listener of `event`, or all of them."""
        self.listeners.remove(event, listener)
        return self

    # --- what happens to it: called on the client's loop -----------------------------

    def take_notice(self, notice: Notice) -> None:
        """Follow an event."""
        execution = self.observed.follow(notice)
        if self._is_heard(notice):
            self.defer(partial(announce, self._client, self, notice, execution))
        if notice.event in ENDS and notice.execution is not None:
            completion = self.calls.take(notice.execution.id)
            if completion is not None and execution is not None:
                is_ok = notice.event is Event.EXECUTION_FINISHED
                completion.set(execution.read, is_ok=is_ok)
        if notice.event is Event.TASK_DESTROYED:
            self.refuse_all(TaskDestroyed(name=self.name))

    @property
    def hears_runs(self) -> bool:
        """Whether anybody may listen to its runs, or have them logged."""
        return (
            bool(self.listeners)
            or bool(self._client.listeners)
            or self.logger.isEnabledFor(logging.DEBUG)
        )

    def _is_heard(self, notice: Notice) -> bool:
        """Return whether anybody listens or anything is logged; most runs: no."""
        return (
            self.listeners.has(notice.event)
            or self._client.listeners.has(notice.event)
            or is_logged(self, notice)
        )

    def refuse_all(self, error: BaseException) -> None:
        """End the completions of all runs, which will not come about any more."""
        for completion in self.calls.take_all():
            completion.fail(error)

    @property
    def logger(self) -> logging.Logger:
        """Who logs for this task."""
        return self._client.get_logger(self)

    # --- what the schedulers need ---------------------------------------------------

    @property
    def registration(self) -> Register:
        """What the supervisor must know of a background task."""
        from ipycron.client.registration import make_registration  # noqa: PLC0415 - asyncio

        assert self._setting is not None
        return make_registration(self, self._setting)

    @property
    def payload(self) -> Payload:
        """What travels beside the registration."""
        assert isinstance(self.source, Background)
        return self.source.payload

    def __repr__(self) -> str:
        following = self.next_run
        when = ""
        if following is not None:
            when = f", next {following:%Y-%m-%d %H:%M:%S} {self.timezone}"
        return f"<Task {self.name!r} {self.status}{when}>"
