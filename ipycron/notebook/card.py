"""The card: one task under the cell that declares it, live."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipycron.notebook.live import LiveView

if TYPE_CHECKING:
    from ipycron.task.task import Task


class Card(LiveView):
    """One task, its next run, and the output of its runs as it grows."""

    def __init__(self, task: Task) -> None:
        self.task = task
        super().__init__(kind="card")

    def find_tasks(self) -> list[Task]:
        """Return the one task; see `LiveView`."""
        return [self.task]

    def find_task(self, task_id: str) -> Task | None:
        """Return the task if it is this one; see `LiveView`."""
        return self.task if task_id == self.task.id else None

    def is_shown(self, task_id: str) -> bool:
        """Return whether it is this task."""
        return task_id == self.task.id

    def find_opened(self) -> tuple[Task | None, str | None]:
        """Return the task, and the run that was chosen from its history."""
        run = self.ui.get("run")
        return self.task, str(run) if run else None


def make_card(task: Task) -> Card:
    """Return the card of a task."""
    return Card(task)
