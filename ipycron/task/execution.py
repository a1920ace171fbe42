"""One run, as the user sees it."""

from __future__ import annotations

import threading
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


class RunFacts:
    """What the scheduler knows of a run, for people.

    Most runs are looked at by nobody: a date is made when somebody asks for it.
    """

    __slots__ = ()

    _scheduled: ScheduledExecution
    _zone: tzinfo

    @property
    def id(self) -> str:
        """Unique among all runs."""
        return self._scheduled.id

    @property
    def reason(self) -> Reason:
        """``"scheduled"`` or ``"invoked"``."""
        return self._scheduled.reason

    @property
    def pid(self) -> int | None:
        """The worker's process; None for inline tasks."""
        return self._scheduled.pid

    @property
    def date(self) -> datetime:
        """The slot, or the call time of a manual run."""
        return to_datetime(self._scheduled.date, self._zone)

    @property
    def started_at(self) -> datetime | None:
        """When the job's code was started; None before, or if it never was."""
        instant = self._scheduled.started_at
        return None if instant is None else to_datetime(instant, self._zone)

    @property
    def finished_at(self) -> datetime | None:
        """When it ended; None before."""
        instant = self._scheduled.finished_at
        return None if instant is None else to_datetime(instant, self._zone)

    @property
    def duration(self) -> float | None:
        """Seconds from start to end, None before the end."""
        begin, end = self.started_at, self.finished_at
        return None if begin is None or end is None else (end - begin).total_seconds()


class Execution(RunFacts):
    """One run of a task. Filled in while it happens; its end changes it last.

    Attributes:
        is_ok: whether it returned; None before its end.
        summary: its result or error in one short line; empty before its end.
        output: what it printed and displayed.
    """

    __slots__ = (
        "__weakref__",
        "_read",
        "_scheduled",
        "_zone",
        "is_ok",
        "output",
        "summary",
    )

    def __init__(self, scheduled: ScheduledExecution, zone: tzinfo) -> None:
        self._scheduled = scheduled
        self._zone = zone
        self.is_ok: bool | None = None
        self.summary = ""
        self.output = Output()
        self._read: Callable[[], Any] | None = None

    def finish(self, scheduled: ScheduledExecution, outcome: Outcome) -> None:
        """Take over how the run ended."""
        self._scheduled = scheduled
        self.summary = outcome.summary
        self._read = make_reader(outcome)
        self.is_ok = outcome.is_ok

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
    """Return a function that decodes an outcome's value once, when first asked.

    Safe in threads: a listener and whoever waits for the run may ask at once.
    """
    value = outcome.value
    if not isinstance(value, Payload):
        return lambda: value
    decode = decode_result if outcome.is_ok else decode_error
    decoded: list[Any] = []
    lock = threading.RLock()  # decoding runs the user's code, which may ask as well

    def read() -> Any:
        with lock:
            if not decoded:
                decoded.append(decode(value))
                value.close()
        return decoded[0]

    return read
