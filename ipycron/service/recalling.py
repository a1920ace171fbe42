"""What a service knows of the runs before it: as the history's file has them.

A restart, a crash or a reboot must not make a task that fails look like one that has
never run.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ipycron.errors import HistoryError
from ipycron.process.service.protocol import PastState
from ipycron.runlog.rows import FAILURES, RunOutcome
from ipycron.service.tasks import MAX_RUNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ipycron.runlog.last_runs import LastRun, LastRuns
    from ipycron.scheduling.events import Manner
    from ipycron.service.client import ServiceHistory
    from ipycron.service.store import StoredTask
    from ipycron.service.tasks import KeptTask

PATIENCE = 5.0
"""Seconds for which the start of the service may wait for the file: a cold disk reads
the runs of some hundred tasks."""
_COUNTED: dict[RunOutcome, str] = {
    RunOutcome.FINISHED: "finished",
    **dict.fromkeys(FAILURES, "failed"),
    RunOutcome.STOPPED: "stopped",
    RunOutcome.REPLACED: "replaced",
    RunOutcome.CANCELLED: "cancelled",
    RunOutcome.MISSED: "missed",
    RunOutcome.NOT_ELECTED: "skipped",
    RunOutcome.COORDINATOR_ERROR: "skipped",
    RunOutcome.PAUSED: "skipped",
    RunOutcome.EXCLUDED: "skipped",
    RunOutcome.SUPERSEDED: "skipped",
}
"""What a task's history counts an outcome as; an overlap as nothing."""
_MANNERS: dict[RunOutcome, Manner] = {
    RunOutcome.STOPPED: "stopped",
    RunOutcome.REPLACED: "replaced",
    RunOutcome.CANCELLED: "cancelled",
}

_log = logging.getLogger("ipycron.service")


def read_past(
    history: ServiceHistory, tasks: Iterable[StoredTask]
) -> dict[str, LastRuns]:
    """Return the last runs of tasks that the store has, by id.

    Reads the file: not on the client's loop. A file that cannot be read, or only
    slowly, keeps no service from its start: that is logged.
    """
    names = {
        task.id: task.name
        for task in tasks
        if task.declaration is not None and task.declaration.history
    }
    if not names:
        return {}
    try:
        found = history.read_last_runs(names, MAX_RUNS, patience=PATIENCE)
    except HistoryError as error:
        _log.warning("the last runs of the tasks are not known: %s", error)
        return {}
    missing = len(names) - len(found)
    if missing:
        text = "the last runs of %d tasks are not known: the history took over %g s"
        _log.warning(text, missing, PATIENCE)
    return found


def recall_runs(tasks: Iterable[KeptTask], past: Mapping[str, LastRuns]) -> None:
    """Have tasks remember their runs; before they are started."""
    for task in tasks:
        last = past.get(task.id)
        if last is not None and task.record is not None:
            runs = list(map(_describe, last.runs))
            task.record.observed.recall(runs, _count(last.counts))


def _count(counts: Mapping[RunOutcome, int]) -> dict[str, int]:
    found: dict[str, int] = {}
    for outcome, count in counts.items():
        word = _COUNTED.get(outcome)
        if word is not None:
            found[word] = found.get(word, 0) + count
    return found


def _describe(run: LastRun) -> PastState:
    return PastState(
        execution=run.execution,
        is_ok=run.is_ok,
        manner=_MANNERS.get(run.outcome, "plain"),
        summary=run.summary,
        remark=run.remark,
    )
