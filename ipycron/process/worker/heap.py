"""Arranges the zygote's heap so that workers write on few of its pages.

A page that a worker writes becomes its own, whatever else lies there.

What the zygote has freed leaves gaps between its objects. A worker would put its own
into them, a few on each of many pages. So the gaps are filled.

Source: `Objects/obmalloc.c` of CPython, where objects of up to 512 bytes lie in pools,
each for one size; and `malloc` of glibc, where larger ones lie. Other ways to manage
memory do no harm: filling then stops at `_MOST_BYTES` of each size.
"""

from __future__ import annotations

import contextlib
import sys

_POOL_BYTES = 1 << 14  # on systems of 64 bits
_POOL_HEADER = 48
_POOL_SIZES = range(48, 513, 16)  # `bytes` has no smaller ones
_MALLOC_HEADER = 8
_MALLOC_SIZES = (*(1 << shift for shift in range(16, 10, -1)), *range(1024, 528, -16))
"""From large to small: what one size leaves of a gap is filled by the next ones."""
_MALLOC_ROW = 3
"""Blocks side by side that lie in no gap: larger ones would have filled it."""
_MOST_BYTES = 1 << 18

_EMPTY = sys.getsizeof(b"")
_fillers: list[bytes] = []


def fill_gaps() -> None:
    """Fill the gaps, for as long as this process lives."""
    with contextlib.suppress(MemoryError):  # workers then only take more memory
        for size in _POOL_SIZES:
            row = (_POOL_BYTES - _POOL_HEADER) // size // 4
            _fill(size, size, row, _POOL_HEADER + (row - 1) * size)
        for size in _MALLOC_SIZES:
            _fill(size - _MALLOC_HEADER, size, _MALLOC_ROW)


def _fill(size: int, step: int, row: int, end: int | None = None) -> None:
    """Create objects of a size until a row of them lies in no gap.

    Args:
        size: bytes of each.
        step: bytes from one to the next in a row.
        row: how many lie side by side where no gap is left. They are freed again.
        end: where the row's last one must lie in its pool, if in one.
    """
    last = length = 0
    for _ in range(_MOST_BYTES // size + row):
        filler = bytes(size - _EMPTY)
        _fillers.append(filler)
        length = length + 1 if id(filler) == last + step else 1
        last = id(filler)
        if length >= row and end in {None, last % _POOL_BYTES}:
            break
    del _fillers[-row:]
