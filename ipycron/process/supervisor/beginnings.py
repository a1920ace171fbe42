"""Notes which slots begin, for a client whose tasks outlive it and this process."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from ipycron.process.refusal import describe
from ipycron.runlog.begun import Begun, BegunNotes
from ipycron.scheduling.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ipycron.scheduling.events import ScheduledExecution


class NotedBeginnings:
    """See `Beginnings`; nothing is noted before the client says where.

    A slot also begins if that cannot be noted: the user is warned.

    Args:
        get_name: returns the name of a task, by its id; None if there is none.
        warn: called with a line for the user.
    """

    def __init__(
        self, get_name: Callable[[str], str | None], warn: Callable[[str], None]
    ) -> None:
        self._get_name = get_name
        self._warn = warn
        self._clock = SystemClock()
        self._notes: BegunNotes | None = None
        self._is_refused = False

    def use(self, path: Path) -> None:
        """Note them in this file from now on."""
        if self._notes is not None:
            self._notes.close()
        self._notes = BegunNotes(path)
        # The supervisor before this one may have been lost with a wrong clock.
        with contextlib.suppress(OSError):  # the next note warns
            self._notes.correct_if_ahead(self._clock.now())

    def handle_set_back(self) -> None:
        """Void what was noted while the clock was ahead: it was corrected (C3)."""
        if self._notes is not None:
            with contextlib.suppress(OSError):  # as above
                self._notes.correct(self._clock.now())

    def add(self, task_id: str, run: ScheduledExecution) -> None:
        """Note that a slot is about to begin; see `Beginnings`."""
        self._note(task_id, run)

    def withdraw(self, task_id: str, run: ScheduledExecution) -> None:
        """Note that a slot does not begin after all; see `Beginnings`."""
        self._note(task_id, run, is_withdrawn=True)

    def _note(
        self, task_id: str, run: ScheduledExecution, *, is_withdrawn: bool = False
    ) -> None:
        name = self._get_name(task_id)
        if self._notes is None or name is None:
            return
        now = self._clock.now()
        try:
            self._notes.add(
                Begun(name, run.date, run.id, run.reason, now, is_withdrawn)
            )
        except OSError as error:
            if not self._is_refused:
                self._warn(
                    f"slots that begin cannot be noted ({describe(error)}): one that "
                    "begins just before the service is killed may run again"
                )
            self._is_refused = True
        else:
            self._is_refused = False
