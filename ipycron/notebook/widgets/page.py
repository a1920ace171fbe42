"""Tasks on the page of a notebook: a view, and its static copy in the next output.

Nobody says whether a front end has widgets: nbclient and papermill take the outputs
as they are. So the copy is kept fresh until a browser answers through the card; from
then on it is renewed for the saved notebook, less often. It is an output of its own
because JupyterLab shows nothing else of an output whose widget is gone, and draws a
card anew when its output changes. Style sheets show one of the two at a time.
"""

# mypy: disable-error-code="no-untyped-call"
# Most of IPython's methods have no annotations.

from __future__ import annotations

import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

from IPython import get_ipython
from IPython.display import publish_display_data

from ipycron.client.registry import registry
from ipycron.notebook.display.feed import Feed
from ipycron.notebook.display.static import describe_task
from ipycron.process.shell.displays import WIDGET_VIEW

if TYPE_CHECKING:
    from collections.abc import Hashable

    from ipycron.api.task import Task

RENEW_EVERY = 1.0
"""Seconds between two copies, at least, where nobody looks at the card."""
RENEW_WATCHED = 5.0
"""The same where a browser shows the card."""
_CHILD = ".jp-OutputArea-child"
STAND_IN = (
    f"<style>{_CHILD}:not(:has(.jp-OutputArea-output > *))"
    f":has(+ {_CHILD} .ipycron-static){{display:none}}</style>"
)
"""Hides the line that JupyterLab shows where a view was ("model not found"). While
the view is there, its own style sheet hides the copy."""
_IDLE = 3600.0


class Page:
    """The output of one task: a `View` of the feed."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self._trouble: str | None = None
        self._display_id = uuid.uuid4().hex
        self._lock = threading.Lock()
        self._card = make_card(task)
        self._is_watched = False
        self._is_stale = False
        self._shown_at = 0.0
        if self._card is not None:
            self._card.on_msg(self._see_browser)

    def show(self) -> None:
        """Display the task in the running cell's output, and keep it fresh."""
        if self._card is not None:
            publish_view(self._card)
        self._publish(update=False)
        registry.get_single(Feed).attach(self)

    def tell_trouble(self, text: str) -> None:
        """Show what kept the task from starting."""
        self._trouble = text
        self._is_stale = True
        registry.get_single(Feed).wake()

    def renew(self) -> None:
        """Show the task as it is now, if nobody sees the card."""
        if not self._is_watched:
            self._publish(update=True)

    def close(self) -> None:
        """Leave the output as it is. The card lives on: others may show it."""
        registry.get_single(Feed).detach(self)
        if self._card is not None:
            self._card.on_msg(self._see_browser, remove=True)

    def _see_browser(self, *_: object) -> None:
        self._is_watched = True

    def _publish(self, *, update: bool) -> None:
        with self._lock:
            self._is_stale = False
            self._shown_at = time.monotonic()
            copy = describe_task(self.task, trouble=self._trouble)
            publish_display_data(
                copy if self._card is None else stand_in(copy),
                transient={"display_id": self._display_id},
                update=update,
            )

    # --- on the feed's thread ---------------------------------------------------------

    def note(self, task_ids: set[str]) -> None:
        """Renew the copy soon if this task has changed; see `View`."""
        if self.task.id in task_ids:
            self._is_stale = True

    def push(self, now: float) -> float:
        """Renew the copy if that is due; see `View`."""
        is_over = self.task.status == "destroyed"
        if is_over:
            self.close()
        pause = RENEW_WATCHED if self._is_watched else RENEW_EVERY
        due = self._shown_at + pause
        if not self._is_stale:
            return now + _IDLE
        if is_over or now >= due:
            self._publish(update=True)
        return due


def show_view(view: Any, copy: dict[str, Any]) -> None:
    """Display a view, and in the next output its copy as it is now.

    At a terminal's prompt the copy alone: the view has no text of its own.
    """
    if getattr(get_ipython(), "kernel", None) is not None:
        publish_view(view)
    publish_display_data(stand_in(copy))


def publish_view(view: Any) -> None:
    """Display a view without its static forms."""
    view.open()
    bundle = view._repr_mimebundle_() or {}
    data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
    live = {WIDGET_VIEW: data[WIDGET_VIEW], "text/plain": ""}
    publish_display_data(live, metadata)


def stand_in(copy: dict[str, Any]) -> dict[str, Any]:
    """Return a copy that is seen only where the view before it is not."""
    html = f'{STAND_IN}<div class="ipycron-static">{copy["text/html"]}</div>'
    return {**copy, "text/html": html}


def make_card(task: Task) -> Any:
    """Return the live card of a task; None where widgets are not installed."""
    try:
        from ipycron.notebook.widgets import card  # noqa: PLC0415 - anywidget, 260 ms
    except ImportError:
        return None
    return card.make_card(task)


class PageDisplay:
    """The stage of a kernel; see `TaskDisplay`."""

    def __init__(self) -> None:
        self._pages: list[Page] = []
        self._fresh: list[Page] = []
        self._by_cell: dict[Hashable, list[Page]] = {}

    def show(self, task: Task) -> None:
        """Show a task in the running cell's output."""
        page = Page(task)
        page.show()
        self._pages = [p for p in self._pages if p.task.status != "destroyed"]
        self._pages.append(page)
        self._fresh.append(page)

    def leave(self, cell: Hashable) -> None:
        """Give up what a cell showed when it ran before: that output is gone."""
        former = self._by_cell.pop(cell, [])
        for page in former:
            page.close()
        self._pages = [page for page in self._pages if page not in former]
        if self._fresh:
            self._by_cell[cell], self._fresh = self._fresh, []

    def has(self, name: str) -> bool:
        """Return whether a task of this name is shown."""
        return any(page.task.name == name for page in self._pages)

    def prints(self, task: Task) -> bool:  # noqa: ARG002 - see `TaskDisplay`
        """Return False: a page shows it elsewhere."""
        return False

    def tell_trouble(self, task: Task, text: str) -> None:
        """Show what kept a task from starting."""
        for page in self._pages:
            if page.task is task:
                page.tell_trouble(text)

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
