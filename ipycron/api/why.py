"""`why`: the reasons for which a task did or will run at an instant, or not (T3)."""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING, NamedTuple

from ipycron.api.subjects import describe_life, describe_task, find_task, read_now
from ipycron.client.registry import registry
from ipycron.cron import CronExpression
from ipycron.cron.reasons import explain_fields
from ipycron.errors import HistoryError
from ipycron.runlog.rows import RunOutcome
from ipycron.scheduling.events import to_datetime
from ipycron.triggers.instants import read_instant
from ipycron.triggers.interval import Interval
from ipycron.triggers.union import AnyOf

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date, datetime

    from ipycron.api.subjects import Line, Subject
    from ipycron.api.task import Task
    from ipycron.cron.trigger import Trigger
    from ipycron.runlog.records import RunRecord

MAX_COUNTED = 100_000
"""Slots of a gap that are counted, in about a second."""


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
        table = f"<table><tbody>{''.join(cells)}</tbody></table>"
        # What MathJax leaves alone: a name with two dollars is no formula.
        plain = "mathjax_ignore tex2jax_ignore"
        return f'<div class="{plain}"><p>{head}</p>{table}</div>'


def why(name: str | Task, instant: datetime | date | str) -> Why:
    """Say why a task did or will run at an instant, or why not.

    It looks at the trigger, field by field, at the bounds and the exclusions of the
    task, at its state, and at what the history has of that slot. A task of another
    process, or of the past, is known by the history: its last declaration before the
    instant, but not whether it is paused. What is not known is said.

    Args:
        name: the task's name or id, or the task.
        instant: a datetime or ISO text, in the task's zone if it has none. A fraction
            of a second is left out.

    Raises:
        UnknownTask: if neither this process nor the history knows it.
        InvalidOption: if the instant is none.
    """
    task = find_task(name)
    subject = describe_life(str(name)) if task is None else describe_task(task)
    zone = subject.trigger.timezone
    second = math.floor(read_instant("instant", instant, zone))
    if task is None:
        subject = describe_life(subject.name, second)
    at = to_datetime(second, subject.trigger.timezone)
    is_slot = subject.trigger.matches(at)
    is_moved = not is_slot and subject.slots.find_next(second - 1) == second
    obstacles = list(subject.list_obstacles(second))
    row = _find_row(subject, second, is_slot=is_slot or is_moved)
    reasons = [*_explain_trigger(subject.trigger, at), *obstacles, *_explain_row(row)]
    if is_moved:
        reasons.append(("on_excluded", "next: a run that was excluded was moved here"))
    if subject.facts is not None and (policies := subject.facts.list_policies()):
        reasons.append(("policies", policies))
    unknown = list(subject.list_unknown(second)) if row is None else []
    verdict = _judge(
        row,
        is_slot=is_slot or is_moved,
        is_past=second <= read_now(),
        obstacles=obstacles,
        is_sure=not unknown,
    )
    reasons += unknown
    if not is_slot:
        reasons += _show_neighbours(subject.trigger, second)
    return Why(subject.name, at, is_slot=is_slot, verdict=verdict, reasons=reasons)


class _Row(NamedTuple):
    """The row of a slot, and how many slots it stands for beside this one."""

    record: RunRecord
    others: int = 0


def _find_row(subject: Subject, second: int, *, is_slot: bool) -> _Row | None:
    """Return the row of a slot, its own or that of a gap; None if there is none."""
    from ipycron.api.history import get_path  # noqa: PLC0415 - SQLite
    from ipycron.runlog.reading import read_slot  # noqa: PLC0415 - as above

    client = registry.running_client
    if client is not None:
        client.flush_history(1.0)
    try:
        path = get_path()
        rows = [] if path is None else read_slot(path, subject.name, second)
    except HistoryError:
        return None
    for row in rows:
        if row.slot is not None and row.slot.timestamp() == second:
            return _Row(row)
        if is_slot and _covers(row, subject, second):
            return _Row(row, (row.missed_count or 1) - 1)
    return None


def _covers(row: RunRecord, subject: Subject, second: int) -> bool:
    """Return whether a row for several slots, of which it has the last, is this one's.

    Of a gap that is too long to count its slots, it is one.
    """
    assert row.slot is not None
    last, count = int(row.slot.timestamp()), row.missed_count or 1
    is_excluded = row.outcome == RunOutcome.EXCLUDED
    slots = subject.find_excluded(last) if is_excluded else subject.slots
    if slots is None or slots.find_next(second - 1) != second:
        return False
    slot: int | None = second
    for _ in range(min(count, MAX_COUNTED)):
        if slot is None or slot >= last:
            return slot == last
        slot = slots.find_next(slot)
    return count > MAX_COUNTED


def _judge(
    row: _Row | None,
    *,
    is_slot: bool,
    is_past: bool,
    obstacles: list[Line],
    is_sure: bool,
) -> str:
    if row is not None:
        others = f", with {row.others:,} other slots" if row.others else ""
        return f"it has a row: {row.record.outcome}{others}"
    if not is_slot:
        return "it did not run: no slot" if is_past else "it will not run: no slot"
    if obstacles:
        what = "it did not run" if is_past else "it will not run"
        label, text = obstacles[0]
        return f"{what}: {label} ({text})"
    if is_past:
        return "a slot, of which the history has no row"
    return "it will run" if is_sure else "it will run, as far as the history says"


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


def _explain_row(found_row: _Row | None) -> list[Line]:
    if found_row is None:
        return []
    row, others = found_row
    if others:
        assert row.slot is not None
        last = row.slot.isoformat(" ")
        return [("history", f"{row.outcome}: a row for {others + 1:,} slots to {last}")]
    found = [("history", f"{row.outcome}, {row.trigger}")]
    if row.started_at is not None:
        found.append(("started", row.started_at.isoformat(" ", "milliseconds")))
    if row.error_type:
        found.append(("error", f"{row.error_type}: {row.error or ''}".rstrip(": ")))
        if row.summary:
            found.append(("retry", row.summary))
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
