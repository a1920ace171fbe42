"""Records the notices of a scheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipycron.scheduling.events import Event, Notice


class RecordedEvents:
    """A receiver of notices that keeps all of them, oldest first."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []

    def __call__(self, notice: Notice) -> None:
        """Keep a notice."""
        self.notices.append(notice)

    def names(self, task_id: str | None = None) -> list[str]:
        """Return the names of the events, of one task or of all."""
        return [
            str(notice.event)
            for notice in self.notices
            if task_id is None or notice.task_id == task_id
        ]

    def of(self, *events: Event | str) -> list[Notice]:
        """Return the notices of some events."""
        return [notice for notice in self.notices if notice.event in events]

    def clear(self) -> None:
        """Forget everything so far."""
        self.notices.clear()
