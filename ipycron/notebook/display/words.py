"""Describes tasks in words: instants, durations, states. Pure."""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ipycron import errors
from ipycron.api.task import get_record
from ipycron.api.text_table import format_kept, format_took
from ipycron.client.executions import Execution
from ipycron.client.options import TaskOptions
from ipycron.errors import IpycronError, ServiceLost, StartRevoked
from ipycron.process.wire.outcome import get_traceback_text, summarize_error
from ipycron.process.wire.printable import keep_colours, show_hidden
from ipycron.scheduling.clock import SystemClock
from ipycron.triggers.exclude import say_exclusions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipycron.api.task import Task
    from ipycron.client.executions import RunLike


_CALLS = {
    "Call start() before execute().": "Start it with %cron start.",
    "Call stop() or destroy() without waiting": "Stop or destroy it without waiting",
}
"""Advice for programs, and its replacement in a notebook."""
_SET_POOL = re.compile(r"Call ipycron\.set_pool\((.+?), limit\) first\.")
_RUN_ID = re.compile(r"\bbusy with run \S+")

_MINUTE = 60
_HOUR = 3600
_DAY = 86_400
_BRIEF = 10  # seconds below which tenths are of interest


def format_duration(seconds: float) -> str:
    """Return a duration as readable text.

    Examples:
        >>> [format_duration(s) for s in (0.0123, 4.25, 75, 7260, 90000)]
        ['0.01 s', '4.2 s', '1 min 15 s', '2 h 1 min', '1 d 1 h']
    """
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < _BRIEF and seconds != int(seconds):
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for unit, name, part, part_name in (
        (_DAY, "d", _HOUR, "h"),
        (_HOUR, "h", _MINUTE, "min"),
        (_MINUTE, "min", 1, "s"),
    ):
        if whole >= unit:
            rest = whole % unit // part
            return f"{whole // unit} {name}" + f" {rest} {part_name}" * (rest > 0)
    return f"{whole} s"


def format_instant(instant: datetime, now: datetime, *, seconds: bool = True) -> str:
    """Return an instant in its own zone; without the date if it is today.

    Args:
        instant: with a zone.
        now: the present, in any zone.
        seconds: whether to show them.
    """
    clock = f"{instant:%H:%M:%S}" if seconds else f"{instant:%H:%M}"
    is_today = instant.date() == now.astimezone(instant.tzinfo).date()
    return clock if is_today else f"{instant:%Y-%m-%d} {clock}"


def format_instants(instants: Sequence[datetime], now: datetime) -> str:
    """Return several instants, all in the same format."""
    seconds = any(instant.second for instant in instants)
    return ", ".join(format_instant(i, now, seconds=seconds) for i in instants)


def format_schedule(task: Task) -> str:
    """Return a task's schedule in words and its zone."""
    return f"{describe_schedule(task)} ({task.timezone})"


def describe_schedule(task: Task) -> str:
    """Return a task's schedule in words, with its bounds."""
    start, end = task.options.start, task.options.end
    words = task.expression.describe()
    if start is not None:
        words += f", from {start:%Y-%m-%d %H:%M}"
    if end is not None:
        words += f", until {end:%Y-%m-%d %H:%M}"
    exclude = task.options.exclude
    if exclude is None:
        return words
    return words + say_exclusions(exclude, task.options.on_excluded)


def format_fires(task: Task, now: datetime, count: int = 3) -> str:
    """Return the next fires of a task as if it were started now."""
    if task.runs_left is not None:
        count = min(count, task.runs_left)
    fires = get_record(task).find_slots(count, now.timestamp())
    return f"next {format_instants(fires, now)}" if fires else "it will not fire again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The row of one task in a table.

    Attributes:
        name: the task's.
        status: its state; how many runs are in progress, ``"failing"`` if the last
            run of an armed task failed, or the last start, and its pause.
        schedule: its expression and what that means.
        next_run: when, and how soon; empty if it is not armed.
        last_run: when, how long, and with what result, or why the task did not start;
            empty before the first run.
        history: how many runs are remembered, and of how many.
    """

    name: str
    status: str
    schedule: str
    next_run: str
    last_run: str
    history: str


def describe_row(task: Task, now: datetime, *, is_replaced: bool = False) -> Row:
    """Return the row of a task.

    Args:
        task: which.
        now: the present.
        is_replaced: whether another task has its name: this one is only finishing its
            last run.
    """
    run = find_shown_run(task)
    error = find_start_error(task)
    last_run = "" if run is None else format_run(run, now)
    if error is not None:
        last_run = say_trouble(error, format_error(error))
    return Row(
        name=format_name(task),
        status="ending" if is_replaced else format_state(task, now),
        schedule=f"{task.pattern}  {describe_schedule(task)}",
        next_run="" if is_replaced else format_next(task, now),
        last_run=last_run,
        history=format_kept(task.history),
    )


def find_start_error(task: Task) -> BaseException | None:
    """Return why a task did not start; None if it did or was not asked to."""
    error = task.start_error
    if task.is_started or task.is_starting or isinstance(error, StartRevoked):
        return None
    return error


def say_trouble(error: BaseException, reason: str) -> str:
    """Say why a task does not run.

    Args:
        error: why it did not start, or that the service of a kept one is gone.
        reason: the same in words.
    """
    if isinstance(error, ServiceLost):
        about = error.reason.removeprefix("it ")
        return f"the service {about}" if about != error.reason else about
    return f"did not start: {reason}"


def format_error(error: BaseException) -> str:
    """Return an error as one line; ipycron's own with their full text."""
    if isinstance(error, IpycronError):
        return f"{type(error).__name__}: {one_line(format_text(str(error)))}"
    return summarize_error(error)


def format_text(text: str) -> str:
    """Return a message of ipycron in terms of the magics.

    Examples:
        >>> format_text("busy, and no_overlap is set: max_restarts=3")
        'busy, and --no-overlap is set: --max-restarts 3'
        >>> format_text("they overlap, without overlap='queue'")
        'they overlap, without --overlap queue'
    """
    for phrase, instead in _CALLS.items():
        text = text.replace(phrase, instead)
    text = _RUN_ID.sub("busy with another run", text)
    text = _SET_POOL.sub(r"Make it first: %cron pool \1 LIMIT.", text)
    return _get_options().sub(_format_option, text)


def format_summary(summary: str) -> str:
    """Return the summary of a failure; ipycron's own in terms of the magics."""
    name = summary.partition(":")[0]
    return format_text(summary) if hasattr(errors, name) else summary


@functools.cache
def _get_options() -> re.Pattern[str]:
    names = "|".join(f.name for f in fields(TaskOptions) if "_" in f.name)
    return re.compile(
        rf"\b({names})\b(?:='?([\w,.]*\w)'?)?|\boption (timeout|jitter)\b"
        r"|\boverlap='(\w+)'"
    )


def _format_option(match: re.Match[str]) -> str:
    if match[3]:
        return f"option --{match[3]}"
    if match[4]:
        return f"--overlap {match[4]}"
    flag = f"--{match[1].replace('_', '-')}"
    return flag if match[2] is None else f"{flag} {match[2]}"


def explain_error(error: BaseException) -> str:
    """Return an error with its traceback; ipycron's own errors need none."""
    if isinstance(error, IpycronError):
        return keep_colours(f"{type(error).__name__}: {format_text(str(error))}")
    return get_traceback_text(error) or summarize_error(error)


def format_status(task: Task) -> str:
    """Return a task's status, including a start or stop in progress."""
    if task.is_starting:
        return "starting"
    is_stopping = get_record(task).observed.stop_by is not None and task.is_busy
    return "stopping" if is_stopping else str(task.status)


def format_shown_status(task: Task) -> str:
    """Return a task's status as the views show it: ``3 running``, ``failing``."""
    status = format_status(task)
    running = task.running
    if status == "running" and running and all(map(find_next_attempt, running)):
        return "retrying" if any(run.summary for run in running) else "snoozed"
    if status == "running" and len(running) > 1:
        return f"{len(running)} running"
    history = task.history
    is_failed = bool(history) and history[-1].outcome == "failed"
    if status == "idle" and is_failed and not task.is_paused:
        return "failing"
    if status == "stopped" and find_start_error(task) is not None:
        return "failing"
    return status


def format_pause(task: Task, now: datetime) -> str:
    """Return until when a task is paused, and why; empty if it is not."""
    if not task.is_paused:
        return ""
    until, note = task.paused_until, show_hidden(one_line(task.pause_note))
    text = "paused"
    if until is not None:
        text += f" until {format_instant(until, now, seconds=bool(until.second))}"
    return f"{text} ({note})" if note else text


def format_state(task: Task, now: datetime) -> str:
    """Return a task's status as the views show it, its pause, and who waits."""
    status, pause = format_shown_status(task), format_pause(task, now)
    if pause:
        status = pause if status == "idle" else f"{status}, {pause}"
    count = len(task.queued)
    if not count:
        return status
    queued = "queued" if count == 1 else f"{count} queued"
    return queued if status in ("idle", "failing") else f"{status}, {queued}"


def format_next(task: Task, now: datetime) -> str:
    """Return when a task runs next, and how soon; empty if it is not armed."""
    following = task.next_run
    if following is None:
        return ""
    left = max(1, math.ceil((following - now).total_seconds()))
    clock = format_instant(following, now, seconds=bool(following.second))
    return f"{clock}, in {format_duration(left)}"


def format_run(run: RunLike, now: datetime) -> str:
    """Return when a run was, how long it took and how it ended."""
    clock = format_instant(run.date, now)
    if run.is_ok is None:
        return f"{clock} {_format_progress(run, now)}"
    took = "" if run.duration is None else format_took(run.duration)
    word = "in" if run.outcome == "finished" else "after"
    text = f"{clock} {run.outcome}" + (took and f" {word} {took}")
    if run.attempt > 1:
        text += f", {run.attempt} attempts"
    if run.outcome == "failed":
        remark = f" ({run.remark})" if run.remark else ""
        return f"{text}: {format_summary(run.summary)}{remark}"
    if not run.is_ok or run.summary in ("", "None"):
        return text
    return f"{text}: {run.summary}"


def _format_progress(run: RunLike, now: datetime) -> str:
    """Return what a run is doing; between two attempts, why there is another one."""
    following = find_next_attempt(run)
    if is_queued(run):
        text = "queued" if run.attempt == 1 else f"queued, attempt {run.attempt}"
        return f"{text}: {format_summary(run.summary)}" if run.summary else text
    if following is None:
        return "running" if run.attempt == 1 else f"running, attempt {run.attempt}"
    words = f"attempt {run.attempt}" if run.summary else "snoozed, goes on"
    text = f"{words} at {format_instant(following, now)}"
    return f"{text}: {format_summary(run.summary)}" if run.summary else text


def is_queued(run: RunLike) -> bool:
    """Return whether a run, or its next attempt, waits for its turn or for a place."""
    return isinstance(run, Execution) and run.is_queued


def find_next_attempt(run: RunLike) -> datetime | None:
    """Return when the next attempt is due; None if the run does not wait for that."""
    following = run.next_attempt_at if isinstance(run, Execution) else None
    return following if following is not None and following > get_now() else None


def find_shown_run(task: Task) -> RunLike | None:
    """Return the run in progress (the newest of several), otherwise the last one.

    A run of which an attempt is queued comes after those in progress.
    """
    # In the order in which a run may move on to its end.
    begun, running = find_begun(task.queued), task.running
    if running or begun:
        return (running or begun)[-1]
    history = task.history
    return history[-1] if history else None


def find_begun(queued: Sequence[Execution]) -> tuple[Execution, ...]:
    """Return the queued runs that have begun: their next attempts wait."""
    return tuple(run for run in queued if run.started_at is not None)


def one_line(value: Any) -> str:
    """Return a text with each run of white space replaced by one space."""
    return " ".join(keep_colours(str(value)).split())


def format_name(task: Task) -> str:
    """Return a task's name without anything that moves the cursor or reverses text."""
    return show_hidden(one_line(task.name))


def format_count(count: int, noun: str) -> str:
    """Return ``1 run``, ``2 runs``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def get_now() -> datetime:
    """Return the present, in UTC."""
    return datetime.fromtimestamp(SystemClock().now(), UTC)


def clean(text: str, limit: int) -> str:
    """Return a text that JSON can carry, cut to `limit` characters."""
    if len(text) > limit:
        text = f"{text[: limit - 1]}…"
    return text.encode("utf-8", "replace").decode()
