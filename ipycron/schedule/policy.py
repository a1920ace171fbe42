"""The rules that one task is run by."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Options that decide whether and how long a task runs. Durations are seconds.

    Attributes:
        no_overlap: skip a slot (refuse a manual run) while a run is in progress.
        max_executions: scheduled runs before the task is destroyed; None: no limit.
        max_random_delay: upper end of the uniform delay before a scheduled run.
        missed_execution_tolerance: how late a slot may still run.
        timeout: longest run; None: no limit.
        start_timeout: longest load of the job.
        stop_timeout: how long a stop lets a run go on before it is ended.
        max_restarts: consecutive deaths of the worker without a finished run that
            are answered by a new worker.
        distributed: ask the coordinator before each scheduled run.
        distributed_lease: length of a claim.
    """

    no_overlap: bool = False
    max_executions: int | None = None
    max_random_delay: float = 0.0
    missed_execution_tolerance: float = 1.0
    timeout: float | None = None
    start_timeout: float = 5.0
    stop_timeout: float = 5.0
    max_restarts: int = 3
    distributed: bool = False
    distributed_lease: float = 30.0
