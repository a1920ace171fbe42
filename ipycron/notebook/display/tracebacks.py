"""Parses a traceback's text: its errors, newest first, and their frames.

Both renderings are parsed: IPython's, as in cells, and Python's own. Unrecognised text
is shown as it is.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import ipycron
from ipycron.notebook.display.ansi import strip_ansi

if TYPE_CHECKING:
    from collections.abc import Iterator

CAUSED = "Caused by"
HANDLED = "While handling"
_RELATIONS = {
    "The above exception was the direct cause of the following exception:": CAUSED,
    "During handling of the above exception, another exception occurred:": HANDLED,
}
_RULE = re.compile(r"-{20,}")
_HEADING = re.compile(r"(?:(?P<name>\w+) {2,})?Traceback \(most recent call last\):?")
_PLAIN_HEADING = "Traceback (most recent call last):"
_FRAME = re.compile(r"(?: {2})?(?:File|Cell) \S")
_PATH = re.compile(r" *File \"?(?P<path>.+?)\"?(?:, line \d+|:\d+|$)")
_TITLE = re.compile(r"[^\W\d][\w.]*(?::|$)")
_LIBRARY = re.compile(
    r"/(?:site|dist)-packages/(?P<package>[^/]+)"
    r"|/lib/python3\.\d+/(?!(?:site|dist)-packages/)(?P<module>[^/]+)"
    r"|^<frozen (?P<frozen>[\w.]+)"
    r"|^(?P<compiled>\w+)/.*\.(?:pyx|pxi|pxd)$"
)
_SUFFIX = re.compile(r"\.pyc?$")
_OWN = f"{Path(ipycron.__file__).parent}{os.sep}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Lines of a traceback that show one frame.

    Attributes:
        first: the number of the first line, from 0.
        end: the number of the line after the last one.
        library: the library its file belongs to; empty for the user's own files.
    """

    first: int
    end: int
    library: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorText:
    """Lines of a traceback that show one error.

    Attributes:
        first: the first of the lines that state the error, including its notes.
        end: the number of the line after them.
        frames: where it was raised, the outermost frame first.
        relation: how it relates to the previous error in the list; empty for the first.
    """

    first: int
    end: int
    frames: tuple[Frame, ...]
    relation: str


def read_errors(text: str) -> tuple[ErrorText, ...]:
    """Return the errors of a traceback: the last one raised, then its causes.

    Empty if the text is no traceback of the usual form: a group of exceptions, a
    syntax error.
    """
    lines = strip_ansi(text).split("\n")
    errors: list[ErrorText] = []
    first, relation = 0, ""
    for end in [*_find_relations(lines), len(lines)]:
        error = _read_error(lines, first, end)
        if error is None:
            return ()
        errors.append(error)
        relation = _RELATIONS.get(lines[end].strip(), "") if end < len(lines) else ""
        if relation:
            errors[-1] = ErrorText(
                first=error.first, end=error.end, frames=error.frames, relation=relation
            )
        first = end + 1
    return tuple(reversed(errors))


def _find_relations(lines: list[str]) -> list[int]:
    return [n for n, line in enumerate(lines) if line.strip() in _RELATIONS]


def _read_error(lines: list[str], first: int, end: int) -> ErrorText | None:
    while end > first and not lines[end - 1].strip():
        end -= 1
    while first < end and (not lines[first].strip() or _RULE.fullmatch(lines[first])):
        first += 1
    heading = _HEADING.fullmatch(lines[first].strip()) if first < end else None
    if heading is None:
        return None
    name = heading["name"]
    title = _find_title(lines, first + 1, end, name)
    if title is None:
        return None
    frames = tuple(_read_frames(lines, first + 1, title))
    return ErrorText(first=title, end=end, frames=frames, relation="")


def _find_title(lines: list[str], first: int, end: int, name: str | None) -> int | None:
    """Return the line that states the error: the first that is not indented."""
    for number in range(first, end):
        line = lines[number]
        if name is not None and re.match(rf"{re.escape(name)}(?::|$)", line):
            return number
        if name is None and _TITLE.match(line):
            return number
    return None


def _read_frames(lines: list[str], first: int, end: int) -> Iterator[Frame]:
    while first < end and not lines[first].strip():
        first += 1
    if first == end:
        return
    # Lines before the first frame belong to it: nothing is left out.
    starts = [n for n in range(first + 1, end) if _FRAME.match(lines[n])]
    starts.insert(0, first)
    for start, following in zip(starts, [*starts[1:], end], strict=True):
        stop = following
        while not lines[stop - 1].strip():
            stop -= 1
        yield Frame(first=start, end=stop, library=find_library(lines[start]))


def find_library(line: str) -> str:
    """Return the library named in the first line of a frame; empty if none."""
    match = _PATH.match(line)
    if match is None:
        return ""
    path = match["path"]
    if os.path.expanduser(path).startswith(_OWN):  # noqa: PTH111 - Path's raises
        return "ipycron"
    found = _LIBRARY.search(path)
    if found is None:
        return ""
    name = next(part for part in found.groups() if part)
    return _SUFFIX.sub("", name)


def tidy(text: str) -> str:
    r"""Return a traceback without the rule above it, with Python's heading.

    Examples:
        >>> tidy("-" * 75 + "\nKeyError            Traceback (most recent call last)")
        'Traceback (most recent call last):'
    """
    lines = [(line, strip_ansi(line)) for line in text.split("\n")]
    return "\n".join(
        _PLAIN_HEADING if _HEADING.fullmatch(plain) else line
        for line, plain in lines
        if not _RULE.fullmatch(plain)
    )
