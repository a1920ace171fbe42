"""Values that plain pickle sends by name only, or not at all, but cells use."""

import pytest

from ipycron.errors import CaptureError
from ipycron.notebook.capture.capture import capture_names

# --- modules inside of packages -----------------------------------------------------


@pytest.mark.parametrize(
    ("notebook", "cell", "expected"),
    [
        ("import urllib.request", "urllib.request.urlopen.__name__", "urlopen"),
        ("import xml.etree.ElementTree", "xml.etree.ElementTree.__name__[-3:]", "ree"),
        ("import email.mime.text", "email.mime.text.MIMEText('a').get_payload()", "a"),
        ("import PIL.Image", "PIL.Image.new('L', (2, 1)).size", (2, 1)),
        (
            "import importlib.metadata, unittest.mock, logging.handlers",
            "importlib.metadata.__name__, unittest.mock.__name__",
            ("importlib.metadata", "unittest.mock"),
        ),
        ("import xml.dom.minidom as md", "md.Document.__name__", "Document"),
        (
            "import xml.dom.minidom\nfrom xml import dom",
            "dom.minidom.Document.__name__",
            "Document",
        ),
        ("import urllib.request\nu = urllib", "u.request.__name__", "urllib.request"),
        ("import wsgiref.util", "getattr(wsgiref, 'util').__name__", "wsgiref.util"),
        ("import wsgiref.util\nm = [wsgiref]", "m[0].util.__name__", "wsgiref.util"),
        (
            "import wsgiref.util\nf = lambda: wsgiref.util.__name__",
            "f()",
            "wsgiref.util",
        ),
        (
            (
                "import wsgiref.util\nclass A:\n    module = wsgiref\n"
                "    def f(self): return self.module.util.__name__"
            ),
            "A().f()",
            "wsgiref.util",
        ),
        (
            "import wsgiref.util",
            "import wsgiref\nwsgiref.util.__name__",
            "wsgiref.util",
        ),
        (
            "import wsgiref.util",
            "def f():\n    import wsgiref\n    return wsgiref.util.__name__\nf()",
            "wsgiref.util",
        ),
    ],
)
def test_module_has_what_the_notebook_has_imported(use, notebook, cell, expected):
    """`import a.b` binds `a`; the worker's `a` has its `b`, too."""
    assert use(notebook, cell) == expected


def test_modules_that_are_not_used_are_not_imported(use):
    """The worker imports only those modules of a package that the cell names."""
    start = "xml.__name__ + '.s'"
    cell = f"import sys\n[m for m in sys.modules if m.startswith({start})]"
    assert use("import xml.dom.minidom, xml.sax.handler", cell) == []


MADE = (
    "import sys, types\nmade = types.ModuleType('made')\n"
    "exec('import functools\\nk = 3\\ndef f(): return k\\n'\n"
    "     'class C:\\n    def f(self): return k\\n'\n"
    "     '@functools.cache\\ndef g(): return k\\nc = C()', vars(made))\n"
)


@pytest.mark.parametrize(
    ("notebook", "cell", "expected"),
    [
        (MADE, "made.k = 5\n(made.f(), made.C().f(), made.g())", (5, 5, 5)),
        (
            MADE + "sys.modules['made'] = made",
            "import made\nmade.k = 6\nfrom made import f\n(f(), made.g())",
            (6, 6),
        ),
        (
            MADE + "sys.modules['made'] = made\nfrom made import f, C, c, g",
            "f(), C().f(), c.f(), type(c) is C, g()",
            (3, 3, 3, True, 3),
        ),
        (
            MADE + "sys.modules['made'] = made\nmade.p = types.ModuleType('made.p')\n"
            "made.__path__ = []\nmade.p.v = 1\nsys.modules['made.p'] = made.p",
            "import made.p\nmade.p.v",
            1,
        ),
        (
            (
                "import importlib.util, pathlib, tempfile\n"
                "path = pathlib.Path(tempfile.mkdtemp(), 'beside.py')\n"
                "path.write_text('k = 4\\ndef f(): return k')\n"
                "spec = importlib.util.spec_from_file_location('beside', path)\n"
                "beside = importlib.util.module_from_spec(spec)\n"
                "spec.loader.exec_module(beside)\npath.unlink()\npath.parent.rmdir()"
            ),
            "beside.f()",
            4,
        ),
    ],
)
def test_module_that_cannot_be_imported_is_sent_with_its_contents(
    use, notebook, cell, expected
):
    """Made with `types.ModuleType`, or loaded from a file outside the path."""
    try:
        assert use(notebook, cell) == expected
    finally:
        import sys  # noqa: PLC0415 - as the notebook did

        for name in ("made", "made.p"):
            sys.modules.pop(name, None)


# --- functions and classes ----------------------------------------------------------


@pytest.mark.parametrize(
    ("notebook", "cell", "expected"),
    [
        (
            "import functools\n@functools.lru_cache\ndef f(n): return n * K\nK = 2",
            "f(2), f(2), f.cache_info().hits, f.cache_info().maxsize, f.__name__",
            (4, 4, 1, 128, "f"),
        ),
        (
            (
                "from functools import cache\n@cache\n"
                "def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)"
            ),
            "fib(50)",
            12586269025,
        ),
        (
            (
                "import functools\ndef make():\n"
                "    @functools.lru_cache(maxsize=5, typed=True)\n"
                "    def f(n): return n if n < 2 else f(n - 1)\n    return f\n"
                "f = make()"
            ),
            "f(4), f.cache_parameters()",
            (1, {"maxsize": 5, "typed": True}),
        ),
        (
            (
                "import functools\nclass A:\n    @functools.lru_cache\n"
                "    def m(self, n): return n + K\n    @functools.cached_property\n"
                "    def p(self): return [K]\nK = 1\na = A()\na.p"
            ),
            "a.m(2), a.p, A().p is not a.p",
            (3, [1], True),
        ),
        (
            (
                "import functools\nclass T: pass\n@functools.singledispatch\n"
                "def g(x):\n    'Doc.'\n    return 'other'\n"
                "@g.register\ndef _(x: int): return K\n"
                "@g.register(T)\ndef _t(x): return g(1)\nK = 'int'"
            ),
            "g(1), g(T()), g([]), g.dispatch(int)(2), g.__name__, g.__doc__",
            ("int", "int", "other", "int", "g", "Doc."),
        ),
        (
            (
                "import functools\nclass A:\n    @functools.singledispatchmethod\n"
                "    def g(self, x): return 'other'\n    @g.register\n"
                "    def _(self, x: int): return 'int'"
            ),
            "A().g(1), A().g('')",
            ("int", "other"),
        ),
        (
            "from typing import NewType\nId = NewType('Id', int)",
            "Id(3), str(Id)[-2:]",
            0,
        ),
        (
            (
                "from typing import *\nP = ParamSpec('P')\nR = TypeVar('R')\n"
                "def same(f: Callable[P, R]) -> Callable[P, R]: return f\n"
                "@same\ndef g(): return 1"
            ),
            "g(), P.__name__",
            (1, "P"),
        ),
        (
            (
                "class Base:\n    known = []\n"
                "    def __init_subclass__(cls, **options):\n"
                "        super().__init_subclass__(**options)\n"
                "        Base.known.append(cls.__name__)\nclass A(Base): pass"
            ),
            "before = list(Base.known)\nclass B(A): pass\n(before, Base.known)",
            (["A"], ["A", "B"]),
        ),
        (
            (
                "class Meta(type):\n    known = {}\n"
                "    def __new__(meta, name, bases, body):\n"
                "        made = super().__new__(meta, name, bases, body)\n"
                "        assert body['must']\n        meta.known[name] = made\n"
                "        return made\nclass A(metaclass=Meta):\n    must = 1"
            ),
            "list(Meta.known), Meta.known['A'] is A, type(A) is Meta, A.must",
            (["A"], True, True, 1),
        ),
    ],
)
def test_what_pickle_sends_by_name_travels(use, notebook, cell, expected):
    """Caches, dispatchers, new types, classes that register their subclasses."""
    if expected == 0:
        expected = (3, "Id")
    assert use(notebook, cell) == expected


def test_what_only_has_a_name_is_refused_at_once(shell):
    """The worker would search its own `__main__` for it in vain."""
    shell.run_cell(
        "class Named:\n    def __reduce__(self): return 'thing'\nthing = Named()"
    )
    with pytest.raises(CaptureError) as caught:
        capture_names("thing", shell)
    assert str(caught.value).startswith(
        "'thing' (Named) cannot be sent to a worker: only its name, 'thing', can be "
        "sent, which a worker does not know. Make it inside the cell, or leave it out"
    )


# --- strings ------------------------------------------------------------------------

FRAME = "import pandas as pd\nlow = 1\ndf = pd.DataFrame({'a': [1, 2, 3]})\n"


@pytest.mark.parametrize(
    ("notebook", "cell", "expected"),
    [
        (FRAME, "df.query('a > @low').a.tolist()", [2, 3]),
        (FRAME, "text = 'a > @low'\ndf.query(text).a.tolist()", [2, 3]),
        (FRAME, "df.eval('b = a + @low').b.tolist()", [2, 3, 4]),
        (FRAME, "pd.eval('df.a + low').tolist()", [2, 3, 4]),
        (FRAME + "def f(d): return d.query('a > @low')", "f(df).a.tolist()", [2, 3]),
        (FRAME + "def f(): return pd.eval('df.a + low')", "f().tolist()", [2, 3, 4]),
        ("x = 3", "eval('x + 1')", 4),
        ("x = 3", "exec('y = x + 1')\ny", 4),
        ("x = 3", "globals()['x'] + locals().get('x')", 6),
        ("x = 3", "get_ipython().user_ns['x']", 3),
        ("x = 3", "import __main__\n__main__.x", 3),
        ("x = 3", "'{x}'.format(**globals())", "3"),
        ("x = 3", "for name in ['x']:\n    y = globals()[name]\ny", 3),
        (
            "x = 3",
            "import timeit\ntimeit.timeit('x + 1', globals=globals(), number=1) > 0",
            True,
        ),
        ("x = 3", "f'{x:>{x}}'", "  3"),
    ],
)
def test_names_in_strings_are_found(use, notebook, cell, expected):
    """Names looked up by pandas, `eval` or a dictionary of all variables."""
    assert use(notebook, cell) == expected


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("sql('select * from df where a > 1')", {"df"}),
        ("sql('SELECT 1 FROM df JOIN other USING (a)')", {"df", "other"}),
        ("sql('from df, other')", {"df", "other"}),
        ("'the df is here; mail me@low'", set()),
        ("model.eval()\n'df'", set()),
        ("'df' in globals()", set()),
        ("'''A docstring: from df.'''\n1", set()),
        ("%sql select * from df", {"df"}),
        ("%%sql\nselect * from df", {"df"}),
    ],
)
def test_names_in_strings_are_those_that_are_marked(shell, cell, expected):
    """A word in a sentence is not a variable; a table in a query may be one."""
    shell.run_cell("df = 1\nother = 2\nlow = 3\nsql = model = print")
    captured = capture_names(cell, shell)
    names = {name.name for name in captured.names}
    assert names - {"sql", "model"} == expected


# --- names of IPython ---------------------------------------------------------------


def test_last_results_are_variables(use):
    """`_`, `_i` and the like have their values from the notebook."""
    notebook = ["6 * 7", "'b'"]
    assert use(notebook, "_, __, [q for q in _]") == ("b", 42, ["b"])


def test_result_by_its_number_is_a_variable(use, shell):
    """`_7` is the result of cell 7."""
    shell.run_cell("'seven'", store_history=True)
    number = shell.execution_count - 1
    assert use([], f"_{number}, _i{number}") == ("seven", "'seven'")


@pytest.mark.parametrize("name", ["__version__", "__author__", "__file__", "__all__"])
def test_names_between_underscores_travel_when_the_notebook_sets_them(use, name):
    """Only those that Python itself sets in each module are left out."""
    assert use(f"{name} = 'mine'", name) == "mine"
    assert use([], "__name__") == "__main__"


# --- warnings -----------------------------------------------------------------------

HIDDEN = (
    "'ctx' in the cell is the run's context, not the notebook's variable: rename that "
    "to use it"
)
EMPTY = (
    "'{}' is empty in a worker: give what the cell needs of it a name here, and use "
    "that"
)


@pytest.mark.parametrize(
    ("notebook", "cell", "expected"),
    [
        ("", "print(not_here)", "'not_here' is not defined, the cell will not find it"),
        (
            "thresh = 1",
            "print(tresh)",
            "'tresh' is not defined, the cell will not find it. Did you mean 'thresh'?",
        ),
        (
            "def f(): return not_here",
            "f()",
            "'not_here' is not defined, 'f' will not find it",
        ),
        ("", "print(x)\nx = 1", "'x' is not defined, the cell will not find it"),
        (
            "ctx = 1",
            "ctx.date",
            HIDDEN,
        ),
        (
            "ctx = 1\ndef f(): return ctx",
            "f()",
            HIDDEN,
        ),
        (
            "",
            "Out[1]",
            EMPTY.format("Out"),
        ),
        (
            "",
            "print(In[-1])",
            EMPTY.format("In"),
        ),
    ],
)
def test_cell_that_will_miss_something_is_told(shell, notebook, cell, expected):
    """One line per missing name, when the cell is declared."""
    shell.run_cell(notebook)
    assert capture_names(cell, shell).warnings == (expected,)


@pytest.mark.parametrize(
    "cell",
    [
        "x = 1\nx",
        "f()",  # needs `late`, which the next line binds
        "late = 1\nf()",
        "try:\n    n += 1\nexcept NameError:\n    n = 1",
        "if len('a'):\n    y = 1\ny",
        "for i in range(2):\n    if i: t += 1\n    else: t = 0",
        "[q for q in range(3) if q]",
        "from math import *\nfloor(2.5)",
        "exec('z = 1')\nz",
        "%run other.py\nz",
        "%pylab inline\nz",
        "globals()['z'] = 1\nz",
        "get_ipython().push({'z': 1})\nz",
        "%%capture out\n1",
        "def g():\n    global z\n    z = 1\ng()\nz",
        "match 3:\n    case [z]: z\n    case z: z",
        "class A:\n    b = __name__, __qualname__\n    def f(self): return __class__",
        "print(ctx, display, get_ipython, exit, quit)",
        "import a.b\na.b",
        "with open('x') as f2, f2 as g2: g2",
        "def h(a, *b, c=1, **d): return a, b, c, d, h",
        "lambda: lambda u: u",
        "x: int\n__annotations__",
    ],
)
def test_cell_that_misses_nothing_is_told_nothing(shell, cell):
    """Names that the cell binds in any way cause no warning."""
    shell.run_cell("def f(): return late\nf.late = 1" if cell != "f()" else "f = len")
    assert capture_names(cell, shell).warnings == ()


@pytest.mark.parametrize("include", [(), ("a",)])
def test_variable_that_is_left_behind_on_purpose_is_told(shell, include):
    """`--capture` and `--no-capture` may omit one by mistake."""
    shell.run_cell("a = 1\nb = 2")
    captured = capture_names("a + b", shell, include=include)
    missing = [name for name in "ab" if name not in include]
    assert captured.warnings == tuple(
        f"{name!r} is not sent along, the cell will not find it" for name in missing
    )


def test_warning_is_a_line_of_its_own_and_prevents_nothing(session):
    """It is printed below the declaration; the task exists."""
    text = session.run("%%cron @yearly --name odd\nprint(not_here)")
    lines = text.splitlines()
    assert lines[0].startswith("odd: ")
    assert lines[1] == ("warning: 'not_here' is not defined, the cell will not find it")
    assert "'odd'" in session.run("import ipycron\nprint(ipycron.get_task('odd'))")
