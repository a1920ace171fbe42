"""Tracks which cell declared which tasks: a cell owns what it declares.

A cell that runs again replaces the unnamed tasks that it declared before, and ends
those that it no longer declares. Named tasks are replaced by name, wherever they are
declared: one that the cell no longer declares continues, and a message says so. The
same holds for tasks of a cell that fails before it declares anything, and of a deleted
cell; front ends that send cell ids report which cells were deleted.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from ipycron.api import functions as api

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from ipycron.api.task import Task

MAGIC = "%%cron"


@dataclass(slots=True, kw_only=True)
class _Cell:
    """What is known about one cell.

    Attributes:
        names: names of its unnamed tasks, in the order of declaration.
        owned: its unnamed tasks.
        named: the named tasks that it has declared.
        is_deleted: whether the front end has reported its deletion.
    """

    names: list[str] = field(default_factory=list)
    owned: list[Task] = field(default_factory=list)
    named: list[Task] = field(default_factory=list)
    is_deleted: bool = False

    @property
    def alive(self) -> list[Task]:
        """Its tasks that are not destroyed."""
        tasks = (*self.owned, *self.named)
        return [task for task in tasks if task.status != "destroyed"]


UNDECLARED = "continues, although the cell no longer declares it"
FAILED = "continues unchanged: the cell failed before it declared anything"
DELETED = "continues, although its cell was deleted"
MARKS = {
    UNDECLARED: "no longer declared",
    FAILED: "declared before its cell failed",
    DELETED: "its cell was deleted",
}
"""Notes on such tasks where tasks are listed."""
FOREIGN = "of no cell of this session"


class Undeclared(NamedTuple):
    """Tasks that a cell no longer declares.

    Attributes:
        ended: the unnamed ones, which are ended.
        kept: those that continue, and why.
    """

    ended: list[Task]
    kept: dict[Task, str]


@dataclass(slots=True, kw_only=True)
class _Run:
    """One run of a cell.

    Attributes:
        key: what identifies its cell.
        cell: what is known about that cell.
        source: its whole text as typed.
        before: ids of the tasks that existed when it began.
        declared: the unnamed tasks that it has declared so far.
        named: the named tasks that it has declared with a magic so far.
        unnamed: how many names of unnamed tasks it has claimed.
        orphans: tasks of cells that were deleted since the last run of a cell.
    """

    key: Hashable
    cell: _Cell
    source: str
    before: frozenset[str]
    declared: list[Task] = field(default_factory=list)
    named: list[Task] = field(default_factory=list)
    unnamed: int = 0
    orphans: list[Task] = field(default_factory=list)


class CellTracker:
    """Follows the cells of a notebook as they run, on its main thread."""

    def __init__(self) -> None:
        self._cells: dict[Hashable, _Cell] = {}
        self._stack: list[_Run | None] = []
        self._count = 0
        self._known: set[str] = set()  # ids of the tasks that cells have made
        self._left: dict[str, str] = {}  # why a task that no cell declares continues

    def begin(self, info: Any, deleted: Iterable[object] = ()) -> None:
        """Record that a cell begins: IPython's event ``pre_run_cell``.

        Args:
            info: the event's.
            deleted: ids of deleted cells, as sent by the front end.
        """
        if self._stack:  # %%capture, %rerun and the like run cells inside cells
            self._stack.append(None)
            return
        # The front end's own cell id survives every edit. JupyterLab, Notebook and VS
        # Code send one; a terminal, nbclient and papermill do not: there, equal text
        # means the same cell.
        cell_id = getattr(info, "cell_id", None)
        key = ("id", cell_id) if cell_id else ("source", info.raw_cell)
        cell = self._cells.get(key) or _Cell()
        cell.is_deleted = False  # the cell may have been restored
        self._stack.append(
            _Run(
                key=key,
                cell=cell,
                source=info.raw_cell,
                orphans=[task for id_ in deleted for task in self._delete(id_)],
                # For the cell that loads us: the tasks that existed when it did.
                before=getattr(info, "before", frozenset(api.get_tasks())),
            )
        )

    def _delete(self, cell_id: object) -> list[Task]:
        """Record that a cell was deleted; return its tasks, once."""
        cell = self._cells.get(("id", cell_id)) if isinstance(cell_id, str) else None
        if cell is None or cell.is_deleted:
            return []
        cell.is_deleted = True
        return cell.alive

    def end(self, result: Any) -> Undeclared:
        """Record that a cell has ended: IPython's event ``post_run_cell``.

        Ends the unnamed tasks that the cell no longer declares.
        """
        run = self._stack.pop() if self._stack else None
        if run is None:
            return Undeclared([], {})
        self._add_made(run)
        if run.cell.names or run.declared or run.named:
            self._cells[run.key] = run.cell
        declared = [*run.declared, *run.named]
        ended: list[Task] = []
        if not declared and not result.success:  # a typo must not end any task
            kept = dict.fromkeys(run.cell.alive, FAILED)
        else:
            names = {task.name for task in declared}  # these were replaced
            ended = _find_left(run.cell.owned, names)
            kept = dict.fromkeys(_find_left(run.cell.named, names), UNDECLARED)
            run.cell.owned, run.cell.named = run.declared, run.named
        orphans = [task for task in run.orphans if task.status != "destroyed"]
        kept |= dict.fromkeys(orphans, DELETED)
        for task in declared:
            self._left.pop(task.id, None)
        self._left |= {task.id: reason for task, reason in kept.items()}
        for task in ended:
            task.destroy()
        return Undeclared(ended, kept)

    def _add_made(self, run: _Run) -> None:
        """Add to a run's tasks those it has made through the API."""
        known = {task.id for task in run.declared}
        tasks = api.get_tasks()
        for task in tasks.values():
            is_new = task.id not in run.before and task.id not in known
            if is_new and task.options.name is None:
                run.declared.append(task)
        made = {task.id for task in (*run.declared, *run.named)}
        self._known |= made | (tasks.keys() - run.before)
        self._known &= tasks.keys()
        self._left = {id_: why for id_, why in self._left.items() if id_ in tasks}

    def mark(self, task: Task) -> str:
        """Return the note on a task that no cell declares; empty for any other."""
        reason = self._left.get(task.id)
        if reason is not None:
            return MARKS[reason]
        if task.is_kept:
            return ""
        run = self._find_run()
        is_new = run is not None and task.id not in run.before
        return "" if is_new or task.id in self._known else FOREIGN

    @property
    def depth(self) -> int:
        """How many cells are running, one inside another."""
        return len(self._stack)

    @property
    def key(self) -> Hashable:
        """The key of the running cell; None if there is none."""
        run = self._find_run()
        return None if run is None else run.key

    @property
    def source(self) -> str:
        """The text of the running cell as typed; empty if there is none."""
        run = self._find_run()
        return "" if run is None else run.source

    def _find_run(self) -> _Run | None:
        return self._stack[0] if self._stack else None

    def claim_name(self, taken: frozenset[str], stem: str = "cell") -> str:
        """Return the name for an unnamed task of the running cell.

        The first one in a cell gets the same name each time the cell runs, and so does
        the second, and so on.
        """
        run = self._find_run()
        names = [] if run is None else run.cell.names
        position = 0 if run is None else run.unnamed
        if run is not None:
            run.unnamed += 1
        if position < len(names) and names[position].startswith(stem):
            return names[position]
        name = self._make_name(taken, stem)
        names[position : position + 1] = [name]
        return name

    def _make_name(self, taken: frozenset[str], stem: str) -> str:
        if stem == "cell":
            self._count += 1
            name = f"cell-{self._count}"
            return self._make_name(taken, stem) if name in taken else name
        numbers = itertools.count(2)
        name = stem
        while name in taken:
            name = f"{stem}-{next(numbers)}"
        return name

    def claim(self, task: Task, *, is_named: bool) -> None:
        """Record that the running cell has declared a task."""
        run = self._find_run()
        if run is not None:
            (run.named if is_named else run.declared).append(task)

    def number_lines(self, body: str) -> str:
        """Return the body of a cell, with blank lines in place of those above it.

        Errors then refer to the lines that the notebook shows.
        """
        lines = self.source.splitlines()
        for index, line in enumerate(lines):
            if line.lstrip().startswith(MAGIC):
                if "\n".join(lines[index + 1 :]).strip() == body.strip():
                    return "\n" * (index + 1) + body
                break
        return "\n" + body


def _find_left(tasks: list[Task], names: set[str]) -> list[Task]:
    """Return the tasks that still exist and have none of the names."""
    return [t for t in tasks if t.name not in names and t.status != "destroyed"]
