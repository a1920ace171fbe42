"""What carries over when a supervisor is lost and a new one takes its place.

`Controls` sends the new supervisor the controls that the lost one did not answer;
`Resumptions` tracks which tasks are started again, and which slots they missed.
"""

from __future__ import annotations

import asyncio
import math
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple

from ipycron.errors import StartRevoked
from ipycron.scheduling.clock import SystemClock
from ipycron.scheduling.events import Event
from ipycron.scheduling.plan import (
    Outage,
    correct_outage,
    cut_spans,
    is_corrected,
    merge_spans,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ipycron.errors import SupervisorLost
    from ipycron.process.wire.protocol import Noticed
    from ipycron.scheduling.plan import Span
    from ipycron.scheduling.ports import Schedule

    Ask = Callable[..., asyncio.Future[None]]


_SETTLING = (
    Event.EXECUTION_STARTED,
    Event.EXECUTION_MISSED,
    Event.EXECUTION_SKIPPED,
)
MAX_BEYOND = 1000
"""Spans of settled slots that are remembered while an earlier slot is open. Beyond it,
the oldest open slots count as settled."""

UNTOLD = 10.0
"""Seconds after a correction of the clock within which a lost supervisor may not have
told the history of it: the file may have been busy."""


class Settled:
    """The settled slots of one task: all up to `floor`, and some beyond it.

    Slots are not settled in order: one that waits for an election, a random delay or
    its turn to be caught up on is settled after the next.

    Attributes:
        floor: every slot up to this instant is settled, Unix seconds.
        beyond: spans of later slots that are settled, in ascending order.
    """

    def __init__(self, floor: float, beyond: Iterable[Span] = ()) -> None:
        self.floor = floor
        self.beyond: list[Span] = list(beyond)

    def add(self, slot: int, schedule: Schedule) -> None:
        """Record that a slot is settled."""
        if slot <= self.floor:
            return
        if self.beyond and schedule.find_next(self.beyond[-1][1]) == slot:
            self.beyond[-1] = self.beyond[-1][0], slot
            self._rise(schedule)
        else:
            self.add_span((slot - 1, slot), schedule)

    def add_span(self, span: Span, schedule: Schedule) -> None:
        """Record that all slots of a span are settled."""
        self.beyond = list(merge_spans(*self.beyond, span))
        self._rise(schedule)
        if len(self.beyond) > MAX_BEYOND:
            self.floor = max(self.floor, self.beyond[0][1])
            self._rise(schedule)

    def recount(self, since: float, now: float) -> None:
        """Record that the slots after `since` are to come: the clock was ahead (C3).

        What the right clock has settled by `now` stays settled.
        """
        if self.floor > now:
            self.floor = since
        reached = [span for span in self.beyond if span[1] <= now]
        ahead = cut_spans((span for span in self.beyond if span[1] > now), since)
        self.beyond = list(merge_spans(*reached, *ahead))

    def _rise(self, schedule: Schedule) -> None:
        """Raise the floor over the spans that follow it without an open slot."""
        while self.beyond:
            after, last = self.beyond[0]
            following = schedule.find_next(self.floor)
            if last > self.floor and following is not None and following <= after:
                return
            self.floor = max(self.floor, last)
            del self.beyond[0]


class _Resumption(NamedTuple):
    error: SupervisorLost
    outage: Outage


class Resumptions:
    """Tracks the settled slots of each task, for times without a supervisor."""

    def __init__(self) -> None:
        self._settled: dict[str, Settled] = {}
        self._pending: dict[str, _Resumption] = {}
        self._corrected_at = -math.inf  # by the monotonic clock

    def follow(
        self,
        notice: Noticed,
        schedule: Schedule,
        *,
        skips_overlap: bool,
        inherited: Outage | None = None,
    ) -> SupervisorLost | None:
        """Apply an event; return the loss that it recovers from, if it is such a start.

        Args:
            notice: the event.
            schedule: the task's.
            skips_overlap: whether an overlapping slot is skipped, not run later.
            inherited: what a first start has to settle of an earlier life.
        """
        task_id, execution = notice.task_id, notice.execution
        if notice.event is Event.TASK_STARTED:
            resumption = self._pending.pop(task_id, None)
            if resumption is None:
                if inherited is None:
                    self._settled[task_id] = Settled(notice.date)
                else:
                    inherited = correct_outage(inherited, notice.date)
                    self._settled[task_id] = Settled(inherited.since, inherited.settled)
                return None
            # The slots of the outage are reported after this, or not at all if this
            # supervisor is lost as well.
            self._follow_correction(task_id, notice.date)
            return resumption.error
        if (
            notice.event in _SETTLING
            or (notice.event is Event.EXECUTION_OVERLAP and skips_overlap)
        ) and (execution is None or execution.is_scheduled):
            slot = int(notice.date)
            settled = self._settled.setdefault(task_id, Settled(slot))
            # Between excluded slots there may be others.
            if notice.missed_since is not None and notice.reason != "excluded":
                settled.add_span((int(notice.missed_since), slot), schedule)
            else:
                settled.add(slot, schedule)
        return None

    def recount(self, since: float) -> None:
        """Record that the slots after `since` are to come: the clock was ahead (C3)."""
        clock = SystemClock()
        self._corrected_at = clock.monotonic()
        for settled in self._settled.values():
            settled.recount(since, clock.now())

    def _follow_correction(self, task_id: str, now: float) -> None:
        """Follow a correction that a supervisor was lost before, or was lost with."""
        settled = self._settled.get(task_id)
        if settled is not None and is_corrected(now, settled.floor):
            settled.recount(now, now)

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
        passed = SystemClock().monotonic() - self._corrected_at
        return Outage(
            since=settled.floor,
            until=now,
            settled=tuple(settled.beyond),
            was_corrected=passed < UNTOLD,
        )

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
