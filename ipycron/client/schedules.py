"""The expression of a task: parsed with its options, checked, shared."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import tzinfo
from functools import lru_cache
from typing import TYPE_CHECKING

from ipycron.client.instants import read_instant, read_last
from ipycron.client.jobs import Inline
from ipycron.cron import CronExpression
from ipycron.errors import InvalidOption
from ipycron.process.wire.zones import describe_zone
from ipycron.scheduling.clock import SystemClock
from ipycron.scheduling.events import to_datetime

if TYPE_CHECKING:
    from datetime import datetime

    from ipycron.client.jobs import Source
    from ipycron.client.options import TaskOptions


def make_expression(
    expression: str | CronExpression, options: TaskOptions, task_id: str
) -> CronExpression:
    """Return a task's expression; raise if it is invalid or never fires."""
    if isinstance(expression, CronExpression):
        parsed = expression
    else:
        has_hash = "h" in str(expression).lower()  # perhaps: Thu, March
        parsed = CronExpression(
            expression,
            options.timezone,
            day_or=options.day_or,
            hash_id=(options.name or task_id) if has_hash else None,
        )
        if not isinstance(options.timezone, tzinfo):  # its code decides what is equal
            parsed = _share(parsed, options.timezone is None)
    parsed.check_fires(SystemClock().now())
    return parsed


@lru_cache(maxsize=64)
def _share(expression: CronExpression, _: bool) -> CronExpression:  # noqa: FBT001
    """Return one object for equal expressions: many tasks share a schedule.

    An expression in the system's zone and one in a zone of that name are not equal: the
    system that they are sent to may have another zone.
    """
    return expression


def parse_schedule(
    expression: str | CronExpression,
    options: TaskOptions,
    task_id: str,
    source: Source,
    *,
    now: float,
) -> CronExpression:
    """Return a task's new expression, checked like its first one at `now`."""
    parsed = make_expression(expression, options, task_id)
    check_zone(parsed, source)
    check_bounds(parsed, options, options, now=now)
    return parsed


def read_bounds(expression: CronExpression, options: TaskOptions) -> TaskOptions:
    """Return a task's options with `start` and `end` as instants.

    What has no zone is in the expression's.
    """
    start, end = options.start, options.end
    if start is None and end is None:
        return options
    zone = expression.timezone
    if start is not None:
        start = to_datetime(read_instant("start", start, zone), zone)
    if end is not None:
        end = to_datetime(read_last("end", end, zone), zone)
    return replace(options, start=start, end=end)


def check_bounds(
    expression: CronExpression, options: TaskOptions, given: TaskOptions, *, now: float
) -> None:
    """Check that a slot that is still to come is within a task's bounds.

    Args:
        expression: the task's.
        options: what `read_bounds` has returned.
        given: the options with the bounds as the user wrote them, for the error.
        now: Unix seconds.

    Raises:
        InvalidOption: if there is none.
    """
    start, end = options.start, options.end
    if start is None and end is None:
        return
    if end is not None and end.timestamp() < now:
        shown = _show(to_datetime(now, expression.timezone))
        expected = f"an instant to come: it is {shown}"
        raise InvalidOption(option="end", value=given.end, expected=expected)
    if start is not None and end is not None and end < start:
        expected = f"an instant after start, {_show(start)}"
        raise InvalidOption(option="end", value=given.end, expected=expected)
    since = now if start is None else max(now, math.ceil(start.timestamp()) - 1)
    first = expression.find_next(since)
    if first is None:
        expected = f"an instant that a slot of {expression.text!r} follows"
        raise InvalidOption(option="start", value=given.start, expected=expected)
    if end is not None and first > end.timestamp():
        shown = _show(to_datetime(first, expression.timezone))
        expected = f"{shown} or later, the first slot of {expression.text!r}"
        raise InvalidOption(option="end", value=given.end, expected=expected)


def _show(instant: datetime) -> str:
    return instant.isoformat(" ", "seconds")


def check_zone(expression: CronExpression, source: Source) -> None:
    """Check that the zone can be sent to where it is needed."""
    if not isinstance(source, Inline):
        describe_zone(expression.timezone)
