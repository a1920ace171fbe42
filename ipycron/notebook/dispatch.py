"""From the line of a magic to what it asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from ipycron.notebook.commands import COMMANDS, run_command
from ipycron.notebook.declare import declare_cell, declare_file
from ipycron.notebook.expansion import expand
from ipycron.notebook.grammar import parse_words, split_words
from ipycron.notebook.magic_options import get_task_options
from ipycron.notebook.usage import usage_errors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipycron.notebook.session import Notebook


def run_magic(
    notebook: Notebook, line: str, cell: str | None, local_ns: Mapping[str, Any]
) -> None:
    """Do what a line says.

    Args:
        notebook: where it stands.
        line: what follows `%cron` or `%%cron`, as typed.
        cell: the body below `%%cron`; None for `%cron`.
        local_ns: the variables of the function that the line stands in.

    Raises:
        UsageError: for everything that is the user's to mend, one line.
    """
    line = expand(line, {**notebook.shell.user_ns, **local_ns})
    try:
        words = split_words(line)
    except ValueError as error:
        raise UsageError(str(error)) from None
    with usage_errors():
        if cell is None and (not words or words[0] in COMMANDS):
            run_command(notebook, words)
            return
        parsed = parse_words(words, get_task_options(), find=notebook.find_variable)
        if cell is None:
            declare_file(notebook, parsed)
        else:
            declare_cell(notebook, parsed, cell)
