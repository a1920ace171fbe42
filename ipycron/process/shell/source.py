"""A cell's source, parsed and compiled so that errors refer to the cell as typed.

IPython rewrites ``!ls``, ``%time`` and the like into Python before it compiles a
cell; leading blank lines are dropped, continued lines are joined. Tracebacks would then
number and quote lines that the user never wrote. Here every position is mapped back,
and tracebacks quote the user's text.

Blank lines at the top of a source count: a caller that replaces a header of n lines
with n blank ones gets the line numbers of the whole cell.
"""

from __future__ import annotations
import __future__

import ast
import difflib
import functools
import inspect
import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType

FLAGS = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT

_FUTURE_FLAGS = functools.reduce(
    operator.or_,
    (getattr(__future__, name).compiler_flag for name in __future__.all_feature_names),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedCell:
    """A cell as a syntax tree, with the line numbers of the source as typed.

    Attributes:
        source: the text as typed.
        tree: its statements.
        is_quiet: whether its last expression is followed by a semicolon.
        filename: what tracebacks call it.
    """

    source: str
    tree: ast.Module
    is_quiet: bool
    filename: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledCell:
    """A cell, ready to run.

    Attributes:
        parts: code to run in order; if `has_value`, the value of the last part is the
            cell's. A part that awaits returns a coroutine.
        has_value: whether the cell ends in an expression (and no semicolon).
        is_async: whether a part awaits.
    """

    parts: tuple[CodeType, ...]
    has_value: bool
    is_async: bool


def parse_cell(
    source: str, *, transform: Callable[[str], str], filename: str
) -> ParsedCell:
    """Parse a cell of IPython code.

    Args:
        source: the text as typed.
        transform: IPython's rewriting, a shell's `transform_cell`.
        filename: what errors and tracebacks call the cell.

    Raises:
        SyntaxError: with the line, and the text of the line, as typed.
    """
    transformed = source
    if "\0" in source:
        line = source.count("\n", 0, source.index("\0")) + 1
        raise SyntaxError("a cell cannot contain null bytes", (filename, line, 1, None))
    try:
        transformed = transform(source)
        tree = compile(
            transformed, filename, "exec", FLAGS | ast.PyCF_ONLY_AST, dont_inherit=True
        )
    except SyntaxError as error:
        _Positions(source, transformed).correct(error)
        error.filename = filename
        _make_picklable(error)
        raise
    except ValueError as error:  # a lone surrogate
        raise SyntaxError(str(error), (filename, 1, 1, None)) from error
    is_quiet = _ends_in_semicolon(tree, transformed)
    if transformed.rstrip() != source.rstrip():
        _Positions(source, transformed).move(tree)
    return ParsedCell(source=source, tree=tree, is_quiet=is_quiet, filename=filename)


def compile_cell(cell: ParsedCell) -> CompiledCell:
    """Compile a cell: its statements, then its trailing expression.

    Raises:
        SyntaxError: for code that the grammar accepts but the compiler does not, such
            as ``return`` outside of a function.
    """
    body = list(cell.tree.body)
    last = body[-1] if body else None
    parts, flags = [], FLAGS
    if isinstance(last, ast.Expr):
        del body[-1]
    if body:
        module = ast.Module(body, cell.tree.type_ignores)
        parts.append(_compile(cell, module, "exec", flags))
        flags |= parts[0].co_flags & _FUTURE_FLAGS
    if isinstance(last, ast.Expr):
        parts.append(_compile(cell, ast.Expression(last.value), "eval", flags))
    return CompiledCell(
        parts=tuple(parts),
        has_value=isinstance(last, ast.Expr) and not cell.is_quiet,
        is_async=any(is_coroutine_code(part) for part in parts),
    )


def is_coroutine_code(code: CodeType) -> bool:
    """Return whether evaluating a part of a cell returns a coroutine."""
    return bool(code.co_flags & inspect.CO_COROUTINE)


def _compile(
    cell: ParsedCell, tree: ast.Module | ast.Expression, mode: str, flags: int
) -> CodeType:
    try:
        code: CodeType = compile(tree, cell.filename, mode, flags, dont_inherit=True)
    except SyntaxError as error:
        lines = cell.source.splitlines(keepends=True)
        error.text = lines[(error.lineno or 1) - 1]  # a tree holds no text to quote
        _make_picklable(error)
        raise
    return code


def _make_picklable(error: SyntaxError) -> None:
    """Make an error keep its attributes when it is rebuilt from its arguments."""
    place = (error.filename, error.lineno, error.offset, error.text)
    error.args = (error.msg, (*place, error.end_lineno, error.end_offset))


def _ends_in_semicolon(tree: ast.Module, source: str) -> bool:
    last = tree.body[-1] if tree.body else None
    if not isinstance(last, ast.Expr) or last.end_lineno is None:
        return False
    line = source.splitlines()[last.end_lineno - 1].encode()
    return line[last.end_col_offset :].lstrip().startswith(b";")


class _Positions:
    """Maps each line of the rewritten source to the source as typed."""

    def __init__(self, typed: str, rewritten: str) -> None:
        self._typed = typed.splitlines() or [""]
        self._rewritten = rewritten.splitlines() or [""]
        self._sources = list(self._align())

    def _align(self) -> Iterator[int]:
        """Yield, for each rewritten line, the index of the typed line it comes from."""
        matcher = difflib.SequenceMatcher(
            None, self._typed, self._rewritten, autojunk=False
        )
        # Lines that vanish at the top are blank; the rest come from below them.
        blank = (i for i, line in enumerate(self._typed) if line.strip())
        first = next(blank, 0)
        for _, start, end, new_start, new_end in matcher.get_opcodes():
            start = max(start, min(first, end - 1))  # noqa: PLW2901
            for offset in range(new_end - new_start):
                yield max(0, min(start + offset, end - 1))

    def correct(self, error: SyntaxError) -> None:
        """Give a syntax error the line numbers and text as typed."""
        index = self._clamp(error.lineno)
        end = self._clamp(error.end_lineno or error.lineno)
        if not self._is_kept(index):
            error.offset = error.end_offset = None
        error.lineno = self._sources[index] + 1
        error.end_lineno = self._sources[end] + 1
        error.text = self._typed[self._sources[index]] + "\n"
        error.msg = re.sub(r"\bline (\d+)", self._correct_mention, error.msg)

    def _correct_mention(self, mention: re.Match[str]) -> str:
        """Return ``line 3`` from a message with the number of the typed line."""
        return f"line {self._sources[self._clamp(int(mention[1]))] + 1}"

    def _clamp(self, number: int | None) -> int:
        """Return the index of a rewritten line; the end of file may lie beyond all."""
        return min(max(number or 1, 1), len(self._sources)) - 1

    def move(self, tree: ast.Module) -> None:
        """Give every node its typed position; a rewritten line is taken as a whole."""
        for node in ast.walk(tree):
            if hasattr(node, "lineno"):
                self._move(node)

    def _move(self, node: Any) -> None:
        start, end = node.lineno - 1, node.end_lineno - 1
        node.lineno = self._sources[start] + 1
        node.end_lineno = self._sources[end] + 1
        if not self._is_kept(start):
            node.col_offset = 0
        if not self._is_kept(end):
            node.end_col_offset = len(self._typed[self._sources[end]].encode())
        if node.end_lineno == node.lineno:
            node.end_col_offset = max(node.col_offset, node.end_col_offset)

    def _is_kept(self, index: int) -> bool:
        return self._rewritten[index] == self._typed[self._sources[index]]
