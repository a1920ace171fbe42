"""Variables that a cell cannot capture, and explicit lists of captures."""

import pickle
import re
import sys

import pytest

from ipycron.errors import CaptureError, InvalidOption
from ipycron.notebook.capture.capture import capture_names, check_syntax

# --- what cannot travel -----------------------------------------------------------

DIRECT = [
    ("v = open(__import__('os').devnull)", "TextIOWrapper", "Open it inside the cell"),
    ("v = open(__import__('os').devnull, 'rb')", "BufferedReader", "Open it inside"),
    ("import sqlite3\nv = sqlite3.connect(':memory:')", "Connection", "Connect inside"),
    ("import threading\nv = threading.Lock()", "lock", "Make it inside the cell"),
    ("import threading\nv = threading.RLock()", "RLock", "Make it inside the cell"),
    ("import threading\nv = threading.Thread()", "Thread", "Start it inside the cell"),
    ("v = (i for i in range(3))", "generator", "Make a list of it"),
    ("import socket\nv = socket.socket()", "socket", "Connect inside the cell"),
    ("async def f(): ...\nv = f()", "coroutine", "Await it in the notebook"),
    ("import ipywidgets\nv = ipywidgets.IntSlider()", "IntSlider", "x = widget.value"),
    (
        "class N:\n    def __reduce__(self): raise ValueError('no way')\nv = N()",
        "N",
        "no way",
    ),
    ("v = []\nfor _ in range(100_000): v = [v]", "list", "nested too deeply"),
    ("import sys\nv = sys._getframe()", "frame", "Make it inside the cell"),
]


@pytest.mark.parametrize(("notebook", "type_name", "advice"), DIRECT)
@pytest.mark.filterwarnings("ignore:coroutine 'f' was never awaited")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_error_names_variable_type_and_way_out(shell, notebook, type_name, advice):
    """The error for what cannot be pickled says its name and what to do."""
    shell.run_cell(notebook).raise_error()
    with pytest.raises(CaptureError) as caught:
        capture_names("print(v)", shell)
    error = caught.value
    assert (error.variable, error.type_name) == ("v", type_name)
    assert str(error).startswith(f"'v' ({type_name}) cannot be sent to a worker: ")
    assert advice in str(error)
    assert "--no-capture" in str(error)
    close = getattr(shell.user_ns["v"], "close", None)
    if close is not None and type_name != "IntSlider":
        close()


@pytest.mark.parametrize(
    ("notebook", "message"),
    [
        (
            "v = lambda: conn.execute('')",
            "'conn' (Connection) {reason} ('<lambda>' uses it)",
        ),
        (
            "def v():\n    return w()\ndef w(): return conn",
            "'conn' (Connection) {reason} ('w' uses it)",
        ),
        ("v = {'db': conn}", "'conn' (Connection) {reason} ('v' holds it)"),
        ("v = [(i for i in 'ab')]", "'v' (list) {reason}"),
        (
            "class A:\n    def m(self): return conn\nv = A()",
            "'conn' (Connection) {reason} ('A.m' uses it)",
        ),
        (
            "def make():\n    c = conn\n    return lambda: c\nv = make()",
            "'conn' (Connection) {reason} ('v' holds it)",
        ),
    ],
)
def test_error_names_what_is_behind_the_failure(shell, notebook, message):
    """The error names a function's connection, not the function."""
    shell.run_cell(f"import sqlite3\nconn = sqlite3.connect(':memory:')\n{notebook}")
    with pytest.raises(CaptureError) as caught:
        capture_names("v", shell)
    shell.user_ns["conn"].close()
    culprit = "generator" if "list" in message else "sqlite3.Connection"
    reason = f"cannot be sent to a worker: cannot pickle '{culprit}' object"
    assert str(caught.value).startswith(message.format(reason=reason))


@pytest.mark.parametrize(
    ("notebook", "place"),
    [
        ("class v:\n    lock = threading.Lock()", "v.lock"),
        (
            (
                "class A:\n    def __init__(self):\n"
                "        self.pool = {'a': [threading.Lock()]}\n"
                "v = A()"
            ),
            "v.pool['a'][0]",
        ),
        ("v = [1, (2, threading.Lock())]", "v[1][1]"),
        (
            (
                "def make(lock):\n    def inner(): return lock\n    return inner\n"
                "v = {'f': make(threading.Lock())}"
            ),
            "v['f']: lock",
        ),
    ],
)
def test_error_says_where_inside_of_a_variable_the_culprit_is(shell, notebook, place):
    """An attribute of a class or object, an item, a closure's variable."""
    shell.run_cell(f"import threading\n{notebook}").raise_error()
    with pytest.raises(
        CaptureError, match=re.escape(f"'_thread.lock' object ({place}).")
    ):
        capture_names("v", shell)


@pytest.mark.parametrize(
    "cell",
    [
        "v = 1\nv",
        "for v in range(3): print(v)",
        "with open('x') as v: v.read()",
        "if len('a'):\n    v = 1\nprint(v)",
        "try:\n    v\nexcept NameError:\n    v = 1",
        "def f():\n    return g()\ndef g(): return 1\nf()",
        "def init():\n    global v\n    v = 1\ninit()\nv",
        "!echo $v",
    ],
)
def test_name_that_the_cell_binds_need_not_travel(shell, cell):
    """The notebook's leftover does not matter if the cell binds the name."""
    shell.run_cell("v = (i for i in 'ab')\nw = 1\ndef g(): return v")
    captured = capture_names(cell + "\nw", shell)
    assert "w" in {name.name for name in captured.names}
    assert "v" not in {name.name for name in captured.names}


def test_name_that_a_function_needs_must_travel(shell):
    """The cell itself may not need it, but a function that it calls does."""
    shell.run_cell("v = (i for i in 'ab')\ndef f(): return v")
    with pytest.raises(CaptureError, match="'v'"):
        capture_names("if len('a'):\n    v = 1\nv, f()", shell)


def test_function_that_makes_a_global_itself_travels_without_it(use):
    """A function that opens a connection at first use does so in the worker."""
    notebook = (
        "conn = (i for i in 'ab')\n"
        "def connect():\n    global conn\n    conn = 'fresh'\n    return conn"
    )
    assert use(notebook, "connect()") == "fresh"


def test_error_in_the_worker_names_the_variable(shell, tmp_path, monkeypatch):
    """The error names a value that cannot be rebuilt there, too."""
    (tmp_path / "helper_module.py").write_text("class Helper: pass")
    monkeypatch.syspath_prepend(tmp_path)
    shell.run_cell("import helper_module\nv = helper_module.Helper()").raise_error()
    captured = capture_names("v", shell)
    monkeypatch.undo()
    del sys.modules["helper_module"]
    with pytest.raises(CaptureError) as caught:
        pickle.loads(captured.pickle, buffers=captured.buffers)
    assert str(caught.value) == (
        "'v' (Helper) cannot be sent to a worker: it cannot be rebuilt there "
        "(ModuleNotFoundError: No module named 'helper_module'). "
        "Make it inside the cell."
    )


# --- what is asked for ------------------------------------------------------------


def test_include_sends_exactly_those(use, shell):
    """`--capture a,b` replaces the analysis; functions include what they use."""
    notebook = "a = 1\nb = 2\nk = 3\ndef f(): return k"
    assert use(
        notebook, "sorted(n for n in 'abfk' if n in globals())", include=["a", "f"]
    ) == ["a", "f", "k"]
    captured = capture_names("a + b", shell, include=[])
    assert captured.names == ()
    assert pickle.loads(captured.pickle, buffers=captured.buffers) == {}


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("tresh", "Did you mean 'thresh'?"),
        ("zzz", ""),
        ("In", ""),
        ("get_ipython", ""),
        ("len", ""),
        ("__name__", ""),
        ("", ""),
    ],
)
def test_include_refuses_what_does_not_exist(shell, name, hint):
    """One clear error, with a suggestion for a near miss."""
    shell.run_cell("thresh = 1")
    with pytest.raises(InvalidOption) as caught:
        capture_names("1", shell, include=["thresh", name])
    text = (
        f"--capture: got {name!r}, expected the name of a variable of the notebook. "
        f"{hint}"
    )
    assert str(caught.value) == text.rstrip()


@pytest.mark.parametrize(
    "name",
    [
        "In",
        "Out",
        "exit",
        "get_ipython",
        "_ih",
        "__name__",
        "len",
        "display",
        "open",
    ],
)
def test_names_of_ipython_stay_where_they_are(shell, name):
    """The worker has its own `In`, `Out`, `get_ipython` and built-ins."""
    shell.run_cell("41 + 1", store_history=True)
    assert capture_names(f"print({name})", shell).names == ()


def test_capture_changes_nothing(shell):
    """Neither the namespace nor the compiler's flags."""
    shell.run_cell("x = 1")
    before, flags = dict(shell.user_ns), shell.compile.flags
    check_syntax("from __future__ import annotations\nx", shell)
    capture_names("from __future__ import annotations\nx\n!echo {x}", shell)
    assert shell.user_ns == before
    assert shell.compile.flags == flags
