"""The card: one task under the cell that declares it, live."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import traitlets

from ipycron.client.registry import registry
from ipycron.notebook.widgets.live import LiveView

if TYPE_CHECKING:
    from ipycron.api.task import Task
    from ipycron.notebook.display.task_display import Interpretation

MAX_ENDED = 20
"""Cards of destroyed tasks that stay live; older ones are closed, and the notebook
shows their static copy."""
_REST = 3600.0


class Card(LiveView):
    """One task, its next run, and the output of its runs as it grows."""

    facts = traitlets.Dict().tag(sync=True)

    def __init__(self, task: Task) -> None:
        self.task = task
        super().__init__(kind="card")

    def show_declaration(self, interpretation: Interpretation) -> None:
        """Show what a declaration has captured, and its notes.

        If it kept the existing task, no variables are shown.
        """
        facts = dict(self.facts)
        if interpretation.variables or "variables" not in facts:
            facts["variables"] = [list(v) for v in interpretation.variables]
            facts["size"] = interpretation.size
        facts["notes"] = list(interpretation.notes)
        self.facts = facts

    def find_tasks(self) -> list[Task]:
        """Return the one task; see `LiveView`."""
        return [self.task]

    def find_task(self, task_id: str) -> Task | None:
        """Return the task if it is the card's; see `LiveView`."""
        return self.task if task_id == self.task.id else None

    def is_shown(self, task_id: str) -> bool:
        """Return whether it is the card's task."""
        return task_id == self.task.id

    def find_opened(self) -> tuple[Task | None, str | None]:
        """Return the task, and the run chosen from its history."""
        run = self.ui.get("run")
        return self.task, str(run) if run else None

    def push(self, now: float) -> float:
        """Send what is due; stop for good when the task is over and all is sent."""
        due = super().push(now)
        if self.is_over and not self.is_behind:
            self._feed.detach(self)
            return now + _REST
        return due

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen to the task."""
        return self.task.status == "destroyed" and not self.task.is_busy


class Cards:
    """The cards of tasks: one model each, however often it is shown."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._cards: dict[str, Card] = {}

    def get(self, task: Task) -> Card:
        """Return the card of a task, created at the first call."""
        with self._lock:
            card = self._cards.get(task.id)
            if card is None:
                card = self._cards[task.id] = Card(task)
                self._close_ended()
            return card

    def _close_ended(self) -> None:
        ended = [task_id for task_id, card in self._cards.items() if card.is_over]
        for task_id in ended[:-MAX_ENDED]:
            self._cards.pop(task_id).close()


def make_card(task: Task) -> Card:
    """Return the card of a task, to be displayed."""
    return registry.get_single(Cards).get(task)
