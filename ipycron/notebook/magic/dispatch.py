"""Dispatches the line of a magic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.utils.text import DollarFormatter

from ipycron.errors import suggest
from ipycron.notebook.magic.commands import (
    COMMANDS,
    find_command,
    run_command,
    suggest_command,
)
from ipycron.notebook.magic.declare import declare_cell, declare_file
from ipycron.notebook.magic.grammar import (
    HELP,
    parse_words,
    split_trigger,
    split_words,
)
from ipycron.notebook.magic.manual import write_manual
from ipycron.notebook.magic.options import get_task_options
from ipycron.notebook.magic.usage import usage_errors
from ipycron.triggers.text import KEYWORDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ipycron.notebook.magic.notebook import Notebook


def run_magic(
    notebook: Notebook, line: str, cell: str | None, local_ns: Mapping[str, Any]
) -> None:
    """Carry out a line.

    Args:
        notebook: the notebook that it is in.
        line: what follows `%cron` or `%%cron`, as typed.
        cell: the body below `%%cron`; None for `%cron`.
        local_ns: the variables of the function that contains the line.

    Raises:
        UsageError: for every mistake of the user's, in one line.
    """
    line = expand(line, {**notebook.shell.user_ns, **local_ns})
    with usage_errors():
        words = split_words(line)
        command = find_command(words) if cell is None else None
        if command is not None:
            run_command(notebook, command, words[1:])
        elif HELP.union({"help"}).intersection(words[:1]):
            _help(notebook, words[1:])
        else:
            _declare(notebook, words, cell)


def _help(notebook: Notebook, words: Sequence[str]) -> None:
    """Print the manual, or the usage of the command that the words name."""
    command = find_command(words) if words else None
    if command is None:
        print(write_manual())  # noqa: T201 - the cell's output
    else:
        run_command(notebook, command, ["--help"])


def _declare(notebook: Notebook, words: Sequence[str], cell: str | None) -> None:
    """Schedule the cell, or the file that the words name."""
    _refuse_command(words, is_cell=cell is not None)
    line = parse_words(words, get_task_options(), names=notebook.shell.user_ns)
    if line.is_help:
        print(write_manual())  # noqa: T201 - the cell's output
        return
    if not line.words:
        raise UsageError(
            "an expression is missing: %%cron */5 * * * *, say; %%cron? is the manual"
        )
    _refuse_command(line.words, is_cell=cell is not None)
    if cell is None:
        declare_file(notebook, line)
    else:
        declare_cell(notebook, line, cell)


def _refuse_command(words: Sequence[str], *, is_cell: bool) -> None:
    """Refuse an unknown command, or a command above a cell."""
    first = words[0] if words else ""
    if first.lower() in KEYWORDS:
        return
    if split_trigger(words) or not first.isalpha() or len(first) == 1:
        return
    if is_cell and find_command(words) is not None:
        raise UsageError(f"{first!r} is a command: write %cron {first}, with one %")
    if not is_cell:
        listed = ", ".join(COMMANDS)
        raise UsageError(
            f"%cron has no command {first!r}.{suggest_command(first)} "
            f"Commands: {listed}; else EXPRESSION FILE."
        )


def expand(line: str, namespace: Mapping[str, Any]) -> str:
    """Return the line with the values of its variables.

    Raises:
        UsageError: if one cannot be evaluated; the text names it.
    """
    if "{" not in line and "}" not in line and "$" not in line:
        return line
    formatter = DollarFormatter()
    try:
        expanded: str = formatter.vformat(line, [], namespace)
    except NameError as error:
        name = error.name or str(error)
        near = suggest(name, [key for key in namespace if not key.startswith("_")])
        raise UsageError(
            f"{name!r} is not a variable of the notebook.{near} "
            "Write {{ }} and $$ for braces and dollar signs."
        ) from None
    except Exception as error:  # noqa: BLE001 - evaluates what the user wrote
        raise UsageError(
            f"the line cannot be expanded ({type(error).__name__}: {error}): "
            f"{line.strip()}. Write {{{{ }}}} and $$ for braces and dollar signs."
        ) from None
    return expanded
