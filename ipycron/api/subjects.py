"""What `why` knows of a task: from this process, or from what the history has of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ipycron.api.functions import get_tasks
from ipycron.api.task import get_record
from ipycron.client.facts import make_facts, read_facts
from ipycron.client.registry import registry
from ipycron.errors import UnknownTask
from ipycron.runlog.records import find_zone
from ipycron.scheduling.bounds import (
    bound,
    count_from_end,
    find_calendar,
    find_excluded,
    waits_for_end,
)
from ipycron.scheduling.clock import SystemClock
from ipycron.scheduling.events import to_datetime
from ipycron.scheduling.policy import Policy
from ipycron.triggers.union import read_trigger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipycron.api.task import Task
    from ipycron.client.facts import Facts
    from ipycron.cron.trigger import Trigger
    from ipycron.runlog.lives import KnownLife
    from ipycron.scheduling.bounds import Bounded
    from ipycron.triggers.exclusions import Excluded, Included

Line = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A task that `why` is asked about.

    Attributes:
        name: the task's.
        trigger: the task's.
        policy: its bounds and exclusions at least.
        facts: what is known of it; None if an older version of ipycron has recorded it.
        task: the task, if it is of this process.
        life: what the history has of it otherwise.
    """

    name: str
    trigger: Trigger
    policy: Policy
    facts: Facts | None
    task: Task | None = None
    life: KnownLife | None = None

    @property
    def slots(self) -> Trigger | Bounded | Included:
        """The slots that run."""
        return bound(self.trigger, self.policy)

    def find_excluded(self, last: int) -> Excluded | None:
        """Return the excluded slots up to an instant, if there may be any."""
        return find_excluded(self.trigger, self.policy, last)

    def list_obstacles(self, second: int) -> Iterator[Line]:
        """Yield what keeps the task from running a slot, Unix seconds."""
        policy = self.policy
        if self.life is not None and second < math.floor(self.life.declared_at):
            yield "declared", f"{self._show(self.life.declared_at)}: this is before"
        if policy.start is not None and second < policy.start.timestamp():
            yield "start", f"{policy.start.isoformat(' ')}: this is before"
        if policy.end is not None and second > policy.end.timestamp():
            yield "end", f"{policy.end.isoformat(' ')}: this is after"
        calendar = find_calendar(self.trigger, policy)
        if calendar is not None and calendar.is_excluded(second):
            assert policy.exclude is not None
            yield "excluded", policy.exclude.text
        if self.task is not None:
            yield from _list_states(self.task, second)
        elif self.life is not None:
            yield from self._list_ends(self.life, second)

    def _list_ends(self, life: KnownLife, second: int) -> Iterator[Line]:
        """Yield how a life has ended, if it was over then, or may have been."""
        if life.end is None:
            return
        at = "" if life.ended_at is None else self._show(life.ended_at)
        if life.end == "vanished":
            if life.last_slot is None or second > life.last_slot:
                found = at and f", which was found at {at}"
                yield "ended", f"its process vanished{found}"
        elif life.ended_at is not None and second > life.ended_at:
            words = {"shutdown": "with its process"}
            yield "ended", f"{words.get(life.end, life.end)} at {at}"

    def list_unknown(self, second: int) -> Iterator[Line]:
        """Yield what only another process knows of a slot that has no row."""
        life = self.life
        if life is None:
            return
        if self.facts is None:
            yield (
                "not known",
                "start, end, exclude and the policies: an older ipycron recorded it",
            )
        elif self.facts.is_cut:
            yield "not known", f"the days that {self.facts.excluded!r} excludes"
        if life.end is None and second > SystemClock().now():
            where = "" if life.pid is None else f", {life.pid} on {life.host},"
            yield (
                "not known",
                f"pauses and the runs that are left: its process{where} knows them",
            )

    def _show(self, instant: float) -> str:
        at = to_datetime(math.floor(instant), self.trigger.timezone)
        return at.isoformat(" ")


def _list_states(task: Task, second: int) -> Iterator[Line]:
    record = get_record(task)
    pause = record.pause
    if pause is not None and second >= pause.since and not pause.is_over(second):
        yield "paused", pause.note or "until it is resumed"
    if second > record.client.clock.now():
        if not task.is_started:
            yield "state", task.status
        if task.runs_left == 0:
            yield "max_executions", "none left"


def find_task(name: Any) -> Task | None:
    """Return a task of this process by its id, its name or itself, or None."""
    if not isinstance(name, str):
        get_record(name)  # raises if it is no task
        return name  # type: ignore[no-any-return]
    return get_tasks().get(name)


def describe_task(task: Task) -> Subject:
    """Return a task of this process."""
    record = get_record(task)
    return Subject(
        name=task.name,
        trigger=record.trigger,
        policy=task.options,
        facts=make_facts(record.trigger, task.options),
        task=task,
    )


def describe_life(name: str, at: int | None = None) -> Subject:
    """Return a task of another process, or of the past, as it was at an instant.

    Raises:
        UnknownTask: if the history has no task of that name.
        HistoryError: if it cannot be read.
    """
    from ipycron.api.history import get_path  # noqa: PLC0415 - SQLite
    from ipycron.runlog.lives import find_life  # noqa: PLC0415 - as above

    path = get_path()
    life = None if path is None else find_life(path, name, at)
    if life is None:
        known = [task.name for task in get_tasks().values()]
        raise UnknownTask(name=name, known=known)
    facts = read_facts(life.facts)
    if facts is None:
        zone = find_zone(life.zone)
        trigger = read_trigger(life.pattern, zone, hash_id=name)
        policy = Policy()
    else:
        trigger = facts.make_trigger()
        policy = facts.make_policy(trigger)
    if waits_for_end(trigger):
        trigger = count_from_end(trigger, _find_last_end(name), policy)
    return Subject(name=name, trigger=trigger, policy=policy, facts=facts, life=life)


def _find_last_end(name: str) -> float | None:
    """Return when the newest run of a task ended, or the slot that did not run."""
    from ipycron.api.history import history  # noqa: PLC0415 - as above

    rows = history(name, limit=1)
    return (rows[0].finished_at or rows[0].at).timestamp() if rows else None


def read_now() -> float:
    """Return the time of this process's scheduler, Unix seconds."""
    client = registry.running_client
    return SystemClock().now() if client is None else client.clock.now()
