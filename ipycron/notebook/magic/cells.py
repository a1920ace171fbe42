"""Which cell has declared which tasks: a cell owns what it declares.

A cell that runs again replaces the tasks without a name that it declared before, and
ends those that it does not declare any more. Tasks with a name are replaced by their
name, wherever they are declared: one that the cell does not declare any more goes on,
and that is said. So do the tasks of a cell that fails before it declares anything, and
those of a cell that is deleted: front ends that send ids of cells say which those are.
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
    """What is known of one cell.

    Attributes:
        names: of its tasks without a name, in the order in which it declares them.
        owned: its tasks without a name.
        named: the tasks that it has declared by a name.
        is_deleted: whether the front end has said so.
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


UNDECLARED = "goes on, though the cell does not declare it any more"
FAILED = "goes on as it was: the cell failed before it declared anything"
DELETED = "goes on, though its cell was deleted"
MARKS = {
    UNDECLARED: "not declared any more",
    FAILED: "declared before its cell failed",
    DELETED: "its cell was deleted",
}
"""What is said of such tasks where they are listed."""
FOREIGN = "of no cell of this session"


class Undeclared(NamedTuple):
    """Tasks that a cell does not declare any more.

    Attributes:
        ended: those without a name, which are ended.
        kept: those that go on, and why.
    """

    ended: list[Task]
    kept: dict[Task, str]


@dataclass(slots=True, kw_only=True)
class _Run:
    """One run of a cell.

    Attributes:
        key: what identifies its cell.
        cell: what is known of that.
        source: its whole text as typed.
        before: ids of the tasks that were there when it began.
        declared: the tasks without a name that it has declared so far.
        named: the tasks with a name that it has declared by a magic so far.
        unnamed: how many names it has asked for.
        orphans: the tasks of cells that were deleted since the last run of a cell.
    """

    key: Hashable
    cell: _Cell
    source: str
    before: frozenset[str]
    declared: list[Task] = field(default_factory=list)
    named: list[Task] = field(default_factory=list)
    unnamed: int = 0
    orphans: list[Task] = field(default_factory=list)


class CellLedger:
    """Follows the cells of a notebook as they run, on its main thread."""

    def __init__(self) -> None:
        self._cells: dict[Hashable, _Cell] = {}
        self._stack: list[_Run | None] = []
        self._count = 0
        self._known: set[str] = set()  # ids of the tasks that cells have made
        self._left: dict[str, str] = {}  # why a task that no cell declares goes on

    def begin(self, info: Any, deleted: Iterable[object] = ()) -> None:
        """Note that a cell begins: IPython's event ``pre_run_cell``.

        Args:
            info: the event's.
            deleted: ids of cells that were deleted, as the front end has sent them.
        """
        if self._stack:  # %%capture, %rerun and the like run cells inside of cells
            self._stack.append(None)
            return
        # The front end's own id of a cell outlives every edit. JupyterLab, Notebook
        # and VS Code send one; a terminal, nbclient and papermill do not: there the
        # same text is the same cell.
        cell_id = getattr(info, "cell_id", None)
        key = ("id", cell_id) if cell_id else ("source", info.raw_cell)
        cell = self._cells.get(key) or _Cell()
        cell.is_deleted = False  # it may be back
        self._stack.append(
            _Run(
                key=key,
                cell=cell,
                source=info.raw_cell,
                orphans=[task for id_ in deleted for task in self._delete(id_)],
                # Of the cell that loads us, what there was when it did.
                before=getattr(info, "before", frozenset(api.get_tasks())),
            )
        )

    def _delete(self, cell_id: object) -> list[Task]:
        """Note that a cell was deleted; return its tasks, once."""
        cell = self._cells.get(("id", cell_id)) if isinstance(cell_id, str) else None
        if cell is None or cell.is_deleted:
            return []
        cell.is_deleted = True
        return cell.alive

    def end(self, result: Any) -> Undeclared:
        """Note that a cell has ended: IPython's event ``post_run_cell``.

        Ends the tasks without a name that the cell does not declare any more.
        """
        run = self._stack.pop() if self._stack else None
        if run is None:
            return Undeclared([], {})
        self._add_made(run)
        if run.cell.names or run.declared or run.named:
            self._cells[run.key] = run.cell
        declared = [*run.declared, *run.named]
        ended: list[Task] = []
        if not declared and not result.success:  # a slip of the pen ends nothing
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
        """Add to a run's tasks what it has made by the API."""
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
        """Return what a list says of a task that no cell declares; else nothing."""
        reason = self._left.get(task.id)
        if reason is not None:
            return MARKS[reason]
        run = self._find_run()
        is_new = run is not None and task.id not in run.before
        return "" if is_new or task.id in self._known else FOREIGN

    @property
    def depth(self) -> int:
        """How many cells run, each inside of the one before."""
        return len(self._stack)

    @property
    def key(self) -> Hashable:
        """What identifies the running cell; None if there is none."""
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
        """Return the name for a task of the running cell that has none.

        The first of a cell has the same name each time the cell runs, so has the
        second, and so on.
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
        """Note that the running cell has declared a task."""
        run = self._find_run()
        if run is not None:
            (run.named if is_named else run.declared).append(task)

    def number_lines(self, body: str) -> str:
        """Return the body of a cell with blank lines for those above it.

        Errors then speak of the lines that the notebook shows.
        """
        lines = self.source.splitlines()
        for index, line in enumerate(lines):
            if line.lstrip().startswith(MAGIC):
                if "\n".join(lines[index + 1 :]).strip() == body.strip():
                    return "\n" * (index + 1) + body
                break
        return "\n" + body


def _find_left(tasks: list[Task], names: set[str]) -> list[Task]:
    """Return those that are still there and have none of the names."""
    return [t for t in tasks if t.name not in names and t.status != "destroyed"]
