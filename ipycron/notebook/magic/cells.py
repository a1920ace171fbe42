"""Which cell has declared which tasks: a cell owns what it declares.

A cell that runs again replaces the tasks without a name that it declared before, and
ends those that it does not declare any more. Tasks with a name are replaced by their
name, wherever they are declared: one that the cell does not declare any more goes on,
and that is said.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from ipycron.api import functions as api

if TYPE_CHECKING:
    from collections.abc import Hashable

    from ipycron.api.task import Task

MAGIC = "%%cron"


@dataclass(slots=True, kw_only=True)
class _Cell:
    """What is known of one cell.

    Attributes:
        names: of its tasks without a name, in the order in which it declares them.
        owned: its tasks without a name.
        named: the tasks that it has declared by a name.
    """

    names: list[str] = field(default_factory=list)
    owned: list[Task] = field(default_factory=list)
    named: list[Task] = field(default_factory=list)


class Undeclared(NamedTuple):
    """Tasks that a cell does not declare any more.

    Attributes:
        ended: those without a name, which are ended.
        kept: those with a name, which go on.
    """

    ended: list[Task]
    kept: list[Task]


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
    """

    key: Hashable
    cell: _Cell
    source: str
    before: frozenset[str]
    declared: list[Task] = field(default_factory=list)
    named: list[Task] = field(default_factory=list)
    unnamed: int = 0


class CellLedger:
    """Follows the cells of a notebook as they run, on its main thread."""

    def __init__(self) -> None:
        self._cells: dict[Hashable, _Cell] = {}
        self._stack: list[_Run | None] = []
        self._count = 0

    def begin(self, info: Any) -> None:
        """Note that a cell begins: IPython's event ``pre_run_cell``."""
        if self._stack:  # %%capture, %rerun and the like run cells inside of cells
            self._stack.append(None)
            return
        # The front end's own id of a cell outlives every edit. JupyterLab, Notebook
        # and VS Code send one; a terminal, nbclient and papermill do not: there the
        # same text is the same cell.
        cell_id = getattr(info, "cell_id", None)
        key = ("id", cell_id) if cell_id else ("source", info.raw_cell)
        self._stack.append(
            _Run(
                key=key,
                cell=self._cells.get(key) or _Cell(),
                source=info.raw_cell,
                # Of the cell that loads us, what there was when it did.
                before=getattr(info, "before", frozenset(api.get_tasks())),
            )
        )

    def end(self, result: Any) -> Undeclared:
        """Note that a cell has ended: IPython's event ``post_run_cell``.

        Ends the tasks without a name that the cell does not declare any more.
        """
        run = self._stack.pop() if self._stack else None
        if run is None:
            return Undeclared([], [])
        # What the cell scheduled by the API is its own, too.
        known = {task.id for task in run.declared}
        for task in api.get_tasks().values():
            is_new = task.id not in run.before and task.id not in known
            if is_new and task.options.name is None:
                run.declared.append(task)
        if run.cell.names or run.declared or run.named:
            self._cells[run.key] = run.cell
        declared = [*run.declared, *run.named]
        if not declared and not result.success:
            return Undeclared([], [])  # a slip of the pen ends nothing
        names = {task.name for task in declared}  # these were replaced
        undeclared = Undeclared(
            _find_left(run.cell.owned, names), _find_left(run.cell.named, names)
        )
        run.cell.owned, run.cell.named = run.declared, run.named
        for task in undeclared.ended:
            task.destroy()
        return undeclared

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
