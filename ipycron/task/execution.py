"""One run, as the user sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipycron.process.outcome import (
    decode_error,
    decode_result,
    read_traceback,
)
from ipycron.process.payload import Payload
from ipycron.scheduling.context import to_datetime
from ipycron.task.output import Output

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, tzinfo

    from ipycron.scheduling.events import Execution as ScheduledExecution
    from ipycron.scheduling.events import Outcome, Reason


class Execution:
    """One run of a task. Filled in while it happens; its end changes it last.

    Attributes:
        id: unique among all runs.
        reason: ``"scheduled"`` or ``"invoked"``.
        date: the slot, or the call time of a manual run.
        started_at: when the job's code was started; None before.
        finished_at: when it ended; None before.
        pid: the worker's process; None for inline tasks.
        is_ok: whether it returned; None before its end.
        summary: its result or error in one short line; empty before its end.
        output: what it printed and displayed.
    """

    def __init__(self, scheduled: ScheduledExecution, zone: tzinfo) -> None:
        self._zone = zone
        self.id = scheduled.id
        self.reason: Reason = scheduled.reason
        self.date: datetime = to_datetime(scheduled.date, zone)
        self.started_at: datetime | None = None
        self.finished_at: datetime | None = None
        self.pid: int | None = None
        self.is_ok: bool | None = None
        self.summary = ""
        self.output = Output()
        self._read: Callable[[], Any] | None = None
        self._update(scheduled)

    def _update(self, scheduled: ScheduledExecution) -> None:
        if scheduled.started_at is not None:
            self.started_at = to_datetime(scheduled.started_at, self._zone)
        if scheduled.finished_at is not None:
            self.finished_at = to_datetime(scheduled.finished_at, self._zone)
        self.pid = scheduled.pid

    def finish(self, scheduled: ScheduledExecution, outcome: Outcome) -> None:
        """Take over how the run ended."""
        self._update(scheduled)
        self.summary = outcome.summary
        self._read = make_reader(outcome)
        self.is_ok = outcome.is_ok

    @property
    def duration(self) -> float | None:
        """Seconds from start to end, None before the end."""
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()

    @property
    def result(self) -> Any:
        """What the job returned; None before its end and after a failure."""
        return self._read() if self.is_ok and self._read is not None else None

    @property
    def error(self) -> BaseException | None:
        """What the job raised; None before its end and after a success."""
        if self.is_ok is not False or self._read is None:
            return None
        error: BaseException = self._read()
        return error

    @property
    def traceback_text(self) -> str | None:
        """The traceback of `error` where it was raised, or None."""
        error = self.error
        return None if error is None else read_traceback(error)

    def read(self) -> Any:
        """Return the result or raise the error: how a completion ends."""
        error = self.error
        if error is not None:
            raise error
        return self.result

    def __repr__(self) -> str:
        if self.is_ok is None:
            state = "running" if self.started_at is not None else "pending"
        else:
            state = f"{'finished' if self.is_ok else 'failed'} {self.summary}"
        took = "" if self.duration is None else f" in {self.duration:.3f} s"
        return f"<Execution {self.date.isoformat(' ', 'seconds')} {state}{took}>"


def make_reader(outcome: Outcome) -> Callable[[], Any]:
    """Return a function that decodes an outcome's value once, when first asked."""
    value = outcome.value
    if not isinstance(value, Payload):
        return lambda: value
    decode = decode_result if outcome.is_ok else decode_error
    decoded: list[Any] = []

    def read() -> Any:
        if not decoded:
            decoded.append(decode(value))
            value.close()
        return decoded[0]

    return read
