"""Repeating a failed run: the policy, and which failures it applies to (Y)."""

from __future__ import annotations

import builtins
import re
import sys
from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

import msgspec

from ipycron.errors import (
    Cancel,
    ExecutionTimeout,
    ExecutorError,
    InvalidOption,
    RunRefused,
    Snooze,
    StartRefused,
    WorkerCrashed,
    suggest,
)
from ipycron.scheduling.checks import (
    check_count,
    check_duration,
    check_flag,
    check_optional_deadline,
    is_number,
    to_seconds,
)

if TYPE_CHECKING:
    from datetime import timedelta

    Failure = type[BaseException] | str | int

LONGEST_WAIT = 366 * 86_400.0
"""Seconds. A longer wait is a mistake, and its end may have no date."""
SHORTEST_SNOOZE = 0.1
"""Seconds: a job that always asks to run again must not occupy a core."""
_CRASHES = (WorkerCrashed, StartRefused, RunRefused, ExecutorError)
"""What a job has not done itself: its process is gone, or none could be had."""
TIMEOUT, CRASH = "timeout", "crash"
"""What `Retry.on` calls a run that took too long, and a worker that died."""
_MAIN = "__main__"
_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_ACCEPTED = (
    "an exception class or its name, 'timeout', 'crash', or an exit code from 1 to 255 "
    "(names as 'ValueError' or 'package.module.Class'; several in a list)"
)
_LAST_CODE = 255
_NO_LISTS = (bytes, bytearray, Mapping)


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a failed run is repeated, and when.

    The attempts of a run are one run: it starts once, ends once and has one id.

    Attributes:
        times: attempts after the first one.
        delay: seconds before the second attempt, as a number or a `timedelta`.
        backoff: the factor by which each wait is longer than the one before.
        max_delay: the longest wait that `backoff` leads to, seconds.
        jitter: the fraction by which each wait is longer or shorter, at random: 0 to 1.
        on: the failures after which there is another attempt; None for all. Exception
            classes and their subclasses, their dotted names, ``"timeout"``,
            ``"crash"``, exit codes.
        past_next: whether attempts go on after the task's next slot. Otherwise that
            slot's run is the next attempt.
        deadline: seconds for all attempts together, from the start of the first one;
            None for no limit. The option `timeout` is for each of them.

    Raises:
        InvalidOption: if a value is of a wrong type or out of range.

    Examples:
        >>> Retry(3, delay=30).find_delay(3, jitter=0.0)
        120.0
    """

    times: int
    delay: float
    backoff: float
    max_delay: float
    jitter: float
    on: tuple[Any, ...] | None
    past_next: bool
    deadline: float | None

    def __init__(
        self,
        times: int,
        *,
        delay: float | timedelta = 10,
        backoff: float = 2,
        max_delay: float | timedelta = 600,
        jitter: float = 0.1,
        on: Failure | Iterable[Failure] | None = None,
        past_next: bool = False,
        deadline: float | timedelta | None = None,
    ) -> None:
        checked = {
            "times": check_count("times", times),
            "delay": check_wait("delay", delay),
            "backoff": check_number("backoff", backoff, 1),
            "max_delay": check_wait("max_delay", max_delay),
            "jitter": check_number("jitter", jitter, 0, 1),
            "on": check_on("on", on),
            "past_next": check_flag("past_next", past_next),
            "deadline": check_optional_deadline("deadline", deadline),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def find_delay(self, attempt: int, *, jitter: float) -> float:
        """Return the seconds to wait after a failed attempt.

        Args:
            attempt: which one has failed, counted from 1.
            jitter: from -1 to 1: where in the range of the random part.
        """
        longest = max(self.delay, self.max_delay)
        try:
            delay = min(self.delay * self.backoff ** (attempt - 1), longest)
        except OverflowError:
            delay = longest if self.delay else 0.0
        return delay * (1 + self.jitter * jitter)

    def covers(self, error: BaseException) -> bool:
        """Return whether a failure that the scheduler itself reports is repeated.

        Those of jobs are judged where they are alive; see `Matcher`.
        """
        if self.on is None:
            return True
        kinds = _name_kinds(error)
        words = {TIMEOUT} if isinstance(error, ExecutionTimeout) else set()
        if isinstance(error, _CRASHES):
            words.add(CRASH)
        codes = {getattr(error, "exit_code", None)}
        return any(
            item in codes if isinstance(item, int) else _qualify(item) in kinds | words
            for item in self.on
        )

    @property
    def as_names(self) -> Retry:
        """The same, with the names of classes: what the scheduler has to know."""
        if self.on is None:
            return self
        names = tuple(
            f"{c.__module__}.{c.__qualname__}" if isinstance(c, type) else c
            for c in self.on
        )
        # Not by `__init__`: the name of a class made in a function is no dotted name.
        named = copy(self)
        object.__setattr__(named, "on", names)
        return named


def check_retry(name: str, value: Any) -> Retry | int:
    """Accept a number of further attempts, a `Retry`, or None for no retries."""
    if value is None:
        return 0
    if isinstance(value, Retry):
        return value
    try:
        return check_count(name, value)
    except InvalidOption:
        expected = "a number of attempts after the first, ≥ 0, or a Retry"
        raise InvalidOption(option=name, value=value, expected=expected) from None


def check_on(name: str, value: Any) -> tuple[Any, ...] | None:
    """Accept failures as `Retry.on` describes them, one or several."""
    if value is None:
        return None
    is_one = isinstance(value, type | str | int)
    items: tuple[Any, ...] = ()
    if is_one or (isinstance(value, Iterable) and not isinstance(value, _NO_LISTS)):
        items = (value,) if is_one else tuple(value)
    if not items:
        raise InvalidOption(option=name, value=value, expected=_ACCEPTED)
    for item in items:
        _check_failure(name, item)
    return items


def _check_failure(name: str, item: Any) -> None:
    if isinstance(item, type) and issubclass(item, BaseException):
        if issubclass(item, Cancel | Snooze):
            advice = "Cancel ends a run and Snooze delays it: neither is a failure."
            raise InvalidOption(
                option=name, value=item, expected=_ACCEPTED, advice=advice
            )
        return
    if isinstance(item, int) and not isinstance(item, bool):
        if 1 <= item <= _LAST_CODE:
            return
    elif isinstance(item, str) and _NAME.fullmatch(item):
        is_known = item in (TIMEOUT, CRASH) or "." in item or _is_builtin(item)
        if is_known:
            return
        known = [n for n in vars(builtins) if _is_builtin(n)]
        advice = suggest(item, [*known, TIMEOUT, CRASH]).strip()
        own = f"A class of your script or notebook is {f'{_MAIN}.{item}'!r}."
        advice = advice or own
        raise InvalidOption(option=name, value=item, expected=_ACCEPTED, advice=advice)
    raise InvalidOption(option=name, value=item, expected=_ACCEPTED)


def _is_builtin(name: str) -> bool:
    found = getattr(builtins, name, None)
    return isinstance(found, type) and issubclass(found, BaseException)


def _qualify(name: str) -> str:
    """Return a class's name with its module, unless it is one of our words."""
    return name if "." in name or name in (TIMEOUT, CRASH) else f"builtins.{name}"


def check_number(
    name: str, value: Any, least: float, most: float | None = None
) -> float:
    """Accept a finite number within bounds."""
    number = to_seconds(value) if is_number(value) else None
    if number is None or number < least or (most is not None and number > most):
        bounds = f"≥ {least}" if most is None else f"from {least} to {most}"
        raise InvalidOption(
            option=name, value=value, expected=f"a finite number {bounds}"
        )
    return number


def check_wait(name: str, value: Any) -> float:
    """Accept a duration of at most a year, seconds or a `timedelta`."""
    seconds = check_duration(name, value)
    if seconds > LONGEST_WAIT:
        raise InvalidOption(
            option=name, value=value, expected=f"at most {LONGEST_WAIT:.0f} s, a year"
        )
    return seconds


class Judgement(msgspec.Struct, frozen=True, kw_only=True, gc=False, array_like=True):
    """What the process of a run says about an exception that ended it.

    Attributes:
        is_final: whether there is no further attempt after it: `Retry.on` names others.
        is_cancelled: whether the job has cancelled its run.
        snooze: seconds after which the job asked to be run again, or None.
    """

    is_final: bool = False
    is_cancelled: bool = False
    snooze: float | None = None


NO_JUDGEMENT = Judgement()
"""Of any error after which there may be another attempt."""


class Matcher:
    """Judges exceptions where they are alive, by `isinstance`.

    Args:
        on: as `Retry.on`.
        is_program: whether an exception ends a program, with exit code 1.

    Raises:
        InvalidOption: if a class cannot be imported here. Those of ``__main__`` are
            looked up when a run has failed: the run may define them.
    """

    def __init__(self, on: Iterable[Any] | None, *, is_program: bool = False) -> None:
        self._is_open = on is None
        self._is_program = is_program
        items = tuple(on or ())
        self._codes = {item for item in items if isinstance(item, int)}
        names = [i for i in items if isinstance(i, str) and i not in (TIMEOUT, CRASH)]
        self._late = [name for name in names if name.startswith(f"{_MAIN}.")]
        self._kinds = (
            *(item for item in items if isinstance(item, type)),
            *(find_class(name) for name in names if name not in self._late),
        )

    def judge(self, error: BaseException) -> Judgement:
        """Return what an exception of the job means for its run."""
        if isinstance(error, Cancel):
            return Judgement(is_final=True, is_cancelled=True)
        if isinstance(error, Snooze):
            return Judgement(snooze=error.seconds)
        return Judgement(is_final=not (self._is_open or self._covers(error)))

    def _covers(self, error: BaseException) -> bool:
        if self._find_code(error) in self._codes:
            return True
        # A function that a script has sent brings its classes, not their module.
        if self._late and not _name_kinds(error).isdisjoint(self._late):
            return True
        kinds: tuple[Any, ...] = (*self._kinds, *self._late)
        return any(_is_instance(error, kind) for kind in kinds)

    def _find_code(self, error: BaseException) -> int | None:
        """Return the exit code that a program ends with after this exception."""
        if isinstance(error, SystemExit):
            return error.code if isinstance(error.code, int) else 1
        return 1 if self._is_program else None


def _name_kinds(error: BaseException) -> set[str]:
    """Return the dotted names of an error's class and of its bases."""
    return {f"{c.__module__}.{c.__qualname__}" for c in type(error).__mro__}


def _is_instance(error: BaseException, kind: type[BaseException] | str) -> bool:
    try:
        return isinstance(error, find_class(kind) if isinstance(kind, str) else kind)
    except Exception:  # noqa: BLE001 - not defined by the run, or a metaclass's own code
        return False


def find_class(name: str) -> type[BaseException]:
    """Return the exception class of a dotted name; a plain one is a built-in's.

    Raises:
        InvalidOption: if there is no such class, with the reason.
    """
    try:
        found = _find(_qualify(name))
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise InvalidOption(
            option="retry",
            value=f"on={name!r}",
            expected=f"a class that can be imported where the job runs ({reason})",
        ) from error
    if not (isinstance(found, type) and issubclass(found, BaseException)):
        raise InvalidOption(
            option="retry", value=f"on={name!r}", expected="an exception class"
        )
    return found


def _find(name: str) -> Any:
    """Import what a dotted name stands for: a module, then attributes of it."""
    path, _, rest = name.partition(".")
    found: Any = sys.modules.get(path) or import_module(path)
    for part in rest.split("."):
        path = f"{path}.{part}"
        try:
            found = getattr(found, part)
        except AttributeError:
            try:
                found = import_module(path)
            except ModuleNotFoundError as error:
                if error.name != path:
                    raise
                message = f"{path.rpartition('.')[0]} has no {part!r}"
                raise AttributeError(message) from None
    return found


@lru_cache(maxsize=16)
def make_retry(times: int) -> Retry:
    """Return the policy that a plain number of attempts stands for."""
    return Retry(times)
