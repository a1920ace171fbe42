"""What the buttons of a view ask for, and what is answered.

Every command has an id. That it arrived is said at once (``ack``), what it came to
when it is known (``done``): between the two a page shows that it waits.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ipycron.errors import OverlapError, TaskDestroyed, TaskNotStarted
from ipycron.notebook.display.words import clean, say_error
from ipycron.notebook.widgets.model import MAX_SUMMARY

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipycron.api.task import Task
    from ipycron.client.completion import Completion

_REFUSALS = (OverlapError, TaskDestroyed, TaskNotStarted)


class Clicks:
    """Carries out the commands of one view. In any thread; nothing here waits.

    Args:
        find_task: returns a task of the view, or None.
        answer: takes a message for the page.
    """

    def __init__(
        self,
        find_task: Callable[[str], Task | None],
        answer: Callable[[dict[str, Any]], None],
    ) -> None:
        self._find_task = find_task
        self._answer = answer

    def take(self, command_id: Any, name: str, task_id: str) -> None:
        """Start, stop, run or destroy a task; "stop-now" waits for no run."""
        task = self._find_task(task_id)
        if task is None:
            self._end(command_id, "this task is gone")
            return
        actions: dict[str, Callable[[], Completion[Any]]] = {
            "start": task.start,
            "stop": task.stop,
            "stop-now": partial(task.stop, force=True),
            "run": task.execute,
            "destroy": task.destroy,
        }
        if name not in actions:
            self._end(command_id, f"{name!r} is not a command")
            return
        see_end = partial(self._see_end, command_id, name)
        actions[name]().add_done_callback(see_end)

    def _see_end(self, command_id: Any, name: str, completion: Completion[Any]) -> None:
        # Asking takes note of the error: it is shown, nobody needs to log it.
        error = completion.exception()
        # The failure of a run is shown with the run.
        if error is None or (name == "run" and not isinstance(error, _REFUSALS)):
            self._end(command_id, None)
        else:
            self._end(command_id, say_error(error))

    def _end(self, command_id: Any, error: str | None) -> None:
        text = None if error is None else clean(error, MAX_SUMMARY)
        self._answer({"type": "done", "id": command_id, "error": text})
