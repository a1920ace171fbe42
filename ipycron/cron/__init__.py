"""WHEN: expression text to fields to instants. Pure: no I/O beyond zone data, no clock.

One parser (`parser`) reads the text into `Fields`; matching, searching (`days` and
`walk` in local time, `zone` for the clock's changes, `expression` above both),
describing and error reports all read that object. `timezone` finds the zone that is
meant, `zone_rules` reads and writes zones that have no name. Of the house only
`ipycron.errors` is imported; croniter and cron-descriptor are when they are needed.
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
