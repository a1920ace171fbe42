"""What a task makes of its trigger: bounds (C6), and the end of its last run (T1)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from ipycron.cron.trigger import Trigger
from ipycron.scheduling.events import Event
from ipycron.triggers.exclusions import Calendar, Excluded, Included, make_calendar
from ipycron.triggers.interval import Interval

if TYPE_CHECKING:
    from ipycron.scheduling.events import Notice
    from ipycron.scheduling.policy import Policy
    from ipycron.scheduling.ports import Schedule


@dataclass(frozen=True, slots=True)
class Bounded:
    """A schedule without the slots before `first` and after `last`, Unix seconds."""

    schedule: Schedule
    first: int | None
    last: int | None

    def find_next(self, after: float) -> int | None:
        """Return the next slot within the bounds; see `Schedule`."""
        if self.first is not None and after < self.first:
            after = self.first - 1
        slot = self.schedule.find_next(after)
        is_beyond = slot is not None and self.last is not None and slot > self.last
        return None if is_beyond else slot


S = TypeVar("S", bound="Schedule")


def bound(schedule: S, policy: Policy) -> S | Bounded | Included:
    """Return the slots of a schedule that run: within bounds, and not excluded."""
    bounded = _bound(schedule, policy)
    calendar = find_calendar(schedule, policy)
    if calendar is None:
        return bounded
    moves = policy.on_excluded == "next"
    included = Included(bounded, calendar, moves)
    return _bound(included, policy) if moves else included


def find_excluded(schedule: Schedule, policy: Policy, last: float) -> Excluded | None:
    """Return the excluded slots of a schedule up to an instant, if there may be any."""
    calendar = find_calendar(schedule, policy)
    if calendar is None:
        return None
    return Excluded(_bound(schedule, policy), calendar, math.floor(last))


def find_calendar(schedule: Schedule, policy: Policy) -> Calendar | None:
    """Return what is excluded, in the zone of a trigger; None for nothing."""
    if policy.exclude is None or not isinstance(schedule, Trigger):
        return None
    return make_calendar(policy.exclude, schedule.timezone)


def _bound(schedule: S, policy: Policy) -> S | Bounded:
    """Return a schedule within the bounds of a task; slots are whole seconds."""
    start, end = policy.start, policy.end
    if start is None and end is None:
        return schedule
    return Bounded(
        schedule,
        None if start is None else math.ceil(start.timestamp()),
        None if end is None else math.floor(end.timestamp()),
    )


def has_last_slot(schedule: Schedule, policy: Policy) -> bool:
    """Return whether a schedule ends, and its task with it."""
    is_finite = isinstance(schedule, Trigger) and schedule.is_finite
    return is_finite or policy.end is not None


def waits_for_end(schedule: Schedule) -> bool:
    """Return whether a schedule counts from the end of the last run.

    It has one slot only, and none while that one runs.
    """
    # Asked three times a run. `isinstance` takes six times as long: triggers have an
    # abstract base class.
    return type(schedule) is Interval and schedule.after_finish


def count_from_end(schedule: S, end: float | None, policy: Policy) -> S:
    """Return such a schedule with the end of the last run, Unix seconds, if known.

    The `start` of the task counts as the end of a run.
    """
    if end is None or not (isinstance(schedule, Interval) and schedule.after_finish):
        return schedule
    start = end if policy.start is None else policy.start.timestamp()
    return schedule.count_from(max(end, start))  # type: ignore[return-value]


_ENDS = frozenset({Event.EXECUTION_FINISHED, Event.EXECUTION_FAILED})
_UNRUN = frozenset(
    {Event.TASK_STARTED, Event.EXECUTION_MISSED, Event.EXECUTION_SKIPPED}
)


def find_end(notice: Notice) -> float | None:
    """Return when a slot was done with, if an event says so: Unix seconds.

    That is the end of its run; one that did not run is done with at once. The start of
    the task counts, too.
    """
    run = notice.execution
    if run is None:
        is_unrun = notice.event in _UNRUN or (
            notice.event is Event.EXECUTION_OVERLAP and notice.is_skipped
        )
        return notice.triggered_at if is_unrun else None
    if notice.event not in _ENDS or not run.is_scheduled:
        return None
    return run.finished_at or notice.triggered_at
