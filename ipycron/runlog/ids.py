"""The ids of runs, as short as a person can type them.

A scheduler numbers its runs: their ids share all but the number at their end.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHORTEST = 8
"""Characters of an id without a number that are shown at least."""
_SHORTEST_HEAD = 4
"""Characters that are shown at least before a number: the two are seldom the same."""


def split_id(text: str) -> tuple[str, str]:
    """Return what is before the number of an id, and the number with its dash.

    Examples:
        >>> split_id("0123456789ab-17"), split_id("0123456789ab")
        (('0123456789ab', '-17'), ('0123456789ab', ''))
    """
    head, dash, number = text.rpartition("-")
    is_number = dash and number.isascii() and number.isdigit()
    return (head, dash + number) if is_number else (text, "")


def abbreviate(ids: Sequence[str]) -> list[str]:
    """Return ids of which as much is left out as can be told from the others.

    `reading.find_runs` finds a run by it.

    Examples:
        >>> abbreviate(["0123456789ab", "0123456700cd", "fedcba987654"])
        ['012345678', '012345670', 'fedcba98']
        >>> abbreviate(["0123456789ab-1", "0123456789ab-12", "fedcba987654-1"])
        ['0123-1', '0123-12', 'fedc-1']
    """
    parts = [split_id(each) for each in ids]
    heads = sorted({head for head, _ in parts})
    needed = dict.fromkeys(heads, 0)
    for one, other in pairwise(heads):
        same = next(
            (n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
            min(len(one), len(other)),
        )
        for each in (one, other):
            needed[each] = max(needed[each], same + 1)
    return [
        head[: max(needed[head], _SHORTEST_HEAD if number else _SHORTEST)] + number
        for head, number in parts
    ]
