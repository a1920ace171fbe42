"""What is wrong with what the user wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipycron.errors.base import IpycronError, suggest

if TYPE_CHECKING:
    from collections.abc import Iterable


class CronSyntaxError(IpycronError, ValueError):
    """A cron expression that cannot be understood, or that never fires.

    Attributes:
        expression: the whole text.
        field: the bad field's name, or None where the whole text is at fault.
        value: the offending token, or None.
        message: one sentence: what was wrong, what the field takes.
        column: zero-based position of `value` in `expression`, or None.
        suggestion: what to write instead, or None.
    """

    expression: str
    field: str | None
    value: str | None
    message: str
    column: int | None
    suggestion: str | None

    def __init__(
        self,
        *,
        expression: str,
        message: str,
        field: str | None = None,
        value: str | None = None,
        column: int | None = None,
        suggestion: str | None = None,
    ) -> None:
        lines = [message]
        if column is not None:
            lines += _point_at(expression, column, width=len(value or ""))
        if suggestion is not None:
            lines.append(f"Try: {suggestion}")
        super().__init__(
            "\n".join(lines),
            expression=expression,
            field=field,
            value=value,
            message=message,
            column=column,
            suggestion=suggestion,
        )


_WIDEST = 72  # columns of an expression that are shown
_BEFORE = 24  # of them, where it is longer, those before the caret


def _point_at(expression: str, column: int, *, width: int) -> list[str]:
    """Return the expression, or the part around `column`, and carets below it."""
    # Control characters would move the caret away from what it points at.
    shown = "".join(c if c.isprintable() else " " for c in expression)
    if len(shown) > _WIDEST:
        start = max(0, column - _BEFORE)
        end = start + _WIDEST
        shown = f"{'…' * (start > 0)}{shown[start:end]}{'…' * (end < len(shown))}"
        column -= start - (start > 0)
    carets = "^" * max(1, min(width, len(shown) - column))
    return [f"  {shown}", f"  {' ' * column}{carets}"]


class UnknownTimezone(IpycronError, ValueError):
    """A time zone that the system's database does not know.

    Attributes:
        timezone: what was given.
        suggestion: the name to write instead, or None.
        variable: the environment variable that holds it, or None.
    """

    timezone: str
    suggestion: str | None
    variable: str | None

    def __init__(
        self,
        *,
        timezone: str,
        suggestion: str | None = None,
        variable: str | None = None,
    ) -> None:
        where, also = "timezone", "or a tzinfo"
        if variable is not None:
            where = f"the environment variable {variable}"
            also = "the path of a zone file, or a POSIX zone such as 'EST5EDT'"
        advice = "" if suggestion is None else f" Did you mean {suggestion!r}?"
        super().__init__(
            f"{where}: got {timezone!r:.200}, expected an IANA name such as "
            f"'Europe/Berlin', {also}.{advice}",
            timezone=timezone,
            suggestion=suggestion,
            variable=variable,
        )


class InvalidOption(IpycronError, ValueError):
    """An option whose value has the wrong type or is out of range."""

    option: str
    value: object
    expected: str

    def __init__(
        self, *, option: str, value: object, expected: str, advice: str = ""
    ) -> None:
        text = f"{option}: got {value!r:.200}, expected {expected}."
        super().__init__(
            f"{text} {advice}".rstrip(),
            option=option,
            value=repr(value)[:200],
            expected=expected,
        )


class UnknownOption(IpycronError, TypeError):
    """An option that does not exist."""

    option: str

    def __init__(self, *, option: str, known: Iterable[str]) -> None:
        names = sorted(known)
        super().__init__(
            f"{option!r} is not an option.{suggest(option, names)} "
            f"Known options: {', '.join(names)}.",
            option=option,
        )


class TaskFileNotFound(IpycronError, FileNotFoundError):
    """A task file that does not exist when the task is created, or is no file."""

    path: str

    def __init__(
        self, *, path: str, folder: str | None = None, is_there: bool = False
    ) -> None:
        where = f" (relative to {folder})" if folder is not None else ""
        what = "is not a file" if is_there else "does not exist"
        super().__init__(
            f"task file: {path}{where} {what}. "
            "Give the path of a Python file that exists now.",
            path=path,
        )


class TaskExists(IpycronError, ValueError):
    """A task of this name exists and `if_exists="error"` refuses another."""

    name: str

    def __init__(self, *, name: str) -> None:
        super().__init__(
            f"task {name!r} exists already. Destroy it first, choose another name, "
            "or pass if_exists='replace' or 'keep'.",
            name=name,
        )


class UnknownTask(IpycronError, LookupError):
    """No task has this id or name."""

    name: str

    def __init__(self, *, name: str, known: Iterable[str] = ()) -> None:
        names = sorted(known)
        listed = f" Tasks: {', '.join(names)}." if names else " There is no task."
        super().__init__(
            f"no task is called {name!r}.{suggest(name, names)}{listed}", name=name
        )


class CaptureError(IpycronError, TypeError):
    """A variable, or a job, that cannot travel to a worker.

    Attributes:
        variable: the variable's name, or what stands for the job itself.
        type_name: its type.
        reason: what pickle said.
    """

    variable: str
    type_name: str
    reason: str

    def __init__(
        self, *, variable: str, type_name: str, reason: str, advice: str
    ) -> None:
        super().__init__(
            f"{variable!r} ({type_name}) cannot be sent to a worker: {reason}. "
            f"{advice}",
            variable=variable,
            type_name=type_name,
            reason=reason,
        )
