"""Why a grammatically valid expression never fires."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipycron.cron.days import Days
from ipycron.cron.walk import DAY, HORIZON
from ipycron.errors import CronSyntaxError

if TYPE_CHECKING:
    from ipycron.cron.fields import Fields

_ALL_WEEK = tuple(range(7))


def explain_never(
    text: str, fields: Fields, *, clock: str, day_or: bool
) -> CronSyntaxError:
    """Return the error for an expression that never fires.

    Args:
        text: the expression, with single spaces.
        fields: its fields.
        clock: the name of its time zone.
        day_or: whether matching one of two restricted day fields is enough.
    """
    words = text.split(" ")
    day, month, weekday = words[-3:]
    column = len(text) - len(f"{day} {month} {weekday}")
    if not has_days(fields._replace(day_of_week=_ALL_WEEK), day_or=False):
        return CronSyntaxError(
            expression=text,
            field="day_of_month",
            value=day,
            message=f"day of month: got {day!r}, expected a day that month {month} "
            "has. It never fires.",
            column=column,
        )
    if has_days(fields, day_or=day_or):
        return CronSyntaxError(
            expression=text,
            message=f"expression: the clock in {clock} always skips this time. "
            "It never fires.",
        )
    advice = "" if day_or else " Without day_or=False, one match is enough."
    return CronSyntaxError(
        expression=text,
        value=f"{day} {month} {weekday}",
        message=f"expression: the day of month, {day!r}, and the day of week, "
        f"{weekday!r}, never match together. It never fires.{advice}",
        column=column,
    )


def has_days(fields: Fields, *, day_or: bool) -> bool:
    """Return whether a schedule runs on any day within 100 years."""
    return Days(fields, day_or=day_or).find_next(0, HORIZON // DAY) is not None
