"""The values of an ``H`` field: those of croniter, so that schedules can migrate."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipycron.cron.fields import FieldSpec

# croniter puts the seconds last, and its hash depends on a field's position.
_POSITIONS = {
    "minute": 0,
    "hour": 1,
    "day_of_month": 2,
    "month": 3,
    "day_of_week": 4,
    "second": 5,
}


def draw(spec: FieldSpec, text: str, hash_id: str) -> tuple[int, ...]:
    """Return the values of a checked ``H`` field for `hash_id`, in ascending order.

    The first call in a process imports croniter, which takes 57 ms.
    """
    from croniter import croniter  # noqa: PLC0415 - see above

    words = ["*"] * len(_POSITIONS)
    position = _POSITIONS[spec.name]
    words[position] = text.lower()
    columns, _ = croniter.expand(" ".join(words), hash_id=hash_id.encode())
    if columns[position] == ["*"]:
        return tuple(range(spec.low, spec.high + 1))
    return tuple(columns[position])
