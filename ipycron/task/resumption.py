"""Tasks that a new supervisor starts again: why, and which slots they have missed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ipycron.scheduling.clock import SystemClock
from ipycron.scheduling.events import Event
from ipycron.scheduling.plan import Silence

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ipycron.errors import SupervisorLost
    from ipycron.process.protocol import Noticed

_SETTLING = (
    Event.EXECUTION_STARTED,
    Event.EXECUTION_MISSED,
    Event.EXECUTION_OVERLAP,
    Event.EXECUTION_SKIPPED,
)


class _Resumption(NamedTuple):
    error: SupervisorLost
    silence: Silence


class Resumptions:
    """Follows what is settled of each task, for the time when nobody tells."""

    def __init__(self) -> None:
        self._settled: dict[str, float] = {}
        self._pending: dict[str, _Resumption] = {}

    def follow(self, notice: Noticed) -> SupervisorLost | None:
        """Follow an event; return the loss that a start makes good, if it does."""
        task_id, execution = notice.task_id, notice.execution
        if notice.event is Event.TASK_STARTED:
            self._settled[task_id] = notice.date
            resumption = self._pending.pop(task_id, None)
            return None if resumption is None else resumption.error
        if notice.event in _SETTLING and (
            execution is None or execution.reason == "scheduled"
        ):
            before = self._settled.get(task_id, notice.date)
            self._settled[task_id] = max(before, notice.date)
        return None

    def begin(self, task_ids: Iterable[str], error: SupervisorLost) -> list[str]:
        """Note that tasks must be started again; return those not noted before."""
        now = SystemClock().now()
        fresh = []
        for task_id in task_ids:
            known = self._pending.get(task_id)
            if known is None:
                fresh.append(task_id)
                since = self._settled.get(task_id, now)
                known = _Resumption(error, Silence(since=since, until=now))
            # Nobody has run anything since the loss before: the silence goes on.
            self._pending[task_id] = known._replace(error=error)
        return fresh

    def get_silence(self, task_id: str) -> Silence | None:
        """Return when nobody cared for a task that is to be started again."""
        resumption = self._pending.get(task_id)
        return None if resumption is None else resumption.silence

    def give_up(self, task_id: str) -> Silence | None:
        """Note that a task does not start again; return its silence, up to now."""
        resumption = self._pending.pop(task_id, None)
        if resumption is None:
            return None
        return Silence(since=resumption.silence.since, until=SystemClock().now())

    def forget(self, task_id: str) -> None:
        """Give up a task that is destroyed. May be repeated."""
        self._settled.pop(task_id, None)

    def clear(self) -> None:
        """Note that no task is started again."""
        self._pending.clear()
