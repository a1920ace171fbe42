"""Handles the commands of a view's buttons.

Every command has an id. It is acknowledged at once (``ack``); its outcome follows when
it is known (``done``). In between, the page shows that it is waiting.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ipycron.errors import OverlapError, QueueFull, TaskDestroyed, TaskNotStarted
from ipycron.notebook.display.words import clean, format_error
from ipycron.notebook.widgets.model import MAX_SUMMARY

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipycron.api.task import Task
    from ipycron.client.completion import Completion

_REFUSALS = (OverlapError, QueueFull, TaskDestroyed, TaskNotStarted)


class Clicks:
    """Carries out the commands of one view. Thread-safe; nothing here blocks.

    Args:
        find_task: returns a task of the view, or None.
        answer: called with a message for the page.
    """

    def __init__(
        self,
        find_task: Callable[[str], Task | None],
        answer: Callable[[dict[str, Any]], None],
    ) -> None:
        self._find_task = find_task
        self._answer = answer

    def handle(self, command_id: Any, name: str, task_id: str) -> None:
        """Start, stop, pause, resume, run or destroy a task.

        "stop-now" does not wait for a run.
        """
        task = self._find_task(task_id)
        if task is None:
            self._end(command_id, "this task is gone")
            return
        actions: dict[str, Callable[[], Completion[Any]]] = {
            "start": task.start,
            "stop": task.stop,
            "stop-now": partial(task.stop, force=True),
            "pause": task.pause,
            "resume": task.resume,
            "run": task.execute,
            "destroy": task.destroy,
        }
        if name not in actions:
            self._end(command_id, f"{name!r} is not a command")
            return
        handle_end = partial(self._handle_end, command_id, name)
        actions[name]().add_done_callback(handle_end)

    def _handle_end(
        self, command_id: Any, name: str, completion: Completion[Any]
    ) -> None:
        # This marks the error as retrieved: it is shown and need not be logged.
        error = completion.exception()
        # The failure of a run is shown with the run.
        if error is None or (name == "run" and not isinstance(error, _REFUSALS)):
            self._end(command_id, None)
        else:
            self._end(command_id, format_error(error))

    def _end(self, command_id: Any, error: str | None) -> None:
        text = None if error is None else clean(error, MAX_SUMMARY)
        self._answer({"type": "done", "id": command_id, "error": text})
