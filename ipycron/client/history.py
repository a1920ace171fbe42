"""What a task remembers of its runs: the last ones, and how many there were."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import msgspec

from ipycron.client.executions import RunFacts
from ipycron.process.wire.outcome import read_traceback
from ipycron.scheduling.events import Event

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo

    from ipycron.client.executions import Execution
    from ipycron.client.output import Output
    from ipycron.scheduling.events import Execution as ScheduledExecution
    from ipycron.scheduling.events import Notice, Outcome

MAX_RUNS = 20
"""Runs that are remembered."""
MAX_OUTPUT_BYTES = 4 * 1024 * 1024
"""Output that all remembered runs may keep; the last run's is always kept."""


class _Failure:
    """The error of a run, until its text is known.

    An error may hold the frames of a whole notebook: it is given up then.
    """

    __slots__ = ("_error", "_lock", "_text")

    def __init__(self, error: Any) -> None:
        self._error = error
        self._lock = threading.Lock()
        self._text: str | None = None

    def read(self) -> str | None:
        """Return the traceback's text."""
        with self._lock:
            if self._error is not None:
                self._text = read_traceback(self._error)
                self._error = None
            return self._text


class PastRun(RunFacts, msgspec.Struct, gc=False, eq=False):
    """A run that has ended, without its result. A struct: see `Output`.

    Attributes:
        is_ok: whether it returned.
        summary: its result or error in one short line.
        output: what it printed and displayed; late words are still added.
    """

    _scheduled: ScheduledExecution
    _zone: tzinfo
    is_ok: bool
    summary: str
    output: Output
    _failure: _Failure | None

    @classmethod
    def of(cls, execution: Execution, outcome: Outcome) -> PastRun:
        """Return what is remembered of an execution that has ended."""
        return cls(
            execution._scheduled,  # noqa: SLF001 - kin
            execution._zone,  # noqa: SLF001 - kin
            outcome.is_ok,
            outcome.summary,
            execution.output,
            None if outcome.is_ok else _Failure(outcome.value),
        )

    @property
    def traceback_text(self) -> str | None:
        """The traceback of a failure where it was raised; None after a success.

        The first to ask runs the exception's own code: not for the client's loop.
        """
        return None if self._failure is None else self._failure.read()

    def __repr__(self) -> str:
        state = "finished" if self.is_ok else "failed"
        return f"<PastRun {self.date.isoformat(' ', 'seconds')} {state} {self.summary}>"


class History:
    """The last runs of one task. Written on the client's loop, read anywhere.

    Attributes:
        finished: runs that returned, since the task was made.
        failed: runs that did not.
        missed: slots that nobody ran.
        skipped: slots left to another instance, or for want of an answer.
    """

    __slots__ = (
        "_runs",
        "failed",
        "finished",
        "missed",
        "skipped",
    )

    def __init__(self) -> None:
        # Replaced, never changed: whoever reads has a snapshot.
        self._runs: tuple[PastRun, ...] = ()
        self.finished = 0
        self.failed = 0
        self.missed = 0
        self.skipped = 0

    def add(self, execution: Execution, outcome: Outcome) -> PastRun:
        """Remember a run that has ended, and forget what is too much."""
        run = PastRun.of(execution, outcome)
        if run.is_ok:
            self.finished += 1
        else:
            self.failed += 1
        self._runs = (*self._runs[1 - MAX_RUNS :], run)
        self._trim()
        return run

    def count_finished(self, count: int) -> None:
        """Count runs that returned and are not remembered."""
        self.finished += count

    def _trim(self) -> None:
        """Forget the oldest runs where all together say too much."""
        # Only two can have said more since the last look: the newest run, and with its
        # late words the one before it.
        if not any(run.output.position for run in self._runs[-2:]):
            return
        size = 0
        for kept, past in enumerate(reversed(self._runs)):
            size += past.output.size
            if size > MAX_OUTPUT_BYTES and kept:
                self._runs = self._runs[-kept:]
                break

    def count(self, notice: Notice) -> None:
        """Count a slot that came to nothing."""
        if notice.event is Event.EXECUTION_MISSED:
            self.missed += notice.missed_count or 1
        elif notice.event is Event.EXECUTION_SKIPPED:
            self.skipped += 1

    def __iter__(self) -> Iterator[PastRun]:
        """Iterate over a snapshot, oldest first."""
        return iter(self._runs)

    def __len__(self) -> int:
        return len(self._runs)

    def __bool__(self) -> bool:
        return bool(self._runs)

    def __getitem__(self, index: int) -> PastRun:
        return self._runs[index]

    def find(self, run_id: str) -> PastRun | None:
        """Return the run of an id, None if it is not remembered."""
        return next((run for run in self if run.id == run_id), None)
