"""Arranges the zygote's heap so that workers write to few of its pages.

A worker gets its own copy of each page that it writes to, even of a single byte.

* What the zygote has freed leaves gaps between its objects. A worker would put its own
  objects there, a few on each of many pages. So the gaps are filled.
* Calling a function changes at least the reference count of its code, and code is
  scattered among everything that was loaded with it. So the functions that workers call
  get adjacent copies of their code.

Source: `Objects/obmalloc.c` of CPython, which keeps objects of up to 512 bytes in
pools, each for one size, and glibc's `malloc`, which CPython uses for larger ones. With
another allocator, adjacent objects are not found, and nothing is filled.
"""

from __future__ import annotations

import contextlib
import sys
from types import FunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType

    Places = dict[CodeType, dict[str, Any]]

_POOL_BYTES = 1 << 14  # on systems of 64 bits
_POOL_HEADER = 48
_POOL_SIZES = range(48, 513, 16)  # `bytes` has no smaller ones
_MALLOC_HEADER = 8
_MALLOC_SIZES = (*(1 << shift for shift in range(16, 10, -1)), *range(1024, 528, -16))
"""From large to small: what one size leaves of a gap, the next ones fill."""
_MALLOC_ROW = 3
"""Adjacent blocks that cannot be in a gap: larger ones would have filled it."""
_MOST_BYTES = 1 << 20
"""More than the gaps of one size."""

_EMPTY = sys.getsizeof(b"")
_fillers: list[bytes] = []


def fill_gaps() -> None:
    """Fill the gaps, for as long as this process lives."""
    with contextlib.suppress(MemoryError):  # workers then only take more memory
        for size in _POOL_SIZES:
            row = (_POOL_BYTES - _POOL_HEADER) // size // 4
            if not _fill(size, size, row, _POOL_HEADER + (row - 1) * size):
                return
        for size in _MALLOC_SIZES:
            if not _fill(size - _MALLOC_HEADER, size, _MALLOC_ROW):
                return


def _fill(size: int, step: int, row: int, end: int | None = None) -> bool:
    """Create objects of one size until no gap is left for it.

    Args:
        size: bytes of each.
        step: bytes from one to the next if they are adjacent.
        row: how many adjacent ones show that no gap is left. They are freed again.
        end: where in its pool the last of these must be; None for any place.

    Returns:
        whether they were found. If not, none of the objects are kept.
    """
    last = length = 0
    before = len(_fillers)
    for _ in range(_MOST_BYTES // size + row):
        filler = bytes(size - _EMPTY)
        _fillers.append(filler)
        length = length + 1 if id(filler) == last + step else 1
        last = id(filler)
        if length >= row and end in {None, last % _POOL_BYTES}:
            del _fillers[-row:]
            return True
    del _fillers[before:]
    return False


def record_code(call: Callable[[], None]) -> Places:
    """Return the code that a call executes, with the globals of its function."""
    places: Places = {}

    def record(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            places[frame.f_code] = frame.f_globals

    profile = sys.getprofile()
    sys.setprofile(record)
    try:
        call()
    finally:
        sys.setprofile(profile)
    return places


def gather_code(places: Places) -> None:
    """Give functions adjacent copies of their code."""
    fill_gaps()
    for code, names in places.items():
        function = _find_function(code, names)
        if function is not None:
            function.__code__ = code.replace()


def _find_function(code: CodeType, names: dict[str, Any]) -> FunctionType | None:
    """Return the function that has this code, if it is found under its name."""
    *classes, name = code.co_qualname.split(".")
    try:
        for cls in classes:
            names = names[cls].__dict__
        value = names[name]
    except (KeyError, AttributeError):
        return None  # defined in a function, or under another name
    function = getattr(value, "__func__", value)
    is_it = type(function) is FunctionType and function.__code__ is code
    return function if is_it else None
