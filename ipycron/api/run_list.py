"""The runs that a question to the history has found: a list, a table, a data frame."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ipycron.api.frame import make_frame
from ipycron.api.frozen_list import FrozenList
from ipycron.api.text_table import (
    PAGE,
    find_room,
    flatten,
    format_took,
    write_text_table,
)
from ipycron.runlog.ids import abbreviate
from ipycron.runlog.records import FIELDS, INSTANTS, RunRecord
from ipycron.runlog.rows import RunOutcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pandas import DataFrame

    from ipycron.api.run_summary import HistorySummary

HEADS = ("at", "task", "outcome", "took", "result or error", "run")
SHOWN = 100
"""Records that a table has; `history()` returns as many by default."""
_AT, _ID = HEADS.index("at"), HEADS.index("run")
_WHOLE = (
    "attempt",
    "attempts",
    "missed_count",
    "exit_code",
    "pid",
    "peak_memory",
    "output_left_out",
)
"""Columns of whole numbers, of which some are missing."""
_NUMBERS = ("duration", "cpu_seconds")


class History(FrozenList[RunRecord]):
    """What `history()` has found, the newest first. Immutable, like a tuple.

    A snapshot: what happens later is in the next one.

    Args:
        records: the runs, the newest first.
        limit: how many were asked for, if there are more.
        is_off: whether there is no history.
    """

    __slots__ = ("_is_off", "_limit")

    def __init__(
        self,
        records: Iterable[RunRecord] = (),
        *,
        limit: int | None = None,
        is_off: bool = False,
    ) -> None:
        super().__init__(records)
        self._limit = limit
        self._is_off = is_off

    @property
    def is_complete(self) -> bool:
        """Whether there are no older ones that the limit left out."""
        return self._limit is None

    def to_pandas(self) -> DataFrame:
        """Return a data frame with a row for each record, the newest first.

        Its columns are the attributes of a `RunRecord`, also if there are no records.
        Instants are in the tasks' zone, or in UTC if there are several.

        Raises:
            ImportError: if pandas is not installed.
        """
        return make_frame(
            {name: [getattr(record, name) for record in self] for name in FIELDS},
            instants=INSTANTS,
            whole=_WHOLE,
            numbers=_NUMBERS,
        )

    def summary(self) -> HistorySummary:
        """Return the figures of each task, of the records in this list."""
        from ipycron.api.run_summary import summarize  # noqa: PLC0415 - often not used

        return summarize(self)

    def __repr__(self) -> str:
        head = f"<History: {self._describe()}>"
        if not self._items:
            return head
        shown = self._items[:SHOWN]
        table = write_table(shown, room=find_room() or PAGE)
        left = len(self) - len(shown)
        return f"{head}\n{table}" + (f"\n… {left:,} more" if left else "")

    def _describe(self) -> str:
        count = len(self)
        counted = {0: "nothing", 1: "1 run"}.get(count, f"{count:,} runs")
        if self._is_off:
            return f"{counted}, it is off (IPYCRON_HISTORY)"
        return counted if self.is_complete else f"{counted}, limit={self._limit}"

    def _repr_html_(self) -> str:
        """Return a table for notebooks."""
        # By name: a display is of a higher layer, and only a notebook asks for it.
        display = import_module("ipycron.notebook.display.runs")
        html: str = display.write_runs_html(self, self._describe())
        return html


def write_table(records: Sequence[RunRecord], *, room: int | None) -> str:
    """Return a table of runs as text; see `write_text_table`."""
    rows = (HEADS, *make_rows(records))
    return write_text_table(rows, room=room, whole=(_AT, _ID))


def make_rows(records: Sequence[RunRecord]) -> list[tuple[str, ...]]:
    """Return the texts of a table's rows, below `HEADS`; safe to print."""
    has_zones = len({str(record.at.tzinfo) for record in records}) > 1
    # A slot without a run has nothing more to show.
    ids = abbreviate([r.id if has_more(r) else "" for r in records])
    return [
        tuple(
            map(
                flatten,
                (
                    format_at(record, with_zone=has_zones),
                    record.task_name,
                    format_outcome(record),
                    "" if record.duration is None else format_took(record.duration),
                    format_result(record),
                    shown,
                ),
            )
        )
        for record, shown in zip(records, ids, strict=True)
    ]


def has_more(record: RunRecord) -> bool:
    """Return whether there is more to see of it than a table shows."""
    return record.started_at is not None or record.error is not None


def format_at(record: RunRecord, *, with_zone: bool = False) -> str:
    """Return a record's place in time, in its task's zone."""
    at = record.at
    return f"{at:%Y-%m-%d %H:%M:%S}" + (f" {at:%Z}" if with_zone else "")


def format_outcome(record: RunRecord) -> str:
    """Return what became of it, as the filters take it; counts if there are several."""
    if record.missed_count is not None and record.missed_count > 1:
        return f"{record.outcome} ({record.missed_count:,} slots)"
    if record.attempts is not None and record.attempts > 1:
        return f"{record.outcome} ({record.attempts} attempts)"
    return str(record.outcome)


def describe_run(record: RunRecord) -> str:
    """Return a line: whose run it was, when, how long it took and what came of it."""
    word = "in" if record.outcome == RunOutcome.FINISHED else "after"
    took = "" if record.duration is None else f" {word} {format_took(record.duration)}"
    text = (
        f"{flatten(record.task_name)}: {format_at(record)} {format_outcome(record)}"
        f"{took}"
    )
    result = flatten(format_result(record))
    remark = flatten(find_remark(record))
    if result:
        text += f": {result}"
    return f"{text} ({remark})" if remark else text


def find_remark(record: RunRecord) -> str:
    """Return why no further attempt followed a failure; empty without retries."""
    has_error = record.error_type or record.error
    return record.summary or "" if has_error else ""


def format_result(record: RunRecord) -> str:
    """Return the error, or the result if there is one."""
    if record.error_type or record.error:
        return ": ".join(text for text in (record.error_type, record.error) if text)
    return "" if record.summary in (None, "None") else str(record.summary)
