"""The table of commands of `%cron`, and how a line is dispatched to one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ipycron.errors import suggest
from ipycron.notebook.magic import control, pool, show
from ipycron.notebook.magic.choice import ChoiceOptions
from ipycron.notebook.magic.grammar import parse_words
from ipycron.notebook.magic.options import index_options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ipycron.notebook.magic.grammar import ParsedLine
    from ipycron.notebook.magic.notebook import Notebook


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command of `%cron`.

    Attributes:
        run: the function that carries it out.
        options: the dataclass that declares its options.
        usage: the arguments after its name.
        help: one line for the manual.
    """

    run: Callable[[Notebook, ParsedLine], None]
    options: type[Any]
    usage: str
    help: str


_NAMES = "NAME... | --all"

COMMANDS: dict[str, Command] = {
    "list": Command(
        run=show.list_tasks,
        options=show.NoOptions,
        usage="",
        help="what is scheduled; %cron alone does the same",
    ),
    "start": Command(
        run=control.start,
        options=ChoiceOptions,
        usage=_NAMES,
        help="start what is stopped",
    ),
    "stop": Command(
        run=control.stop,
        options=control.StopOptions,
        usage=f"{_NAMES} [--force]",
        help="stop; %cron start starts it again",
    ),
    "pause": Command(
        run=control.pause,
        options=control.PauseOptions,
        usage=f"{_NAMES} [--until TIME] [--note TEXT]",
        help="skip its times until %cron resume, or until then",
    ),
    "resume": Command(
        run=control.resume,
        options=control.ResumeOptions,
        usage=f"{_NAMES} [--catch-up latest|all]",
        help="end a pause",
    ),
    "run": Command(
        run=control.run,
        options=control.RunOptions,
        usage=f"{_NAMES} [--wait]",
        help="run now, in addition to the schedule",
    ),
    "destroy": Command(
        run=control.destroy,
        options=control.StopOptions,
        usage=f"{_NAMES} [--force]",
        help="stop for good and forget",
    ),
    "show": Command(
        run=show.show_tasks,
        options=show.ShowOptions,
        usage=f"{_NAMES} | NAME --run ID",
        help="a task, its last run, its output; or a past run",
    ),
    "history": Command(
        run=show.show_history,
        options=show.HistoryOptions,
        usage="[NAME...] [--last 7d] [--failed] [-n 50]",
        help="what happened, also before this notebook",
    ),
    "logs": Command(
        run=show.print_logs,
        options=ChoiceOptions,
        usage=_NAMES,
        help="what the last run printed, and its traceback",
    ),
    "next": Command(
        run=show.print_next,
        options=show.NextOptions,
        usage=f"{_NAMES} [-n 5]",
        help="when a task will run",
    ),
    "explain": Command(
        run=show.explain,
        options=show.ExplainOptions,
        usage="EXPRESSION [--tz ZONE] [-n 5]",
        help="an expression in words, and when it is due",
    ),
    "why": Command(
        run=show.explain_slot,
        options=show.NoOptions,
        usage="NAME INSTANT",
        help="why a task did or will run then, or not",
    ),
    "pool": Command(
        run=pool.show_pools,
        options=pool.PoolOptions,
        usage="[NAME | --others] [LIMIT | none]",
        help="at most so many runs at once: show pools, or set a limit",
    ),
    "panel": Command(
        run=show.show_panel,
        options=show.NoOptions,
        usage="",
        help="every task, live",
    ),
    "wait": Command(
        run=control.wait,
        options=control.WaitOptions,
        usage="[NAME...] [--runs N] [--for TIME]",
        help="return when runs have ended, or tasks are over",
    ),
}


ALIASES = {
    "delete": "destroy",
    "rm": "destroy",
    "status": "list",
}
"""Aliases of the commands; ``status NAME`` is ``show NAME``."""

_DESTROYING = frozenset({"destroy"})
_MEANT_TO_DESTROY = frozenset({"remove"})
"""Words that are close to another command and mean the opposite."""

_MEANT = {
    "cancel": "stop",
    "continue": "resume",
    "describe": "show",
    "disable": "stop",
    "enable": "start",
    "end": "stop",
    "execute": "run",
    "info": "show",
    "jobs": "list",
    "kill": "stop",
    "ls": "list",
    "output": "logs",
    "pools": "pool",
    "ps": "list",
    "rerun": "run",
    "restart": "start",
    "retry": "run",
    "suspend": "pause",
    "tasks": "list",
    "trigger": "run",
    "unpause": "resume",
}
"""Names of similar commands elsewhere."""


def suggest_command(word: str) -> str:
    """Return a suggestion for an unknown command; never one that destroys."""
    if word in _MEANT:
        return f" Did you mean {_MEANT[word]!r}?"
    if word in _MEANT_TO_DESTROY:
        return ""
    meant = suggest(word, COMMANDS)
    # Nor the next best: "destory" does not mean "history".
    return "" if any(repr(name) in meant for name in _DESTROYING) else meant


def find_command(words: Sequence[str]) -> str | None:
    """Return the command that the words begin with, without aliases, or None."""
    if not words:
        return "list"
    if words[0] == "status" and words[1:]:
        return "show"
    name = ALIASES.get(words[0], words[0])
    return name if name in COMMANDS else None


def run_command(notebook: Notebook, name: str, rest: Sequence[str]) -> None:
    """Run a command.

    Args:
        notebook: the notebook that it is run in.
        name: the command.
        rest: the words after it.
    """
    command = COMMANDS[name]
    options = index_options(command.options)
    line = parse_words(rest, options, names=notebook.shell.user_ns)
    if line.is_help:
        print(f"%cron {name} {command.usage}".rstrip() + f"\n{command.help}")  # noqa: T201 - asked for
    else:
        command.run(notebook, line)
