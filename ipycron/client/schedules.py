"""The expression of a task: parsed with its options, checked, shared."""

from __future__ import annotations

from datetime import tzinfo
from functools import lru_cache
from typing import TYPE_CHECKING

from ipycron.client.jobs import Inline
from ipycron.cron import CronExpression
from ipycron.process.wire.zones import describe_zone
from ipycron.scheduling.clock import SystemClock

if TYPE_CHECKING:
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
    expression: str | CronExpression, options: TaskOptions, task_id: str, source: Source
) -> CronExpression:
    """Return a task's new expression, checked like its first one."""
    parsed = make_expression(expression, options, task_id)
    check_zone(parsed, source)
    return parsed


def check_zone(expression: CronExpression, source: Source) -> None:
    """Check that the zone can be sent to where it is needed."""
    if not isinstance(source, Inline):
        describe_zone(expression.timezone)
