"""The options that the scheduler follows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - msgspec reads the annotations
from typing import TYPE_CHECKING, Any, Literal, get_args

from ipycron.errors import InvalidOption, suggest
from ipycron.scheduling.checks import (
    OptionKind,
    check_count,
    check_deadline,
    check_duration,
    check_flag,
    check_limit,
    check_optional_deadline,
    check_text,
    check_whole,
    option,
)
from ipycron.scheduling.retry import Retry, check_retry, make_retry
from ipycron.triggers.exclude import OnExcluded, check_on_excluded
from ipycron.triggers.exclusions import Exclusions  # noqa: TC001 - msgspec, as above

if TYPE_CHECKING:
    from datetime import timedelta

LONGEST_CLAIM = 366 * 86_400.0
"""Longest claim in seconds: no coordinator needs to store one for longer."""
SHORT_LEASE = 2.0
"""Seconds. A shorter lease covers differing clocks, but no tolerance in addition."""
DAY = 86_400.0
MOST_CAUGHT_UP = 10_000
"""Most slots of one gap that may run: they are planned in one step, 10 µs each."""


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


HIGHEST_PRIORITY = 1_000_000


def check_priority(name: str, value: Any) -> int:
    """Accept a whole number, positive or negative."""
    expected = f"a whole number from -{HIGHEST_PRIORITY} to {HIGHEST_PRIORITY}"
    whole = check_whole(name, value, -HIGHEST_PRIORITY, expected)
    if whole > HIGHEST_PRIORITY:
        raise InvalidOption(option=name, value=value, expected=expected)
    return whole


Overlap = Literal["allow", "skip", "queue", "replace"]


def check_overlap(name: str, value: Any) -> Overlap:
    """Accept one of the four modes."""
    if not isinstance(value, str) or value not in get_args(Overlap):
        listed = ", ".join(map(repr, get_args(Overlap)))
        advice = suggest(value, get_args(Overlap)) if isinstance(value, str) else ""
        raise InvalidOption(
            option=name, value=value, expected=f"one of {listed}", advice=advice.strip()
        )
    return value  # type: ignore[return-value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Options that decide whether, and for how long, a task runs. Durations in seconds.

    The help of each field is its documentation; see `behaviour` R1 to R7.
    """

    overlap: Overlap = option(
        "allow",
        check_overlap,
        "a slot while a run is in progress: allow, skip, queue or replace",
        kind=OptionKind.TEXT,
    )
    no_overlap: bool = option(
        False,
        check_flag,
        "the same as --overlap skip: skip slots, refuse manual runs, while one runs",
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
    retry: int | Retry = option(
        0,
        check_retry,
        "attempts of a failed run after the first one",
        kind=OptionKind.NUMBER,
    )
    pool: str | None = option(
        None,
        check_text,
        "the pool whose limit its runs count against; see set_pool",
        kind=OptionKind.TEXT,
    )
    priority: int = option(
        0,
        check_priority,
        "whose run gets the next place in the pool: higher first",
        kind=OptionKind.NUMBER,
    )
    timeout: float | None = option(
        None,
        check_optional_deadline,
        "longest run, or attempt of one, seconds; a longer one is ended",
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
    exclude: Exclusions | None = None
    on_excluded: OnExcluded = option(
        "skip",
        check_on_excluded,
        "what becomes of excluded slots: skip; next, at the next time not excluded",
        kind=OptionKind.TEXT,
    )

    @property
    def gaps(self) -> CatchUp:
        """`catch_up` as an object."""
        given = self.catch_up
        return given if isinstance(given, CatchUp) else _CATCH_UPS[given]

    @property
    def overlap_mode(self) -> Overlap:
        """What becomes of a slot that is due while a run is in progress (O1)."""
        return "skip" if self.no_overlap else self.overlap

    @property
    def skips_overlap(self) -> bool:
        """Whether such a slot is skipped."""
        return self.overlap_mode == "skip"

    @property
    def retries(self) -> Retry:
        """`retry` as an object."""
        return self.retry if isinstance(self.retry, Retry) else make_retry(self.retry)

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
