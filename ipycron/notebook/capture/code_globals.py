"""Which global names a function uses, read from its code."""

from __future__ import annotations

import dis
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import CodeType


def find_code_globals(code: CodeType) -> tuple[set[str], set[str]]:
    """Return the global names that a function's code reads, and those it binds.

    Functions inside of it are included. More exact than `co_names`, which holds
    the names of attributes too.
    """
    reads: set[str] = set()
    binds: set[str] = set()
    own: set[str] = set()  # of the body of a class
    for instruction in dis.get_instructions(code):
        operation = instruction.opname
        if operation == "STORE_GLOBAL":
            binds.add(instruction.argval)
        elif operation == "STORE_NAME":
            own.add(instruction.argval)
        elif "GLOBAL" in operation or operation == "LOAD_NAME":
            reads |= {instruction.argval} - own
    for constant in code.co_consts:
        if hasattr(constant, "co_code"):
            inner_reads, inner_binds = find_code_globals(constant)
            reads |= inner_reads
            binds |= inner_binds
    return reads, binds
