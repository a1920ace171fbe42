"""What one view shows of the history's file, read on a thread of its own.

The file may be slow (a network, a lock) or large, and neither the kernel's messages nor
the other views wait for it: a view asks, and is answered in another thread.
"""

from __future__ import annotations

import logging
import threading
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from ipycron.client.executions import read_slots
from ipycron.client.registry import registry
from ipycron.errors import HistoryError
from ipycron.notebook.display.words import clean, one_line
from ipycron.notebook.widgets.filed import (
    FiledRun,
    Page,
    file_slot,
    has_past,
    read_marks,
    read_older,
    read_place,
    read_run,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from ipycron.api.task import Task
    from ipycron.notebook.widgets.model import Mark

    T = TypeVar("T")

MAX_NOTE = 1000
"""Characters of the reason why something cannot be read."""
GONE = "This run is not in the history any more."


class PastReader:
    """Answers questions to the file, one after the other, each by the newest asked.

    Its thread ends when there is none left.
    """

    def __init__(self) -> None:
        # Reentrant: a signal handler or a finalizer may ask, too.
        self._lock = threading.RLock()
        self._questions: dict[object, Callable[[], None]] = {}
        self._is_running = False

    def ask(
        self,
        key: object,
        question: Callable[[], T],
        answer: Callable[[T | HistoryError], None],
    ) -> None:
        """Call `question` soon, in another thread, and `answer` with what it returns.

        A question with the same key that has not been asked yet is given up.
        """

        def put() -> None:
            try:
                found: T | HistoryError = question()
            except HistoryError as error:
                found = error
            answer(found)

        with self._lock:
            self._questions.pop(key, None)
            self._questions[key] = put
            if self._is_running:
                return
            self._is_running = True
        thread = threading.Thread(target=self._run, name="ipycron-past", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more threads; the next question tries again
            self._is_running = False

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._questions:
                    self._is_running = False
                    return
                put = self._questions.pop(next(iter(self._questions)))
            try:
                put()
            except Exception:
                logging.getLogger("ipycron").exception("the history was not shown")


class Past:
    """The part of one view that comes from the file. Thread-safe; nothing here blocks.

    Args:
        send: called with a message for the page, from any thread.
        change: called with the ids of tasks of which more is known now.
    """

    def __init__(
        self,
        send: Callable[[dict[str, Any]], None],
        change: Callable[[set[str]], None],
    ) -> None:
        self._send = send
        self._change = change
        self._reader = registry.get_single(PastReader)
        self._marks: dict[str, tuple[Mark, ...]] = {}
        # Of the run that was asked for last: its id, whether it is known if it is in
        # the file, and what is there.
        self._chosen: tuple[str | None, bool, FiledRun | None] = (None, False, None)

    def get_marks(self, task_id: str) -> tuple[Mark, ...]:
        """Return the marks of a task that the file had when the task was first seen."""
        return self._marks.get(task_id, ())

    def ask_marks(self, tasks: Iterable[Task]) -> None:
        """Ask once for the marks of each task that earlier processes may have had."""
        new = [t for t in tasks if t.id not in self._marks and has_past(t)]
        if new:
            names = {task.id: task.name for task in new}
            self._marks |= dict.fromkeys(names, ())
            self._reader.ask(object(), partial(read_marks, names), self._take_marks)

    def _take_marks(self, found: dict[str, tuple[Mark, ...]] | HistoryError) -> None:
        # Why the file cannot be read is said where older runs are asked for.
        if not isinstance(found, HistoryError):
            self._marks |= {k: v for k, v in found.items() if k in self._marks}
            self._change(set(found))

    def forget(self, task_ids: Iterable[str]) -> None:
        """Forget tasks that are gone."""
        for task_id in task_ids:
            self._marks.pop(task_id, None)

    def find_run(self, task: Task, run_id: str) -> tuple[bool, FiledRun | None]:
        """Return a run of a task from the file, or ask for it; see `Pane`."""
        slots = read_slots(task.history)
        slot = next((slot for slot in slots if slot.id == run_id), None)
        if slot is not None:
            return True, file_slot(slot)
        chosen, is_known, run = self._chosen
        if chosen == run_id:
            return is_known, run
        self._chosen = run_id, False, None
        take = partial(self._take_run, task, run_id)
        self._reader.ask((self, "run"), partial(read_run, task, run_id), take)
        return False, None

    def _take_run(
        self, task: Task, run_id: str, found: FiledRun | HistoryError | None
    ) -> None:
        if isinstance(found, FiledRun):
            self._chosen = run_id, True, found
        else:
            self._chosen = run_id, True, None
            # One in memory is shown as far as it is known.
            if task.history.find(run_id) is None:
                text = GONE if found is None else explain_trouble(found)
                self._send({"type": "note", "task": task.id, "text": text})
        self._change({task.id})

    def ask_older(self, command_id: Any, task: Task, before: Any) -> None:
        """Send a page of older runs when it is read.

        Args:
            command_id: of the page's command, which ends then.
            task: the task.
            before: `next` of the page before; None for the first one.
        """
        take = partial(self._take_older, command_id, task.id)
        question = partial(read_older, task, read_place(before))
        self._reader.ask((self, "older"), question, take)

    def _take_older(
        self, command_id: Any, task_id: str, found: Page | HistoryError
    ) -> None:
        if isinstance(found, HistoryError):
            found = Page([], None, explain_trouble(found))
        self._send({"type": "older", "task": task_id, **found._asdict()})
        self._send({"type": "done", "id": command_id, "error": None})
        self._change({task_id})


def explain_trouble(error: HistoryError) -> str:
    """Return in one line why the history cannot be read."""
    return clean(one_line(error), MAX_NOTE)
