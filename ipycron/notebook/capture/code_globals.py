"""Which names a function uses, read from its code."""

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


def find_code_names(code: CodeType) -> tuple[set[str], set[str]]:
    """Return all names in a function's code, those of attributes too, and its texts."""
    names, texts = set(code.co_names), set()
    pending = list(code.co_consts)
    while pending:
        constant = pending.pop()
        if isinstance(constant, str):
            texts.add(constant)
        elif isinstance(constant, tuple | frozenset):
            pending.extend(constant)
        elif hasattr(constant, "co_code"):
            inner_names, inner_texts = find_code_names(constant)
            names |= inner_names
            texts |= inner_texts
    return names, texts


def find_code_modules(code: CodeType) -> set[str]:
    """Return the full names of the modules that a function imports."""
    found = set()
    for instruction in dis.get_instructions(code):
        if instruction.opname == "IMPORT_NAME":
            found.add(instruction.argval)
    for constant in code.co_consts:
        if hasattr(constant, "co_code"):
            found |= find_code_modules(constant)
    return found
