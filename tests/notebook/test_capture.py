"""What a cell captures: from a shell in this process, used in a forked worker."""

import pickle

import pytest

from ipycron.errors import CaptureError
from ipycron.notebook.capture.capture import Captured, capture_names
from ipycron.process.shell.captured import restore

# --- what travels -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("notebook", "cell", "expected"),
    [
        ("x = 5", "x + 1", 6),
        ("x = [1]; y = x", "x is y", True),
        ("x = {'a': [1]}; y = x['a']", "x['a'] is y", True),
        ("k = 2\nf = lambda x: x * k", "f(4)", 8),
        ("def f(n):\n    return n if n < 2 else f(n - 1) + f(n - 2)", "f(10)", 55),
        (
            (
                "def even(n):\n    return n == 0 or odd(n - 1)\n"
                "def odd(n):\n    return n > 0 and even(n - 1)"
            ),
            "even(10), odd(10)",
            (True, False),
        ),
        (
            (
                "limit = 3\nclass Gauge:\n    top = limit\n"
                "    def __init__(self, v): self.v = v\n"
                "    def is_high(self): return self.v > limit\n"
                "    @classmethod\n    def make(cls, v): return cls(v + OFFSET)\n"
                "    @property\n    def twice(self): return double(self.v)\n"
                "OFFSET = 1\ndef double(x): return 2 * x"
            ),
            "Gauge(4).is_high(), Gauge.make(4).twice, Gauge.top",
            (True, 10, 3),
        ),
        (
            "class Gauge:\n    def get(self): return LEVEL\nLEVEL = 9\ngauge = Gauge()",
            "gauge.get()",
            9,
        ),
        (
            (
                "from dataclasses import dataclass, field\n@dataclass\nclass P:\n"
                "    x: int = 1\n    tags: list = field(default_factory=list)\np = P(2)"
            ),
            "p == P(2), P().tags, repr(p)",
            (True, [], "P(x=2, tags=[])"),
        ),
        (
            "from enum import Enum\nclass C(Enum):\n    RED = 1\nc = C.RED",
            "c is C.RED",
            True,
        ),
        (
            (
                "def outer(n):\n    def inner():\n        return n + BASE\n"
                "    return inner\n"
                "BASE = 10\nadd = outer(5)"
            ),
            "add()",
            15,
        ),
        (
            (
                "import functools\ndef loud(f):\n    @functools.wraps(f)\n"
                "    def wrapped(*a):\n        return f(*a).upper() + MARK\n"
                "    return wrapped\nMARK = '!'\n"
                "@loud\ndef greet(n): return 'hi ' + name(n)\n"
                "def name(n): return n.strip()"
            ),
            "greet(' bob ')",
            "HI BOB!",
        ),
        (
            (
                "import functools\ndef power(b, e): return b ** e + EXTRA\nEXTRA = 1\n"
                "square = functools.partial(power, e=2)"
            ),
            "square(3)",
            10,
        ),
        ("K = 3\nhandlers = {'a': lambda x: x + K}", "handlers['a'](1)", 4),
        ("class A:\n    def m(self): return N\nN = 4\nm = A().m", "m()", 4),
        ("import math as m, os.path\ndef f(): return os.path.sep", "f()", "/"),
        ("import math as m", "m.floor(2.5)", 2),
        ("from math import sqrt", "sqrt(16.0)", 4.0),
        (
            (
                "import xml.etree.ElementTree\ndef f():\n"
                "    return xml.etree.ElementTree.fromstring('<a/>').tag"
            ),
            "f()",
            "a",
        ),
        ("async def get():\n    return VALUE\nVALUE = 6", "await get()", 6),
        ("def gen():\n    yield from range(N)\nN = 3", "list(gen())", [0, 1, 2]),
        ("x = 2", "[x * i for i in range(3)]", [0, 2, 4]),
        ("x = 2", "def f():\n    return [x for _ in range(2)]\nf()", [2, 2]),
        ("word = 'hello'", "out = !echo {word} $word\nout[0]", "hello hello"),
        ("word = 'hello'", "%time word.upper()", "HELLO"),
        ("def f():\n    out = !echo deep\n    return out[0]", "f()", "deep"),
        ("def f():\n    return exit.__class__.__name__, len(Out)", "f()", ("Leave", 0)),
        ("import sys\nstream = sys.stdout", "import sys\nstream is sys.stdout", True),
        ("ip = get_ipython()", "ip is get_ipython()", True),
        ("import logging\nlog = logging.getLogger('x.y')", "log.name", "x.y"),
        ("open = lambda x: 'mine ' + x", "open('f')", "mine f"),
        ("ctx = 'old'", "ctx", "new"),
        ("_hidden = 3", "_hidden", 3),
        ("x = 1", "'x' in globals()", False),
        (
            "from typing import NamedTuple\nclass T(NamedTuple):\n    a: int\nt = T(1)",
            "t.a, T(2).a",
            (1, 2),
        ),
        (
            "import numpy as np\na = np.arange(6).reshape(2, 3)\nb = a[0]",
            "a.sum(), b.tolist()",
            (15, [0, 1, 2]),
        ),
        (
            "import numpy as np\na = np.arange(3)\nc = a",
            "a += 1\n(a is c, c.tolist())",
            (True, [1, 2, 3]),
        ),
        (
            "import numpy as np\na = np.asfortranarray(np.arange(6).reshape(2, 3))",
            "a[1, 0] = 7\n(a.tolist(), a.flags.f_contiguous)",
            ([[0, 1, 2], [7, 4, 5]], True),
        ),
        (
            "import numpy as np\na = np.arange(9).reshape(3, 3)[:, 1]",
            "a.tolist()",
            [1, 4, 7],
        ),
        (
            "import numpy as np\na = np.arange(3)\na.flags.writeable = False",
            "a.flags.writeable",
            False,
        ),
        (
            (
                "import pandas as pd\n"
                "df = pd.DataFrame({'a': [1, 2], 'b': ['x', 'y']})\n"
                "def clean(d): return d[d.a > LOW]\nLOW = 1"
            ),
            "df.loc[0, 'a'] = 5\nclean(df).b.tolist()",
            ["x", "y"],
        ),
    ],
)
def test_cell_sees_the_notebook(use, notebook, cell, expected):
    """Values, functions with what they use, classes, modules, frames, arrays."""
    assert use(notebook, cell, contexts=["new"]) == expected


def test_functions_and_cell_share_one_namespace(use):
    """A function sees what the cell sets, and the cell what a function sets."""
    notebook = (
        "count = 0\nstep = 1\n"
        "def bump():\n    global count\n    count += step\n    return count"
    )
    cell = "step = 10\nfirst = bump()\n(first, count, bump(), count)"
    assert use(notebook, cell) == (10, 10, 20, 20)


def test_result_of_a_notebook_class_is_of_that_class(use, shell):
    """An instance returned by a cell is one of the notebook's own class."""
    result = use("class P:\n    x = 1", "P()")
    assert isinstance(result, shell.user_ns["P"])


def test_state_stays_from_run_to_run_when_captured(use):
    """A captured value is an initial value: later runs see earlier changes."""
    assert use("items = []", "items.append(ctx)\nlen(items)", contexts=[1, 2, 3]) == 3


def test_snapshot_is_of_now(shell):
    """Later changes in the notebook do not affect the snapshot."""
    shell.run_cell("x = [1]")
    captured = capture_names("x", shell)
    shell.run_cell("x.append(2)")
    assert pickle.loads(captured.pickle, buffers=captured.buffers) == {"x": [1]}


def test_magic_of_the_notebook_travels(use):
    """A magic defined in a cell of the notebook works in the worker."""
    notebook = (
        "from IPython.core.magic import register_line_magic, register_cell_magic\n"
        "@register_line_magic\ndef shout(line): return line.upper() + MARK\n"
        "@register_cell_magic\ndef twice(line, cell): return cell * 2\n"
        "MARK = '!'"
    )
    assert use(notebook, "%shout hi") == "HI!"
    assert use(notebook, "%%twice\nab") == "ab\nab\n"


def test_extension_is_found_for_the_magics_that_the_cell_uses(use, shell):
    """A loaded extension is also loaded in the worker if it is used."""
    notebook = "%load_ext autoreload\n%load_ext storemagic"
    assert use(notebook, "%autoreload 0\n5") == 5
    assert capture_names("%autoreload 0", shell).extensions == (
        "IPython.extensions.autoreload",
    )
    assert capture_names("%time 1", shell).extensions == ()
    assert capture_names("%unheard_of 1", shell).extensions == ()


def test_traceback_quotes_the_notebooks_cell(shell, zygote):
    """A function's lines are shown in the worker, with its own cell's name."""
    shell.run_cell("def fail():\n    return 1 / 0  # in the notebook")
    captured = capture_names("fail()", shell)
    snapshot = captured.pickle, [bytes(buffer) for buffer in captured.buffers]
    (report,) = zygote.run({"source": "fail()", "snapshot": snapshot})
    outcome = report["outcomes"][0]
    assert "return 1 / 0  # in the notebook" in outcome["text"]
    assert "return" in outcome["ansi"]
    assert "In[" in outcome["ansi"]


# --- arrays and sizes -------------------------------------------------------------


def test_large_array_is_not_copied(shell):
    """A 100 MB array is sent as its own memory; two names share it."""
    shell.run_cell("import numpy as np\nbig = np.zeros(100 * 2**17)\nview = big")
    captured = capture_names("big, view", shell)
    assert len(captured.pickle) < 4096
    buffer = max(captured.buffers, key=len)
    shell.user_ns["big"][0] = 7.0
    assert buffer.cast("d")[0] == 7.0
    sizes = {name.name: name.size_bytes for name in captured.names}
    assert sizes["big"] == pytest.approx(100 * 2**20, abs=1000)
    assert sizes["view"] < 100
    assert captured.size_bytes == sum(sizes.values())


def test_array_is_writable_over_writable_memory(shell):
    """As in the notebook, the worker may assign to an array."""
    shell.run_cell("import numpy as np\na = np.arange(3)")
    captured = capture_names("a", shell)
    private = [bytearray(buffer) for buffer in captured.buffers]
    variables = pickle.loads(captured.pickle, buffers=private)
    variables["a"][0] = 9
    assert shell.user_ns["a"].tolist() == [0, 1, 2]


def test_capture_above_the_limit_asks_to_be_confirmed(shell):
    """More than 256 MB are only sent if requested by name."""
    shell.run_cell("import numpy as np\nbig = np.zeros(2**27)\nsmall = 1")
    with pytest.raises(CaptureError) as caught:
        capture_names("big + small", shell)
    assert str(caught.value) == (
        "'big' (ndarray) cannot be sent to a worker: the variables of this cell take "
        "more than 256.0 MB, this one 1.0 GB or more. Read it inside the cell, or "
        "confirm with --capture big."
    )
    captured = capture_names("big + small", shell, include=["big"])
    assert [name.name for name in captured.names] == ["big"]


def test_limit_counts_what_is_in_the_pickle(shell):
    """Pickling a large list stops at the limit, not at its end."""
    shell.run_cell("numbers = [str(n) * 10 for n in range(100_000)]")
    with pytest.raises(CaptureError, match=r"'numbers' \(list\)"):
        capture_names("numbers", shell, limit=100_000)


def test_description_says_what_and_how_large(shell):
    """One line: names, types, and sizes if they matter."""
    shell.run_cell(
        "import numpy as np\ndf = np.zeros(150_000)\nthreshold = 0.5\n"
        "def clean(x): return x\nclass Row: pass\n"
        "import socket\nspare = socket.socket()\nspare.close()"
    )
    cell = "clean(df, threshold, len, Row, np)\nif df:\n    spare = 1\nspare"
    captured = capture_names(cell, shell)
    assert captured.describe() == (
        "captured: clean (function), df (ndarray, 1.1 MB), threshold (float), "
        "Row (class), np (module); left out: spare (socket)"
    )
    assert Captured().describe() == ""
    assert capture_names("1", shell).describe() == ""


def test_description_is_short_when_there_are_many_names(shell):
    """After a dozen names the others are counted."""
    shell.run_cell("\n".join(f"v{n} = {n}" for n in range(20)))
    captured = capture_names("+".join(f"v{n}" for n in range(20)), shell)
    assert captured.describe().endswith("v11 (int) and 8 more")


# --- the format -------------------------------------------------------------------


def test_restore_binds_functions_of_other_modules_to_their_own(shell):
    """Only functions of the notebook get `__main__` as their globals."""
    shell.run_cell("import string\nf = string.capwords")
    captured = capture_names("f", shell)
    variables = pickle.loads(captured.pickle, buffers=captured.buffers)
    assert variables["f"].__globals__["__name__"] == "string"


def test_restore_needs_no_shell_for_an_empty_snapshot():
    """A snapshot of nothing is an empty dictionary."""
    assert restore(pickle.dumps(None)) == {}


def test_analysis_is_of_ipython_code(shell):
    """Code inside `%%time` is analysed like any other."""
    shell.run_cell("x = 1\ny = 2")
    captured = capture_names("%%time\nz = !echo {x}\ny", shell)
    assert {name.name for name in captured.names} == {"x", "y"}
