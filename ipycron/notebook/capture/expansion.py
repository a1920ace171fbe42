"""Names in the text of magics and shell commands, where IPython expands them."""

from __future__ import annotations

import ast
import string
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def find_expansions(text: str) -> Iterator[ast.expr]:
    """Yield the expressions of `$name` and `{expression}` in a text.

    What is not Python belongs to somebody else: ``awk '{print $1}'``.
    """
    fields = [word for word in _split_dollars(text) if word.isidentifier()]
    try:
        parsed = list(string.Formatter().parse(text))
    except ValueError:  # a brace of the shell's, not of ours
        parsed = []
    fields += [name for _, name, _, _ in parsed if name]
    for source in fields:
        try:
            yield ast.parse(source.strip(), mode="eval").body
        except SyntaxError:
            continue


def _split_dollars(text: str) -> Iterator[str]:
    """Yield the identifiers that follow a single dollar."""
    for part in text.replace("$$", " ").split("$")[1:]:
        length = 0
        while length < len(part) and part[: length + 1].isidentifier():
            length += 1
        yield part[:length]
