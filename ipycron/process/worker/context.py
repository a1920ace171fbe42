"""The context that a job receives about its run, wherever it runs."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TYPE_CHECKING

from ipycron.process.wire.zones import make_zone
from ipycron.scheduling.events import (
    ExecutionDescription,
    TaskContext,
    TaskDescription,
    to_datetime,
)

if TYPE_CHECKING:
    from ipycron.process.wire.protocol import Load, Run


@lru_cache(maxsize=8)  # a worker has one task, an executor's process several
def _describe_task(
    task_id: str, name: str, pattern: str, timezone: str
) -> TaskDescription:
    return TaskDescription(id=task_id, name=name, pattern=pattern, timezone=timezone)


def make_run_context(load: Load, run: Run) -> TaskContext:
    """Return the context of a run in this process."""
    zone = make_zone(load.zone)
    started_at = to_datetime(run.started_at, zone)
    return TaskContext(
        date=to_datetime(run.date, zone),
        triggered_at=started_at,
        task=_describe_task(load.task_id, load.name, load.pattern, str(zone)),
        execution=ExecutionDescription(
            id=run.execution_id,
            reason=run.reason,
            started_at=started_at,
            pid=os.getpid(),
        ),
        attempt=run.attempt,
    )
