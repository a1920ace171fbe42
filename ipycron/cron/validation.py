"""Checking and parsing the text of an expression: `parse`, `validate`."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, NamedTuple

from ipycron.cron import hashing, parser
from ipycron.cron.parser import FieldError
from ipycron.errors import CronSyntaxError, show_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipycron.cron.fields import Fields

_LENGTHS = (6, 5, 1)  # fields with seconds, fields, a nickname or a quoted expression


class Validation(NamedTuple):
    """The result of validating a text; true if it is an expression.

    Attributes:
        valid: whether the text is an expression.
        fields: the expanded fields of a valid text, else None. An ``H`` field contains
            only its smallest value, since its real values depend on the task's name.
        errors: an error for every invalid field, in the order of the text; empty if
            valid.
    """

    valid: bool
    fields: Fields | None
    errors: tuple[FieldError, ...]

    def __bool__(self) -> bool:
        return self.valid


def parse(text: str, *, hash_id: str | None = None) -> Fields:
    """Return the expanded fields of an expression.

    This does not check that the dates exist: ``0 0 30 2 *`` is valid grammar;
    `CronExpression.check_fires` refuses it.

    Args:
        text: the expression.
        hash_id: the text that the values of ``H`` fields are derived from.

    Raises:
        CronSyntaxError: if the text is not an expression, or has an ``H`` field and
            no `hash_id`.

    Examples:
        >>> parse("*/20 9-17 * * mon").minute
        (0, 20, 40)
    """
    if not isinstance(text, str):
        raise _make_error(repr(text), _check_type(text))
    # Without an H the id does not matter: a thousand tasks on one schedule share it.
    return _parse_cached(text, hash_id if "h" in text.lower() else None)


def split_expression(words: Sequence[str]) -> tuple[str, tuple[str, ...]] | None:
    """Return the expression that the words begin with, and the words after it.

    Returns:
        None if they do not begin with an expression.

    Examples:
        >>> split_expression("0 9 * * mon report.py -v".split())
        ('0 9 * * mon', ('report.py', '-v'))
    """
    for length in _LENGTHS:
        text = " ".join(words[:length])
        if len(words) >= length and validate(text):
            return text, tuple(words[length:])
    return None


def validate(text: object) -> bool:
    """Return whether the text is an expression. Never raises.

    Examples:
        >>> validate("0 9 * * 1-5"), validate("0 25 * * *")
        (True, False)
    """
    return validate_detailed(text).valid


def validate_detailed(text: object) -> Validation:
    """Validate a text and return an error for every invalid field. Never raises.

    Examples:
        >>> [(e.field, e.value) for e in validate_detailed("61 * * * mo").errors]
        [('minute', '61'), ('day_of_week', 'mo')]
    """
    if not isinstance(text, str):
        return Validation(valid=False, fields=None, errors=_check_type(text))
    reading = parser.read(text, parser.take_lowest)
    if not reading.errors:
        return Validation(valid=True, fields=reading.fields, errors=())
    from ipycron.cron import repair  # noqa: PLC0415 - only for errors

    errors = repair.suggest_each(text, reading.errors)
    return Validation(valid=False, fields=None, errors=errors)


@lru_cache(maxsize=1024)
def _parse_cached(text: str, hash_id: str | None) -> Fields:
    """Parse a text, once; errors are not cached."""
    hasher = None if hash_id is None else partial(hashing.draw, hash_id=hash_id)
    reading = parser.read(text, hasher)
    if reading.fields is None:
        raise _make_error(text, reading.errors)
    return reading.fields


def _check_type(text: object) -> tuple[FieldError, ...]:
    """Return the error for a value that is not text."""
    got = f"{show_value(text, 40)} ({type(text).__name__})"
    message = f"expression: got {got}, expected text such as '*/5 * * * *'."
    return (FieldError("expression", None, message),)


def _make_error(text: str, errors: tuple[FieldError, ...]) -> CronSyntaxError:
    """Return the exception for the first error, with a suggestion that fixes all."""
    from ipycron.cron import repair  # noqa: PLC0415 - as above

    first = errors[0]
    return CronSyntaxError(
        expression=text,
        field=None if first.field == "expression" else first.field,
        value=first.value,
        message=first.message,
        column=first.column,
        suggestion=repair.suggest_whole(text),
    )
