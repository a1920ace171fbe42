"""A task as the user holds it: a handle with public names only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Literal, Self, overload

from ipycron.cron.trigger import floor_instant
from ipycron.scheduling.events import to_datetime
from ipycron.scheduling.plan import find_start

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable
    from datetime import date, datetime, time, timedelta

    from ipycron.client.backfill import Backfill
    from ipycron.client.completion import Completion
    from ipycron.client.executions import Execution, History
    from ipycron.client.jobs import Source
    from ipycron.client.options import TaskOptions
    from ipycron.client.record import TaskRecord
    from ipycron.cron.trigger import Trigger
    from ipycron.scheduling.events import Event, EventName, TaskContext
    from ipycron.scheduling.policy import CatchUp

_OF_SCHEDULE = ("expression", "pattern", "timezone", "next_run")
_OF_PAUSE = ("is_paused", "paused_until", "pause_note")

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    T = TypeVar("T", default=Any)  # a file's result has no known type
else:
    from typing import TypeVar

    T = TypeVar("T")


class Task(Generic[T]):
    """A job on a schedule, whose runs return a `T`.

    Made by `schedule()` and `create_task()`. Every method may be called from any
    thread. The task follows the events of its scheduler: its properties reflect the
    state at the last event, a moment ago.
    """

    __slots__ = ("__weakref__", "_record")

    def __init__(self, record: TaskRecord) -> None:
        self._record = record
        record.handle = self

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):
            advice = "Schedule it again"
            if name in _OF_SCHEDULE:
                advice = "Use reschedule()"
            elif name in _OF_PAUSE:
                advice = "Use pause() or resume()"
            message = f"{name!r} of a task cannot be set. {advice}."
            raise AttributeError(message, name=name, obj=self)
        super().__setattr__(name, value)

    # --- state ----------------------------------------------------------------------

    @property
    def id(self) -> str:
        """Unique among all tasks."""
        return self._record.id

    @property
    def name(self) -> str:
        """The option `name`, or the id."""
        return self._record.name

    @property
    def options(self) -> TaskOptions:
        """All options, checked."""
        return self._record.options

    @property
    def expression(self) -> Trigger:
        """The trigger that says when it runs: a `CronExpression`, mostly."""
        return self._record.expression

    @property
    def source(self) -> Source:
        """The job that it runs."""
        return self._record.source

    @property
    def pattern(self) -> str:
        """The trigger's text."""
        return self._record.pattern

    @property
    def timezone(self) -> str:
        """The name of the schedule's time zone."""
        return self._record.timezone

    @property
    def is_background(self) -> bool:
        """Whether it runs in a worker process."""
        return self._record.is_background

    @property
    def is_kept(self) -> bool:
        """Whether the service runs it, beyond the end of this process."""
        return self._record.is_kept

    @property
    def status(self) -> str:
        """``"stopped"``, ``"idle"``, ``"running"`` or ``"destroyed"``."""
        return self._record.status

    @property
    def is_starting(self) -> bool:
        """Whether a start is in progress: until it ends, `status` is ``"stopped"``."""
        return self._record.is_starting

    @property
    def start_error(self) -> BaseException | None:
        """The error of the last start; None if it succeeded."""
        return self._record.start_error

    @property
    def is_started(self) -> bool:
        """Whether its schedule is armed: neither stopped nor destroyed."""
        return self._record.is_started

    @property
    def is_busy(self) -> bool:
        """Whether any run is in progress, scheduled or manual."""
        return self._record.is_busy

    @property
    def is_paused(self) -> bool:
        """Whether its slots are skipped for now; beside `status`, which says the rest.

        A pause is kept while the task is stopped, and until it is destroyed.
        """
        return self._record.pause is not None

    @property
    def paused_until(self) -> datetime | None:
        """When its pause ends, in the task's zone; None without a pause or an end."""
        pause = self._record.pause
        if pause is None or pause.until is None:
            return None
        return to_datetime(pause.until, self.expression.timezone)

    @property
    def pause_note(self) -> str:
        """Why it is paused, as told to `pause`; empty without a pause or a note."""
        pause = self._record.pause
        return "" if pause is None else pause.note

    @property
    def runs_left(self) -> int | None:
        """Scheduled runs left under `max_executions`; None without a limit."""
        return self._record.runs_left

    @property
    def logger(self) -> logging.Logger:
        """The logger for this task."""
        return self._record.logger

    @property
    def queued(self) -> tuple[Execution, ...]:
        """The runs that wait for their turn or for a place in a pool, oldest first."""
        return self._record.observed.queued

    @property
    def running(self) -> tuple[Execution, ...]:
        """The runs in progress, oldest first; a snapshot."""
        return self._record.observed.running

    @property
    def last_run(self) -> Execution | None:
        """The run that ended last, or None."""
        self._record.catch_up()
        return self._record.observed.last_run

    @property
    def history(self) -> History:
        """The last runs, oldest first, without their results.

        Those in memory; `ipycron.history` has older ones, of earlier programs, too.
        """
        self._record.catch_up()
        return self._record.observed.history

    # --- schedule -------------------------------------------------------------------

    @property
    def next_run(self) -> datetime | None:
        """The next slot that will run; None unless started or about to be.

        Random delays are not included. If the clock was set back by up to three hours,
        slots that have already passed are not run again. Of a paused task it is the
        first slot from `paused_until` on; None if the pause has no end.
        """
        if not (self.is_started or self.is_starting) or self.runs_left == 0:
            return None
        after = find_start(
            self._record.client.clock.now(), self._record.observed.passed
        )
        pause = self._record.pause
        if pause is not None:
            if pause.until is None:
                return None
            after = max(after, pause.until - 1)
        return next(iter(self._record.find_slots(1, after)), None)

    def next_runs(self, count: int) -> list[datetime]:
        """Return the next `count` slots from now, started or not, paused or not."""
        return self._record.find_slots(count, self._record.client.clock.now())

    def matches(self, instant: datetime) -> bool:
        """Return whether `instant` is a slot of the schedule."""
        slot = floor_instant(instant, "instant")
        if instant.microsecond:
            return False
        return self._record.schedule.find_next(slot - 1) == slot

    @property
    def seconds_to_next(self) -> float | None:
        """Seconds until `next_run`; None if there is none."""
        following = self.next_run
        if following is None:
            return None
        return max(0.0, following.timestamp() - self._record.client.clock.now())

    def reschedule(self, expression: str | Trigger | timedelta | datetime) -> Self:
        """Use another trigger from now on; everything else stays.

        Runs in progress continue; listeners, history and limits are kept. Text is
        parsed with the task's options: its time zone, `day_or`.

        Raises:
            CronSyntaxError: if the expression is invalid; nothing has changed then.
            TaskDestroyed: if the task is destroyed.
        """
        self._record.reschedule(expression)
        return self

    # --- controls -------------------------------------------------------------------

    def start(self) -> Completion[None]:
        """Load the job and arm the schedule.

        The completion fails with the error of the job's own code, `StartTimeout`
        or `StartError`; then nothing is left running. A started or destroyed task is
        left as it is.
        """
        return self._record.control("start", force=False)

    def stop(self, *, force: bool = False) -> Completion[None]:
        """Disarm the schedule and end the worker; completes when it is gone.

        Args:
            force: do not wait for a run in progress. Otherwise the run has
                `stop_timeout` seconds, followed by SIGTERM, then SIGKILL.
        """
        return self._record.control("stop", force=force)

    def destroy(self, *, force: bool = False) -> Completion[None]:
        """Stop the task for good and take it out of the registry."""
        return self._record.control("destroy", force=force)

    def pause(
        self,
        until: datetime | date | time | timedelta | str | float | None = None,
        note: str = "",
    ) -> Completion[None]:
        """Skip the slots from now on; completes when the scheduler knows.

        The task stays loaded and keeps its state. Each slot of the pause is an
        ``execution:skipped`` with the reason ``"paused"``, nothing else; so is a slot
        that waits for its random delay, its election or a worker. A run in progress
        continues, and `execute` works. A pause is kept through `stop` and `start`,
        `reschedule`, and the loss of a process of ipycron's; `destroy` ends it.

        If the task is paused, this changes `until` and `note`. A destroyed task is left
        as it is.

        Args:
            until: when it resumes by itself, rounded up to a whole second: seconds or a
                timedelta from now, a datetime, a time of day, or either as ISO text.
                Without a zone it is the task's. A slot at `until` runs. By default it
                is paused until `resume`.
            note: why, for people: at most 500 characters.

        Raises:
            InvalidOption: if `until` or `note` is something else, or `until` has
                passed.
        """
        return self._record.set_pause(until, note)

    def resume(
        self, catch_up: Literal["none", "latest", "all"] | CatchUp | None = None
    ) -> Completion[None]:
        """End the pause, if there is one; completes when the scheduler knows.

        Args:
            catch_up: what to do about the slots that were skipped: by default nothing,
                whatever the task's option says. ``"latest"`` runs the newest of them,
                ``"all"`` all of the last day, at most 100, one after another; see
                `CatchUp`. Nothing is owed for the time in which the task was stopped.

        Raises:
            InvalidOption: if `catch_up` is something else.
        """
        return self._record.end_pause(catch_up)

    def execute(self) -> Completion[T]:
        """Run the job now, independently of its schedule; completes with the result.

        Waits for a start in progress. The completion fails with the job's error,
        or `TaskNotStarted`, `TaskDestroyed`, `OverlapError`, and `WaitTimeout`
        after `execute_timeout` (the run continues).
        """
        return self._record.call()

    @overload
    def backfill(
        self,
        start: datetime | date | str,
        end: datetime | date | str,
        *,
        only: Literal["missing", "failed", "all"] = "missing",
        dry_run: Literal[False] = False,
    ) -> Backfill: ...

    @overload
    def backfill(
        self,
        start: datetime | date | str,
        end: datetime | date | str,
        *,
        only: Literal["missing", "failed", "all"] = "missing",
        dry_run: Literal[True],
    ) -> list[datetime]: ...

    def backfill(
        self,
        start: datetime | date | str,
        end: datetime | date | str,
        *,
        only: Literal["missing", "failed", "all"] = "missing",
        dry_run: bool = False,
    ) -> Backfill | list[datetime]:
        """Run the job for slots of the past, oldest first, one after another.

        In addition to the schedule; slots are those of its present expression within
        its bounds. Each run has its slot as ``ctx.date``, the reason ``"backfill"``,
        counts towards no limit, and is not elected: in a fleet, backfill one instance.
        A run that fails is logged, and the next one follows. With `no_overlap` a slot
        waits until no other run is in progress; slots of the schedule that come while
        it runs are skipped, as in any run. Pausing, stopping or destroying the task
        ends the backfill after the run in progress; a task that is paused already may
        be backfilled.

        Args:
            start: the first instant: a datetime or ISO text. Without a zone it is the
                task's; a date alone is its midnight.
            end: the last instant, which may itself be a slot; not in the future. A date
                alone is its last second.
            only: ``"missing"``: slots of which the history knows no run: it has no row,
                or one that says that the slot was missed, paused, skipped or stopped.
                ``"failed"``: slots whose last run failed, was timed out, crashed or
                lost. ``"all"``: all slots; this needs no history.
            dry_run: return the slots, and run nothing.

        Raises:
            InvalidOption: if an argument is not acceptable, `end` is before `start` or
                in the future, or there are more than 10,000 slots between them.
            TaskNotStarted, TaskDestroyed: if the task cannot run.
            BackfillRefused: if another backfill of the task is in progress, there is no
                history, or, for ``"missing"``, it does not reach back that far.
        """
        from ipycron.client.backfill import (  # noqa: PLC0415 - most tasks need none
            start_backfill,
        )

        return start_backfill(self._record, start, end, only=only, is_dry=dry_run)

    def ref(self) -> Self:
        """Keep the process alive while this is started (the default)."""
        self._record.set_ref(is_ref=True)
        return self

    def unref(self) -> Self:
        """Let a script end while this is started."""
        self._record.set_ref(is_ref=False)
        return self

    if not TYPE_CHECKING:  # a type checker would accept every attribute

        def __getattr__(self, name: str) -> Any:
            message = f"a task has no attribute {name!r}."
            if not name.startswith("_"):
                from ipycron.api.counterparts import (  # noqa: PLC0415 - errors are rare
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

        It is called on a thread of ipycron's, for one event after another. An awaitable
        that it returns is awaited on the event loop that was running where it was
        added, otherwise on that thread. Exceptions are logged. A call that takes longer
        than a second is also logged, and from then on delays no other task's listeners.
        """
        self._record.catch_up()
        self._record.listeners.add(event, listener)
        return self

    def once(
        self, event: Event | EventName, listener: Callable[[TaskContext], Any]
    ) -> Self:
        """Like `on`, for the next occurrence only."""
        self._record.catch_up()
        self._record.listeners.add(event, listener, once=True)
        return self

    def off(
        self,
        event: Event | EventName,
        listener: Callable[[TaskContext], Any] | None = None,
    ) -> Self:
        """Remove a listener of `event`, or all of them."""
        self._record.listeners.remove(event, listener)
        return self

    def __repr__(self) -> str:
        following = self.next_run
        when = ""
        if following is not None:
            when = f", next {following:%Y-%m-%d %H:%M:%S} {self.timezone}"
        if self.is_paused:
            until = self.paused_until
            paused = "" if until is None else f" until {until:%Y-%m-%d %H:%M:%S}"
            when = f", paused{paused}{when}"
        if self.queued:
            when = f", {len(self.queued)} queued{when}"
        kept = " kept" if self.is_kept else ""
        return f"<Task {self.name!r}{kept} {self.status}{when}>"


def get_record(task: Task[Any]) -> TaskRecord:
    """Return the client's record of a task. For ipycron itself."""
    return task._record  # noqa: SLF001 - the handle shows public names only
