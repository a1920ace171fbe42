"""The options that the scheduler follows, and how options are declared and checked."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, get_args

from ipycron.errors import InvalidOption

if TYPE_CHECKING:
    from collections.abc import Callable


LONGEST_CLAIM = 366 * 86_400.0
"""Longest claim in seconds: no coordinator needs to store one for longer."""
SHORT_LEASE = 2.0
"""Seconds. A shorter lease covers differing clocks, but no tolerance in addition."""
DAY = 86_400.0
MOST_CAUGHT_UP = 10_000
"""Most slots of one gap that may run: they are planned in one step, 10 µs each."""
MAX_WHOLE = 2**63 - 1
"""The largest integer that a message can hold."""
Check = "Callable[[str, Any], Any]"


class OptionKind(Enum):
    """How an option is parsed from text; the value is its placeholder in the help."""

    FLAG = "flag"
    TEXT = "TEXT"
    NUMBER = "N"
    DURATION = "TIME"
    NAMES = "NAMES"
    PAIR = "KEY=VALUE"
    OBJECT = "VARIABLE"


def option(
    default: Any,
    check: Callable[[str, Any], Any],
    help: str,  # noqa: A002
    *,
    kind: OptionKind,
) -> Any:
    """Declare an option of an options dataclass.

    Args:
        default: the value if none is given; it is not checked.
        check: takes the option's name and a value; returns the value to keep or
            raises `InvalidOption`.
        help: one line for people, without the default.
        kind: how the option is parsed from a magic's line.
    """
    return field(default=default, metadata={"check": check, "help": help, "kind": kind})


def check_options(cls: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Return `given` with every value checked by its declaration in `cls`."""
    checks = {f.name: f.metadata["check"] for f in fields(cls)}
    return {name: checks[name](name, value) for name, value in given.items()}


def check_flag(name: str, value: Any) -> bool:
    """Accept True or False only."""
    if not isinstance(value, bool):
        raise InvalidOption(option=name, value=value, expected="True or False")
    return value


def check_text(name: str, value: Any) -> str | None:
    """Accept non-empty text that can be encoded as UTF-8, or None."""
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip():
        raise InvalidOption(option=name, value=value, expected="non-empty text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidOption(
            option=name, value=value, expected="text without lone surrogates"
        ) from None
    return value


def check_count(name: str, value: Any) -> int:
    """Accept a whole number of at least 0."""
    return check_whole(name, value, 0, "a whole number ≥ 0")


def check_limit(name: str, value: Any) -> int | None:
    """Accept a whole number of at least 1, or None for no limit."""
    if value is None:
        return None
    return check_whole(name, value, 1, "a whole number ≥ 1, or None")


def check_whole(name: str, value: Any, least: int, expected: str) -> int:
    """Accept a whole number of at least `least` that a message can hold."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidOption(option=name, value=value, expected=expected)
    if value > MAX_WHOLE:
        raise InvalidOption(option=name, value=value, expected="a number below 2**63")
    return value


def check_duration(name: str, value: Any) -> float:
    """Accept seconds ≥ 0 as int, float or timedelta; return a float."""
    seconds = _to_seconds(value)
    if seconds is None or seconds < 0:
        raise InvalidOption(
            option=name, value=value, expected="seconds ≥ 0 (int, float or timedelta)"
        )
    return seconds


def check_deadline(name: str, value: Any) -> float:
    """Accept seconds above 0 as int, float or timedelta; return a float."""
    seconds = _to_seconds(value)
    if seconds is None or seconds <= 0:
        raise InvalidOption(
            option=name, value=value, expected="seconds > 0 (int, float or timedelta)"
        )
    return seconds


def check_optional_deadline(name: str, value: Any) -> float | None:
    """Accept what `check_deadline` accepts, or None for no limit."""
    return None if value is None else check_deadline(name, value)


def _to_seconds(value: Any) -> float | None:
    """Return finite seconds, or None if `value` is not a duration."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        seconds = float(value)
    except OverflowError:
        return None
    return seconds if math.isfinite(seconds) else None


CatchUpMode = Literal["none", "latest", "all"]


def check_catch_up_mode(name: str, value: Any) -> CatchUpMode:
    """Accept one of the three modes."""
    if not isinstance(value, str) or value not in get_args(CatchUpMode):
        raise InvalidOption(
            option=name, value=value, expected="'none', 'latest' or 'all'"
        )
    return value  # type: ignore[return-value]


def check_catch_up_limit(name: str, value: Any) -> int:
    """Accept a whole number from 1 to `MOST_CAUGHT_UP`."""
    expected = f"a whole number from 1 to {MOST_CAUGHT_UP}"
    if check_whole(name, value, 1, expected) > MOST_CAUGHT_UP:
        raise InvalidOption(option=name, value=value, expected=expected)
    return value  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True, init=False)
class CatchUp:
    """What to do about slots that were not run in time.

    They fell into a gap: the machine was suspended, the clock was set forward, the
    program did not run, no worker was ready.

    Attributes:
        mode: ``"none"``: they are missed. ``"latest"``: the newest one runs at once,
            the others are missed. ``"all"``: they run one after another, oldest first.
        window: how old a slot may be to be caught up on, seconds (given as a number or
            a `timedelta`); older ones are missed. A day by default.
        limit: how many slots ``"all"`` runs at most; the newest beyond are missed.

    Raises:
        InvalidOption: if a value is of a wrong type or out of range.

    Examples:
        >>> CatchUp("all", window=3600)
        CatchUp(mode='all', window=3600.0, limit=100)
    """

    mode: CatchUpMode
    window: float
    limit: int

    def __init__(
        self, mode: CatchUpMode, *, window: float | timedelta = DAY, limit: int = 100
    ) -> None:
        def set_field(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        set_field("mode", check_catch_up_mode("mode", mode))
        set_field("window", check_deadline("window", window))
        set_field("limit", check_catch_up_limit("limit", limit))


NO_CATCH_UP = CatchUp("none")
_CATCH_UPS = {"none": NO_CATCH_UP, "latest": CatchUp("latest"), "all": CatchUp("all")}


def check_catch_up(name: str, value: Any) -> CatchUpMode | CatchUp:
    """Accept a mode or a `CatchUp`."""
    if isinstance(value, CatchUp):
        return value
    try:
        return check_catch_up_mode(name, value)
    except InvalidOption as error:
        expected = f"{error.expected} (or a CatchUp)"
        raise InvalidOption(option=name, value=value, expected=expected) from None


def read_catch_up(name: str, value: Any) -> CatchUp:
    """Return what `check_catch_up` accepts as an object."""
    checked = check_catch_up(name, value)
    return checked if isinstance(checked, CatchUp) else _CATCH_UPS[checked]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Options that decide whether, and for how long, a task runs. Durations in seconds.

    The help of each field is its documentation; see `behaviour` R1 to R7.
    """

    no_overlap: bool = option(
        False,
        check_flag,
        "skip slots, refuse manual runs, while a run of this instance is in progress",
        kind=OptionKind.FLAG,
    )
    max_executions: int | None = option(
        None,
        check_limit,
        "scheduled runs before the task is destroyed",
        kind=OptionKind.NUMBER,
    )
    jitter: float = option(
        0.0,
        check_duration,
        "longest random delay before a scheduled run, seconds",
        kind=OptionKind.DURATION,
    )
    tolerance: float = option(
        1.0,
        check_duration,
        "how late a run may begin after its slot, seconds",
        kind=OptionKind.DURATION,
    )
    catch_up: CatchUpMode | CatchUp = option(
        "none",
        check_catch_up,
        "slots of a gap that are run afterwards: none, latest, all",
        kind=OptionKind.TEXT,
    )
    timeout: float | None = option(
        None,
        check_optional_deadline,
        "longest run, seconds; a longer one is ended",
        kind=OptionKind.DURATION,
    )
    start_timeout: float = option(
        5.0,
        check_deadline,
        "longest time to load the job, seconds",
        kind=OptionKind.DURATION,
    )
    stop_timeout: float = option(
        5.0,
        check_duration,
        "how long a stop waits for a run, seconds",
        kind=OptionKind.DURATION,
    )
    max_restarts: int = option(
        3,
        check_count,
        "new workers after consecutive deaths without a finished run",
        kind=OptionKind.NUMBER,
    )
    distributed: bool = option(
        False,
        check_flag,
        "ask the run coordinator before each scheduled run",
        kind=OptionKind.FLAG,
    )
    distributed_lease: float = option(
        30.0,
        check_deadline,
        "seconds that a claim outlasts its slot; clocks may differ by less",
        kind=OptionKind.DURATION,
    )
    # Declared for users in `TaskOptions`; aware, once the task's zone is known.
    start: datetime | None = None
    end: datetime | None = None

    @property
    def gaps(self) -> CatchUp:
        """`catch_up` as an object."""
        given = self.catch_up
        return given if isinstance(given, CatchUp) else _CATCH_UPS[given]

    @property
    def patience(self) -> float:
        """Seconds after its slot until which a run may begin, caught up on or not."""
        gaps = self.gaps
        if gaps.mode == "none":
            return self.tolerance
        return max(self.tolerance, gaps.window)

    @property
    def claim_lease(self) -> float:
        """The lease of a claim, in seconds.

        A claim must not expire while another instance, which was suspended, may still
        begin the slot: that is, for as long as a slot may be late, or be caught up on.
        `distributed_lease` itself covers a slow answer, differing clocks and, unless it
        is shorter than `SHORT_LEASE`, a tolerance of one second.
        """
        covered = 1.0 if self.distributed_lease >= SHORT_LEASE else 0.0
        return self.distributed_lease + max(0.0, self.patience - covered)
