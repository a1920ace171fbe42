"""Expression text to `Fields`: the only reader of the grammar.

This parser replaces croniter's. croniter does not support ``LW``, ``L-3``, lists with
``W``, or plain days combined with ``#``; it reads ``5-5`` as the whole cycle and cannot
report a token's position in the text. Working around that would have taken a second
parser in front of it, and importing it costs every supervisor 57 ms. It is still used
for what only croniter can define: the hash behind ``H`` (`hashing`).

The parser makes no suggestions: `repair` does, from the error and the text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from ipycron.cron.fields import NICKNAMES, SPECS, Fields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ipycron.cron.fields import FieldSpec, Token

    Hasher = Callable[[FieldSpec, str], tuple[int, ...]]

# An expression that lists every value of every field has 690 characters. The limit
# makes the time to reject a text independent of its length.
MAX_LENGTH = 1000

_EXPECTED = (
    "expected 5 fields (minute, hour, day of month, month, day of week), "
    "6 with seconds first, or a nickname such as @daily"
)

_LONGEST_QUOTE = 40
# Accepted by cronie, Go's cron and Kubernetes.
_ZONE = re.compile(r"\s*(?:CRON_)?TZ\s*=\s*(\S+)", re.IGNORECASE)
_HASHED = r"H(?:\(([0-9]{1,4})-([0-9]{1,4})\))?(?:/([0-9]{1,4}))?"
_LAST_OFFSETS = range(1, 31)
_ORDINALS = range(1, 6)


class FieldError(NamedTuple):
    """One error in an expression.

    Attributes:
        field: the field's name in `Fields`, or ``"expression"`` for the whole text.
        value: the offending token, or None if there is none.
        message: one sentence: what was wrong and what the field accepts.
        column: zero-based position of `value` in the text, or None.
        suggestion: what to write instead of `value`, or None.
    """

    field: str
    value: str | None
    message: str
    column: int | None = None
    suggestion: str | None = None


class Reading(NamedTuple):
    """The result of reading a text: its fields, or every error in it."""

    fields: Fields | None
    errors: tuple[FieldError, ...]


class _Rejected(Exception):
    """Carries an error out of nested calls; never leaves this module."""

    def __init__(self, error: FieldError) -> None:
        super().__init__(error.message)
        self.error = error


class _Piece(NamedTuple):
    """A part of the text, with its position, for the caret in error messages."""

    text: str
    column: int

    def cut(self, start: int, end: int | None = None) -> _Piece:
        """Return the part of this piece from `start` to `end`."""
        return _Piece(self.text[start:end], self.column + start)

    def split(self, separator: str) -> Iterator[_Piece]:
        """Yield the parts between separators, including empty ones."""
        start = 0
        for part in self.text.split(separator):
            yield self.cut(start, start + len(part))
            start += len(part) + 1


def read(text: str, hasher: Hasher | None) -> Reading:
    """Read an expression. Never raises, whatever the text.

    Args:
        text: the expression as the user wrote it.
        hasher: returns the values of an ``H`` field; if None, such a field is an error.
    """
    try:
        words = _split_words(text)
    except _Rejected as rejected:
        return Reading(None, (rejected.error,))
    columns: list[Any] = [(0,)] if len(words) == len(SPECS) - 1 else []
    starred = set()
    errors = []
    for spec, word in zip(SPECS[len(columns) :], words, strict=True):
        if word.text[0] in "*?":
            starred.add(spec.name)
        try:
            columns.append(_read_field(spec, word, hasher))
        except _Rejected as rejected:
            errors.append(rejected.error)
    if errors:
        return Reading(None, tuple(errors))
    return Reading(Fields._make([*columns, frozenset(starred)]), ())


def _split_words(text: str) -> list[_Piece]:
    """Split a text into its five or six words; expand a nickname."""
    if len(text) > MAX_LENGTH:
        _reject_whole(
            f"got {len(text)} characters, expected at most {MAX_LENGTH}", None
        )
    words: list[_Piece] = []
    column = 0
    for word in text.split():
        column = text.index(word, column)
        words.append(_Piece(word, column))
        column += len(word)
    if len(words) == 1:
        plain = NICKNAMES.get(words[0].text.lower())
        if plain is not None:
            return [_Piece(word, words[0].column) for word in plain.split()]
    if not words:
        _reject_whole(f"got an empty text, {_EXPECTED}", None)
    variable = _ZONE.match(text)
    if variable is not None:
        zone = variable[1].strip("\"'")
        _reject_whole(
            f"got {_quote(variable[0].strip())}, expected the fields alone. Give the "
            f"zone separately: timezone={zone!r}, or --timezone {zone} in a magic or "
            "a shell",
            words[0],
        )
    if words[0].text[0] == "@":
        expected = f"one of {', '.join(NICKNAMES)}"
        _reject_whole(f"got {_quote(text.strip())}, expected {expected}", words[0])
    if len(words) not in (len(SPECS) - 1, len(SPECS)):
        count = f"{len(words)} fields" if len(words) > 1 else _quote(words[0].text)
        surplus = words[len(SPECS)] if len(words) > len(SPECS) else words[-1]
        _reject_whole(f"got {count}, {_EXPECTED}", surplus)
    return words


def _reject_whole(message: str, at: _Piece | None) -> NoReturn:
    """Reject the text as a whole, with a caret under `at`."""
    value, column = (None, None) if at is None else (at.text, at.column)
    raise _Rejected(FieldError("expression", value, f"expression: {message}.", column))


def take_lowest(spec: FieldSpec, text: str) -> tuple[int, ...]:  # noqa: ARG001 - a Hasher
    """Replace the hash of an ``H`` field if only the grammar matters."""
    return (spec.low,)


def _reject(spec: FieldSpec, piece: _Piece, expected: str | None = None) -> NoReturn:
    """Reject `piece`; by default, the message lists everything the field accepts."""
    if expected is None:
        expected = f"{spec.takes}; also lists (1,5), ranges (1-5), steps (*/5)"
    got = _quote(piece.text) if piece.text else "an empty list item"
    message = f"{spec.label}: got {got}, expected {expected}."
    raise _Rejected(FieldError(spec.name, piece.text, message, piece.column))


def _quote(text: str) -> str:
    """Quote a token, shortened for a message."""
    return repr(text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…")


def _read_field(
    spec: FieldSpec, word: _Piece, hasher: Hasher | None
) -> tuple[Token, ...]:
    """Read one field: sorted numbers, then sorted tokens, without duplicates."""
    if word.text == "*":  # most fields of most expressions
        return tuple(range(spec.low, spec.high + 1))
    if word.text[0] in "hH":
        _check_hashed(spec, word)
        if hasher is None:
            _reject(spec, word, "a hash_id to draw its value from, such as a name")
        return hasher(spec, word.text)
    numbers: set[int] = set()
    tokens = set()
    for item in word.split(","):
        token = _read_token(spec, item)
        if token is None:
            numbers.update(_read_values(spec, item))
        else:
            tokens.add(token)
    return (*sorted(numbers), *sorted(tokens))


def _check_hashed(spec: FieldSpec, word: _Piece) -> None:
    """Check ``H``, ``H/15``, ``H(0-29)``, ``H(0-29)/10``. Source: croniter."""
    expected = f"H, H/step or H(from-to) within {spec.low} to {spec.top}"
    found = re.fullmatch(_HASHED, word.text.upper())
    if found is None:
        _reject(spec, word, f"{expected}, alone in its field")
    low, high, step = (None if part is None else int(part) for part in found.groups())
    if low is not None and high is not None and not spec.low <= low < high <= spec.top:
        _reject(spec, word, expected)
    if step == 0:
        _reject(spec, word, "a step of 1 or more")


def _read_token(spec: FieldSpec, item: _Piece) -> str | None:
    """Read a token that only a day field accepts; None if `item` is not one."""
    text = item.text.upper()
    if spec.name == "day_of_month":
        if text in ("L", "LW"):
            return text
        if text.startswith("L-"):
            return f"L-{_read_number(spec, item, 2, _LAST_OFFSETS)}"
        if text.endswith("W"):
            return f"{_read_value(spec, item.cut(0, -1), item)}W"
    elif spec.name == "day_of_week":
        if "#" in text:
            day = next(item.split("#"))
            number = _read_number(spec, item, len(day.text) + 1, _ORDINALS)
            return f"{_read_value(spec, day, item) % 7}#{number}"
        if text.endswith("L"):
            return f"{_read_value(spec, item.cut(0, -1), item) % 7}L"
    return None


def _read_values(spec: FieldSpec, item: _Piece) -> list[int]:
    """Read ``*``, ``?``, a value or a range, each with or without a step."""
    base, *rest = item.split("/")
    if base.text == "?" and not rest and spec.name.startswith("day"):
        return list(range(spec.low, spec.high + 1))
    values = _read_base(spec, base, item, is_stepped=bool(rest))
    if rest:
        step = _read_number(spec, item, len(base.text) + 1, None)
        values = values[::step]
    return [spec.low if value > spec.high else value for value in values]


def find_wide_steps(text: str) -> list[tuple[FieldSpec, str, int]]:
    """Return the steps that are so wide that only their first value remains.

    Returns:
        For each step: its field, its list item, and how many values it steps through.
    """
    words = _split_words(text)
    found = []
    for spec, word in zip(SPECS[-len(words) :], words, strict=True):
        for item in word.split(","):
            base, *rest = item.split("/")
            if not rest:
                continue
            is_hashed = base.text[0] in "hH"
            start = _Piece("*", 0) if is_hashed else base
            size = len(_read_base(spec, start, start, is_stepped=True))
            if int(rest[0].text) > size:
                found.append((spec, item.text, size))
    return found


def _read_base(
    spec: FieldSpec, base: _Piece, item: _Piece, *, is_stepped: bool
) -> list[int]:
    """Read the part before a step, where a single value means "to the field's end"."""
    if base.text == "*":
        return list(range(spec.low, spec.high + 1))
    start_piece, *rest = base.split("-")
    if rest:
        start = _read_value(spec, start_piece, item)
        end = _read_value(spec, base.cut(len(start_piece.text) + 1), item)
        return _walk_range(spec, start, end)
    start = _read_value(spec, base, item)
    if is_stepped:
        return list(range(start % (spec.high + 1), spec.high + 1))
    return [start]


def _walk_range(spec: FieldSpec, start: int, end: int) -> list[int]:
    """List the values from `start` to `end`, wrapping around if necessary."""
    if start == spec.high + 1 != end:
        start = spec.low  # a range may start with 7; only Sunday can be past the end
    if start <= end:
        return list(range(start, end + 1))
    return [*range(start, spec.high + 1), *range(spec.low, end + 1)]


def _read_value(spec: FieldSpec, piece: _Piece, item: _Piece) -> int:
    """Read a number within the field, or one of its names.

    If the piece is empty, as in ``5-``, the error points at the whole item.
    """
    named = spec.names.get(piece.text.lower())
    if named is not None:
        return named
    value = _to_number(piece.text)
    if value is None or not spec.low <= value <= spec.top:
        _reject(spec, piece if piece.text else item)
    return value


def _read_number(
    spec: FieldSpec, item: _Piece, start: int, allowed: range | None
) -> int:
    """Read the number at `start` in an item: an offset, an ordinal or a step.

    `allowed` is None for a step, which may be any number from 1 on.
    """
    piece = item.cut(start)
    value = _to_number(piece.text)
    if value is None or (value not in allowed if allowed is not None else value < 1):
        expected = "a step of 1 or more"
        if allowed is not None:
            before = item.text[:start]
            expected = f"{before}{allowed[0]} to {before}{allowed[-1]}"
        _reject(spec, piece if piece.text else item, expected)
    return value


def _to_number(text: str) -> int | None:
    """Read ASCII digits only: `int` also accepts ``+1``, ``1_0`` and other scripts."""
    return int(text) if text.isascii() and text.isdigit() else None
