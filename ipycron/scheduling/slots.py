"""The slots of one task: armed one after another, each settled once."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ipycron.scheduling.plan import (
    find_following,
    find_start,
    is_only,
    plan_beat,
    plan_silence,
)
from ipycron.scheduling.ports import Place
from ipycron.scheduling.standby import LATEST, LEAST, Standby
from ipycron.scheduling.state import Phase

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipycron.scheduling.plan import Beat, Silence
    from ipycron.scheduling.ports import Schedule, TaskObserver
    from ipycron.scheduling.runs import Admission
    from ipycron.scheduling.services import Services
    from ipycron.scheduling.state import TaskState
    from ipycron.scheduling.workers import TaskWorkers


class Slots:
    """Keeps a started task in the timetable and settles each of its slots once.

    A slot that is due goes to `admission`. The `observer` receives what the schedule
    raised, since a task that can never be due again must not look idle, and the end of
    a count of missed slots.
    """

    __slots__ = (
        "_admission",
        "_observer",
        "_services",
        "_state",
        "_workers",
    )

    def __init__(
        self,
        state: TaskState,
        services: Services,
        *,
        observer: TaskObserver,
        workers: TaskWorkers,
        admission: Admission,
    ) -> None:
        self._state = state
        self._services = services
        self._observer = observer
        self._workers = workers
        self._admission = admission

    def arm(self, silence: Silence | None = None) -> Beat | None:
        """Wait for the first slot after this moment, unless the limit is reached.

        After a `silence` for the first one after it, which may be late already.
        Returns what it owes, to be reported after the task's start.
        """
        state = self._state
        if state.is_exhausted:
            return None
        if silence is not None:
            return self._arm_after(silence)
        after = find_start(self._services.clock.now(), state.settled_slot)
        self._arm(state.schedule.find_next(after))
        return None

    def reschedule(self, schedule: Schedule) -> None:
        """Wait for the first slot of another schedule after this moment."""
        state = self._state
        self.withdraw()
        state.schedule = schedule
        self._rearm(find_start(self._services.clock.now(), state.settled_slot))

    def recount(self, since: float) -> None:
        """Wait for the first slot after an instant: the clock was set back (C3)."""
        self.withdraw()
        self._state.settled_slot = None
        self._rearm(since)

    def _rearm(self, since: float) -> None:
        state = self._state
        if state.phase is not Phase.STARTED or state.is_exhausted:
            return
        try:
            following = state.schedule.find_next(since)
        except Exception as error:  # noqa: BLE001 - the border to the schedule
            self._observer.see_hopeless(error)
            return
        self.disarm()
        self._arm(following)

    def _arm_after(self, silence: Silence) -> Beat:
        state = self._state
        beat = plan_silence(silence, state.schedule)
        if beat.newest is not None:
            state.settled_slot = beat.newest
        self._arm(beat.next_slot)
        return beat

    def disarm(self) -> None:
        """Wait for no further slot."""
        self._state.next_slot = None
        self._services.timetable.disarm(self)
        self._services.outlook.disarm(self._look_ahead)

    def _arm(self, slot: int | None) -> None:
        if slot is None:
            self._state.next_slot = None
            return
        self._state.next_slot = self._services.timetable.arm(self, slot)
        if self._workers.can_stand_by:
            self._services.outlook.arm(self._look_ahead, slot)

    def _look_ahead(self, _: float) -> Callable[[], None] | None:
        """Have a worker that is free stand by for the next slot.

        Returns the call that orders it, to be made when all such workers are counted.
        """
        state, slot = self._state, self._state.next_slot
        worker = self._workers.main
        if worker is None or state.runs or slot is None:
            return None
        if slot - self._services.clock.now() < LEAST or not self._workers.hold():
            return None
        number = self._services.timetable.note_standby()
        state.standby = Standby(self._services.new_id(), worker, number)
        return partial(self._order, state.standby, slot)

    def _order(self, standby: Standby, slot: int) -> None:
        """Send the order to the worker, unless it was withdrawn."""
        if self._state.standby is not standby:
            return
        standby.worker.stand_by(
            standby.execution_id,
            slot,
            latest=slot + self._patience,
            place=Place(standby.number, self._services.timetable.standing),
            on_begun=self._see_begun,
        )

    @property
    def _patience(self) -> float:
        """Seconds by which a worker that stands by may begin late."""
        return min(LATEST, self._state.policy.tolerance)

    def withdraw(self) -> None:
        """Have no worker stand by for the next slot; if one has begun, fire the slot.

        To be called before anything changes the task before its slot.
        """
        standby = self._state.standby
        if standby is None:
            return
        if standby.worker.withdraw():
            self._state.standby = None
        else:
            self._see_begun()

    def _see_begun(self) -> None:
        """Settle the slot whose run a worker has begun by its own clock."""
        state, slot = self._state, self._state.next_slot
        if state.standby is None or slot is None:
            return
        self._services.timetable.disarm(self)
        state.settled_slot, state.next_slot = slot, None
        self._fire(slot, 0.0)
        self._arm_next()

    def __call__(self, now: float) -> Callable[[], None] | None:
        """Settle what a wake-up owes this task, as the timetable's owner of a slot."""
        state = self._state
        slot, tolerance = state.next_slot, state.policy.tolerance
        if state.standby is not None and not self._is_punctual(now):
            self.withdraw()
            if state.next_slot != slot:
                return None  # it had begun: the next one is armed
        if slot is not None and is_only(slot, now, tolerance=tolerance):
            # The usual case. The next slot is looked for when the other tasks' runs
            # of this second have begun.
            state.settled_slot, state.next_slot = slot, None
            self._fire(slot, now - slot)
            return self._arm_next
        self._settle(now)
        return None

    def _is_punctual(self, now: float) -> bool:
        """Return whether a worker that stands by is as good as begun."""
        slot = self._state.next_slot
        return slot is not None and 0 <= now - slot <= self._patience

    def _fire(self, slot: int, lateness: float) -> None:
        """Run a slot that is due, `lateness` seconds after it."""
        standby, self._state.standby = self._state.standby, None
        execution_id = None if standby is None else standby.execution_id
        self._admission.fire(slot, lateness, execution_id)

    def _arm_next(self) -> None:
        """Wait for the slot after the one that has just been settled."""
        state = self._state
        slot = state.settled_slot
        if state.phase is not Phase.STARTED or state.is_exhausted or slot is None:
            return
        if state.next_slot is not None:
            return  # stopped and started meanwhile
        try:
            following = find_following(state.schedule, slot, slot)
        except Exception as error:  # noqa: BLE001 - the border to the schedule
            self._observer.see_hopeless(error)
            return
        self._arm(following)

    def _settle(self, now: float) -> None:
        """Settle what a late wake-up owes, or what a clock that steps back leaves."""
        state = self._state
        try:
            beat = self._plan(now)
        except Exception as error:  # noqa: BLE001 - the border to the schedule
            self._observer.see_hopeless(error)
            return
        state.settled_slot = beat.newest
        self._arm(beat.next_slot)
        self.report(beat)
        # A receiver of a report may have stopped the task at once.
        if beat.due is not None and state.phase is Phase.STARTED:
            self._fire(beat.due, now - beat.due)

    def _plan(self, now: float) -> Beat:
        state = self._state
        assert state.next_slot is not None
        return plan_beat(
            state.next_slot,
            now,
            tolerance=state.policy.tolerance,
            schedule=state.schedule,
        )

    def report(self, beat: Beat) -> None:
        """Report the slots that a beat misses."""
        for slot in beat.missed:
            self._state.emit_missed(slot)
        if beat.gap is not None:
            self._services.missed.add(
                self._state, self._state.schedule, beat.gap, report=self._miss_many
            )

    def _miss_many(self, count: int, newest: int) -> None:
        self._state.emit_missed(newest, count)
        self._observer.see_quiet()
