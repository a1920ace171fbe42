"""The source of cells and other code without a file, for tracebacks and `inspect`."""

from __future__ import annotations

import linecache
import re
import sys
from typing import Any

_PLACE = re.compile(r'File "([^"\n]+)", line ')


def register_source(filename: str, source: str, label: str) -> None:
    """Register the lines of a cell for tracebacks and `inspect`.

    `label` takes the place of the full name in the `linecache` entry, which is
    only used for files: a shell's tracebacks then read ``Cell <label>, line 3``.
    An entry without a time stamp is never checked against the disk.
    """
    lines = source.splitlines(keepends=True)
    linecache.cache[filename] = (len(source), None, lines, label)


def find_lines(filename: str) -> list[str] | None:
    """Return the lines of a registered source, or None for any other file.

    The entry's own list: a pickle that refers to it several times holds it once.
    """
    entry = linecache.cache.get(filename)
    if entry is None or len(entry) != 4 or entry[1] is not None:  # noqa: PLR2004 - a lazy entry has one part
        return None
    return entry[2]


def find_label(filename: str) -> str | None:
    """Return the label of a registered source, or None for any other file."""
    if find_lines(filename) is None:
        return None
    label: str = linecache.cache[filename][3]  # type: ignore[misc] # its entry has four parts
    return label if label != filename else None


def name_cell(filename: str) -> str | None:
    """Return a source's label, or IPython's name for a cell of this process."""
    if find_lines(filename) is None:
        return None
    label = find_label(filename)
    return _find_number(filename) if label is None else label


def _find_number(filename: str) -> str | None:
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    name = shell.compile.format_code_name(filename) if shell is not None else None
    return name[1] if name else None


def name_cells(text: str) -> str:
    """Return a traceback's text with the display names of cells."""

    def name(place: re.Match[str]) -> str:
        label = name_cell(place[1])
        return place[0] if label is None else f"Cell {label}, line "

    return _PLACE.sub(name, text)
