"""The slots of one task: armed one after another, each settled once."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ipycron.scheduling.events import Event
from ipycron.scheduling.plan import (
    find_following,
    find_start,
    is_only,
    plan_beat,
    plan_silence,
)
from ipycron.scheduling.standby import LATEST, LEAST, Place, Standby
from ipycron.scheduling.state import Phase

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipycron.scheduling.lifecycle import Lifecycle
    from ipycron.scheduling.plan import Beat, Silence
    from ipycron.scheduling.services import Services
    from ipycron.scheduling.state import Entry
    from ipycron.scheduling.workers import Crew


class Slots:
    """Keeps a started task in the timetable and tells what became of each slot.

    Tells the `life` of a slot to run, of a long gap of missed slots that has been
    reported, and of what the schedule raised: a task that can never be due again must
    not look idle.
    """

    __slots__ = (
        "_crew",
        "_entry",
        "_life",
        "_services",
    )

    def __init__(
        self, entry: Entry, services: Services, *, life: Lifecycle, crew: Crew
    ) -> None:
        self._entry = entry
        self._services = services
        self._life = life
        self._crew = crew

    def arm(self, silence: Silence | None = None) -> Beat | None:
        """Wait for the first slot after this moment, unless the limit is reached.

        After a `silence` for the first one after it, which may be late already.
        Returns what it owes, to be reported once the task is told as started.
        """
        entry = self._entry
        if entry.is_exhausted:
            return None
        if silence is not None:
            return self._arm_after(silence)
        after = find_start(self._services.clock.now(), entry.settled_slot)
        self._arm(entry.schedule.find_next(after))
        return None

    def recount(self, since: float) -> None:
        """Wait for the first slot after an instant: the clock was set back (C3)."""
        entry = self._entry
        self.withdraw()
        entry.settled_slot = None
        if entry.phase is not Phase.STARTED or entry.is_exhausted:
            return
        try:
            following = entry.schedule.find_next(since)
        except Exception as error:  # noqa: BLE001 - the border to the schedule
            self._life.see_hopeless(error)
            return
        self.disarm()
        self._arm(following)

    def _arm_after(self, silence: Silence) -> Beat:
        entry = self._entry
        beat = plan_silence(silence, entry.schedule)
        if beat.newest is not None:
            entry.settled_slot = beat.newest
        self._arm(beat.next_slot)
        return beat

    def disarm(self) -> None:
        """Wait for no further slot."""
        self._entry.next_slot = None
        self._services.timetable.disarm(self)
        self._services.outlook.disarm(self._look_ahead)

    def miss(self, slot: float) -> None:
        """Tell that a slot will not run any more."""
        self._entry.emit(Event.EXECUTION_MISSED, date=slot, missed_count=1)

    def _arm(self, slot: int | None) -> None:
        if slot is None:
            self._entry.next_slot = None
            return
        self._entry.next_slot = self._services.timetable.arm(self, slot)
        if self._crew.can_stand_by:
            self._services.outlook.arm(self._look_ahead, slot)

    def _look_ahead(self, _: float) -> Callable[[], None] | None:
        """Have a worker that is free stand by for the next slot.

        Returns what tells it, when all are counted that do.
        """
        entry, slot = self._entry, self._entry.next_slot
        worker = self._crew.main
        if worker is None or entry.runs or slot is None:
            return None
        if slot - self._services.clock.now() < LEAST or not worker.hold():
            return None
        number = self._services.timetable.note_standby()
        entry.standby = Standby(self._services.new_id(), worker, number)
        return partial(self._order, entry.standby, slot)

    def _order(self, standby: Standby, slot: int) -> None:
        """Tell the worker, unless it is not to stand by any more."""
        if self._entry.standby is not standby:
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
        return min(LATEST, self._entry.policy.missed_execution_tolerance)

    def withdraw(self) -> None:
        """Have nobody stand by for the next slot; one that has begun is due.

        For whatever changes the task before its slot.
        """
        standby = self._entry.standby
        if standby is None:
            return
        if standby.worker.withdraw():
            self._entry.standby = None
        else:
            self._see_begun()

    def _see_begun(self) -> None:
        """Settle the slot whose run a worker has begun by its own clock."""
        entry, slot = self._entry, self._entry.next_slot
        if entry.standby is None or slot is None:
            return
        self._services.timetable.disarm(self)
        entry.settled_slot, entry.next_slot = slot, None
        self._life.see_due(slot, 0.0)
        self._arm_next()

    def __call__(self, now: float) -> Callable[[], None] | None:
        """Settle what a wake-up owes this task, as the timetable's owner of a slot."""
        entry = self._entry
        slot, tolerance = entry.next_slot, entry.policy.missed_execution_tolerance
        if entry.standby is not None and not self._is_punctual(now):
            self.withdraw()
            if entry.next_slot != slot:
                return None  # it had begun: the next one is armed
        if slot is not None and is_only(slot, now, tolerance=tolerance):
            # The usual case. The next slot is looked for when the other tasks' runs
            # of this second have begun.
            entry.settled_slot, entry.next_slot = slot, None
            self._life.see_due(slot, now - slot)
            return self._arm_next
        self._settle(now)
        return None

    def _is_punctual(self, now: float) -> bool:
        """Return whether a worker that stands by is as good as begun."""
        slot = self._entry.next_slot
        return slot is not None and 0 <= now - slot <= self._patience

    def _arm_next(self) -> None:
        """Wait for the slot after the one that has just been settled."""
        entry = self._entry
        slot = entry.settled_slot
        if entry.phase is not Phase.STARTED or entry.is_exhausted or slot is None:
            return
        if entry.next_slot is not None:
            return  # stopped and started meanwhile
        try:
            following = find_following(entry.schedule, slot, slot)
        except Exception as error:  # noqa: BLE001 - the border to the schedule
            self._life.see_hopeless(error)
            return
        self._arm(following)

    def _settle(self, now: float) -> None:
        """Settle what a late wake-up owes, or what a clock that steps back leaves."""
        entry = self._entry
        try:
            beat = self._plan(now)
        except Exception as error:  # noqa: BLE001 - the border to the schedule
            self._life.see_hopeless(error)
            return
        entry.settled_slot = beat.newest
        self._arm(beat.next_slot)
        self.report(beat)
        # A receiver of a report may have stopped the task at once.
        if beat.due is not None and entry.phase is Phase.STARTED:
            self._life.see_due(beat.due, now - beat.due)

    def _plan(self, now: float) -> Beat:
        entry = self._entry
        assert entry.next_slot is not None
        return plan_beat(
            entry.next_slot,
            now,
            tolerance=entry.policy.missed_execution_tolerance,
            schedule=entry.schedule,
        )

    def report(self, beat: Beat) -> None:
        """Tell the slots that a beat misses."""
        for slot in beat.missed:
            self.miss(slot)
        if beat.gap is not None:
            self._services.tally.add(
                self._entry, self._entry.schedule, beat.gap, report=self._miss_many
            )

    def _miss_many(self, count: int, newest: int) -> None:
        self._entry.emit(Event.EXECUTION_MISSED, date=newest, missed_count=count)
        self._life.see_quiet()
