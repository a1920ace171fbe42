"""Which names a cell takes from its notebook, judging by its source alone."""

import ast

import pytest

from ipycron.notebook.capture.names import find_expansions, find_names


def parse(source):
    """Parse a cell after IPython's rewriting."""
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    return compile(source, "<cell>", "exec", flags)


def find(source):
    """Return the needed and the possible names, without built-ins."""
    names = find_names(parse(source), parse=parse)
    ignored = {"print", "len", "range", "open", "NameError", "Exception", "get_ipython"}
    needed = " ".join(name for name in names.needed if name not in ignored)
    possible = " ".join(name for name in names.possible if name not in ignored)
    return needed, possible


@pytest.mark.parametrize(
    ("source", "needed", "possible"),
    [
        # reads and bindings, in order
        ("x + y", "x y", ""),
        ("x = 1\nx", "", ""),
        ("x = x + 1", "x", ""),
        ("x += 1", "x", ""),
        ("x[i] += 1", "x i", ""),
        ("x[i] = y", "y x i", ""),
        ("x.a.b = 1", "x", ""),
        ("x.a.b.c(y)", "x y", ""),
        ("del x", "x", ""),
        ("x = 1\ndel x\nx", "x", ""),
        ("del x.a, y[0]", "x y", ""),
        ("a, (b, *c) = t\na, b, c", "t", ""),
        ("x: T = y", "y", "T"),
        ("x: T", "", "T"),
        ("(n := m) + n", "m", ""),
        ("print(f'{a!r:{b}}')", "a b", ""),
        ("await go(y)", "go y", ""),
        ("import a.b, c as d\nfrom e import f\na, d, f, c", "c", ""),
        ("from os import *\npath", "", "path"),
        ("path\nfrom os import *", "path", ""),
        ("with open(p) as f:\n    f.read()", "p", ""),
        ("with a as (b, c), d(b):\n    c", "a d", ""),
        # branches
        ("if t:\n    v = 1\nv", "t", "v"),
        ("if t:\n    v = 1\nelse:\n    v = 2\nv", "t", ""),
        ("if t:\n    v = 1\nelse:\n    raise E\nv", "t E", ""),
        ("if t:\n    raise E\nelif u:\n    raise F\nv", "t E u F v", ""),
        ("if t:\n    raise E\nelse:\n    raise F\nv", "t E F v", ""),
        ("for i in a:\n    z = i\nz, i", "a", "z i"),
        ("for i in a:\n    if z: pass\n    z = i", "a z", ""),
        ("for i in a:\n    if i: continue\n    z = i\nelse:\n    w", "a w", ""),
        ("while x:\n    x = y\ny", "x y", ""),
        ("async for i in a:\n    i", "a", ""),
        ("try:\n    x = f()\nexcept E as e:\n    x = e\nx", "f E", ""),
        ("try:\n    x = f()\nexcept E as e:\n    pass\nx, e", "f E", "x e"),
        ("try:\n    x = f()\nexcept E:\n    raise\nx", "f E", ""),
        ("try:\n    x = 1\nfinally:\n    y = x\nx, y", "", "x"),
        ("try:\n    x = 1\nexcept* E:\n    x = 2\nelse:\n    x\nx", "E", ""),
        ("try:\n    c\nexcept NameError:\n    c = d()\nc", "d", "c"),
        ("try:\n    c\nexcept:\n    c = d()\nc", "d", "c"),
        ("try:\n    c(b)\nexcept NameError:\n    b = 1", "c", "b"),
        ("try:\n    c\nexcept KeyError:\n    c = d()", "c KeyError d", ""),
        ("try:\n    c\nexcept Exception:\n    print(c)", "c", ""),
        ("match x:\n    case {'a': b, **r}: b, r\n    case P(u) if v: u", "x P v", ""),
        ("match x:\n    case [s, *t]: y = s\n    case _: y = 2\ny", "x", ""),
        ("match x:\n    case 1 as one: y = one\ny", "x", "y"),
        ("match x:\n    case a.b: pass", "x a", ""),
        # scopes
        ("[q for q in w if q in e]", "w e", ""),
        ("[q for w in q for q in w]", "q", ""),
        ("{k: v for k, v in d.items()}", "d", ""),
        ("list(i for i in z)\ni", "list z i", ""),
        ("[y := i for i in z]\ny", "z", ""),
        ("[lambda: i + j for i in z]", "z j", ""),
        ("[0 for x.a in y]", "y x", ""),
        ("lambda p, q=d: p + r", "d r", ""),
        ("def f(a, *b, c=d, **e):\n    return a, b, c, e, g", "d g", ""),
        ("def f(a: A, *, b: B = c) -> R: ...", "c", "A B R"),
        ("@deco(x)\ndef f(): ...", "deco x", ""),
        (
            "def f():\n    y = x\n    def g():\n        return y, z\n    return g",
            "x z",
            "",
        ),
        ("def f():\n    return f()\nf()", "", ""),
        ("def f():\n    return h()\ndef h(): ...\nf()", "", "h"),
        ("async def f():\n    return [x async for y in z]", "x z", ""),
        ("def f():\n    global c\n    c = 1\nf()\nc", "", "c"),
        ("def f():\n    global c\n    c += 1\nf()", "", "c"),
        ("def f():\n    class A:\n        b = x\n        c = b", "__name__ x", ""),
        ("def f():\n    import m\n    return m.x", "", ""),
        ("class A(B, metaclass=M):\n    k = m\n    j = k", "B M m", ""),
        ("class A:\n    k = 1\n    def f(self): return k, self.z", "k", ""),
        ("class A:\n    @property\n    def f(self): return x\nA", "property x", ""),
        ("class A:\n    k = 1\nk", "k", ""),
    ],
)
def test_names_are_what_the_cell_takes(source, needed, possible):
    """Needed: read before it is bound. Possible: read on some paths only."""
    assert find(source) == (needed, possible)


def call(method, *texts):
    """Return IPython's rewriting of a magic."""
    return f"get_ipython().{method}({', '.join(map(repr, texts))})"


@pytest.mark.parametrize(
    ("source", "needed", "possible"),
    [
        (call("system", "echo $HOME {x + 1} $$y ${z} {a[0]:>3}"), "", "HOME x z a"),
        (call("system", "awk '{print $1}' { $"), "", ""),
        ("files = " + call("getoutput", "ls {folder}") + "\nfiles", "", "folder"),
        (call("run_line_magic", "time", "f(x)"), "f x", ""),
        (call("run_line_magic", "timeit", "-n 10 -r 3 f(x)"), "f x", ""),
        (call("run_line_magic", "timeit", "-n 10"), "", ""),
        (call("run_line_magic", "cd", "data {sub}"), "", "sub"),
        (call("run_line_magic", "pinfo", "obj"), "obj", ""),
        (call("run_cell_magic", "time", "", "a = b\na + c"), "b c", ""),
        (call("run_cell_magic", "timeit", "s = t", "s + u"), "t u", ""),
        (call("run_cell_magic", "capture", "out", "print(q)") + "\nout", "q", ""),
        (call("run_cell_magic", "bash", "$x", "echo {y} $z"), "", "x"),
        (call("run_cell_magic", "time", "", "a = ("), "", ""),
        ("get_ipython().run_line_magic(magic, line)", "magic line", ""),
        ("get_ipython().system()", "", ""),
        (call("run_line_magic", "time"), "", ""),
    ],
)
def test_names_in_magics_are_found(source, needed, possible):
    """A magic runs code; names that a command expands may exist or not."""
    assert find(source) == (needed, possible)


def test_magics_are_listed_once_with_their_kind():
    """The magics of a cell, including those inside `%%time`."""
    source = (
        f"{call('run_line_magic', 'cd', 'x')}\n{call('run_line_magic', 'cd', 'y')}\n"
        + call("run_cell_magic", "time", "", call("run_line_magic", "sql", "q"))
    )
    names = find_names(parse(source), parse=parse)
    assert names.magics == (("line", "cd"), ("cell", "time"), ("line", "sql"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$a $b.c ${d} {e.f} {g!r} {{h}} $1 $$i", "a b d e.f g"),
        ("{", ""),
        ("{print $1}", ""),
        ("", ""),
        ("costs 5$", ""),
    ],
)
def test_expansions_are_those_of_ipython(text, expected):
    """A dollar and a name, or an expression in braces."""
    assert " ".join(map(ast.unparse, find_expansions(text))) == expected
