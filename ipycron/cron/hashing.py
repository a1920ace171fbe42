"""The values of an ``H`` field: croniter's, so that a schedule moves in as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipycron.cron.fields import FieldSpec

# croniter counts fields with the seconds last, and its hash depends on the count.
_POSITIONS = {
    "minute": 0,
    "hour": 1,
    "day_of_month": 2,
    "month": 3,
    "day_of_week": 4,
    "second": 5,
}


def draw(spec: FieldSpec, text: str, hash_id: str) -> tuple[int, ...]:
    """Return the values that `hash_id` draws in a checked ``H`` field, ascending.

    Imports croniter, which takes 57 ms, when the first ``H`` of a process is read.
    """
    from croniter import croniter  # noqa: PLC0415 - see above

    words = ["*"] * len(_POSITIONS)
    position = _POSITIONS[spec.name]
    words[position] = text.lower()
    columns, _ = croniter.expand(" ".join(words), hash_id=hash_id.encode())
    if columns[position] == ["*"]:
        return tuple(range(spec.low, spec.high + 1))
    return tuple(columns[position])
