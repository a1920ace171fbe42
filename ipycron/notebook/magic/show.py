"""Commands that show something."""

# mypy: disable-error-code="no-untyped-call"
# Most of IPython's methods have no annotations.

# Commands print their messages: they are the output of the cell.
# ruff: noqa: T201

from __future__ import annotations

import contextlib
import shlex
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from IPython.core.error import UsageError
from IPython.display import display

from ipycron.api import functions as api
from ipycron.api.task import get_record
from ipycron.errors import HistoryError, IpycronError, UnknownTask
from ipycron.notebook.display.runs import RunView
from ipycron.notebook.display.tables import ExpressionView, TaskTable
from ipycron.notebook.display.tracebacks import tidy
from ipycron.notebook.display.words import (
    explain_error,
    find_shown_run,
    find_start_error,
    format_instants,
    format_name,
    format_pause,
    format_run,
    get_now,
    one_line,
)
from ipycron.notebook.magic.choice import ChoiceOptions, choose_tasks
from ipycron.notebook.magic.grammar import refuse_expression, split_trigger
from ipycron.notebook.widgets.overview import panel
from ipycron.process.wire.printable import show_hidden
from ipycron.scheduling.checks import (
    OptionKind,
    check_flag,
    check_limit,
    check_optional_deadline,
    check_text,
    option,
)
from ipycron.triggers.union import read_trigger

if TYPE_CHECKING:
    from ipycron.api.task import Task
    from ipycron.client.executions import RunLike
    from ipycron.notebook.magic.grammar import ParsedLine
    from ipycron.notebook.magic.notebook import Notebook

SHOWN_FIRES = 5
SHOWN_RUNS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class NoOptions:
    """A command without options."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowOptions(ChoiceOptions):
    """Which tasks, or which run of one."""

    run: str | None = option(
        None,
        check_text,
        "a past run, as %%cron history lists it",
        kind=OptionKind.TEXT,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryOptions:
    """What of the history."""

    last: float | None = option(
        None, check_optional_deadline, "not older than this", kind=OptionKind.DURATION
    )
    failed: bool = option(
        False,
        check_flag,
        "failures only: also timeouts, crashes and lost runs",
        kind=OptionKind.FLAG,
    )
    count: int = option(
        SHOWN_RUNS, check_limit, "how many at most", kind=OptionKind.NUMBER
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NextOptions(ChoiceOptions):
    """How many fires."""

    count: int = option(
        SHOWN_FIRES, check_limit, "how many fires", kind=OptionKind.NUMBER
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainOptions:
    """How to read an expression."""

    timezone: str | None = option(
        None,
        check_text,
        "IANA name; by default the system's zone",
        kind=OptionKind.TEXT,
    )
    day_or: bool = option(
        True, check_flag, "either day field matches", kind=OptionKind.FLAG
    )
    count: int = option(
        SHOWN_FIRES, check_limit, "how many fires", kind=OptionKind.NUMBER
    )


def list_tasks(notebook: Notebook, line: ParsedLine) -> None:
    """Show a table of all tasks."""
    if line.words:
        raise UsageError(f"%cron list takes no words, got {line.words[0]!r}")
    tasks = tuple(api.get_tasks().values())
    if tasks:
        marks = {task.id: notebook.cells.mark(task) for task in tasks}
        display(TaskTable(tasks, marks))
    else:
        print("no task is scheduled")


def show_tasks(_: Notebook, line: ParsedLine) -> None:
    """Show tasks as they look as the last line of a cell, or one past run."""
    prefix = line.values.get("run")
    if prefix is not None:
        _show_run(line, prefix)
        return
    for task in _choose_shown("show", line):
        display(task)


def _choose_shown(command: str, line: ParsedLine) -> list[Task]:
    """Return the tasks that a line names; for one that is gone, name the history.

    Raises:
        UnknownTask: if there is no such task, nor was there one.
        UsageError: if there was one, or as of `choose_tasks`.
    """
    try:
        return choose_tasks(command, line)
    except UnknownTask as error:
        if not _has_past(error.name):
            raise
        told = f"{error} It is in the history: %cron history {shlex.quote(error.name)}"
        raise UsageError(show_hidden(one_line(told))) from None


def _has_past(name: str) -> bool:
    from ipycron.api import history  # noqa: PLC0415 - as below

    try:
        return bool(history.history(name, limit=1))
    except HistoryError:
        return False  # the mistake is the name, not the file


def _show_run(line: ParsedLine, prefix: str) -> None:
    from ipycron.api import history  # noqa: PLC0415 - SQLite, for those who look back

    if len(line.words) != 1 or line.values.get("all"):
        raise UsageError("%cron show --run: name the one task whose run it is")
    run = history.find_run(line.words[0], prefix)
    display(RunView(run, history.read_tries(run)))


def show_history(_: Notebook, line: ParsedLine) -> None:
    """Show what happened, as a table."""
    from ipycron.api import history  # noqa: PLC0415 - as above

    last = line.values.get("last")
    found = history.history(
        line.words or None,
        since=None if last is None else timedelta(seconds=last),
        outcome="failures" if line.values.get("failed") else None,
        limit=line.values.get("count", SHOWN_RUNS),
    )
    if not found:
        tasks = {task.name for task in api.get_tasks().values()}
        history.check_known(name for name in line.words if name not in tasks)
    display(found)


def print_logs(_: Notebook, line: ParsedLine) -> None:
    """Print the output of the last run, or of the one in progress."""
    for task in _choose_shown("logs", line):
        run = find_shown_run(task)
        error = find_start_error(task)
        if error is not None:
            print(f"{format_name(task)}: did not start\n{explain_error(error)}")
        elif run is None:
            print(f"{format_name(task)}: has not run yet")
        if run is None:
            continue
        print(f"{format_name(task)}: {format_run(run, get_now())}")
        for text in _read_texts(task, run):
            if text:
                print(text, end="" if text.endswith("\n") else "\n")


def _read_texts(task: Task, run: RunLike) -> tuple[str, ...]:
    """Return what a run wrote, and its traceback.

    Of a kept task's run that ended before this notebook was there, the history has it.
    """
    output = run.output
    if task.is_kept and run.is_ok is not None and not output.position:
        from ipycron.api import history  # noqa: PLC0415 - as below

        with contextlib.suppress(IpycronError):  # it is not recorded
            recorded = history.find_run(task.name, run.id)
            return recorded.output or "", tidy(recorded.traceback or "")
    return output.stdout, output.stderr, tidy(run.traceback_text or "")


def print_next(_: Notebook, line: ParsedLine) -> None:
    """Print when tasks will run."""
    count = line.values.get("count", SHOWN_FIRES)
    for task in choose_tasks("next", line):
        now = get_now()
        # The end of a pause may itself be a fire.
        until = task.paused_until
        after = now if until is None else until - timedelta(seconds=1)
        fires = get_record(task).find_slots(count, after.timestamp())
        state = format_pause(task, now) if task.is_started else task.status
        armed = "" if task.next_run is not None else f" (it is {state})"
        print(f"{format_name(task)}: {format_instants(fires, now)}{armed}")


def explain(_: Notebook, line: ParsedLine) -> None:
    """Show what an expression means."""
    if not line.words:
        raise UsageError("%cron explain: write an expression after it")
    found = split_trigger(line.words)
    if found is None or found[1]:
        refuse_expression(line.words)
    now, zone = get_now().timestamp(), line.values.get("timezone")
    trigger = read_trigger(
        " ".join(line.words),
        zone,
        day_or=line.values.get("day_or", True),
        hash_id="",
    ).begin(now, zone)
    trigger.check_fires(now)
    count = line.values.get("count", SHOWN_FIRES)
    display(ExpressionView(trigger, count=count))


def explain_slot(_: Notebook, line: ParsedLine) -> None:
    """Say why a task did or will run at an instant, or why not."""
    from ipycron.api.why import why  # noqa: PLC0415 - SQLite, as above

    if len(line.words) < 2:  # noqa: PLR2004 - a name and an instant
        raise UsageError("%cron why: write a task's name and an instant after it")
    name, *words = line.words
    display(why(name, " ".join(words)))


def show_panel(notebook: Notebook, line: ParsedLine) -> None:
    """Show the live panel; a table if the front end has no widgets."""
    if notebook.kernel is None:
        list_tasks(notebook, line)
        return
    display(panel())
