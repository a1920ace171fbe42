"""The slots of one task: armed one at a time, each settled once."""

from __future__ import annotations

import contextlib
import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from ipycron.scheduling.bounds import (
    bound,
    count_from_end,
    find_excluded,
    has_last_slot,
    waits_for_end,
)
from ipycron.scheduling.events import Event, Pause, ScheduledExecution
from ipycron.scheduling.excluded import ExcludedSlots
from ipycron.scheduling.plan import (
    Outage,
    Recounted,
    correct_outage,
    correct_pause,
    find_following,
    find_owed,
    find_start,
    is_corrected,
    is_only,
    is_within,
    plan_beat,
    plan_outage,
    plan_pause,
    plan_pause_of,
)
from ipycron.scheduling.policy import NO_CATCH_UP
from ipycron.scheduling.ports import Place
from ipycron.scheduling.runs import NEXT_SLOT
from ipycron.scheduling.standby import LATEST, LEAST, Standby
from ipycron.scheduling.state import Phase

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipycron.scheduling.admission import Admission
    from ipycron.scheduling.backlog import Backlog
    from ipycron.scheduling.plan import Beat
    from ipycron.scheduling.policy import CatchUp
    from ipycron.scheduling.ports import Schedule, TaskObserver
    from ipycron.scheduling.services import Services
    from ipycron.scheduling.state import TaskState
    from ipycron.scheduling.workers import TaskWorkers


class Slots:
    """Keeps a started task in the timetable and settles each of its slots once.

    A slot that is due goes to `admission`, one that is caught up on to `backlog`. The
    `observer` is notified of exceptions
    that the schedule raises, since a task that can never be due again must not look
    idle, and of the end of a count of missed slots.

    While the task is paused, its slots are reached as usual, and are settled by being
    reported as skipped. The pause also runs while the task is stopped.
    """

    __slots__ = (
        "_admission",
        "_armed_at",
        "_armed_since",
        "_backlog",
        "_excluded",
        "_is_out",
        "_is_recount_due",
        "_missed_since",
        "_observer",
        "_services",
        "_skipping_since",
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
        backlog: Backlog,
    ) -> None:
        self._state = state
        self._services = services
        self._observer = observer
        self._workers = workers
        self._admission = admission
        self._backlog = backlog
        self._is_out = False  # no slot that runs is left
        self._excluded = ExcludedSlots(state, services, observer=observer)
        # The slots after this instant were skipped by the pause: since then the task
        # has been both paused and started.
        self._skipping_since = 0.0
        self._armed_at: float | None = None  # first
        self._armed_since = 0.0  # as the task was started last
        self._is_recount_due = False
        self._missed_since: float | None = None  # in an earlier life

    def arm(self, outage: Outage | None = None) -> Callable[[], None] | None:
        """Wait for the first slot from now on, unless the limit is reached.

        Returns:
            What is to be called after the task's start is reported: it settles the
            slots of the `outage`, if there was one.
        """
        state = self._state
        if state.is_exhausted:
            return None
        now = self._armed_since = self._services.clock.now()
        if self._armed_at is None:
            self._armed_at = now
        if self._is_recount_due or is_corrected(now, state.settled_slot):
            self._forget_after(now)
        if outage is not None:
            corrected = correct_outage(outage, now)
            if corrected is not outage or outage.was_corrected:
                self._forget_after(corrected.since if outage.was_corrected else now)
            return self._arm_after(corrected)
        self._excluded.arm()
        if waits_for_end(state.trigger):
            self._skipping_since = now
            return None  # it counts from the report of this start
        after = find_start(now, state.settled_slot)
        self._skipping_since = after
        self._arm(state.schedule.find_next(after))
        since, self._missed_since = self._missed_since, None
        return None if since is None else partial(self.report_missed, since)

    def reschedule(self, schedule: Schedule) -> None:
        """Wait for the first slot of another schedule from now on."""
        state = self._state
        self.withdraw()
        self._backlog.cancel()
        state.trigger, state.last_end = schedule, None
        state.schedule = bound(schedule, state.policy)
        self._rearm(find_start(self._services.clock.now(), state.settled_slot))

    def recount(self, since: float) -> None:
        """Wait for the first slot after `since`: the clock was set back (C3)."""
        self.withdraw()
        state, now = self._state, self._services.clock.now()
        if state.phase is not Phase.STARTED or state.is_exhausted:
            # Its slots are not to come before it is started, and perhaps never.
            state.settled_slot, self._is_recount_due = None, True
            return
        # What has been settled since then by the right clock stays settled.
        known = (self._armed_since, state.settled_slot or 0)
        since = max([since, *(instant for instant in known if instant <= now)])
        self._forget_after(since)
        if waits_for_end(state.trigger):
            state.last_end = since  # the end of the last run is still to come
            state.next_slot = None
            self.disarm()
            self.count_from_end()
        else:
            self._rearm(since)
        self.serve_backlog()

    def _forget_after(self, since: float) -> None:
        """Forget what has become of the slots after `since`: they are to come."""
        state = self._state
        self._is_recount_due = False
        self._admission.drop_after(since)
        self._backlog.forget_after(since)
        self._excluded.forget()
        self._services.missed.end_at(state, since)
        state.settled_slot = math.floor(since)  # what is not after it, is
        self._skipping_since = min(self._skipping_since, since)
        if state.pause is not None:
            state.pause = correct_pause(state.pause, since)
        self._armed_since = min(self._armed_since, since)
        if self._armed_at is not None:
            self._armed_at = min(self._armed_at, since)
        recounted = Recounted(
            task_id=state.id,
            since=since,
            schedule=state.schedule,
            excluded=find_excluded(state.trigger, state.policy, since),
        )
        self._services.note(recounted)

    def count_from_end(self) -> None:
        """Wait for the next slot of a schedule that counts from the last run's end.

        Called whenever a run may have ended, or a slot was settled without one, and
        after the start.
        """
        state = self._state
        if self._is_out:
            state.has_ended = not self._excluded.is_waiting
        if (
            not waits_for_end(state.trigger)
            or state.phase is not Phase.STARTED
            or state.next_slot is not None
            or self._excluded.is_waiting
            or state.has_ended
            or self._backlog
            or any(run.is_scheduled for run in state.runs.values())
        ):
            return
        end = self._services.clock.now() if state.last_end is None else state.last_end
        state.trigger = count_from_end(state.trigger, end, state.policy)
        state.schedule = bound(state.trigger, state.policy)
        self._rearm(end)

    def _rearm(self, since: float) -> None:
        state = self._state
        if state.phase is not Phase.STARTED or state.is_exhausted:
            return
        try:
            following = state.schedule.find_next(since)
        except Exception as error:  # noqa: BLE001 - the border to the schedule
            self._observer.handle_failure(error)
            return
        self.disarm()
        self._excluded.arm(since)
        self._arm(following)
        self._note_end()

    def _arm_after(self, outage: Outage) -> Callable[[], None]:
        state, now = self._state, self._services.clock.now()
        skipped = plan_pause_of(outage, state.schedule, now=now)
        beat = plan_outage(
            outage,
            state.schedule,
            now=now,
            tolerance=state.policy.tolerance,
            catch_up=outage.catch_up or self._catch_up,
        )
        for newest in (skipped.newest, beat.newest):
            if newest is not None:
                state.settled_slot = max(newest, state.settled_slot or newest)
        report_excluded = self._excluded.arm_after(outage)
        self._arm(beat.next_slot)
        return partial(
            self._settle_outage, skipped, beat, report_excluded, outage.catch_up
        )

    def _settle_outage(
        self,
        skipped: Beat,
        beat: Beat,
        report_excluded: Callable[[], None],
        catch_up: CatchUp | None,
    ) -> None:
        report_excluded()
        self._report(skipped, is_paused=True)
        self._end_pause(self._services.clock.now())
        self._carry_out(beat, catch_up)

    def report_missed(self, since: float) -> None:
        """Report the slots from `since` to the first start as missed.

        Before that start, they are reported after it; see `Scheduler.report_missed`.
        """
        if self._armed_at is None:
            self._missed_since = since
            return
        outage = Outage(since=since, until=self._armed_at)
        with contextlib.suppress(Exception):  # the schedule is broken, and will say so
            self._report(plan_outage(outage, self._state.schedule))

    def disarm(self) -> None:
        """Stop waiting for slots."""
        self._state.next_slot = None
        self._excluded.disarm()
        self._services.timetable.disarm(self)
        self._services.standby_timetable.disarm(self._look_ahead)

    def _note_end(self) -> None:
        """Have the task end if no slot is left."""
        self.count_from_end()
        if self._state.has_ended:
            self._observer.handle_work_done()

    def _arm(self, slot: int | None) -> None:
        state = self._state
        state.has_ended = self._is_out = False
        if slot is None:
            ends = has_last_slot(state.trigger, state.policy)
            self._is_out = ends and not self._awaits_end
            state.has_ended = self._is_out and not self._excluded.is_waiting
            state.next_slot = None
            return
        state.next_slot = self._services.timetable.arm(self, slot)
        if self._workers.can_stand_by:
            self._services.standby_timetable.arm(self._look_ahead, slot)

    @property
    def _awaits_end(self) -> bool:
        """Whether a run must end before there is a next slot."""
        state = self._state
        slot = state.settled_slot
        return (
            waits_for_end(state.trigger)
            and slot is not None
            and state.trigger.find_next(slot) is None
        )

    def _look_ahead(self, _: float) -> Callable[[], None] | None:
        """Have the main worker, if it is free, stand by for the next slot.

        Returns the call that sends the order, to be made once all workers that stand by
        have been counted.
        """
        state, slot = self._state, self._state.next_slot
        worker = self._workers.main
        if self._services.pools.is_limited(state.policy.pool):
            return None  # whether there is a place is known at the slot
        if worker is None or state.runs or slot is None or self._is_paused(slot):
            return None
        if slot - self._services.clock.now() < LEAST or not self._workers.hold():
            return None
        number = self._services.timetable.note_standby()
        state.standby = Standby(self._services.new_id(), worker, number)
        return partial(self._order, state.standby, slot)

    def _order(self, standby: Standby, slot: int) -> None:
        """Send the order to the worker, unless it has been withdrawn."""
        state = self._state
        if state.standby is not standby:
            return
        self._note_standby(standby, slot)
        standby.worker.stand_by(
            standby.execution_id,
            slot,
            latest=slot + self._patience,
            place=Place(standby.number, self._services.timetable.standby_count),
            on_begun=self._handle_begun,
        )

    def _note_standby(
        self, standby: Standby, slot: int | None, *, is_withdrawn: bool = False
    ) -> None:
        """Note that a worker may begin a slot, or that it does not after all."""
        beginnings = self._services.beginnings
        if beginnings is None or slot is None:
            return
        run = ScheduledExecution(id=standby.execution_id, reason="scheduled", date=slot)
        note = beginnings.withdraw if is_withdrawn else beginnings.add
        note(self._state.id, run)

    @property
    def _patience(self) -> float:
        """Seconds by which a worker that stands by may be late."""
        return min(LATEST, self._state.policy.tolerance)

    def withdraw(self) -> None:
        """Withdraw the order to stand by; if its run has begun, settle the slot.

        Must be called before anything changes the task ahead of its slot.
        """
        standby = self._state.standby
        if standby is None:
            return
        if standby.worker.withdraw():
            self._state.standby = None
            self._note_standby(standby, self._state.next_slot, is_withdrawn=True)
        else:
            self._handle_begun()

    def _handle_begun(self) -> None:
        """Settle the slot whose run a worker that stood by has begun."""
        state, slot = self._state, self._state.next_slot
        if state.standby is None or slot is None:
            return
        self._services.timetable.disarm(self)
        self._end_pause(slot)
        state.settled_slot, state.next_slot = slot, None
        self._fire(slot, 0.0)
        self._arm_next()

    def __call__(self, now: float) -> Callable[[], None] | None:
        """Settle this task's due slots; called by the timetable."""
        state = self._state
        slot, tolerance = state.next_slot, state.policy.tolerance
        if state.standby is not None and not self._is_punctual(now):
            self.withdraw()
            if state.next_slot != slot:
                return None  # its run had begun: the next slot is armed
        if state.pause is not None and not self._pass_pause(state.pause, now):
            return None
        if slot is not None and is_only(slot, now, tolerance=tolerance):
            # The usual case. The next slot is searched for only after the other tasks'
            # runs of this second have begun.
            state.settled_slot, state.next_slot = slot, None
            self._fire(slot, now - slot)
            return self._arm_next
        self._settle(now)
        return None

    def _is_punctual(self, now: float) -> bool:
        """Return whether a worker that stands by begins in time without help."""
        slot = self._state.next_slot
        return slot is not None and 0 <= now - slot <= self._patience

    def _fire(self, slot: int, lateness: float) -> None:
        """Run a slot that is due, `lateness` seconds after it."""
        self._admission.end_ladders(NEXT_SLOT, is_slot=True)
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
            return  # stopped and started in the meantime
        try:
            following = find_following(state.schedule, slot, slot)
        except Exception as error:  # noqa: BLE001 - the border to the schedule
            self._observer.handle_failure(error)
            return
        self._arm(following)
        self._note_end()

    def _settle(self, now: float) -> None:
        """Settle the slots of a wake-up that is late, or follows a clock step back."""
        state = self._state
        try:
            beat = self._plan(now, self._catch_up)
        except Exception as error:  # noqa: BLE001 - the border to the schedule
            self._observer.handle_failure(error)
            return
        state.settled_slot = beat.newest
        self._arm(beat.next_slot)
        self._carry_out(beat)

    def _carry_out(self, beat: Beat, catch_up: CatchUp | None = None) -> None:
        """Report the missed slots of a wake-up, run the due one, catch up on the rest.

        The one that is due comes first: it might be skipped later.
        """
        state = self._state
        if beat.newest is not None:
            self._admission.end_ladders(NEXT_SLOT, is_slot=True)
        if beat.owed:  # first: a stop reports them as missed
            self._backlog.add(beat.owed, catch_up or state.policy.gaps)
        self._report(beat)
        # Before the newest slot has a row: those before the newest row are settled.
        self._backlog.note_all()
        # A receiver of a report may already have stopped the task.
        if beat.due is not None and state.phase is Phase.STARTED:
            self._fire(beat.due, self._services.clock.now() - beat.due)
        self.serve_backlog()
        self._note_end()

    def settle_rest(self) -> None:
        """Settle the slots that are due as the task stops: none of them runs.

        Those that are too late anyway are missed; one that is not is dropped like a run
        that waits, without an event.
        """
        state, now = self._state, self._services.clock.now()
        self._excluded.settle()
        if state.pause is not None:
            self._pass_pause(state.pause, now)
        if state.next_slot is None or now < state.next_slot:
            return
        try:
            beat = self._plan(now, NO_CATCH_UP)
        except Exception:  # noqa: BLE001 - the schedule is broken, and the task stops
            return
        state.settled_slot, state.next_slot = beat.newest, None
        self._report(beat)
        if beat.due is not None:
            self._admission.drop_slot(beat.due)

    def _plan(self, now: float, catch_up: CatchUp) -> Beat:
        state = self._state
        assert state.next_slot is not None
        return plan_beat(
            state.next_slot,
            now,
            tolerance=state.policy.tolerance,
            schedule=state.schedule,
            catch_up=catch_up,
        )

    def _report(self, beat: Beat, *, is_paused: bool = False) -> None:
        """Report the missed slots of a wake-up, or those that a pause skipped."""
        emit = self._state.emit_paused if is_paused else self._state.emit_missed
        for slot in beat.missed:
            emit(slot)
        for gap in (beat.gap, beat.rest):
            if gap is not None:
                report = partial(self._report_gap, partial(emit, since=gap.after))
                self._services.missed.add(
                    self._state, self._state.schedule, gap, report=report
                )

    def _report_gap(
        self, emit: Callable[[int, int], None], count: int, newest: int
    ) -> None:
        if count:  # else a resume has all of them run
            emit(newest, count)
        self._observer.handle_work_done()

    # --- catching up -------------------------------------------------------------

    @property
    def _catch_up(self) -> CatchUp:
        """What to do about the next gap: no more than what there is room for."""
        gaps, left = self._state.policy.gaps, len(self._backlog)
        if gaps.mode != "all" or not left:
            return gaps
        room = gaps.limit - left
        return replace(gaps, limit=room) if room > 0 else NO_CATCH_UP

    def handle_late(self, slot: int, run_id: str) -> None:
        """Catch up on the slot of a run that waited too long, or report it as missed.

        Args:
            slot: in Unix seconds.
            run_id: the run's id, which the next run of the slot keeps.
        """
        catch_up, now = self._catch_up, self._services.clock.now()
        if (
            catch_up.mode == "none"
            or not is_within(now - slot, catch_up.window)
            or self._is_paused(now)
            or (catch_up.mode == "latest" and self._is_superseded(slot, now))
        ):
            self._state.emit_missed(slot, run_id=run_id)
        else:
            self._backlog.add((slot,), catch_up, run_id=run_id)

    def _is_superseded(self, slot: int, now: float) -> bool:
        """Return whether there is a newer slot: settled, or due but not noticed yet."""
        state = self._state
        try:
            following = state.schedule.find_next(slot)
        except Exception as error:  # noqa: BLE001 - the border to the schedule
            self._observer.handle_failure(error)
            return True
        return following is not None and following <= max(now, state.settled_slot or 0)

    def serve_backlog(self) -> None:
        """Begin the next run that catches up, if its turn has come."""
        if self._backlog:
            self.withdraw()
            self._workers.hold()
            self._backlog.serve()

    # --- pauses ------------------------------------------------------------------

    def pause(self, until: int | None, note: str) -> None:
        """Skip the slots from now on and before `until`; or change the pause."""
        state, now = self._state, self._services.clock.now()
        self.withdraw()
        self._settle_due()
        since = now if state.pause is None else state.pause.since
        pause = Pause(since=since, until=until, note=note)
        if pause == state.pause:
            return
        if state.pause is None:
            # The clock may have been set back: earlier slots are settled otherwise, or
            # were never to come.
            newest = max(self._armed_since, state.settled_slot or 0)
            self._skipping_since = find_start(now, newest)
        self._set_pause(pause)
        state.emit(Event.TASK_PAUSED, pause=pause)

    def restore_pause(self, pause: Pause) -> None:
        """Be paused, without an event: a lost scheduler has reported it."""
        begun = correct_pause(pause, self._services.clock.now())
        self._skipping_since = begun.since
        self._set_pause(begun)

    def _set_pause(self, pause: Pause) -> None:
        self.drop_pause()
        self._state.pause = pause
        if pause.until is not None:
            self._services.timetable.arm(self._end_pause, pause.until)

    def resume(self, catch_up: CatchUp) -> None:
        """End the pause, if there is one, and catch up on its slots."""
        state, now = self._state, self._services.clock.now()
        self._settle_due()
        if state.pause is None:
            return
        self.drop_pause()
        state.emit(Event.TASK_RESUMED)
        if catch_up.mode == "none" or state.phase is not Phase.STARTED:
            return
        try:
            owed, before = find_owed(
                self._skipping_since, now, state.schedule, catch_up
            )
        except Exception as error:  # noqa: BLE001 - the border to the schedule
            self._observer.handle_failure(error)
            return
        if owed:
            self._services.missed.leave_out(state, owed)
            self._backlog.add_skipped(owed, catch_up, before=before)
            self.serve_backlog()

    def drop_pause(self) -> None:
        """End the pause without an event."""
        self._state.pause = None
        self._services.timetable.disarm(self._end_pause)

    def _end_pause(self, now: float) -> None:
        """End a pause that is over by itself; called by the timetable, too."""
        pause = self._state.pause
        if pause is not None and pause.is_over(now):
            self.drop_pause()
            self._state.emit(Event.TASK_RESUMED)

    def _is_paused(self, slot: float) -> bool:
        pause = self._state.pause
        return pause is not None and not pause.is_over(slot)

    def _settle_due(self) -> None:
        """Settle the slots that are due by now, before the pause changes."""
        now = self._services.clock.now()
        while (slot := self._state.next_slot) is not None and slot <= now:
            self._services.timetable.disarm(self)
            follow = self(now)
            if follow is not None:
                follow()

    def _pass_pause(self, pause: Pause, now: float) -> bool:
        """Skip the due slots of a pause; return whether the due slot may run.

        What is due after the pause is left to the timetable, which calls again.
        """
        state = self._state
        slot, last = state.next_slot, pause.find_last(now)
        is_skipped = slot is not None and slot <= last
        if is_skipped and not self._skip(last):
            return False
        self._end_pause(now)
        return not is_skipped

    def _skip(self, last: float) -> bool:
        """Skip the slots up to `last`; return False if the schedule is broken."""
        state = self._state
        assert state.next_slot is not None
        try:
            beat = plan_pause(state.next_slot, last, state.schedule)
        except Exception as error:  # noqa: BLE001 - the border to the schedule
            self._observer.handle_failure(error)
            return False
        state.settled_slot = beat.newest
        self._arm(beat.next_slot)
        self._report(beat, is_paused=True)
        self._note_end()
        return state.phase is Phase.STARTED
