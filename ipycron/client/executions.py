"""One run, as the user sees it."""

from __future__ import annotations

from _thread import RLock  # of C: `threading.RLock` is a call to it
from typing import TYPE_CHECKING, Any

from ipycron.client.output import Output
from ipycron.process.wire.outcome import (
    decode_error,
    decode_result,
    read_traceback,
)
from ipycron.process.wire.payload import Payload
from ipycron.scheduling.context import to_datetime

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


def read_instants(run: RunFacts) -> tuple[float, float | None, float | None]:
    """Return a run's date, start and end in Unix seconds, as they are at one moment.

    Quick: many are asked for at once, while the run may go on.
    """
    scheduled = run._scheduled  # noqa: SLF001 - for the values, no dates
    return scheduled.date, scheduled.started_at, scheduled.finished_at


class Execution(RunFacts):
    """One run of a task. Filled in while it happens; its end changes it last.

    Attributes:
        is_ok: whether it returned; None before its end.
        summary: its result or error in one short line; empty before its end.
        output: what it printed and displayed.
    """

    __slots__ = (
        "__weakref__",
        "_scheduled",
        "_value",
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
        self._value: Any = None

    def finish(self, scheduled: ScheduledExecution, outcome: Outcome) -> None:
        """Take over how the run ended."""
        self._scheduled = scheduled
        self.summary = outcome.summary
        self._value = hold_value(outcome)
        self.is_ok = outcome.is_ok

    @property
    def result(self) -> Any:
        """What the job returned; None before its end and after a failure."""
        return read_value(self._value) if self.is_ok else None

    @property
    def error(self) -> BaseException | None:
        """What the job raised; None before its end and after a success."""
        if self.is_ok is not False:
            return None
        error: BaseException = read_value(self._value)
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


class Encoded:
    """A value as it came from another process; decoded once, when first asked for.

    Safe in threads: a listener and whoever waits for the run may ask at once.
    """

    __slots__ = ("_decode", "_is_decoded", "_lock", "_value")

    def __init__(self, value: Payload, decode: Callable[[Payload], Any]) -> None:
        self._value: Any = value
        self._decode = decode
        self._is_decoded = False
        # Decoding runs the user's code, which may ask as well.
        self._lock = RLock()

    def read(self) -> Any:
        """Return the value."""
        with self._lock:
            if not self._is_decoded:
                payload, self._value = self._value, self._decode(self._value)
                self._is_decoded = True
                payload.close()
            return self._value


def hold_value(outcome: Outcome) -> Any:
    """Return an outcome's value, for `read_value`: as it is, or not decoded yet."""
    value = outcome.value
    if isinstance(value, Payload):
        return Encoded(value, decode_result if outcome.is_ok else decode_error)
    return value


def hold_result(payload: Payload) -> Encoded:
    """Return a result as it came; who asks for it gets the same object each time."""
    return Encoded(payload, decode_result)


def read_value(held: Any) -> Any:
    """Return the result or the error that `hold_value` holds."""
    return held.read() if isinstance(held, Encoded) else held
