"""What a job is told about its run, wherever it runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ipycron.process.zone import make_zone
from ipycron.scheduling.context import (
    ExecutionDescription,
    TaskContext,
    TaskDescription,
    to_datetime,
)

if TYPE_CHECKING:
    from ipycron.process.protocol import Load, Run


def make_run_context(load: Load, run: Run) -> TaskContext:
    """Return the context of a run in this process."""
    zone = make_zone(load.zone)
    started_at = to_datetime(run.started_at, zone)
    return TaskContext(
        date=to_datetime(run.date, zone),
        triggered_at=started_at,
        task=TaskDescription(
            id=load.task_id,
            name=load.name,
            pattern=load.expression,
            timezone=str(zone),
        ),
        execution=ExecutionDescription(
            id=run.execution_id,
            reason=run.reason,
            started_at=started_at,
            pid=os.getpid(),
        ),
    )
