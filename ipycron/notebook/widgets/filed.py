"""What the views show of the history's file: the questions to it.

They may take long, and raise `HistoryError`: see `past`. What reads is imported where
it is called, as SQLite takes 20 ms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ipycron.api.task import get_record
from ipycron.client.output import Output
from ipycron.notebook.widgets.model import (
    MARKS,
    Mark,
    RunInfo,
    RunRow,
    describe_glance,
    describe_record,
    describe_slot,
    mark_glance,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from ipycron.api.task import Task
    from ipycron.client.executions import PastSlot
    from ipycron.runlog.records import RunRecord

PAGE = 100
"""Older runs that a list gets at a time."""
OFF = "The history is off (IPYCRON_HISTORY): older runs are not kept."
NOT_KEPT = "The history of this task is off (history=False)."


class Page(NamedTuple):
    """A part of a list of older runs, the newest first.

    Attributes:
        next: where the next page begins; None if there is none.
        note: why there is nothing more, in one line; empty if there may be.
    """

    runs: list[RunRow]
    next: tuple[float, str] | None
    note: str


class FiledRun(NamedTuple):
    """A run or slot that is over, read from the file or remembered without a run.

    Attributes:
        info: what is shown of it.
        output: what it wrote, without displays.
    """

    info: RunInfo
    output: Output

    @property
    def id(self) -> str:
        """The run's id."""
        return self.info["id"]


def file_slot(slot: PastSlot) -> FiledRun:
    """Return a slot that did not run, as a run is shown."""
    return FiledRun(describe_slot(slot), Output())


def find_file() -> Path | None:
    """Return the path of the file; None if the history is off."""
    from ipycron.api.history import get_path  # noqa: PLC0415 - see the module

    return get_path()


def is_kept(task: Task) -> bool:
    """Return whether the history has the task's runs, if there is one."""
    return get_record(task).options.history


def has_past(task: Task) -> bool:
    """Return whether earlier processes may have had this task.

    A name that the user has given says which task it is; an id says nothing.
    """
    return is_kept(task) and get_record(task).options.name is not None


def read_marks(names: Mapping[str, str]) -> dict[str, tuple[Mark, ...]]:
    """Return the marks of tasks, from their names, by the same keys."""
    from ipycron.runlog.glances import read_last  # noqa: PLC0415 - see the module

    path = find_file()
    if path is None:
        return {}
    found = read_last(path, sorted(set(names.values())), MARKS)
    return {
        key: tuple(mark_glance(glance) for glance in found[name])
        for key, name in names.items()
        if name in found
    }


def read_place(value: Any) -> tuple[float, str] | None:
    """Return a place in a list as the browser sends it; None for its beginning."""
    match value:
        case [int() | float() as at, str() as run_id]:
            return float(at), run_id
    return None


def read_older(task: Task, before: tuple[float, str] | None) -> Page:
    """Return the runs of a task before one, or the newest."""
    from ipycron.runlog.glances import read_page  # noqa: PLC0415 - see the module

    if not is_kept(task):
        return Page([], None, NOT_KEPT)
    path = find_file()
    if path is None:
        return Page([], None, OFF)
    # One more than is shown, to know whether there is another page.
    found = read_page(path, task.name, before, PAGE + 1)
    shown = found[:PAGE]
    rows = [describe_glance(glance) for glance in shown]
    if len(found) <= PAGE:
        return Page(rows, None, "No older runs in the history.")
    return Page(rows, (shown[-1].at, shown[-1].id), "")


def read_run(task: Task, run_id: str) -> FiledRun | None:
    """Return a run of a task; None if it is not there."""
    from ipycron.runlog.reading import read_by_id  # noqa: PLC0415 - see the module

    path = find_file()
    found = [] if path is None else read_by_id(path, [run_id])
    records = [record for record in found if record.task_name == task.name]
    return _file_record(records[0]) if records else None


def _file_record(record: RunRecord) -> FiledRun:
    output = Output()
    if record.output:
        output.write("stdout", record.output.encode("utf-8", "replace"), 0)
    return FiledRun(describe_record(record), output)
