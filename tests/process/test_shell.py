"""The shell of a worker: real cells in real forked children."""

import base64
import importlib.util
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location(
    "shell_zygote", Path(__file__).with_name("shell_zygote.py")
)
shell_zygote = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(shell_zygote)


@pytest.fixture(scope="module")
def zygote():
    """One prepared process, for all tests of this file."""
    zygote = shell_zygote.Zygote()
    yield zygote
    zygote.close()


@pytest.fixture
def run(zygote):
    """Run one cell in a child of its own; return the report."""

    def run_cell(source, **options):
        (report,) = zygote.run({"source": source, **options})
        assert report["status"] == 0, report["stderr"]
        return report

    return run_cell


def get_result(report):
    """Return the result of the last run, which must have ended well."""
    outcome = report["outcomes"][-1]
    assert outcome["is_ok"], outcome["text"]
    return pickle.loads(outcome["result"])


# --- preparation ------------------------------------------------------------------


def test_module_imports_no_ipython_when_imported(zygote):
    """The zygote starts without IPython."""
    modules = zygote.preparation["before"]["modules"]
    assert "IPython" not in modules
    assert "asyncio" not in modules


def test_preparation_leaves_one_thread_and_no_descriptor(zygote):
    """What forks has one thread and hands no descriptor down."""
    before, after = zygote.preparation["before"], zygote.preparation["after"]
    assert after["threads"] == after["os_threads"] == 1
    assert after["descriptors"] == before["descriptors"]
    assert "IPython" in after["modules"]
    assert "asyncio" in after["modules"]
    assert "matplotlib" not in after["modules"]


def test_forks_run_correctly_when_twenty_at_once(zygote):
    """Twenty cells in parallel each get their own result and output."""
    cells = [
        {
            "source": f"import asyncio\nawait asyncio.sleep(0.05)\n"
            f"!echo shell {n}\nprint('python', number)\nnumber * 2",
            "namespace": {"number": n},
        }
        for n in range(20)
    ]
    reports = zygote.run(*cells)
    assert [get_result(report) for report in reports] == [2 * n for n in range(20)]
    for n, report in enumerate(reports):
        assert report["stdout"] == f"shell {n}\npython {n}\n"


def test_first_run_is_quick_and_small(run):
    """A fork's first run takes milliseconds and little memory of its own."""
    reports = [run("x = 1", contexts=[None] * 5) for _ in range(5)]
    seconds = sorted(
        report["load_seconds"] + report["outcomes"][0]["seconds"] for report in reports
    )
    assert seconds[0] < 0.02
    if "coverage" not in reports[0]["process"]["modules"]:  # it needs memory too
        assert min(report["private"] for report in reports) < 6 * 1024


# --- results and output -----------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("1 + 1", 2),
        ("x = 5", None),
        ("x = 5\nx", 5),
        ("5;", None),
        ("5 ;  # quiet", None),
        ("print('x')", None),
        ("for i in range(3):\n    i", None),
        ("", None),
        ("# nothing", None),
        ("'''a;'''", "a;"),
        ("\n\n  y = 2\n  y", 2),
        ("import asyncio\nawait asyncio.sleep(0, 'later')", "later"),
        ("import asyncio\nx = await asyncio.sleep(0, 3)\nx + 1", 4),
        ("async def f():\n    return 7\nawait f()", 7),
        ("import asyncio\nasync def f():\n    return 8\nasyncio.run(f())", 8),
        ("x = !printf 'a\\nb'\nlist(x)", ["a", "b"]),
        ("n = 3\nx = !echo $n {n + 1}\nx[0]", "3 4"),
        ("def f(word):\n    x = !echo {word}\n    return x[0]\nf('inner')", "inner"),
        ("!exit 3\n_exit_code", 3),
        ("!true", None),
        ("%time 40 + 2", 42),
        ("%%time\nx = 20\nx + 1", 21),
        ("%%capture out\nprint('hidden')\n", None),
        ("%%capture out\nimport asyncio\nx = await asyncio.sleep(0, 1)", None),
        (
            (
                "from IPython.utils.capture import capture_output\n"
                "with capture_output() as c:\n    get_ipython().displayhook(5)\n"
                "len(c.outputs)"
            ),
            1,
        ),
        ("ctx", "context"),
        ("from __future__ import annotations\nx: undefined = 1\nx", 1),
        ("__name__", "__main__"),
        ("get_ipython().__class__.__name__", "CellInteractiveShell"),
        ("[Out, _, __, In]", [{}, "", "", [""]]),
    ],
)
def test_result_is_the_value_of_the_trailing_expression(run, source, expected):
    """A cell's result is what a notebook would show under it."""
    assert get_result(run(source, contexts=["context"])) == expected


@pytest.mark.parametrize(
    ("source", "stdout", "stderr"),
    [
        ("print(1, 2)", "1 2\n", ""),
        ("print('a')\n!echo b\nprint('c')", "a\nb\nc\n", ""),
        ("word = 'x y'\n!echo '{word}'", "x y\n", ""),
        ("import os\nos.write(1, b'raw')\nNone", "raw", ""),
        ("import sys\nprint('e', file=sys.stderr)", "", "e\n"),
        ("!echo e >&2", "", "e\n"),
        ("import os\nos.system('echo s')\nNone", "s\n", ""),
        ("%%bash\necho b\necho e >&2", "b\n", "e\n"),
        ("%%capture out\nprint('hidden')", "", ""),
        ("%%capture out\nprint(1)\n", "", ""),
        ("!cat", "", ""),
    ],
)
def test_output_goes_to_the_pipes(run, source, stdout, stderr):
    """Whatever writes, Python or not, writes to fds 1 and 2, in order."""
    report = run(source)
    get_result(report)
    assert (report["stdout"], report["stderr"]) == (stdout, stderr)


def test_time_magic_says_how_long(run):
    """`%time` prints as in a notebook."""
    assert "Wall time" in run("%time 1")["stdout"]


def test_command_takes_milliseconds(run):
    """``!true`` is a plain subprocess: IPython's own takes 100 ms."""
    report = run("!true", contexts=[None] * 10)
    seconds = sorted(outcome["seconds"] for outcome in report["outcomes"])
    assert seconds[2] < 0.02


def test_background_command_is_refused(run):
    """``!cmd &`` is an error, as in a notebook."""
    assert run("!sleep 1 &")["outcomes"][0]["error"][0] == "OSError"


# --- displays ---------------------------------------------------------------------


def test_result_is_displayed_with_its_mimebundle(run):
    """The trailing value is published as a result."""
    (shown,) = run("[1, 2]")["displays"]
    assert shown["kind"] == "result"
    assert shown["data"] == {"text/plain": "[1, 2]"}


def test_displays_arrive_in_order_of_their_calls(run):
    """`display`, updates and clearing are distinct and keep their ids."""
    report = run(
        "from IPython.display import HTML, clear_output\n"
        "h = display(HTML('<b>1</b>'), display_id='one')\n"
        "h.update(HTML('<b>2</b>'))\n"
        "display({'text/plain': 'raw'}, raw=True)\n"
        "clear_output(wait=True)\n"
    )
    kinds = [(d["kind"], d["display_id"], d["is_waiting"]) for d in report["displays"]]
    assert kinds == [
        ("display", "one", False),
        ("update", "one", False),
        ("display", None, False),
        ("clear", None, True),
    ]
    assert report["displays"][1]["data"]["text/html"] == "<b>2</b>"


def test_display_holds_built_in_values_only(run):
    """Bytes become base64, values that JSON lacks become text."""
    report = run(
        "import datetime, decimal\n"
        "display({'image/png': b'\\x89PNG', 'text/plain': 'p', 'application/json': "
        "{'when': datetime.date(2026, 1, 2), 'n': (1, 2)}}, raw=True, "
        "metadata={'image/png': {'width': decimal.Decimal(3)}})"
    )
    (shown,) = report["displays"]
    assert base64.b64decode(shown["data"]["image/png"]) == b"\x89PNG"
    assert shown["data"]["application/json"] == {"when": "2026-01-02", "n": [1, 2]}
    assert shown["metadata"] == {"image/png": {"width": "3"}}


def test_data_frame_is_shown_as_a_table(run):
    """A data frame has text and HTML."""
    (shown,) = run("import pandas as pd\npd.DataFrame({'a': [1]})")["displays"]
    assert set(shown["data"]) == {"text/plain", "text/html"}


def test_widget_shows_its_text(run):
    """A widget of a worker has no model in the page: its view is left out."""
    report = run(
        "import ipywidgets, ipykernel.ipkernel\n"
        "slider = ipywidgets.IntSlider(value=3)\nslider.value = 4\n"
        "display(slider)\nslider"
    )
    shown, result = report["displays"]
    assert list(shown["data"]) == list(result["data"]) == ["text/plain"]
    assert "IntSlider" in shown["data"]["text/plain"]


def test_display_of_a_forked_child_is_printed(run):
    """A process that the cell forks has only stdout: the connection is not its own."""
    report = run(
        "import os\n"
        "if (pid := os.fork()) == 0:\n"
        "    display('from the child')\n"
        "    get_ipython().display_pub.clear_output()\n"
        "    os._exit(0)\n"
        "os.waitpid(pid, 0)\n"
        "display('from the cell')"
    )
    assert [d["data"]["text/plain"] for d in report["displays"]] == ["'from the cell'"]
    assert report["stdout"] == "'from the child'\n"


def test_help_is_displayed(run):
    """``name?`` shows its page instead of opening a pager."""
    (shown,) = run("len?")["displays"]
    assert "number of items" in shown["data"]["text/plain"]


# --- figures ----------------------------------------------------------------------


def test_figures_appear_without_asking(run):
    """Figures that are open when a run ends are published as PNG and closed."""
    report = run(
        "import matplotlib.pyplot as plt\n"
        "print(plt.get_fignums())\n"
        "plt.plot([1, 2])\nplt.figure()\nplt.plot([2, 1]);",
        contexts=[None, None],
    )
    get_result(report)
    figures = [d for d in report["displays"] if d["kind"] == "display"]
    assert len(figures) == 4
    assert all(
        base64.b64decode(d["data"]["image/png"]).startswith(b"\x89PNG") for d in figures
    )
    assert report["stdout"] == "[]\n[]\n"


@pytest.mark.parametrize(
    "source",
    [
        "import pandas as pd\npd.Series([1, 2]).plot();",
        "def draw():\n    import matplotlib.pyplot as plt\n    plt.plot([1])\ndraw()",
        "import matplotlib.pyplot as plt\nplt.plot([1])\nplt.show()",
        "%matplotlib qt\nimport matplotlib.pyplot as plt\nplt.plot([1]);",
        "import matplotlib.pyplot as plt\nplt.plot([1])\n1 / 0",
    ],
)
def test_figure_appears_however_it_is_drawn(run, source):
    """What the cell calls may draw too, a failure shows what was drawn."""
    displays = run(source)["displays"]
    assert [list(d["data"]) for d in displays].count(["text/plain", "image/png"]) == 1


@pytest.mark.parametrize(
    ("backend", "count"), [("module://matplotlib_inline.backend_inline", 1), ("agg", 0)]
)
def test_figures_appear_when_matplotlib_was_preloaded(run, backend, count):
    """A zygote's preload knows no backend yet; a backend of the user's stays."""
    report = run(
        "import matplotlib.pyplot as plt\nplt.plot([1]);",
        preload=["matplotlib.pyplot"],
        backend=backend,
    )
    assert len(report["displays"]) == count


def test_matplotlib_is_not_imported_for_other_cells(run):
    """A cell that draws nothing pays nothing."""
    report = run("print(1)\n[2]")
    assert not [m for m in report["process"]["modules"] if m.startswith("matplotlib")]


# --- failures ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "error", "line"),
    [
        ("1 / 0", ("ZeroDivisionError", "division by zero"), 1),
        ("\n\nx = 1\n1 / 0", ("ZeroDivisionError", "division by zero"), 4),
        (
            "!echo \\\n  a \\\n  b\n\n1 / 0",
            ("ZeroDivisionError", "division by zero"),
            5,
        ),
        ("import sys\nsys.exit(3)", ("SystemExit", "3"), 2),
        ("exit", ("SystemExit", "None"), 1),
        ("x = 1\nexit(4)", ("SystemExit", "4"), 2),
        ("raise KeyboardInterrupt", ("KeyboardInterrupt", ""), 1),
        ("import asyncio\nawait asyncio.sleep(0)\nexit(5)", ("SystemExit", "5"), 3),
        ("exec('x =')", ("SyntaxError", "invalid syntax (<string>, line 1)"), 1),
        ("%%time\n1 / 0", ("ZeroDivisionError", "division by zero"), 1),
        ("%%capture out\n1 / 0", ("ZeroDivisionError", "division by zero"), 1),
        ("x = 1\n%nonsense", ("UsageError", "Line magic function"), 2),
        ("%%bash\nexit 3", ("CalledProcessError", "Command 'b'exit 3"), 1),
        (
            "\nimport asyncio\nawait asyncio.wait_for(asyncio.sleep(9), 0.01)",
            ("TimeoutError", ""),
            3,
        ),
    ],
)
def test_failure_has_the_real_error_and_the_cells_line(run, source, error, line):
    """Whatever ends a cell is a failed outcome with that very exception."""
    outcome = run(source)["outcomes"][0]
    assert not outcome["is_ok"]
    name, text = outcome["error"]
    assert (name, text[: len(error[1])]) == error
    assert outcome["lines"][0] == ("<cell>", line)


def test_exit_keeps_its_code(run):
    """`sys.exit(3)` is a failure with exit code 3 and says nothing on stderr."""
    report = run("import sys\nsys.exit(3)")
    assert report["outcomes"][0]["code"] == 3
    assert report["stderr"] == ""


def test_input_is_refused_at_once(run):
    """`input()` has nobody to ask."""
    outcome = run("input('name? ')")["outcomes"][0]
    assert outcome["error"][0] == "EOFError"
    assert "nobody to ask" in outcome["error"][1]
    assert outcome["seconds"] < 5


def test_traceback_quotes_the_cell_as_typed(run):
    """Both renderings show the cell's own lines and numbers."""
    source = "!echo \\\n  one\ndef f():\n    return 1 / 0\n\nf()  # here"
    outcome = run(source, filename="<cell report>")["outcomes"][0]
    assert (
        'File "<cell report>", line 6, in <module>\n    f()  # here' in outcome["text"]
    )
    assert 'File "<cell report>", line 4, in f\n    return 1 / 0' in outcome["text"]
    assert "ipycron" not in outcome["text"]
    plain = strip_ansi(outcome["ansi"])
    assert "Cell report, line 6" in plain
    assert "----> 6 f()  # here" in plain
    assert "\x1b[" in outcome["ansi"]


def strip_ansi(text):
    """Return a text without its colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_traceback_shows_causes_notes_and_groups(run):
    """Nothing that the exception says is lost."""
    source = (
        "try:\n    {}['k']\nexcept KeyError as e:\n"
        "    error = ExceptionGroup('many', [ValueError('v')])\n"
        "    error.add_note('a note')\n    raise error from e"
    )
    outcome = run(source)["outcomes"][0]
    for text in (outcome["text"], outcome["ansi"]):
        for part in ("KeyError: 'k'", "ValueError: v", "a note", "direct cause"):
            assert part in text


def test_failure_is_reported_when_the_error_cannot_be_printed(run):
    """An exception whose text raises is still a failure with a name."""
    report = run(
        "class Bad(Exception):\n"
        "    def __str__(self):\n        raise OSError\n"
        "raise Bad"
    )
    outcome = report["outcomes"][0]
    assert outcome["error"] == ("Bad", "unprintable")
    assert "Bad" in outcome["text"]
    assert "Bad" in outcome["ansi"]


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("def f():\n    f()\nf()", "RecursionError"),
        ("bytearray(10**16)", "MemoryError"),
        ("raise BaseExceptionGroup('g', [SystemExit()])", "BaseExceptionGroup"),
        ("raise GeneratorExit", "GeneratorExit"),
    ],
)
def test_extreme_failure_is_reported_at_once(run, source, error):
    """Deep recursion, no memory, what is not even an `Exception`."""
    outcome = run(source)["outcomes"][0]
    assert outcome["error"][0] == error
    assert error in outcome["text"]
    assert outcome["seconds"] < 0.5


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ("def _render_traceback_(self): return ['mine', 'own']", "mine\nown"),
        ("def _render_traceback_(self): raise OSError", "Odd"),
        ("@property\n    def __notes__(self): raise OSError", "Odd"),
    ],
)
def test_error_may_render_itself(run, body, shown):
    """IPython's protocol is honoured, and a bug in it hides nothing."""
    outcome = run(f"class Odd(Exception):\n    {body}\nraise Odd")["outcomes"][0]
    assert outcome["error"][0] == "Odd"
    assert shown in outcome["ansi"]
    assert "Odd" in outcome["text"]


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (
            (
                "try:\n    1 / 0\nexcept ZeroDivisionError:\n"
                "    get_ipython().showtraceback()"
            ),
            "ZeroDivisionError",
        ),
        (
            "code = compile('1 / 0', 'x', 'exec')\nawait get_ipython().run_code(code)",
            "ZeroDivisionError",
        ),
        (
            "get_ipython().system_raise_on_error = True\n!exit 3",
            "CalledProcessError",
        ),
    ],
)
def test_error_that_ipython_would_only_show_fails_the_run(run, source, error):
    """A run that nobody watches must not look like a success."""
    assert run(source)["outcomes"][0]["error"][0] == error


def test_repr_that_fails_is_no_failure(run):
    """As in a notebook the value is the result, and the repr's error is shown."""
    report = run("class C:\n    def __repr__(self): 1 / 0\nC()")
    assert report["outcomes"][0]["is_ok"]
    assert "ZeroDivisionError" in report["stderr"]
    assert report["displays"] == []


@pytest.mark.parametrize(
    "source", ["import time\ntime.sleep(30)", "while True: pass", "!sleep 30"]
)
def test_interrupt_ends_a_run(run, source):
    """A signal's KeyboardInterrupt is the run's error."""
    report = run(source, alarm=(0.1, "SIGINT"))
    assert report["outcomes"][0]["error"][0] == "KeyboardInterrupt"
    assert report["outcomes"][0]["seconds"] < 5


@pytest.mark.parametrize("number", ["SIGINT", "SIGALRM"])
def test_interrupted_coroutine_does_not_wake_up_in_the_next_run(run, number):
    """What an interrupted run awaited is cancelled, and the loop goes on."""
    report = run(
        "import asyncio\n"
        "async def wait():\n"
        "    try:\n        await asyncio.sleep(ctx)\n"
        "    finally:\n        print('left', ctx)\n"
        "    return ctx\n"
        "await wait()",
        contexts=[30, 0],
        alarm=(0.2, number),
    )
    first, second = report["outcomes"]
    assert first["error"][0] == "KeyboardInterrupt"
    assert pickle.loads(second["result"]) == 0
    assert report["stdout"] == "left 30\nleft 0\n"


@pytest.mark.parametrize(
    ("source", "line", "text"),
    [
        ("def f(:", 1, "def f(:"),
        ("\n\nx = 1\nreturn 3", 4, "return 3"),
        ("!ls \\\n  x\n1 +", 3, "1 +"),
        ("   x = 1\n   y = (", 2, "   y = ("),
        ("'''open", 1, "'''open"),
        ("await x; yield 1", 1, "await x; yield 1"),
        ("%%time\nx = (", None, None),
    ],
)
def test_syntax_error_is_raised_by_load(run, source, line, text):
    """A cell that is no IPython code fails when it is loaded, at its own line."""
    report = run(source)
    if line is None:  # a magic's body is the magic's affair, when it runs
        assert report["outcomes"][0]["error"][0] == "SyntaxError"
        return
    name, _, lineno, quoted = report["load_error"]
    assert (name, lineno) == ("SyntaxError", line)
    assert quoted.rstrip("\n") == text


def test_stdout_that_the_cell_closed_is_no_failure(run):
    """A cell may close fd 1 or `sys.stdout`; its run ends all the same."""
    report = run("import os, sys\nprint(1)\nsys.stdout.flush()\nos.close(1)\n5")
    assert get_result(report) == 5
    report = run("import sys\nsys.stdout.close()\n6")
    assert pickle.loads(report["outcomes"][0]["result"]) == 6


# --- from run to run --------------------------------------------------------------


def test_namespace_stays_from_run_to_run(run):
    """What the code leaves is there at the next run; `ctx` is each run's own."""
    source = "try:\n    n += 1\nexcept NameError:\n    n = 1\n(n, ctx)"
    report = run(source, contexts=["a", "b", "c"])
    results = [pickle.loads(outcome["result"]) for outcome in report["outcomes"]]
    assert results == [(1, "a"), (2, "b"), (3, "c")]


def test_event_loop_stays_from_run_to_run(run):
    """What belongs to the loop may be kept: a lock, a session, a queue."""
    source = (
        "import asyncio\n"
        "try:\n    queue\nexcept NameError:\n    queue = asyncio.Queue()\n"
        "await queue.put(ctx)\nawait asyncio.wait_for(queue.get(), 1)"
    )
    report = run(source, contexts=[1, 2])
    assert [pickle.loads(o["result"]) for o in report["outcomes"]] == [1, 2]


def test_results_are_not_kept(run):
    """A thousand results leave nothing behind."""
    source = (
        "import weakref\n"
        "class Big: pass\n"
        "seen = globals().setdefault('seen', weakref.WeakSet())\n"
        "big = Big(); seen.add(big)\n"
        "value, big = big, None\n"
        "print('x' * 1000)\n"
        "len(seen) if ctx == 'last' else globals().pop('value')"
    )
    report = run(source, contexts=[None] * 300 + ["last"])
    assert pickle.loads(report["outcomes"][-1]["result"]) == 1
    assert report["out"] == 0


def test_failures_are_not_kept(run):
    """The frames of a failed run, and what they hold, are gone at the next."""
    source = (
        "import gc, weakref\n"
        "class Big: pass\n"
        "seen = globals().setdefault('seen', weakref.WeakSet())\n"
        "def fail():\n    big = Big(); seen.add(big); 1 / 0\n"
        "if ctx == 'last':\n    gc.collect(); count = len(seen)\nelse:\n    fail()\n"
        "count"
    )
    report = run(source, contexts=[None] * 5 + ["last"])
    assert pickle.loads(report["outcomes"][-1]["result"]) == 0


# --- extensions and events --------------------------------------------------------


def test_extension_is_loaded_with_the_cell(run, tmp_path):
    """An extension's magics work, its events come with every run."""
    (tmp_path / "my_extension.py").write_text(
        "def load_ipython_extension(ip):\n"
        "    ip.register_magic_function(lambda line: line.upper(), 'line', 'upper')\n"
        "    ip.events.register('pre_run_cell', lambda info: print(info.raw_cell))\n"
        "    ip.events.register('post_run_cell', lambda r: print(r.result))\n"
    )
    report = run("%upper abc", extensions=["my_extension"], path=str(tmp_path))
    assert get_result(report) == "ABC"
    assert report["stdout"] == "%upper abc\nABC\n"


def test_missing_extension_is_an_error_of_load(run):
    """The cell is not run without what it needs."""
    report = run("1", extensions=["no_such_extension"])
    assert report["load_error"][0] == "ModuleNotFoundError"


def test_file_run_by_the_cell_fails_it(run, tmp_path):
    """`%run` of a script that raises is no success, as it would be in IPython."""
    script = tmp_path / "script.py"
    script.write_text("value = 6\n1 / 0\n")
    outcome = run(f"%run {script}")["outcomes"][0]
    assert outcome["error"][0] == "ZeroDivisionError"
    script.write_text("value = 7\n")
    assert get_result(run(f"%run {script}\nvalue")) == 7


def test_shell_is_built_where_no_zygote_has_prepared_one():
    """A spawned worker builds its shell itself."""
    code = (
        "from ipycron.process.shell import CellShell\n"
        "shell = CellShell(publish=print)\n"
        "shell.load('import asyncio\\nawait asyncio.sleep(0, ctx)')\n"
        "print(shell.run('spawned').result)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout.splitlines()[-1] == "spawned", done.stderr
