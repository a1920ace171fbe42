"""The growing output of one run, for one view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

import ipywidgets

from ipycron.client.executions import lacks_output
from ipycron.notebook.display.transcript import (
    MAX_CHARACTERS,
    MAX_FRESH,
    MAX_GROUPS,
    Transcript,
)
from ipycron.notebook.display.words import find_begun
from ipycron.notebook.widgets.filed import FiledRun, is_kept
from ipycron.notebook.widgets.model import RunInfo, describe_shown
from ipycron.runlog.rows import OPEN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ipycron.api.task import Task
    from ipycron.client.executions import RunLike
    from ipycron.notebook.display.transcript import Group, Item


class PaneState(TypedDict):
    """The part of a run that a view shows.

    Attributes:
        task: the task of the run.
        run: None if there was none yet.
        items: see `Transcript`; a group is ``("group", [number, model id])``.
        start: the position in the output before `items`.
        end: the position after them.
        reset: whether `items` replace what is shown; otherwise they are appended.
    """

    task: str
    run: RunInfo | None
    items: list[Item]
    start: int
    end: int
    reset: bool


class Slots:
    """Output widgets that show groups of displays; created on demand and reused."""

    def __init__(self) -> None:
        self._widgets: dict[int, Any] = {}

    def fill(self, group: Group) -> int:
        """Show a group; return approximately how many bytes that sends."""
        self._get(group.number).outputs = tuple(group.outputs)
        return group.size

    def _get(self, number: int) -> Any:
        index = number % MAX_GROUPS
        if index not in self._widgets:
            self._widgets[index] = ipywidgets.Output()
        return self._widgets[index]

    def get_id(self, number: int) -> str:
        """Return the model id of the widget that shows a group."""
        model_id: str = self._get(number).model_id
        return model_id

    def clear(self, used: Iterable[int]) -> None:
        """Clear all widgets except those that show the groups `used`."""
        kept = {number % MAX_GROUPS for number in used}
        for index, widget in self._widgets.items():
            if index not in kept and widget.outputs:
                widget.outputs = ()

    def close(self) -> None:
        """Close all widgets."""
        for widget in self._widgets.values():
            widget.close()
        self._widgets.clear()


class Pane:
    """Follows the newest run of a task, or shows a past one.

    Not thread-safe by itself: its view holds a lock.

    Args:
        find_past: called with a task and the id of a run that is not in memory, or not
            with its output; returns whether it is known what became of it, and the run,
            if the file has it.
    """

    def __init__(
        self, find_past: Callable[[Task, str], tuple[bool, FiledRun | None]]
    ) -> None:
        self._find_past = find_past
        self._task: Task | None = None
        self._pinned: str | None = None
        self._run_id: str | None = None
        self._info: RunInfo | None = None
        self._position = 0
        self._transcript = Transcript()
        self._slots = Slots()
        self._is_clean = True
        self.size = 0

    @property
    def task(self) -> Task | None:
        """The task whose runs it shows."""
        return self._task

    def show(self, task: Task | None, run_id: str | None = None) -> bool:
        """Show a run of a task, or its newest; return whether that is a change."""
        if (task, run_id) == (self._task, self._pinned):
            return False
        self._task, self._pinned = task, run_id
        return True

    def collect(self) -> PaneState | None:
        """Return what is new; None if nothing is. Fills the slots.

        `size` is then approximately how many bytes this sends.
        """
        task = self._task
        if task is None:
            return None
        run = self._find(task)
        if run is None:
            return None
        is_new = run.id != self._run_id
        if is_new:
            self._begin(run)
        # The end first: what comes later is another change.
        info = _describe(run)
        start = self._position
        pieces, self._position = run.output.read(start)
        is_over = info["state"] not in OPEN
        is_past = is_new and is_over
        limit = MAX_CHARACTERS if is_past else MAX_FRESH
        items = self._transcript.feed(pieces, limit)
        info["shows_result"] = self._transcript.has_result
        is_filled = self._fill()
        if not self._is_clean and (items or is_over):
            # Only now: the previous run's output stays until there is something new to
            # show.
            self._slots.clear(self._transcript.groups)
            self._is_clean = True
        if not (is_new or items or is_filled or info != self._info):
            return None
        self._info = info
        self.size += sum(len(value) for _, value in items if isinstance(value, str))
        return self._make_state(items, start, reset=is_new)

    def _find(self, task: Task) -> RunLike | FiledRun | None:
        """Return the run to show; None if there is none, or not yet."""
        pinned = self._pinned
        run = find_newest(task) if pinned is None else find_run(task, pinned)
        if run is not None:
            return self._find_filed(task, run) or run
        if pinned is None:
            return None
        is_known, filed = self._find_past(task, pinned)
        return filed or find_newest(task) if is_known else None

    def _find_filed(self, task: Task, run: RunLike) -> FiledRun | None:
        """Return a run of which nobody here has the output, as soon as it is read."""
        is_filed = lacks_output(run) and is_kept(task)
        return self._find_past(task, run.id)[1] if is_filed else None

    def _begin(self, run: RunLike | FiledRun) -> None:
        self._run_id = run.id
        self._position = 0
        self._transcript = Transcript()
        self._is_clean = False

    def _fill(self) -> bool:
        changed = self._transcript.take_changed()
        self.size = sum(self._slots.fill(group) for group in changed)
        return bool(changed)

    def describe(self) -> PaneState | None:
        """Return everything shown, for a page that is just loaded."""
        if self._task is None:
            return None
        items = list(self._transcript.items)
        return self._make_state(items, 0, reset=True)

    def _make_state(self, items: list[Item], start: int, *, reset: bool) -> PaneState:
        assert self._task is not None
        return PaneState(
            task=self._task.id,
            run=self._info,
            items=[self._place(item) for item in items],
            start=start,
            end=self._position,
            reset=reset,
        )

    def _place(self, item: Item) -> Item:
        kind, value = item
        return (kind, [value, self._slots.get_id(value)]) if kind == "group" else item

    def close(self) -> None:
        """Release everything."""
        self._task = None
        self._slots.close()


def _describe(run: RunLike | FiledRun) -> RunInfo:
    return run.info.copy() if isinstance(run, FiledRun) else describe_shown(run)


def find_run(task: Task, run_id: str) -> RunLike | None:
    """Return the run of a task that has an id; None if it is not in memory."""
    # In the order in which a run moves on: it is in one of them, or in two. Its next
    # attempt may be queued again.
    unfinished = (*task.queued, *task.running, *task.queued)
    past = task.history.find(run_id)
    return past or next((run for run in unfinished if run.id == run_id), None)


def find_newest(task: Task) -> RunLike | None:
    """Return the newest run of a task, first of all one in progress.

    Then one whose next attempt is queued. Only a task that has had no run shows one
    that waits for its turn.
    """
    # In the order in which a run moves on, see above.
    queued, running = task.queued, task.running
    begun = find_begun(queued)
    if running or begun:
        return (running or begun)[-1]
    history = task.history
    if history:
        return history[-1]
    return queued[0] if queued else None
