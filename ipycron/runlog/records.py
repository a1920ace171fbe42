"""The rows of the history as users see them, and how they are written as plain data."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import msgspec

from ipycron.scheduling.events import to_datetime

if TYPE_CHECKING:
    from ipycron.runlog.rows import RunOutcome

FIELDS = (
    "id",
    "task_name",
    "task_id",
    "origin",
    "kind",
    "pattern",
    "at",
    "slot",
    "trigger",
    "attempt",
    "attempts",
    "started_at",
    "finished_at",
    "duration",
    "outcome",
    "missed_count",
    "error_type",
    "error",
    "traceback",
    "exit_code",
    "signal",
    "pid",
    "host",
    "cpu_seconds",
    "peak_memory",
    "summary",
    "output",
    "output_left_out",
    "code_hash",
)
"""The attributes of a `RunRecord`: the keys of its JSON, the heads of its columns."""

INSTANTS = frozenset({"at", "slot", "started_at", "finished_at"})
"""Those that are instants."""

_OFFSET = re.compile(r"(?:UTC)?([+-])(\d\d):?(\d\d)(?::?(\d\d))?")
_WIDEST = 80  # characters of a text in a repr


class RunRecord(msgspec.Struct, frozen=True, gc=False):
    """One slot or call of a task, as the history has it. Immutable.

    Instants are in the task's time zone, or in UTC if this machine does not know that
    zone. Values of variables and of the environment are not stored.

    Attributes:
        id: unique among all runs.
        task_name: the task's name.
        task_id: the task's id in the process that declared it.
        origin: the notebook or script that declared it, as a path; None if unknown.
        kind: ``"cell"``, ``"function"``, ``"file"``, ``"script"`` or ``"notebook"``.
        pattern: the schedule's text.
        trigger: ``"scheduled"``, ``"invoked"``, ``"catch_up"`` or ``"backfill"``.
        outcome: what became of it; a `RunOutcome`, or the text that a newer version of
            ipycron has written.
        attempt: 1 for the first.
        attempts: how many there were at the end.
        missed_count: how many slots a missed one stands for.
        error_type: the class of the error.
        error: the first line of its text.
        traceback: the traceback of the error where it was raised.
        exit_code: of a worker that died.
        signal: of a worker that died, by name.
        pid: the process that ran it.
        host: the machine.
        cpu_seconds: of the worker and its children during the run.
        peak_memory: the worker's largest resident set, in bytes.
        summary: the result in one line; of a failure, why no further attempt followed.
        output: what it wrote: at most its first 16 KB and its last 48 KB.
        output_left_out: how many bytes between the two were left out.
        code_hash: identifies the source of the job.
    """

    id: str
    task_name: str
    task_id: str
    origin: str | None
    kind: str
    pattern: str
    _zone: str
    _at: float
    _slot: float | None
    trigger: str
    outcome: RunOutcome | str
    attempt: int
    attempts: int | None
    _started_at: float | None
    _finished_at: float | None
    missed_count: int | None
    error_type: str | None
    error: str | None
    traceback: str | None
    exit_code: int | None
    signal: str | None
    pid: int | None
    host: str | None
    cpu_seconds: float | None
    peak_memory: int | None
    summary: str | None
    output: str | None
    output_left_out: int | None
    code_hash: str | None

    @property
    def at(self) -> datetime:
        """Its place in time: the start of a run, else the slot, else the call."""
        return to_datetime(self._at, find_zone(self._zone))

    @property
    def slot(self) -> datetime | None:
        """The slot; None for calls, and for runs by a clock that was ahead (C3)."""
        return self._make(self._slot)

    @property
    def started_at(self) -> datetime | None:
        """When the job's code was started; None if it was not."""
        return self._make(self._started_at)

    @property
    def finished_at(self) -> datetime | None:
        """When it ended; None before, and for what did not run."""
        return self._make(self._finished_at)

    @property
    def duration(self) -> float | None:
        """Seconds from start to end; None if either is missing."""
        if self._started_at is None or self._finished_at is None:
            return None
        return self._finished_at - self._started_at

    def _make(self, instant: float | None) -> datetime | None:
        return None if instant is None else to_datetime(instant, find_zone(self._zone))

    def __repr__(self) -> str:
        """Return one line, whatever the texts contain."""
        at = self.at.isoformat(" ", "seconds")
        text = self.error or self.error_type or self.summary
        more = "" if text in (None, "", "None") else f": {_quote(text)}"
        return f"<RunRecord {_quote(self.task_name)} {at} {self.outcome}{more}>"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Return the attributes by their public names."""
        return [(name, getattr(self, name)) for name in FIELDS]

    def _repr_html_(self) -> str:
        """Return the record as a page, for notebooks."""
        # By name: a display is of a higher layer, and only a notebook asks for it.
        display = import_module("ipycron.notebook.display.runs")
        html: str = display.write_run_html(self)
        return html


def _quote(text: str | None) -> str:
    cut = text or ""
    return repr(cut if len(cut) <= _WIDEST else f"{cut[: _WIDEST - 1]}…")


@lru_cache(maxsize=256)
def find_zone(name: str) -> tzinfo:
    """Return a zone by the name that a row has; UTC if this machine does not know it.

    Examples:
        >>> str(find_zone("Europe/Berlin")), str(find_zone("UTC+05:30"))
        ('Europe/Berlin', 'UTC+05:30')
        >>> str(find_zone("Mars/Phobos"))
        'UTC'
    """
    match = _OFFSET.fullmatch(name)
    if match is not None:
        hours, minutes, seconds = (int(part or 0) for part in match.groups()[1:])
        offset = timedelta(hours=hours, minutes=minutes, seconds=seconds)
        if offset < timedelta(days=1):
            return timezone(-offset if match[1] == "-" else offset)
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):  # also "", "../x" and "Europe"
        return UTC


def to_plain(record: RunRecord) -> dict[str, Any]:
    """Return a record as JSON has it: in the order of `FIELDS`, instants as ISO 8601.

    Instants have their offset from UTC.
    """
    return {name: _to_plain(getattr(record, name)) for name in FIELDS}


def _to_plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
