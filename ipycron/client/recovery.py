"""What carries over when a supervisor is lost and a new one takes its place.

`Controls` sends the new supervisor the controls that the lost one did not answer;
`Resumptions` tracks which tasks are started again, and which slots they missed.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple

from ipycron.errors import StartRevoked
from ipycron.scheduling.clock import SystemClock
from ipycron.scheduling.events import Event
from ipycron.scheduling.plan import Outage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ipycron.errors import SupervisorLost
    from ipycron.process.wire.protocol import Noticed
    from ipycron.scheduling.ports import Schedule

    Ask = Callable[..., asyncio.Future[None]]


_SETTLING = (
    Event.EXECUTION_STARTED,
    Event.EXECUTION_MISSED,
    Event.EXECUTION_SKIPPED,
)
MAX_BEYOND = 1000
"""Settled slots that are remembered while an earlier one is open. Beyond it, the oldest
open slots count as settled."""


class Settled:
    """The settled slots of one task: all up to `floor`, and some beyond it.

    Slots are not settled in order: one that waits for an election or a random delay
    is settled after the next.

    Attributes:
        floor: every slot up to this instant is settled, Unix seconds.
        beyond: later slots that are settled.
    """

    def __init__(self, floor: float) -> None:
        self.floor = floor
        self.beyond: set[int] = set()

    def add(self, slot: int, schedule: Schedule) -> None:
        """Record that a slot is settled."""
        if slot <= self.floor:
            return
        self.beyond.add(slot)
        self._rise(schedule)
        if len(self.beyond) > MAX_BEYOND:
            self.add_all(min(self.beyond))
            self._rise(schedule)

    def add_all(self, slot: int) -> None:
        """Record that every slot up to this one is settled."""
        self.floor = max(self.floor, slot)
        self.beyond = {later for later in self.beyond if later > self.floor}

    def _rise(self, schedule: Schedule) -> None:
        while self.beyond:
            following = schedule.find_next(self.floor)
            if following not in self.beyond:
                return
            self.beyond.discard(following)
            self.floor = following


class _Resumption(NamedTuple):
    error: SupervisorLost
    outage: Outage


class Resumptions:
    """Tracks the settled slots of each task, for times without a supervisor."""

    def __init__(self) -> None:
        self._settled: dict[str, Settled] = {}
        self._pending: dict[str, _Resumption] = {}

    def follow(
        self, notice: Noticed, schedule: Schedule, *, no_overlap: bool
    ) -> SupervisorLost | None:
        """Apply an event; return the loss that it recovers from, if it is such a start.

        Args:
            notice: the event.
            schedule: the task's.
            no_overlap: whether an overlapping slot is skipped, not run later.
        """
        task_id, execution = notice.task_id, notice.execution
        if notice.event is Event.TASK_STARTED:
            resumption = self._pending.pop(task_id, None)
            if resumption is None:
                self._settled[task_id] = Settled(notice.date)
                return None
            # The slots of the outage are reported after this, or not at all if this
            # supervisor is lost as well.
            return resumption.error
        if (
            notice.event in _SETTLING
            or (notice.event is Event.EXECUTION_OVERLAP and no_overlap)
        ) and (execution is None or execution.is_scheduled):
            slot = int(notice.date)
            settled = self._settled.setdefault(task_id, Settled(slot))
            if (notice.missed_count or 0) > 1:
                settled.add_all(slot)
            else:
                settled.add(slot, schedule)
        return None

    def begin(self, task_ids: Iterable[str], error: SupervisorLost) -> list[str]:
        """Record that tasks must be started again; return those not recorded before."""
        now = SystemClock().now()
        fresh = []
        for task_id in task_ids:
            known = self._pending.get(task_id)
            if known is None:
                fresh.append(task_id)
                known = _Resumption(error, self._make_outage(task_id, now))
            # No slot has run since the previous loss: the outage continues.
            self._pending[task_id] = known._replace(error=error)
        return fresh

    def _make_outage(self, task_id: str, now: float) -> Outage:
        settled = self._settled.get(task_id) or Settled(now)
        beyond = tuple(sorted(settled.beyond))
        return Outage(since=settled.floor, until=now, settled=beyond)

    def get_outage(self, task_id: str) -> Outage | None:
        """Return the outage of a task that is to be started again, or None."""
        resumption = self._pending.get(task_id)
        return None if resumption is None else resumption.outage

    def is_pending(self, task_id: str) -> bool:
        """Return whether a started task waits to be started again."""
        return task_id in self._pending

    def give_up(self, task_id: str) -> Outage | None:
        """Record that a task does not start again; return its outage up to now."""
        resumption = self._pending.pop(task_id, None)
        if resumption is None:
            return None
        outage = resumption.outage
        return Outage(
            since=outage.since, until=SystemClock().now(), settled=outage.settled
        )

    def forget(self, task_id: str) -> None:
        """Forget a destroyed task. Idempotent."""
        self._settled.pop(task_id, None)
        self._pending.pop(task_id, None)


Action = Literal["start", "stop", "destroy"]


class _Request:
    """A control; `answer` is the reply of the current supervisor."""

    def __init__(self, action: Action, *, force: bool) -> None:
        self.action = action
        self.force = force
        self.end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.answer: asyncio.Future[None] | None = None


class Controls:
    """The unanswered controls of each task, oldest first.

    Args:
        ask: sends a control (id, action, `force`) and returns its future answer.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._open: dict[str, list[_Request]] = {}

    def add(
        self, task_id: str, action: Action, *, force: bool = False
    ) -> asyncio.Future[None]:
        """Send a control; the future survives the loss of the supervisor."""
        request = _Request(action, force=force)
        self._open.setdefault(task_id, []).append(request)
        self._send(task_id, request)
        return request.end

    def has_open(self, task_id: str) -> bool:
        """Return whether a task has an unanswered control. Thread-safe."""
        return task_id in self._open

    def get_last(self, task_id: str) -> Action | None:
        """Return the last unanswered control of a task, or None."""
        requests = self._open.get(task_id)
        return requests[-1].action if requests else None

    def _send(self, task_id: str, request: _Request) -> None:
        request.answer = self._ask(task_id, request.action, force=request.force)
        request.answer.add_done_callback(partial(self._settle, task_id, request))

    def _settle(
        self, task_id: str, request: _Request, answer: asyncio.Future[None]
    ) -> None:
        error = answer.exception()
        if request.answer is answer:
            self._close(task_id, request, error)

    def _close(
        self, task_id: str, request: _Request, error: BaseException | None
    ) -> None:
        request.answer = None
        requests = self._open[task_id]
        requests.remove(request)
        if not requests:
            del self._open[task_id]
        if request.end.done():
            return
        if error is None:
            request.end.set_result(None)
        else:
            request.end.set_exception(error)

    def handle_loss(
        self, task_id: str, name: str, error: SupervisorLost | None
    ) -> None:
        """End the open controls of a lost supervisor, or send them to the next one.

        Args:
            task_id: the task's id.
            name: the task's name.
            error: the error of its starts; None if the next supervisor retries them.
        """
        requests = list(self._open.get(task_id, ()))
        for place, request in enumerate(requests):
            if request.action != "start":
                self._close(task_id, request, None)
            elif any(later.action != "start" for later in requests[place:]):
                self._close(task_id, request, StartRevoked(name=name))
            elif error is not None:
                self._close(task_id, request, error)
            else:
                self._send(task_id, request)
