"""Which Python runs ipycron's own programs, and with which options.

In a frozen app, or a program that embeds Python, `sys.executable` is not a Python
interpreter: starting it would start the whole app again, which would start the next.
Source: `multiprocessing.set_executable` and `freeze_support` solve the same problem.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from ipycron.errors import PythonNotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAMES = ("python", "pypy", "graalpy")
_FLAGS = {
    "bytes_warning": "b",
    "dont_write_bytecode": "B",
    "ignore_environment": "E",
    "isolated": "I",
    "no_site": "S",
    "no_user_site": "s",
    "optimize": "O",
}
"""Options that change which code runs, or how, by their names in `sys.flags`. Options
for the prompt and for debugging (-i, -q, -v, -d) are not passed on."""


class _Choice:
    """The Python that the user has chosen, if any."""

    executable: str | None = None


def set_executable(path: str | os.PathLike[str] | None) -> None:
    """Run background tasks with this Python; None for the one that runs this code.

    For frozen apps and programs that embed Python. The interpreter must be of the same
    version and have the packages that the jobs use, including ipycron.

    Args:
        path: a Python interpreter.

    Raises:
        PythonNotFound: if `path` is not an executable file.
    """
    text = None if path is None else os.fspath(path)
    if text is not None and not os.access(text, os.X_OK):
        raise PythonNotFound(executable=text)
    _Choice.executable = text


def find_executable() -> str:
    """Return the Python for our programs.

    Raises:
        PythonNotFound: if this process is not a Python interpreter and none was chosen.
    """
    if _Choice.executable is not None:
        return _Choice.executable
    path = sys.executable
    if not path or getattr(sys, "frozen", False) or not _is_python(path):
        raise PythonNotFound(executable=path)
    return path


def _is_python(path: str) -> bool:
    """Return whether a program has the name of a Python; it is not run to find out."""
    names = {os.path.basename(path), os.path.basename(os.path.realpath(path))}  # noqa: PTH119
    return any(word in name.lower() for name in names for word in _NAMES)


def make_options() -> list[str]:
    """Return the options that make another interpreter behave like this one.

    Always includes ``-P``: files in the working directory must not shadow our modules.
    """
    flags = [
        "-" + letter * getattr(sys.flags, name)
        for name, letter in _FLAGS.items()
        if getattr(sys.flags, name)
    ]
    return ["-P", *flags, *_make_warnings(), *_make_extras()]


def _make_warnings() -> Iterator[str]:
    for option in sys.warnoptions:
        yield f"-W{option}"


def _make_extras() -> Iterator[str]:
    # Documented in the library reference, despite its name.
    extras = sys._xoptions  # noqa: SLF001
    for name, value in extras.items():
        yield f"-X{name}" if value is True else f"-X{name}={value}"


def find_paths(root: str) -> str:
    """Return the folders to append to our programs' `sys.path`.

    Args:
        root: the folder that contains ipycron.

    Returns:
        Folders separated by `os.pathsep`. With ``-S`` (no `site`) they include this
        process's `sys.path`, since the packages that ipycron needs are found there.
    """
    folders = [*sys.path, root] if sys.flags.no_site else [root]
    return os.pathsep.join(map(str, folders))
