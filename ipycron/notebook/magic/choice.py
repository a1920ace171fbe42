"""Which tasks a command is about."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from IPython.core.error import UsageError

from ipycron.api import functions as api
from ipycron.client.jobs import Inline
from ipycron.notebook.display.words import format_name
from ipycron.scheduling.checks import OptionKind, check_flag, option

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ipycron.api.task import Task
    from ipycron.notebook.magic.grammar import ParsedLine


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceOptions:
    """Which tasks."""

    all: bool = option(False, check_flag, "every task", kind=OptionKind.FLAG)


def choose_tasks(
    command: str, line: ParsedLine, *, with_kept: bool = True
) -> list[Task]:
    """Return the tasks that a line names.

    Args:
        command: the command.
        line: what follows it.
        with_kept: whether ``--all`` means kept tasks, too. They may be others'.

    Raises:
        UnknownTask: if a name is not one; the text suggests one.
        UsageError: if it names none, or combines names with ``--all``.
    """
    if line.values.get("all"):
        if line.words:
            raise UsageError(f"%cron {command}: names and --all exclude each other")
        tasks = list(api.get_tasks().values())
        kept = [task for task in tasks if task.is_kept]
        if with_kept or not kept:
            return tasks
        names = ", ".join(format_name(task) for task in kept)
        print(f"not included, as they are kept: {names}. Name them to {command} them")  # noqa: T201 - output of the cell
        return [task for task in tasks if not task.is_kept]
    if not line.words:
        names = ", ".join(format_name(task) for task in api.get_tasks().values())
        known = f"Tasks: {names}." if names else "There are no tasks."
        raise UsageError(f"%cron {command}: name a task, or say --all. {known}")
    return [api.get_task(name) for name in line.words]


def refuse_waiting(tasks: Iterable[Task]) -> None:
    """Refuse to block this thread for a task that runs on this thread's loop.

    Raises:
        UsageError: if one of the tasks does: its run could not begin until the wait
            ends.
    """
    try:
        here = asyncio.get_running_loop()
    except RuntimeError:
        return
    for task in tasks:
        if isinstance(task.source, Inline) and task.source.loop is here:
            raise UsageError(
                f"{task.name!r} runs in the notebook itself, between two cells: use "
                f"`await ipycron.get_task({task.name!r}).execute()`, or leave "
                "--inline out"
            )
