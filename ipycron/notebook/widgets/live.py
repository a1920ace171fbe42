"""The common base of the card and the panel: one model, one script, one protocol.

Python holds the truth. To the browser go:

* ``state``: the whole snapshot, a trait whose value is computed on demand (a page
  loads, another tab opens);
* ``{"type": "state", ...}``: what has changed since, at most once a second;
* ``{"type": "output", ...}``: what the shown run wrote, at most four times a second;
* ``{"type": "beat", "now": ...}``: after ten silent seconds, so that a dead kernel is
  noticed;
* ``{"type": "older", "task", "runs", "next", "note"}``: older runs, on demand;
* ``{"type": "note", "task", "text"}``: one line for the user;
* ``{"type": "ack" | "done", "id": ...}``: a command arrived, and how it ended.

What the history's file has (`past`) is read when a page says that it is there, and is
in no snapshot but for the marks of the strips and the run that is shown.

From the browser come ``{"type": "command", "id", "name", "task"}`` and the trait
``ui``: which row is open, the filter and so on, kept here so that a page finds it
again.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any, TypedDict

import anywidget
import traitlets

from ipycron.client.registry import registry
from ipycron.notebook.display.feed import Feed
from ipycron.notebook.widgets.assets import Assets, read_loader, refer_to_assets
from ipycron.notebook.widgets.clicks import Clicks
from ipycron.notebook.widgets.model import (
    Deltas,
    EventRow,
    RunRow,
    TaskRow,
    describe_run,
    describe_task,
)
from ipycron.notebook.widgets.pane import Pane, PaneState
from ipycron.notebook.widgets.past import Past
from ipycron.scheduling.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ipycron.api.task import Task

STATE_INTERVAL = 1.0
OUTPUT_INTERVAL = 0.25
BEAT_INTERVAL = 10.0
"""Minimum seconds between two messages of a kind; maximum between any two messages."""


class Opened(TypedDict):
    """The task whose runs are shown: the remembered ones, and the output of one."""

    task: str
    runs: list[RunRow]
    pane: PaneState | None


class State(TypedDict):
    """The whole snapshot."""

    now: float
    tasks: list[TaskRow]
    events: list[EventRow]
    opened: Opened | None
    timeline: Any


def _make_state(_: Any, view: LiveView) -> State:
    return view.make_state()


class LiveView(anywidget.AnyWidget):
    """A view of tasks that updates itself."""

    outlives_process = True
    has_strips = True
    _esm = read_loader()
    assets = traitlets.Instance(Assets).tag(sync=True, to_json=refer_to_assets)
    kind = traitlets.Unicode().tag(sync=True)
    state = traitlets.Dict().tag(sync=True, to_json=_make_state)
    ui = traitlets.Dict().tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        self._guard = threading.RLock()
        self._past = Past(self._answer, self._take_past)
        self._pane = Pane(self._past.find_run)
        self._deltas = Deltas()
        self._clicks = Clicks(self.find_task, self._answer)
        self._outbox: deque[dict[str, Any]] = deque()
        self._is_stale = self._is_output_stale = True
        self._is_watched = False
        self._state_sent = self._output_sent = self._sent = 0.0
        self._feed = registry.get_single(Feed)
        super().__init__(assets=registry.get_single(Assets), **traits)
        self.on_msg(self._take_command)
        self.observe(self._take_ui, "ui")

    def open(self) -> None:
        """Open the view for a browser, again if all widgets were closed."""
        self.layout.open()
        self.__dict__.pop("_repr_mimebundle_", None)  # a closed widget hides it
        super().open()
        # ipykernel 7.4 handles messages in the shell thread that created the comm,
        # which is busy when the user clicks "stop"; other versions ignore this. See
        # ipykernel #1565.
        self.comm._reply_subshell_for = (  # noqa: SLF001 - there is no other way
            lambda _, default: default
        )
        self._feed.attach(self)

    # --- what a view shows: overridden by the card and the panel ---------------------

    def find_tasks(self) -> list[Task]:
        """Return the tasks that are shown, in order."""
        raise NotImplementedError

    def find_task(self, task_id: str) -> Task | None:
        """Return one of them, None if it is gone."""
        raise NotImplementedError

    def is_shown(self, task_id: str) -> bool:
        """Return whether this view shows changes of the task."""
        raise NotImplementedError

    def find_opened(self) -> tuple[Task | None, str | None]:
        """Return the task whose runs are shown, and which run if not the newest."""
        raise NotImplementedError

    def find_rows(self, now: float) -> Iterable[TaskRow]:
        """Yield the rows that may have changed since this was called last."""
        return self._describe(self.find_tasks(), now)

    def _describe(self, tasks: Iterable[Task], now: float) -> Iterator[TaskRow]:
        for task in tasks:
            self._feed.give_way()
            yield describe_task(task, now, self._past.get_marks(task.id))

    def find_extras(self, now: float) -> dict[str, Any]:  # noqa: ARG002
        """Return the other parts of a state change."""
        return {}

    def describe_extras(self, now: float) -> tuple[list[EventRow], Any]:  # noqa: ARG002
        """Return all remembered events and the timeline, if this view shows them."""
        return [], None

    # --- to the browser -----------------------------------------------------------

    def make_state(self) -> State:
        """Return the whole snapshot. Thread-safe."""
        now = SystemClock().now()
        with self._guard:
            events, timeline = self.describe_extras(now)
            return State(
                now=now,
                tasks=[
                    describe_task(task, now, self._past.get_marks(task.id))
                    for task in self.find_tasks()
                ],
                events=events,
                opened=self._describe_opened(),
                timeline=timeline,
            )

    def _describe_opened(self) -> Opened | None:
        task, _ = self.find_opened()
        if task is None:
            return None
        runs = [describe_run(run) for run in task.history]
        pane = self._pane.describe() if self._pane.task is task else None
        return Opened(task=task.id, runs=runs, pane=pane)

    def note(self, task_ids: set[str]) -> None:
        """Check these tasks at the next push; see `View`."""
        if any(self.is_shown(task_id) for task_id in task_ids):
            self._is_stale = True
        task = self._pane.task  # it may be closed in the meantime
        if task is not None and task.id in task_ids:
            self._is_output_stale = True

    def push(self, now: float) -> float:
        """Send what is due; see `View`."""
        with self._guard:
            if self.comm is None:  # closed in the meantime
                return now + BEAT_INTERVAL
            while self._outbox:
                self._post(self._outbox.popleft(), now)
            due = min(self._push_state(now), self._push_output(now))
            if now - self._sent >= BEAT_INTERVAL:
                self._post({"type": "beat", "now": SystemClock().now()}, now)
            return min(due, self._sent + BEAT_INTERVAL)

    def _push_state(self, now: float) -> float:
        """Send what has changed if it is time; return when to check again."""
        due = self._state_sent + STATE_INTERVAL
        if not self._is_stale or now < due:
            return due if self._is_stale else now + BEAT_INTERVAL
        self._is_stale = False
        change = self._find_change(SystemClock().now())
        if change:
            self._state_sent = now
            self._post({"type": "state", "now": SystemClock().now(), **change}, now)
        return now + BEAT_INTERVAL

    def _find_change(self, now: float) -> dict[str, Any]:
        change = dict(self.find_extras(now))
        if tasks := self._deltas.find(self.find_rows(now)):
            change["tasks"] = tasks
        if gone := self._deltas.forget(task.id for task in self.find_tasks()):
            change["gone"] = gone
            self._past.forget(gone)
        if self._is_watched and self.has_strips:
            self._past.ask_marks(self.find_tasks())
        opened, _ = self.find_opened()
        if opened is not None:
            runs = [describe_run(run) for run in opened.history]
            if fresh := self._deltas.find_runs(opened.id, runs):
                change["runs"] = {"task": opened.id, "runs": fresh}
        return change

    def _push_output(self, now: float) -> float:
        due = max(self._output_sent + OUTPUT_INTERVAL, self._feed.get_free_at())
        if self._pane.show(*self.find_opened()):
            self._is_output_stale = True
        if not self._is_output_stale or now < due:
            return due if self._is_output_stale else now + BEAT_INTERVAL
        self._is_output_stale = False
        news = self._pane.collect()
        if news is not None:
            self._output_sent = now
            self._feed.count_output(self._pane.size)
            self._post({"type": "output", **news}, now)
        return now + BEAT_INTERVAL

    def _post(self, message: dict[str, Any], now: float) -> None:
        self._sent = now
        self.send(message)

    @property
    def is_behind(self) -> bool:
        """Whether there is something left to send."""
        return self._is_stale or self._is_output_stale or bool(self._outbox)

    def refresh(self) -> None:
        """Check everything again soon."""
        self._is_stale = self._is_output_stale = True
        self._feed.attach(self)

    # --- from the browser, in whichever thread the kernel chooses -----------------

    def _take_ui(self, _: Any) -> None:
        self.refresh()

    def _take_command(self, _: Any, content: Any, __: Any) -> None:
        """Act on a click; nothing here blocks."""
        if not isinstance(content, dict) or content.get("type") != "command":
            return
        command_id, name = content.get("id"), content.get("name")
        self._outbox.append({"type": "ack", "id": command_id})
        if name == "hello":
            self._outbox.append({"type": "beat", "now": SystemClock().now()})
            self.greet()
        elif name == "older":
            self._ask_older(command_id, str(content.get("task")), content.get("before"))
        elif name == "sync":
            self._answer_whole()
        else:
            self._clicks.handle(command_id, str(name), str(content.get("task")))
        # Again: the card of a destroyed task has detached itself.
        self._feed.attach(self)

    def greet(self) -> None:
        """Read what the file has from now on: there is a page that shows it."""
        self._is_watched = self._is_stale = True

    def _ask_older(self, command_id: Any, task_id: str, before: Any) -> None:
        task = self.find_task(task_id)
        if task is None:
            self._answer(
                {"type": "done", "id": command_id, "error": "this task is gone"}
            )
        else:
            self._past.ask_older(command_id, task, before)

    def _take_past(self, task_ids: set[str]) -> None:
        """Show more of tasks: the file has been read. In any thread."""
        with self._guard:
            self.note(task_ids)
        if self.comm is not None:  # it was closed in the meantime
            self._feed.attach(self)

    def _answer_whole(self) -> None:
        """Send everything again: a page has missed something."""
        with self._guard:
            self._outbox.append({"type": "whole", "state": self.make_state()})

    def _answer(self, message: dict[str, Any]) -> None:
        self._outbox.append(message)
        self._feed.wake()

    def close(self) -> None:
        """Close the view and everything in it."""
        self._feed.detach(self)
        with self._guard:  # the feed's thread may be about to send
            self._pane.close()
            super().close()
