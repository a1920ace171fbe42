"""Finds the names that a cell takes from its notebook, from its syntax tree.

Pure: it uses no namespace and executes nothing. A name is *needed* where the cell
certainly reads it before it binds it. It is *possible* where that depends on the path
the cell takes (a branch, a function that is called later, a magic's text); a possible
name that cannot travel is no error.
"""

from __future__ import annotations

import ast
import dis
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ipycron.notebook.capture.texts import NAMESPACES, RUNNERS, find_text_names
from ipycron.process.shell.source import FLAGS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import CodeType


def find_expansions(text: str) -> Iterator[ast.expr]:
    """Yield the expressions of `$name` and `{expression}` in a text.

    Text that is not Python is ignored: ``awk '{print $1}'``.
    """
    fields = [word for word in _split_dollars(text) if word.isidentifier()]
    try:
        parsed = list(string.Formatter().parse(text))
    except ValueError:  # a brace for the shell, not for IPython
        parsed = []
    fields += [name for _, name, _, _ in parsed if name]
    for source in fields:
        try:
            yield ast.parse(source.strip(), mode="eval").body
        except SyntaxError:
            continue


def _split_dollars(text: str) -> Iterator[str]:
    """Yield the identifiers that follow a single dollar."""
    for part in text.replace("$$", " ").split("$")[1:]:
        length = 0
        while length < len(part) and part[: length + 1].isidentifier():
            length += 1
        yield part[:length]


def find_code_globals(code: CodeType) -> tuple[set[str], set[str]]:
    """Return the global names that a function's code reads, and those it binds.

    Nested functions are included. More exact than `co_names`, which also holds
    attribute names.
    """
    reads: set[str] = set()
    binds: set[str] = set()
    own: set[str] = set()  # in a class body
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
    """Return all names in a function's code, including attributes, and its strings."""
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


MagicKind = Literal["line", "cell"]

_CODE_MAGICS = frozenset(
    {
        "capture",
        "lprun",
        "memit",
        "mprun",
        "pinfo",
        "pinfo2",
        "prun",
        "pdef",
        "pdoc",
        "psource",
        "snakeviz",
        "time",
        "timeit",
    }
)
"""Magics that take Python code: IPython's, line_profiler's, memory_profiler's."""

_HARMLESS_MAGICS = _CODE_MAGICS | {
    "bash",
    "cd",
    "conda",
    "config",
    "env",
    "html",
    "javascript",
    "js",
    "latex",
    "load_ext",
    "ls",
    "markdown",
    "matplotlib",
    "pip",
    "pwd",
    "reload_ext",
    "script",
    "set_env",
    "sh",
    "svg",
    "sx",
    "system",
    "uv",
    "who",
    "whos",
    "writefile",
    "xmode",
}
"""Magics that are known to bind no names."""

_LEAVES = (ast.Return, ast.Raise, ast.Continue, ast.Break)
_NAME_ERRORS = frozenset({"NameError", "Exception", "BaseException"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CellNames:
    """What a cell uses, each in the order of first use.

    Attributes:
        needed: read before the cell binds them.
        possible: perhaps read before the cell binds them.
        magics: the magics that it runs, by kind and name.
        expected: those of `needed` that only the notebook can provide.
        bound: all names that it may bind.
        binds_unseen: whether it may bind others that are not visible here (`exec`,
            ``%run``); nothing is `expected` then.
        attributes: all other names in its code: attributes, names in short strings.
        modules: the modules it imports, by full name.
    """

    needed: tuple[str, ...]
    possible: tuple[str, ...]
    magics: tuple[tuple[MagicKind, str], ...]
    expected: tuple[str, ...]
    bound: frozenset[str]
    binds_unseen: bool
    attributes: frozenset[str]
    modules: tuple[str, ...]


def find_names(tree: ast.Module, *, parse: Callable[[str], ast.Module]) -> CellNames:
    """Return the names that a cell uses.

    Args:
        tree: the cell, after IPython's rewriting.
        parse: parses IPython code inside a magic; raises `SyntaxError`.
    """
    visitor = _Visitor(parse, runs_texts=_runs_texts(tree))
    visitor.visit(tree)
    return visitor.finish()


class _Visitor(ast.NodeVisitor):
    """Walks a cell in order of execution and tracks which names are bound."""

    def __init__(self, parse: Callable[[str], ast.Module], *, runs_texts: bool) -> None:
        self._parse = parse
        self._runs_texts = runs_texts
        self._binds_unseen = False
        self._bound_in_loops: set[str] = set()
        self._attributes: set[str] = set()
        self._modules: dict[str, None] = {}
        self._names: dict[str, bool] = {}  # whether needed
        self._magics: dict[tuple[MagicKind, str], None] = {}
        self._bound: set[str] = set()
        self._maybe_bound: set[str] = set()
        self._class_scopes: list[set[str]] = []
        self._loop_scopes: list[set[str]] = []  # of comprehensions
        self._deferred: dict[str, None] = {}
        self._fallbacks: list[set[str]] = []  # see _find_fallbacks

    def finish(self) -> CellNames:
        """Return what was found; resolve what functions read against all bindings."""
        for name in self._deferred:
            self._note(name, is_needed=name not in self._bound | self._maybe_bound)
        needed = tuple(name for name in self._names if self._names[name])
        return CellNames(
            needed=needed,
            possible=tuple(name for name in self._names if not self._names[name]),
            magics=tuple(self._magics),
            expected=()
            if self._binds_unseen
            else tuple(name for name in needed if name not in self._bound_in_loops),
            bound=frozenset(self._bound | self._maybe_bound | self._bound_in_loops),
            binds_unseen=self._binds_unseen or "*" in self._bound,
            attributes=frozenset(self._attributes),
            modules=tuple(self._modules),
        )

    # --- reads and bindings -------------------------------------------------------

    def _note(self, name: str, *, is_needed: bool) -> None:
        self._names[name] = self._names.get(name, False) or is_needed

    def _read(self, name: str, *, is_needed: bool = True) -> None:
        if any(name in scope for scope in (*self._loop_scopes, *self._class_scopes)):
            return
        if name in self._bound:
            return
        is_doubtful = (
            name in self._maybe_bound
            or "*" in self._bound  # `from module import *` may have bound it
            or any(name in fallbacks for fallbacks in self._fallbacks)
        )
        self._note(name, is_needed=is_needed and not is_doubtful)

    def _bind(self, name: str) -> None:
        if self._class_scopes:
            self._class_scopes[-1].add(name)
        else:
            self._bound.add(name)

    def _defer(self, node: ast.stmt | ast.Lambda) -> None:
        """Record what a function body reads, whenever it is called."""
        module: Any = (
            ast.Expression(node)
            if isinstance(node, ast.Lambda)
            else ast.Module([node], [])
        )
        mode = "eval" if isinstance(node, ast.Lambda) else "exec"
        code = compile(module, "<names>", mode, FLAGS, dont_inherit=True)
        for constant in code.co_consts:
            if not hasattr(constant, "co_code"):
                continue
            reads, binds = find_code_globals(constant)
            for name in sorted(reads):
                if name not in self._bound and not self._is_loop_name(name):
                    self._deferred[name] = None
            self._maybe_bound |= binds
            names, texts = find_code_names(constant)
            self._attributes |= names
            self._modules.update(dict.fromkeys(sorted(find_code_modules(constant))))
            for text in sorted(texts):
                self._visit_string(text)

    def _is_loop_name(self, name: str) -> bool:
        return any(name in scope for scope in self._loop_scopes)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self._read(node.id)
        elif isinstance(node.ctx, ast.Store):
            self._bind(node.id)
        else:
            self._read(node.id)
            self._bound.discard(node.id)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self._attributes.add(node.attr)
        if isinstance(node.value, ast.Name) and node.value.id == "__main__":
            self._read(node.attr, is_needed=False)
        self.visit(node.value)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        """Look into ``globals()["name"]``, read or bound."""
        if _is_namespace(node.value):
            self._visit_key(node.slice, is_read=isinstance(node.ctx, ast.Load))
        self.generic_visit(node)

    def _visit_key(self, key: ast.expr, *, is_read: bool) -> None:
        if is_read and isinstance(key, ast.Constant) and isinstance(key.value, str):
            self._read(key.value, is_needed=False)
        self._binds_unseen |= not is_read

    # --- strings ------------------------------------------------------------------

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # a docstring or the like
            self.visit(node.value)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            self._visit_string(node.value)

    def _visit_string(self, text: str) -> None:
        """Record the names in a string; none has to exist."""
        if text.replace(".", "").isidentifier():
            self._attributes.update(text.split("."))
        for name in find_text_names(text, is_code=self._runs_texts):
            self._read(name, is_needed=False)

    # --- statements that bind -----------------------------------------------------

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        self._visit_all(node.targets)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self._read(node.target.id)
        self.visit(node.value)
        self.visit(node.target)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._visit_hint(node.annotation)
        if node.value is not None:
            self.visit(node.value)
            self.visit(node.target)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        self._bind(node.target.id)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._modules[alias.name] = None
            self._bind(alias.asname or alias.name.partition(".")[0])

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            if node.module:
                self._modules[node.module] = None
                self._modules[f"{node.module}.{alias.name}"] = None
            self._bind(alias.asname or alias.name)

    def _visit_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        arguments = node.args
        self._visit_all(node.decorator_list)
        self._visit_all([*arguments.defaults, *filter(None, arguments.kw_defaults)])
        for argument in ast.walk(arguments):
            if isinstance(argument, ast.arg) and argument.annotation is not None:
                self._visit_hint(argument.annotation)
        if node.returns is not None:
            self._visit_hint(node.returns)
        self._bind(node.name)  # before the body, which may call itself
        self._defer(node)

    visit_FunctionDef = visit_AsyncFunctionDef = _visit_function  # noqa: N815 - ast's

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._visit_all([*node.args.defaults, *filter(None, node.args.kw_defaults)])
        self._defer(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._visit_all([*node.decorator_list, *node.bases, *node.keywords])
        self._class_scopes.append(set())
        self._visit_all(node.body)
        self._class_scopes.pop()
        self._bind(node.name)

    def _visit_hint(self, node: ast.expr) -> None:
        """Visit an annotation: whether it is evaluated depends on the version."""
        for part in ast.walk(node):
            if isinstance(part, ast.Name):
                self._read(part.id, is_needed=False)

    # --- branches -----------------------------------------------------------------

    def _visit_all(self, nodes: Iterable[ast.AST]) -> None:
        for node in nodes:
            self.visit(node)

    def _take(self, body: list[ast.stmt], before: set[str]) -> set[str] | None:
        """Walk one path through the cell; return what it binds, None if it leaves."""
        self._bound = set(before)
        self._visit_all(body)
        self._maybe_bound |= self._bound
        return None if body and isinstance(body[-1], _LEAVES) else self._bound

    def _join(self, ways: Iterable[set[str] | None], otherwise: set[str]) -> None:
        """Keep what all the paths that continue have bound."""
        going_on = [way for way in ways if way is not None]
        self._bound = set.intersection(*going_on) if going_on else set(otherwise)

    def visit_If(self, node: ast.If) -> None:
        self.visit(node.test)
        before = set(self._bound)
        ways = [self._take(node.body, before), self._take(node.orelse, before)]
        self._join(ways, before)

    def _visit_for(self, node: ast.For | ast.AsyncFor) -> None:
        self.visit(node.iter)
        self._bound_in_loops |= _find_stores(node.body)
        before = set(self._bound)
        self.visit(node.target)
        self._take(node.body, self._bound)
        self._take(node.orelse, before)
        self._bound = before

    visit_For = visit_AsyncFor = _visit_for  # noqa: N815 - ast's

    def visit_While(self, node: ast.While) -> None:
        self.visit(node.test)
        self._bound_in_loops |= _find_stores(node.body)
        before = set(self._bound)
        self._take(node.body, before)
        self._take(node.orelse, before)
        self._bound = before

    def _visit_try(self, node: Any) -> None:
        before = set(self._bound)
        self._fallbacks.append(_find_fallbacks(node.handlers))
        ways = [self._take([*node.body, *node.orelse], before)]
        self._fallbacks.pop()
        for handler in node.handlers:
            self._bound = set(before)
            if handler.type is not None:
                self.visit(handler.type)
            name = {handler.name} - {None}
            way = self._take(handler.body, before | name)
            ways.append(None if way is None else way - name)
        self._join(ways, before)
        after = self._bound
        self._take(node.finalbody, before)
        self._bound = after | self._bound

    visit_Try = visit_TryStar = _visit_try  # noqa: N815 - ast's

    def visit_Match(self, node: ast.Match) -> None:
        self.visit(node.subject)
        before = set(self._bound)
        ways: list[set[str] | None] = []
        for case in node.cases:
            self._bound = set(before)
            self.visit(case.pattern)
            if case.guard is not None:
                self.visit(case.guard)
            ways.append(self._take(case.body, self._bound))
        last = node.cases[-1]
        is_complete = (
            isinstance(last.pattern, ast.MatchAs)
            and last.pattern.pattern is None
            and last.guard is None
        )
        self._join(ways if is_complete else [*ways, before], before)

    def _visit_capture(self, node: Any) -> None:
        """Bind the name of a pattern, after those inside it."""
        self.generic_visit(node)
        name = node.rest if isinstance(node, ast.MatchMapping) else node.name
        if name is not None:
            self._bind(name)

    visit_MatchAs = visit_MatchStar = visit_MatchMapping = _visit_capture  # noqa: N815 - ast's

    # --- comprehensions -----------------------------------------------------------

    def _visit_comprehension(self, node: Any) -> None:
        self.visit(node.generators[0].iter)
        scope: set[str] = set()
        self._loop_scopes.append(scope)
        for index, generator in enumerate(node.generators):
            if index:
                self.visit(generator.iter)
            for part in ast.walk(generator.target):
                if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                    scope.add(part.id)
                elif isinstance(part, ast.Name):
                    self._read(part.id)
            self._visit_all(generator.ifs)
        values = ("key", "value") if isinstance(node, ast.DictComp) else ("elt",)
        self._visit_all(getattr(node, value) for value in values)
        self._loop_scopes.pop()

    visit_ListComp = visit_SetComp = _visit_comprehension  # noqa: N815 - ast's
    visit_DictComp = visit_GeneratorExp = _visit_comprehension  # noqa: N815 - ast's

    # --- magics and commands ------------------------------------------------------

    def visit_Call(self, node: ast.Call) -> None:
        """Look into ``get_ipython().run_line_magic('time', 'f(x)')`` and its like."""
        match node.func:
            case ast.Attribute(
                value=ast.Call(func=ast.Name(id="get_ipython")), attr=method
            ):
                texts = [a.value for a in node.args if isinstance(a, ast.Constant)]
                self._visit_magic(method, texts)
            case ast.Attribute(value=namespace, attr="get" | "pop") if (
                _is_namespace(namespace) and node.args
            ):
                self._visit_key(node.args[0], is_read=True)
            case ast.Attribute(value=namespace, attr="update" | "setdefault") if (
                _is_namespace(namespace)
            ):
                self._binds_unseen = True
            case ast.Name(id="exec"):
                self._binds_unseen = True
        self.generic_visit(node)

    def _visit_magic(self, method: str, texts: list[Any]) -> None:
        if method == "run_line_magic" and len(texts) > 1:
            self._magics["line", texts[0]] = None
            self._visit_line(texts[0], texts[1])
        elif method == "run_cell_magic" and len(texts) > 2:  # noqa: PLR2004
            self._magics["cell", texts[0]] = None
            self._visit_line(texts[0], texts[1])
            if texts[0] in _CODE_MAGICS:
                self._visit_text(texts[2])
            else:
                self._visit_string(texts[2])
        elif method in ("system", "getoutput"):
            for text in texts[:1]:
                self._visit_expansions(text)
        else:
            self._binds_unseen = True

    def _visit_line(self, magic: str, line: str) -> None:
        self._visit_expansions(line)
        self._binds_unseen |= magic not in _HARMLESS_MAGICS or "--out" in line
        if magic == "capture":
            for name in line.split():
                self._bind(name)
        elif magic in _CODE_MAGICS:
            self._visit_options_and_code(line)

    def _visit_options_and_code(self, line: str) -> None:
        """Visit the code after a magic's options: the longest suffix that parses."""
        words = line
        while words:
            if self._visit_text(words):
                return
            words = words.partition(" ")[2].lstrip()

    def _visit_text(self, text: str) -> bool:
        try:
            tree = self._parse(text)
        except SyntaxError:
            return False
        self.visit(tree)
        return True

    def _visit_expansions(self, text: str) -> None:
        """Record the names in `$name` and `{expression}`; none has to exist."""
        for expression in find_expansions(text):
            for part in ast.walk(expression):
                if isinstance(part, ast.Name):
                    self._read(part.id, is_needed=False)


def _find_stores(body: Iterable[ast.AST]) -> set[str]:
    """Return the names that statements bind, except inside functions and classes."""
    return {
        part.id
        for statement in body
        for part in ast.walk(statement)
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
    }


def _is_namespace(node: ast.expr) -> bool:
    """Return whether an expression is ``globals()`` or the like."""
    match node:
        case ast.Call(func=ast.Name(id=name), args=[]) | ast.Attribute(attr=name):
            return name in NAMESPACES
    return False


def _runs_texts(tree: ast.Module) -> bool:
    """Return whether a cell passes strings, or all its variables, to other code."""
    asked = set()  # for one name only
    for node in ast.walk(tree):
        match node:
            case ast.Compare(ops=[ast.In() | ast.NotIn()], comparators=[namespace]):
                asked.add(namespace)
            case (
                ast.Subscript(value=namespace, slice=ast.Constant())
                | ast.Attribute(value=namespace)
            ):
                asked.add(namespace)
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Name(id=name) | ast.Attribute(attr=name), args=[_, *_]
            ) if name in RUNNERS:
                return True
            case ast.expr() if _is_namespace(node) and node not in asked:
                return True
    return False


def _find_fallbacks(handlers: list[ast.ExceptHandler]) -> set[str]:
    """Return the names that exception handlers bind if they are missing.

    ``try: connection`` / ``except NameError: connection = connect()`` keeps a
    connection from run to run; the notebook's own is not needed.
    """
    return {
        part.id
        for handler in handlers
        if _catches_name_error(handler)
        for statement in handler.body
        for part in ast.walk(statement)
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
    }


def _catches_name_error(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    names = {part.id for part in ast.walk(handler.type) if isinstance(part, ast.Name)}
    return bool(names & _NAME_ERRORS)
