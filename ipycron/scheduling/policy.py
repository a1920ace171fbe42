"""The rules that one task is run by."""

from __future__ import annotations

from dataclasses import dataclass

from ipycron.scheduling.option import (
    check_count,
    check_deadline,
    check_duration,
    check_flag,
    check_limit,
    check_optional_deadline,
    option,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Options that decide whether and how long a task runs. Durations are seconds.

    The help of each field is its documentation; see `behaviour` R1 to R7.
    """

    no_overlap: bool = option(
        False,
        check_flag,
        "skip a slot, refuse a manual run, while a run is in progress",
    )
    max_executions: int | None = option(
        None, check_limit, "scheduled runs before the task is destroyed"
    )
    max_random_delay: float = option(
        0.0, check_duration, "longest random delay before a scheduled run, seconds"
    )
    missed_execution_tolerance: float = option(
        1.0, check_duration, "how late a slot may still run, seconds"
    )
    timeout: float | None = option(
        None, check_optional_deadline, "longest run, seconds; a longer one is ended"
    )
    start_timeout: float = option(
        5.0, check_deadline, "longest load of the job, seconds"
    )
    stop_timeout: float = option(
        5.0, check_duration, "how long a stop lets a run go on, seconds"
    )
    max_restarts: int = option(
        3, check_count, "new workers after deaths in a row without a finished run"
    )
    distributed: bool = option(
        False, check_flag, "ask the run coordinator before each scheduled run"
    )
    distributed_lease: float = option(
        30.0, check_deadline, "length of a claim on a slot, seconds"
    )
