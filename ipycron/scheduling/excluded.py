"""The excluded slots of one task: each is reported as skipped when its time has come.

The slots that run are found without them; see `Slots`. So they are counted here, beside
those.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from ipycron.scheduling.bounds import find_excluded
from ipycron.scheduling.plan import Outage, find_start, plan_outage, plan_pause
from ipycron.scheduling.state import Phase

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipycron.scheduling.plan import Beat
    from ipycron.scheduling.ports import Schedule, TaskObserver
    from ipycron.scheduling.services import Services
    from ipycron.scheduling.state import TaskState

# Seconds. The search for the next excluded slot ends there, and goes on when the time
# has come: most slots are not excluded, and there may be no other in a hundred years.
AHEAD = 7 * 86_400


class ExcludedSlots:
    """Keeps a started task's next excluded slot in the timetable.

    The `observer` is notified when one has been reported: a schedule that counts from
    the end of the last run counts from there.
    """

    __slots__ = ("_next", "_observer", "_services", "_settled", "_state")

    def __init__(
        self, state: TaskState, services: Services, *, observer: TaskObserver
    ) -> None:
        self._state = state
        self._services = services
        self._observer = observer
        self._next: int | None = None
        self._settled: int | None = None  # the newest slot that was reported

    @property
    def is_waiting(self) -> bool:
        """Whether an excluded slot is still to come, as far as has been searched."""
        return self._next is not None

    def arm(self, since: float | None = None) -> None:
        """Wait for the first excluded slot from now on, or after an instant."""
        self.disarm()
        now = self._services.clock.now()
        after = find_start(now, self._settled) if since is None else since
        last = max(now, after) + AHEAD
        excluded = self._find(last)
        if excluded is None:
            return
        try:
            slot = excluded.find_next(after)
            if slot is None and self._state.schedule_goes_on(last):
                slot = math.floor(last)
        except Exception:  # noqa: BLE001 - the schedule is broken; `Slots` reports it
            return
        if slot is not None:
            self._next = slot
            self._services.timetable.arm(self, slot)

    def arm_after(self, outage: Outage) -> Callable[[], None]:
        """Wait as after `arm`; return what reports the slots of an outage."""
        now = self._services.clock.now()
        beat = None
        excluded = None if outage.is_clean else self._find(now)
        if excluded is not None:
            part = Outage(since=outage.since, until=now, settled=outage.settled)
            beat = plan_outage(part, excluded)
            self._settled = beat.newest
        self.arm(now)
        return partial(self._report, beat, excluded)

    def forget(self) -> None:
        """Forget what was reported: the clock was set back (C3)."""
        self._settled = None

    def disarm(self) -> None:
        """Wait no more."""
        self._next = None
        self._services.timetable.disarm(self)

    def settle(self) -> None:
        """Report the slots that are due, before the task changes."""
        if self._next is not None and self._next <= self._services.clock.now():
            self._services.timetable.disarm(self)
            self(self._services.clock.now())

    def __call__(self, now: float) -> None:
        """Report the slots that are due; called by the timetable."""
        first, self._next = self._next, None
        excluded = self._find(now)
        if first is None or excluded is None:
            return
        try:
            slot = excluded.find_next(first - 1)
            beat = None if slot is None else plan_pause(slot, now, excluded)
        except Exception:  # noqa: BLE001 - as above
            return
        if beat is not None:
            self._settled = beat.newest
        if self._state.phase is Phase.STARTED:
            self.arm(now)
        self._report(beat, excluded)

    def _find(self, last: float) -> Schedule | None:
        state = self._state
        return find_excluded(state.trigger, state.policy, last)

    def _report(self, beat: Beat | None, excluded: Schedule | None) -> None:
        if beat is None or excluded is None:
            return
        emit = self._state.emit_excluded
        for slot in beat.missed:
            emit(slot)
        if beat.gap is not None:
            self._services.missed.add(
                self._state,
                excluded,
                beat.gap,
                report=partial(_report_gap, partial(emit, since=beat.gap.after)),
            )
        self._observer.handle_work_done()


def _report_gap(emit: Callable[[int, int], None], count: int, newest: int) -> None:
    if count:  # else all of them are to come once more
        emit(newest, count)
