"""Why a cron expression fires at an instant or does not: field by field."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ipycron.cron.expression import CronExpression
from ipycron.cron.fields import SPECS
from ipycron.cron.walk import Walk
from ipycron.cron.zone import EPOCH

if TYPE_CHECKING:
    from datetime import datetime

_WIDTH = 6


class FieldReason(NamedTuple):
    """What one field says of a local time.

    Attributes:
        label: the field's name.
        text: the field as written.
        shown: what the clock shows there.
        is_match: whether the field allows that.
    """

    label: str
    text: str
    shown: str
    is_match: bool


def explain_fields(expression: CronExpression, instant: datetime) -> list[FieldReason]:
    """Return what each field says of an instant in the expression's zone.

    The fields of a nickname are those that it stands for.
    """
    shown = instant.astimezone(expression.timezone)
    local = int(
        (shown.replace(tzinfo=EPOCH.tzinfo, microsecond=0) - EPOCH).total_seconds()
    )
    words = _list_words(expression)
    reasons = []
    for place, (spec, word) in enumerate(zip(SPECS, words, strict=True)):
        alone = ["*"] * _WIDTH
        alone[place] = word
        field = CronExpression(" ".join(alone), "UTC", hash_id=expression.hash_id or "")
        walk = Walk(field.fields, day_or=True)
        value = _show(spec.name, shown)
        is_match = walk.find_next(local, local) is not None
        reasons.append(FieldReason(spec.label, word, value, is_match))
    return reasons


def _list_words(expression: CronExpression) -> list[str]:
    words = expression.text.split()
    if len(words) == _WIDTH - 1:
        return ["0", *words]
    if len(words) == _WIDTH:
        return words
    fields = expression.fields  # a nickname: numbers only
    return [
        "*" if spec.name in fields.starred else ",".join(map(str, values))
        for spec, values in zip(SPECS, fields, strict=False)
    ]


def _show(name: str, shown: datetime) -> str:
    if name == "day_of_month":
        return str(shown.day)
    if name == "day_of_week":
        return f"{shown:%A}"
    return str(getattr(shown, name))
