"""Tasks in a notebook page: a view, and its static copy in the next output.

A kernel cannot know whether a front end has widgets: nbclient and papermill take the
outputs as they are. So the copy is kept fresh until a browser answers through the card;
from then on it is updated for the saved notebook, less often. It is a separate output
because JupyterLab shows nothing else of an output whose widget is gone, and redraws a
card when its output changes. Style sheets show one of the two at a time.
"""

# mypy: disable-error-code="no-untyped-call"
# Most of IPython's methods have no annotations.

from __future__ import annotations

import threading
import time
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any

from IPython import get_ipython
from IPython.display import publish_display_data

from ipycron.api.task import get_record
from ipycron.client.registry import registry
from ipycron.notebook.display.feed import Feed
from ipycron.notebook.display.static import (
    describe_leftovers,
    describe_task,
    format_leftovers,
)
from ipycron.notebook.display.words import format_status
from ipycron.process.shell.displays import WIDGET_VIEW

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from ipycron.api.task import Task
    from ipycron.notebook.display.task_display import Interpretation
    from ipycron.scheduling.events import Pause

RENEW_EVERY = 1.0
"""Minimum seconds between two copies while no browser shows the card."""
RENEW_WATCHED = 5.0
"""The same while a browser shows the card, unless a run has ended."""
_CHILD = ".jp-OutputArea-child"
STAND_IN = (
    f"<style>{_CHILD}:not(:has(.jp-OutputArea-output > *))"
    f":has(+ {_CHILD} .ipycron-static){{display:none}}</style>"
)
"""Hides the line that JupyterLab shows in place of a lost view ("model not found").
While the view exists, its own style sheet hides the copy."""
_IDLE = 3600.0


class StaticCopy:
    """The static copy of a view in a notebook: a separate, updated output. A `View`.

    Args:
        view: the live view; None where widgets are not installed.
        write: returns the copy as it is now, as a mimebundle.
    """

    outlives_process = True

    def __init__(self, view: Any, write: Callable[[], dict[str, Any]]) -> None:
        self._view = view
        self._write = write
        self._display_id = uuid.uuid4().hex
        self._lock = threading.RLock()
        self._is_watched = False
        self._is_stale = False
        self._shown: object = None
        self._shown_at = 0.0
        if view is not None:
            view.on_msg(self._handle_browser)

    # --- what it is a copy of: overridden by subclasses ----------------------------

    def _is_shown(self, task_id: str) -> bool:
        return bool(self._view.is_shown(task_id))

    def _find_tasks(self) -> list[Task]:
        return list(self._view.find_tasks())

    def _is_over(self) -> bool:
        """Return whether nothing will change again."""
        return self._view.comm is None

    # --- from any thread ----------------------------------------------------------

    def show(self) -> None:
        """Display the view and the copy in the running cell; keep the copy fresh."""
        if self._view is not None:
            publish_view(self._view)
        self._publish(update=False)
        registry.get_single(Feed).attach(self)

    def mark_stale(self) -> None:
        """Have the copy updated soon."""
        self._is_stale = True
        registry.get_single(Feed).wake()

    def renew(self) -> None:
        """Update the copy now, if no browser shows the view."""
        if not self._is_watched:
            self._publish(update=True)

    def close(self) -> None:
        """Leave the output as it is. The view stays open: it may be shown elsewhere."""
        registry.get_single(Feed).detach(self)
        if self._view is not None:
            self._view.on_msg(self._handle_browser, remove=True)

    def _handle_browser(self, *_: object) -> None:
        self._is_watched = True

    def _publish(self, *, update: bool) -> None:
        with self._lock:
            self._is_stale = False
            self._shown_at = time.monotonic()
            self._shown = self._read_states()
            copy = self._write()
            publish_display_data(
                copy if self._view is None else stand_in(copy),
                transient={"display_id": self._display_id},
                update=update,
            )

    def _read_states(self) -> list[tuple[str, Pause | None, bool]]:
        """Return the states that a copy must not show wrongly for long."""
        return [
            (format_status(t), get_record(t).pause, bool(t.history))
            for t in self._find_tasks()
        ]

    def _is_wrong(self) -> bool:
        """Return whether the copy is out of date and no run is about to change it."""
        is_busy = any(task.is_busy for task in self._find_tasks())
        return not is_busy and self._shown != self._read_states()

    # --- on the feed's thread ---------------------------------------------------------

    def note(self, task_ids: set[str]) -> None:
        """Update the copy soon if one of its tasks has changed; see `View`."""
        if any(self._is_shown(task_id) for task_id in task_ids):
            self._is_stale = True

    def push(self, now: float) -> float:
        """Update the copy if that is due; see `View`."""
        is_over = self._is_over()
        if is_over:
            self.close()
        if not self._is_stale:
            return now + _IDLE
        # A run that has ended must not be saved as one in progress.
        is_rare = self._is_watched and not self._is_wrong()
        due = self._shown_at + (RENEW_WATCHED if is_rare else RENEW_EVERY)
        if is_over or now >= due:
            self._publish(update=True)
        return due


class Page(StaticCopy):
    """The output of one task: its card and the copy."""

    def __init__(self, task: Task, interpretation: Interpretation) -> None:
        self.task = task
        self._interpretation = interpretation
        self._trouble: str | None = None
        card = make_card(task)
        if card is not None:
            card.show_declaration(interpretation)
        super().__init__(card, self._describe)

    def _describe(self) -> dict[str, Any]:
        return describe_task(
            self.task, trouble=self._trouble, interpretation=self._interpretation
        )

    def _is_shown(self, task_id: str) -> bool:
        return task_id == self.task.id

    def _find_tasks(self) -> list[Task]:
        return [self.task]

    def _is_over(self) -> bool:
        return self.task.status == "destroyed" and not self.task.is_busy

    def show_trouble(self, text: str) -> None:
        """Show why the task did not start."""
        self._trouble = text
        self.mark_stale()


def show_view(view: Any, write: Callable[[], dict[str, Any]]) -> None:
    """Display a view and, in the next output, its copy, from now on.

    At a terminal's prompt, only the copy, once: the view has no text form.
    """
    if get_kernel() is None:
        publish_display_data(stand_in(write()))
    else:
        StaticCopy(view, write).show()


def get_kernel() -> Any:
    """Return the kernel of the notebook; None at a terminal's prompt."""
    return getattr(get_ipython(), "kernel", None)


def publish_view(view: Any) -> None:
    """Display a view without its static forms."""
    view.open()
    bundle = view._repr_mimebundle_() or {}
    data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
    live = {WIDGET_VIEW: data[WIDGET_VIEW], "text/plain": ""}
    publish_display_data(live, metadata)


def stand_in(copy: dict[str, Any]) -> dict[str, Any]:
    """Return a copy that is visible only if the view before it is not."""
    html = f'{STAND_IN}<div class="ipycron-static">{copy["text/html"]}</div>'
    return {**copy, "text/html": html}


def make_card(task: Task) -> Any:
    """Return the live card of a task; None if widgets are not installed."""
    try:
        from ipycron.notebook.widgets import card  # noqa: PLC0415 - anywidget, 260 ms
    except ImportError:
        return None
    return card.make_card(task)


def make_leftovers(leftovers: Mapping[Task, str]) -> Any:
    """Return the view of leftover tasks; None if widgets are not installed."""
    try:
        from ipycron.notebook.widgets import leftovers as module  # noqa: PLC0415 - as above
    except ImportError:
        return None
    return module.Leftovers(leftovers)


class PageDisplay:
    """The display of a kernel; see `TaskDisplay`."""

    def __init__(self) -> None:
        self._pages: list[Page] = []
        self._fresh: list[Page] = []
        self._by_cell: dict[Hashable, list[Page]] = {}
        self._leftovers: dict[Hashable, Any] = {}

    def show(self, task: Task, interpretation: Interpretation) -> None:
        """Show a task in the running cell's output, with how it was understood."""
        page = Page(task, interpretation)
        page.show()
        self._pages = [p for p in self._pages if p.task.status != "destroyed"]
        self._pages.append(page)
        self._fresh.append(page)

    def leave(self, cell: Hashable) -> None:
        """Release what a cell showed when it last ran: that output is gone."""
        former = self._by_cell.pop(cell, [])
        for page in former:
            page.close()
        self._pages = [page for page in self._pages if page not in former]
        if self._fresh:
            self._by_cell[cell], self._fresh = self._fresh, []

    def show_leftovers(self, cell: Hashable, leftovers: Mapping[Task, str]) -> None:
        """Show them with a button to end each; as text if there are no widgets."""
        view = make_leftovers(leftovers)
        if view is None:
            print(format_leftovers(leftovers))  # noqa: T201 - the front end shows it
            return
        show_view(view, partial(describe_leftovers, leftovers))
        former, self._leftovers[cell] = self._leftovers.pop(cell, None), view
        if former is not None:
            former.close()

    def has(self, name: str) -> bool:
        """Return whether a task of this name is shown."""
        return any(page.task.name == name for page in self._pages)

    def prints(self, task: Task) -> bool:  # noqa: ARG002 - see `TaskDisplay`
        """Return False: a page shows it elsewhere."""
        return False

    def show_trouble(self, task: Task, text: str) -> None:
        """Show why a task did not start."""
        for page in self._pages:
            if page.task is task:
                page.show_trouble(text)

    def flush(self) -> None:
        """Show everything as it is now."""
        for page in self._pages:
            page.renew()

    def close(self) -> None:
        """Show everything for the last time."""
        self.flush()
        for page in self._pages:
            page.close()
        self._pages = []
