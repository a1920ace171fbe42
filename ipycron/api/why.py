"""`why`: the reasons for which a task did or will run at an instant, or not (T3)."""

from __future__ import annotations

import html
import math
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from ipycron.api.functions import get_tasks
from ipycron.api.task import get_record
from ipycron.client.registry import registry
from ipycron.cron import CronExpression
from ipycron.cron.reasons import explain_fields
from ipycron.errors import HistoryError, IpycronError, UnknownTask
from ipycron.scheduling.bounds import find_calendar
from ipycron.scheduling.clock import SystemClock
from ipycron.scheduling.events import to_datetime
from ipycron.triggers.instants import read_instant
from ipycron.triggers.interval import Interval
from ipycron.triggers.union import AnyOf, read_trigger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipycron.api.task import Task
    from ipycron.cron.trigger import Trigger
    from ipycron.runlog.records import RunRecord

Line = tuple[str, str]


class Why:
    """What `why` returns: a verdict and its reasons, shown as a table. Immutable.

    Attributes:
        name: the task's.
        instant: in its zone.
        is_slot: whether its trigger fires then, excluded or not.
        verdict: what became of it, or will, in a sentence.
        reasons: pairs of what was looked at and what it says.
    """

    __slots__ = ("instant", "is_slot", "name", "reasons", "verdict")

    def __init__(
        self,
        name: str,
        instant: datetime,
        *,
        is_slot: bool,
        verdict: str,
        reasons: list[Line],
    ) -> None:
        self.name = name
        self.instant = instant
        self.is_slot = is_slot
        self.verdict = verdict
        self.reasons = tuple(reasons)

    def __str__(self) -> str:
        width = max(len(label) for label, _ in self.reasons)
        lines = [f"  {label:{width}}  {text}" for label, text in self.reasons]
        shown = self.instant.isoformat(" ", "seconds")
        return "\n".join((f"{self.name} at {shown}: {self.verdict}", *lines))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        cells = (
            f"<tr><td style='text-align:left'>{html.escape(label)}</td>"
            f"<td style='text-align:left'>{html.escape(text)}</td></tr>"
            for label, text in self.reasons
        )
        shown = self.instant.isoformat(" ", "seconds")
        head = html.escape(f"{self.name} at {shown}: {self.verdict}")
        return f"<p>{head}</p><table><tbody>{''.join(cells)}</tbody></table>"


def why(name: str | Task, instant: datetime | date | str) -> Why:
    """Say why a task did or will run at an instant, or why not.

    It looks at the trigger, field by field, at the bounds and the exclusions of the
    task, at its state, and at what the history has of that slot. A task of another
    process, or of the past, is known by its rows.

    Args:
        name: the task's name or id, or the task.
        instant: a datetime or ISO text, in the task's zone if it has none. A fraction
            of a second is left out.

    Raises:
        UnknownTask: if neither this process nor the history knows it.
        InvalidOption: if the instant is none.
    """
    task = _find_task(name)
    label = task.name if task is not None else str(name)
    last = None if task is not None else _find_last(label)
    if task is not None:
        trigger = get_record(task).trigger
    else:
        assert last is not None
        trigger = read_trigger(last.pattern, last._zone, hash_id=label)  # noqa: SLF001
    second = math.floor(read_instant("instant", instant, trigger.timezone))
    at = to_datetime(second, trigger.timezone)
    is_slot = trigger.matches(at)
    reasons = list(_explain_trigger(trigger, at))
    obstacles = [] if task is None else list(_explain_task(task, second))
    row = _find_row(label, second)
    reasons += obstacles
    reasons += _explain_row(row)
    is_moved = task is not None and not is_slot and task.matches(at)
    if is_moved:
        reasons.append(("on_excluded", "next: a run that was excluded was moved here"))
    now = (
        registry.running_client.clock.now()
        if registry.running_client
        else (SystemClock().now())
    )
    verdict = _judge(
        row, is_slot=is_slot or is_moved, is_past=second <= now, obstacles=obstacles
    )
    if not is_slot:
        reasons += _show_neighbours(trigger, second)
    return Why(label, at, is_slot=is_slot, verdict=verdict, reasons=reasons)


def _find_task(name: Any) -> Task | None:
    if not isinstance(name, str):
        get_record(name)  # raises if it is no task
        return name  # type: ignore[no-any-return]
    return get_tasks().get(name)


def _find_last(name: str) -> RunRecord:
    """Return the last row of a task that is not of this process."""
    from ipycron.api.history import history  # noqa: PLC0415 - SQLite

    rows = history(name, limit=1)
    if not rows:
        known = [task.name for task in get_tasks().values()]
        raise UnknownTask(name=name, known=known)
    return rows[0]


def _find_row(name: str, second: int) -> RunRecord | None:
    """Return the row of a slot, if there is one."""
    from ipycron.api.history import history  # noqa: PLC0415 - SQLite

    client = registry.running_client
    if client is not None:
        client.flush_history(1.0)
    try:
        rows = history(name, since=to_datetime(second, UTC), limit=None)
    except (HistoryError, IpycronError):
        return None
    return next(
        (r for r in rows if r.slot is not None and r.slot.timestamp() == second), None
    )


def _judge(
    row: RunRecord | None, *, is_slot: bool, is_past: bool, obstacles: list[Line]
) -> str:
    if row is not None:
        return f"it has a row: {row.outcome}"
    if not is_slot:
        return "it did not run: no slot" if is_past else "it will not run: no slot"
    if obstacles:
        what = "it did not run" if is_past else "it will not run"
        label, text = obstacles[0]
        return f"{what}: {label} ({text})"
    if is_past:
        return "a slot, of which the history has no row"
    return "it will run"


def _explain_trigger(trigger: Trigger, at: datetime) -> Iterator[Line]:
    yield "trigger", f"{trigger.text} ({trigger.timezone})"
    yield "means", trigger.describe()
    parts = trigger.parts if isinstance(trigger, AnyOf) else (trigger,)
    for part in parts:
        if len(parts) > 1:
            fires = "fires" if part.matches(at) else "does not fire"
            yield "part", f"{part.text}: {fires}"
        if isinstance(part, CronExpression):
            yield from _explain_cron(part, at)
        elif isinstance(part, Interval) and part.anchor is not None:
            yield from _explain_interval(part, at)


def _explain_cron(expression: CronExpression, at: datetime) -> Iterator[Line]:
    reasons = explain_fields(expression, at)
    for label, text, shown, is_match in reasons:
        yield label, f"{shown}: {'matches' if is_match else 'does not match'} {text}"
    starred = {"day_of_month", "day_of_week"} & expression.fields.starred
    if expression.day_or and not starred:
        yield "days", "one of the two day fields is enough (day_or)"
    day, *_, weekday = reasons[3:]
    either = expression.day_or and not starred
    is_day = (day.is_match or weekday.is_match) if either else True
    others = [r for r in reasons if not (either and r in (day, weekday))]
    is_shown = is_day and all(r.is_match for r in others)
    if is_shown and not expression.matches(at):
        yield "clock", "shows this time for the second time: it fired at the first"
    if not is_shown and expression.matches(at):
        yield "clock", "skips the time before this: it fires right after the gap"


def _explain_interval(interval: Interval, at: datetime) -> Iterator[Line]:
    assert interval.anchor is not None
    anchor = to_datetime(math.floor(interval.anchor), interval.timezone)
    elapsed = at.timestamp() - interval.anchor
    yield "counts from", anchor.isoformat(" ", "seconds")
    if not interval.after_finish:
        rest = int(elapsed) % interval.seconds
        text = "a whole number of intervals" if not rest else f"{rest} s after a slot"
        yield "elapsed", f"{int(elapsed)} s, {text}"


def _explain_task(task: Task, second: int) -> Iterator[Line]:
    """Yield what keeps a task from running a slot."""
    record, options = get_record(task), task.options
    if options.start is not None and second < options.start.timestamp():
        yield "start", f"{options.start.isoformat(' ')}: this is before"
    if options.end is not None and second > options.end.timestamp():
        yield "end", f"{options.end.isoformat(' ')}: this is after"
    calendar = find_calendar(record.trigger, options)
    if calendar is not None and calendar.is_excluded(second):
        yield "excluded", options.exclude.text
    pause = record.pause
    if pause is not None and second >= pause.since and not pause.is_over(second):
        yield "paused", pause.note or "until it is resumed"
    if second > record.client.clock.now():
        if not task.is_started:
            yield "state", task.status
        if task.runs_left == 0:
            yield "max_executions", "none left"


def _explain_row(row: RunRecord | None) -> list[Line]:
    if row is None:
        return []
    found = [("history", f"{row.outcome}, {row.trigger}")]
    if row.started_at is not None:
        found.append(("started", row.started_at.isoformat(" ", "milliseconds")))
    if row.error_type:
        found.append(("error", f"{row.error_type}: {row.error or ''}".rstrip(": ")))
    elif row.summary:
        found.append(("result", row.summary))
    return found


def _show_neighbours(trigger: Trigger, second: int) -> Iterator[Line]:
    for label, slot in (
        ("slot before", trigger.find_previous(second)),
        ("slot after", trigger.find_next(second)),
    ):
        if slot is not None:
            yield label, to_datetime(slot, trigger.timezone).isoformat(" ")
