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
    """Return a task's expression; raises if it is wrong or never fires."""
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
        if not isinstance(options.timezone, tzinfo):  # its own code says what is equal
            parsed = _share(parsed, options.timezone is None)
    parsed.check_fires(SystemClock().now())
    return parsed


@lru_cache(maxsize=64)
def _share(expression: CronExpression, _: bool) -> CronExpression:  # noqa: FBT001
    """Return one object for all expressions that are equal: many tasks have the same.

    Not for one of the system's zone and one of a zone of this name: where they travel
    to, the system may have another.
    """
    return expression


def parse_schedule(
    expression: str | CronExpression, options: TaskOptions, task_id: str, source: Source
) -> CronExpression:
    """Return another expression for a task, checked as its first one was."""
    parsed = make_expression(expression, options, task_id)
    check_zone(parsed, source)
    return parsed


def check_zone(expression: CronExpression, source: Source) -> None:
    """Check that the zone can travel to where it is needed."""
    if not isinstance(source, Inline):
        describe_zone(expression.timezone)
