"""The slots that one task has to catch up on, run one after another (C1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from ipycron.scheduling.events import ScheduledExecution
from ipycron.scheduling.plan import is_within
from ipycron.scheduling.policy import NO_CATCH_UP
from ipycron.scheduling.state import Phase, RunStage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ipycron.scheduling.admission import Admission
    from ipycron.scheduling.policy import CatchUp
    from ipycron.scheduling.services import Services
    from ipycron.scheduling.state import Run, TaskState


class _Owed(msgspec.Struct, order=True):
    """A slot that waits for its turn; `run_id` is None if nobody knows of it yet."""

    slot: int
    run_id: str | None = None


class Backlog:
    """Runs owed slots in turn, oldest first, beside the schedule.

    The next one begins when the one before has ended. Unless runs may overlap it also
    waits for all others: skipping it would lose it, and the slots behind it. A slot
    that has left the window when its turn comes is missed.
    """

    __slots__ = (
        "_admission",
        "_catch_up",
        "_is_serving",
        "_owed",
        "_run",
        "_services",
        "_state",
    )

    def __init__(
        self, state: TaskState, services: Services, *, admission: Admission
    ) -> None:
        self._state = state
        self._services = services
        self._admission = admission
        self._owed: list[_Owed] = []
        self._catch_up = NO_CATCH_UP
        self._run: Run | None = None
        self._is_serving = False

    def __len__(self) -> int:
        return len(self._owed)

    def add(
        self, slots: Iterable[int], catch_up: CatchUp, *, run_id: str | None = None
    ) -> None:
        """Add slots; in the mode ``"latest"`` the newest supersedes the others.

        Args:
            slots: in Unix seconds.
            catch_up: decides about all slots of the backlog from now on.
            run_id: the id of the pending run of a slot that waited too long.
        """
        self._take([_Owed(slot, run_id) for slot in slots], catch_up)

    def _take(self, owed: list[_Owed], catch_up: CatchUp) -> None:
        self._catch_up = catch_up
        self._owed += owed
        self._owed.sort()
        if catch_up.mode == "latest":
            superseded, self._owed = self._owed[:-1], self._owed[-1:]
            self._report(superseded)

    def add_skipped(
        self, slots: Iterable[int], catch_up: CatchUp, *, before: int | None
    ) -> None:
        """Add slots that a pause has skipped; see `add` and `Pending`.

        Each of them is noted before anything becomes of it: it has a row already.
        """
        owed = [_Owed(slot, self._services.new_id()) for slot in slots]
        for each in owed:
            self._state.note_execution(_describe(each), was_skipped=True, before=before)
        self._take(owed, catch_up)

    def serve(self) -> None:
        """Begin the next slot's run, unless one must be waited for."""
        if self._is_serving:  # a run that ended at once: the loop below continues
            return
        self._is_serving = True
        try:
            while self._owed and self._is_free():
                self._begin(self._owed.pop(0))
        finally:
            self._is_serving = False
        self.note_all()

    def note_all(self) -> None:
        """Note for the history that the slots wait, unless it knows."""
        for owed in self._owed:
            if owed.run_id is None:
                owed.run_id = self._services.new_id()
                self._note(owed)

    def _is_free(self) -> bool:
        state = self._state
        if state.phase is not Phase.STARTED or self._admission.is_limit_reserved:
            return False
        if self._run is not None and self._run.stage is not RunStage.OVER:
            return False
        return state.busy_run is None or state.policy.overlap_mode == "allow"

    def _begin(self, owed: _Owed) -> None:
        window = self._catch_up.window
        if is_within(self._services.clock.now() - owed.slot, window):
            self._run = self._admission.catch_up(owed.slot, window, owed.run_id)
        else:
            self._report([owed])

    def cancel(self) -> None:
        """Report the slots whose turn has not come as missed."""
        owed, self._owed = self._owed, []
        self._report(owed)

    def forget_after(self, instant: float) -> None:
        """Forget the slots that are still to come: the clock was set back (C3)."""
        for owed in self._owed:
            if owed.slot > instant and owed.run_id is not None:
                self._note(owed, is_dropped=True)
        self._owed = [owed for owed in self._owed if owed.slot <= instant]

    def _report(self, missed: list[_Owed]) -> None:
        for owed in missed:
            self._state.emit_missed(owed.slot, run_id=owed.run_id)

    def _note(self, owed: _Owed, *, is_dropped: bool = False) -> None:
        """Note for the history that a slot waits, or waits no more."""
        self._state.note_execution(_describe(owed), is_dropped=is_dropped)


def _describe(owed: _Owed) -> ScheduledExecution:
    return ScheduledExecution(id=owed.run_id or "", reason="catch_up", date=owed.slot)
