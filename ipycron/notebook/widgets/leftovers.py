"""Tasks that continue though no cell declares them: one line each, with a button."""

from __future__ import annotations

from typing import TYPE_CHECKING

import traitlets

from ipycron.notebook.widgets.live import LiveView

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipycron.api.task import Task


class Leftovers(LiveView):
    """Shows why tasks continue, with a button to end each.

    Args:
        leftovers: the note on each task, shown after its name.
    """

    has_strips = False
    reasons = traitlets.Dict().tag(sync=True)

    def __init__(self, leftovers: Mapping[Task, str]) -> None:
        self._tasks = {task.id: task for task in leftovers}
        reasons = {task.id: reason for task, reason in leftovers.items()}
        super().__init__(kind="leftovers", reasons=reasons)

    def find_tasks(self) -> list[Task]:
        """Return the tasks; see `LiveView`."""
        return list(self._tasks.values())

    def find_task(self, task_id: str) -> Task | None:
        """Return one of them; see `LiveView`."""
        return self._tasks.get(task_id)

    def is_shown(self, task_id: str) -> bool:
        """Return whether it is one of the tasks."""
        return task_id in self._tasks

    def find_opened(self) -> tuple[Task | None, str | None]:
        """Return nothing: no output is shown."""
        return None, None
