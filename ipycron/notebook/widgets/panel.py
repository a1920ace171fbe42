"""The panel: every task of this process, live."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipycron.api.functions import get_tasks
from ipycron.api.task import get_record
from ipycron.client.registry import registry
from ipycron.notebook.display.tables import TaskTable
from ipycron.notebook.widgets.day import Day
from ipycron.notebook.widgets.live import LiveView
from ipycron.notebook.widgets.model import describe_event
from ipycron.notebook.widgets.page import show_view
from ipycron.notebook.widgets.timeline import (
    BUCKETS,
    HORIZONS,
    From,
    find_marks,
    find_pace,
    fit_horizon,
)
from ipycron.scheduling.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ipycron.api.task import Task
    from ipycron.cron.trigger import Trigger
    from ipycron.notebook.widgets.model import EventRow, TaskRow
    from ipycron.scheduling.bounds import Bounded
    from ipycron.triggers.exclusions import Included


def list_cells() -> str:
    """Return the ids of the cells that created the tasks, with blanks between them.

    A panel of a former kernel asks which tasks exist again.
    """
    cells = {get_record(task).cell for task in get_tasks().values()}
    return " ".join(sorted(cell for cell in cells if cell))


def find_behind() -> tuple[int, int]:
    """Return how many rows of the history wait to be written, and are lost (H4)."""
    client = registry.running_client
    return (0, 0) if client is None else (client.history.waiting, client.history.lost)


class Panel(LiveView):
    """Shows all tasks in a table, the last and the next hours, and the last events.

    A widget: the last line of a cell shows it, several may be shown at once. It updates
    itself, and keeps opened rows and filters when the page is reloaded.
    """

    def __init__(self) -> None:
        self._changed: set[str] | None = None
        self._told_events = 0
        self._told_timeline: Any = None
        self._told_behind = (0, 0)
        self._day = Day(self._take_day)
        super().__init__(kind="panel", ui={"timeline": True, "events": True})

    def find_tasks(self) -> list[Task]:
        """Return all tasks; see `LiveView`."""
        return list(get_tasks().values())

    def find_task(self, task_id: str) -> Task | None:
        """Return a task by its id; see `LiveView`."""
        return get_tasks().get(task_id)

    def is_shown(self, task_id: str) -> bool:  # noqa: ARG002
        """Return True: all tasks are shown."""
        return True

    def find_opened(self) -> tuple[Task | None, str | None]:
        """Return the task whose row is open; see `LiveView`."""
        task = get_tasks().get(str(self.ui.get("open")))
        run = self.ui.get("run")
        return task, str(run) if run else None

    def note(self, task_ids: set[str]) -> None:
        """Remember which rows to look at."""
        with self._guard:
            if self._changed is not None:
                self._changed |= task_ids
        self._day.note()
        super().note(task_ids)

    def greet(self) -> None:
        """Send the last 24 hours whole: they are in no snapshot; see `LiveView`."""
        super().greet()
        self._told_behind = (0, 0)
        self._day.begin()

    def push(self, now: float) -> float:
        """Send what is due, and look at the last 24 hours; see `LiveView`."""
        if find_behind() != self._told_behind:
            self._is_stale = True
        if self._is_watched and self.ui.get("day"):
            instant = SystemClock().now()
            if self._day.is_due(instant, now):
                self._day.ask(self.find_tasks(), instant, now)
        return super().push(now)

    def _take_day(self) -> None:
        self._is_stale = True
        if self.comm is not None:
            self._feed.attach(self)

    def find_rows(self, now: float) -> Iterable[TaskRow]:
        """Yield the rows of the tasks that have changed."""
        tasks = self.find_tasks()
        changed, self._changed = self._changed, set()
        if changed is not None:
            tasks = [task for task in tasks if task.id in changed]
        return self._describe(tasks, now)

    def find_extras(self, now: float) -> dict[str, Any]:
        """Return new events, and the timeline if it has changed."""
        extras: dict[str, Any] = {}
        items = registry.event_log.read(self._told_events)
        if items:
            self._told_events = items[-1].number
            extras["events"] = [describe_event(item) for item in items]
        timeline = self._make_timeline(now)
        if timeline != self._told_timeline:
            self._told_timeline = extras["timeline"] = timeline
        behind = find_behind()
        if behind != self._told_behind:
            self._told_behind = extras["behind"] = behind
        if self.ui.get("day") and (news := self._day.take_news()) is not None:
            extras["day"] = news
        return extras

    def describe_extras(self, now: float) -> tuple[list[EventRow], Any]:
        """Return all remembered events, and the timeline."""
        events = [describe_event(item) for item in registry.event_log.read()]
        return events, self._make_timeline(now)

    def _make_timeline(self, now: float) -> dict[str, Any] | None:
        """Return the marks of all armed tasks; None while they are collapsed."""
        if not self.ui.get("timeline"):
            return None
        armed = [
            (task, schedule)
            for task in self.find_tasks()
            if task.is_started and (schedule := _find_schedule(task)) is not None
        ]
        horizon = self.ui.get("horizon")
        if horizon not in HORIZONS:
            schedules = [(schedule, task.runs_left) for task, schedule in armed]
            horizon = fit_horizon(schedules, int(now))
        # It moves one step at a time: most pushes find it unchanged.
        step = horizon // BUCKETS
        start = int(now) // step * step
        marks = {
            task.id: find_marks(schedule, start, horizon, task.runs_left)
            for task, schedule in armed
        }
        paces = {
            task.id: find_pace(schedule, start + band[0])
            for task, schedule in armed
            if (band := next((m for m in marks[task.id] if isinstance(m, tuple)), None))
        }
        return {"start": start, "horizon": horizon, "marks": marks, "paces": paces}

    def _ipython_display_(self) -> None:
        """Show the panel, and a table if there are no widgets."""
        show_view(self, self._describe_table)

    def _describe_table(self) -> dict[str, Any]:
        table = TaskTable(self.find_tasks())
        return {"text/plain": repr(table), "text/html": table._repr_html_()}


def _find_schedule(task: Task) -> Trigger | Bounded | Included | From | None:
    """Return what a task's pause leaves of its schedule; None for nothing."""
    record = get_record(task)
    pause = record.pause
    if pause is None:
        return record.schedule
    return None if pause.until is None else From(record.schedule, pause.until)
