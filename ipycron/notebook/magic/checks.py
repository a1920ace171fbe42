"""What is refused before anything is scheduled, each with one clear line."""

# mypy: disable-error-code="no-untyped-call"
# Most of IPython's methods have no annotations.

from __future__ import annotations

import ast
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from ipycron.errors import TaskFileNotFound
from ipycron.notebook.capture.capture import check_syntax
from ipycron.notebook.magic.grammar import refuse_expression, split_expression
from ipycron.notebook.magic.usage import describe_syntax_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipycron.notebook.magic.options import CellOptions


def find_expression(words: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Return the expression that the words begin with, and the words behind it.

    Raises:
        CronSyntaxError: if they begin with none; the words up to a file are at fault.
    """
    found = split_expression(words)
    if found is not None:
        return found
    end = next((i for i, word in enumerate(words) if _is_file(word)), len(words))
    refuse_expression(words[:end])
    raise UsageError(f"{' '.join(words)!r} does not begin with a cron expression")


def _is_file(word: str) -> bool:
    with contextlib.suppress(OSError, ValueError):  # a name too long, a null byte
        return word.endswith(".py") or Path(word).expanduser().is_file()
    return False


def check_source(shell: Any, source: str) -> None:
    """Refuse a cell that cannot be run, or that has nothing to run."""
    try:
        check_syntax(source, shell)
    except SyntaxError as error:
        raise UsageError(describe_syntax_error(error)) from None
    if not ast.parse(shell.transform_cell(source)).body:
        raise UsageError(
            "the cell is empty: write what is to run below the line of %%cron"
        )


def find_file(text: str) -> Path:
    """Return a task file; refuse one that is no Python, without running it."""
    path = Path.cwd() / Path(text).expanduser()
    if not path.is_file():
        raise TaskFileNotFound(path=text, folder=str(Path.cwd()))
    try:
        compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
    except SyntaxError as error:
        where = f"{path.name}, "
        raise UsageError(describe_syntax_error(error, where=where)) from None
    except ValueError as error:  # a null byte, before Python 3.12
        raise UsageError(f"{path.name}: {error}") from None
    return path.resolve()


def check_cell_options(cell: CellOptions) -> None:
    """Refuse options of a cell that exclude each other."""
    if cell.no_capture and cell.capture is not None:
        raise UsageError("--capture and --no-capture exclude each other")
    if cell.inline and (cell.no_capture or cell.capture is not None):
        raise UsageError("--inline runs in the notebook itself and captures nothing")


def check_file_options(cell: CellOptions) -> None:
    """Refuse options of a cell for a file."""
    for flag, is_given in (
        ("--inline", cell.inline),
        ("--capture", cell.capture is not None),
        ("--no-capture", cell.no_capture),
    ):
        if is_given:
            raise UsageError(f"{flag} is for cells: a file takes no variables along")
