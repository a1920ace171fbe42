"""WHEN: expression text to fields to instants. Pure: no I/O beyond zone data, no clock.

One parser (`parser`) turns the text into `Fields`; matching, searching (`days` and
`walk` in local time, `zone` for clock changes, `expression` on top of both), describing
and error reports all use that object. `timezone` resolves time zones, `zone_rules`
reads and writes zones that have no name. The only other ipycron module imported is
`ipycron.errors`; croniter and cron-descriptor are imported on demand.
"""

from ipycron.cron.expression import CronExpression
from ipycron.cron.fields import Fields
from ipycron.cron.parser import FieldError
from ipycron.cron.validation import (
    Validation,
    parse,
    split_expression,
    validate,
    validate_detailed,
)

__all__ = [
    "CronExpression",
    "FieldError",
    "Fields",
    "Validation",
    "parse",
    "split_expression",
    "validate",
    "validate_detailed",
]
