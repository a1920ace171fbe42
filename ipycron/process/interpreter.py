"""Which Python runs ipycron's own programs, and with which of its options.

A frozen app and a program that embeds Python have none of their own in
`sys.executable`: to start that would start the whole app again, and each copy the next.
Source: `multiprocessing.set_executable` and `freeze_support` meet the same.
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
"""By their names in `sys.flags`: what changes how code runs, or which code does.
Options of the prompt and of debugging (-i, -q, -v, -d) are the client's alone."""


class _Choice:
    """The Python that was chosen by the user, if any."""

    executable: str | None = None


def set_executable(path: str | os.PathLike[str] | None) -> None:
    """Have background tasks run by this Python; None for the one that runs this code.

    For frozen apps and programs that embed Python. It needs the same version, and the
    packages that the jobs use, ipycron among them.

    Args:
        path: a Python interpreter.

    Raises:
        PythonNotFound: if there is no file that can be executed.
    """
    text = None if path is None else os.fspath(path)
    if text is not None and not os.access(text, os.X_OK):
        raise PythonNotFound(executable=text)
    _Choice.executable = text


def find_executable() -> str:
    """Return the Python for our programs.

    Raises:
        PythonNotFound: if this process is no Python, and none was chosen.
    """
    if _Choice.executable is not None:
        return _Choice.executable
    path = sys.executable
    if not path or getattr(sys, "frozen", False) or not _is_python(path):
        raise PythonNotFound(executable=path)
    return path


def _is_python(path: str) -> bool:
    """Return whether a program is called as a Python is: it is not run to find out."""
    names = {os.path.basename(path), os.path.basename(os.path.realpath(path))}  # noqa: PTH119
    return any(word in name.lower() for name in names for word in _NAMES)


def make_options() -> list[str]:
    """Return the options of this interpreter, for one that is to behave alike.

    Always with ``-P``: the working directory must not hide our modules.
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
    # Documented in the library's reference, in spite of its name.
    extras = sys._xoptions  # noqa: SLF001
    for name, value in extras.items():
        yield f"-X{name}" if value is True else f"-X{name}={value}"


def find_paths(root: str) -> str:
    """Return the folders that our programs import from, after their own.

    Args:
        root: ipycron's own.

    Returns:
        Folders with `os.pathsep` between them: without `site`, all that the user has
        added himself, for what ipycron needs is there.
    """
    folders = [*sys.path, root] if sys.flags.no_site else [root]
    return os.pathsep.join(map(str, folders))
