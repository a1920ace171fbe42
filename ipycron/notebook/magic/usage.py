"""A user's mistake is one line: IPython shows a `UsageError` without a traceback."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from IPython.core.error import UsageError

from ipycron.errors import (
    CaptureError,
    CoordinatorError,
    CronSyntaxError,
    HistoryError,
    InvalidOption,
    TaskExists,
    TaskFileNotFound,
    UnknownRun,
    UnknownTask,
    UnknownTimezone,
)
from ipycron.notebook.display.words import format_text, one_line
from ipycron.notebook.magic.grammar import LineError

if TYPE_CHECKING:
    from collections.abc import Iterator

_MISTAKES = (
    CaptureError,
    CoordinatorError,
    HistoryError,
    InvalidOption,
    LineError,
    TaskExists,
    TaskFileNotFound,
    UnknownRun,
    UnknownTask,
    UnknownTimezone,
)


@contextlib.contextmanager
def usage_errors() -> Iterator[None]:
    """Convert user mistakes into a `UsageError`, of exactly that class."""
    try:
        yield
    except CronSyntaxError as error:
        raise UsageError(str(error)) from None  # with its caret
    except _MISTAKES as error:
        raise UsageError(one_line(format_text(str(error)))) from None


def describe_syntax_error(error: SyntaxError, *, where: str = "") -> str:
    """Return a one-line description of a syntax error in a cell or file."""
    text = f": {error.text.strip()}" if error.text and error.text.strip() else ""
    place = f"{where}line {error.lineno}" if error.lineno else where.rstrip(", ")
    return f"{place}: {error.msg}{text}"
