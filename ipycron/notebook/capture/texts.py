"""Names in strings: ``df.query("price > @limit")``, ``"select * from df"``.

The purpose of a string cannot be known. A name in one may be used; it is sent if the
notebook has such a variable.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

RUNNERS = frozenset({"eval", "exec", "evaluate", "run_cell", "timeit"})
"""Functions and methods that take Python-like text: pandas, numexpr."""

NAMESPACES = frozenset({"globals", "locals", "vars", "user_ns", "user_global_ns"})
"""Names that give access to the notebook's variables by name."""

_LONGEST = 10_000
_IDENTIFIER = re.compile(r"(?<![\w.])[^\W\d]\w*")
_REFERENCE = re.compile(r"(?<![\w.@])@([^\W\d]\w*)")
_TABLES = re.compile(
    r"\b(?:from|join|into|update|table|describe|summarize)\s+"
    r"([^\W\d]\w*(?:\s*,\s*[^\W\d]\w*)*)",
    re.IGNORECASE,
)


def runs_text(names: Collection[str]) -> bool:
    """Return whether code with these names may run a string as code."""
    return not (RUNNERS | NAMESPACES).isdisjoint(names)


def find_text_names(text: str, *, is_code: bool) -> Iterator[str]:
    """Yield the names that a string may refer to.

    Args:
        text: a string of the cell or of a function.
        is_code: whether all of it may be code; otherwise only marked names count:
            ``@name`` of pandas, the tables of a query.
    """
    text = text[:_LONGEST]
    if is_code:
        yield from _IDENTIFIER.findall(text)
        return
    yield from _REFERENCE.findall(text)
    for tables in _TABLES.findall(text):
        yield from _IDENTIFIER.findall(tables)
