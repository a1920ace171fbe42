"""How cells fail: with the original error, at the cell's own line."""

import pickle
import re

import pytest


def get_result(report):
    """Return the result of the last run, which must have succeeded."""
    outcome = report["outcomes"][-1]
    assert outcome["is_ok"], outcome["text"]
    return pickle.loads(outcome["result"])


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
def test_failure_has_the_real_error_and_the_cells_line(
    run_in_fork, source, error, line
):
    """Any exception that ends a cell is its failure."""
    outcome = run_in_fork(source)["outcomes"][0]
    assert not outcome["is_ok"]
    name, text = outcome["error"]
    assert (name, text[: len(error[1])]) == error
    assert outcome["lines"][0] == ("<cell>", line)


def test_exit_keeps_its_code(run_in_fork):
    """`sys.exit(3)` is a failure with exit code 3 and prints nothing on stderr."""
    report = run_in_fork("import sys\nsys.exit(3)")
    assert report["outcomes"][0]["code"] == 3
    assert report["stderr"] == ""


def test_input_is_refused_at_once(run_in_fork):
    """There is no user to answer."""
    outcome = run_in_fork("input('name? ')")["outcomes"][0]
    assert outcome["error"][0] == "EOFError"
    assert "no user to ask" in outcome["error"][1]
    assert outcome["seconds"] < 5


def test_traceback_quotes_the_cell_as_typed(run_in_fork):
    """Both renderings show the cell's own lines and numbers."""
    source = "!echo \\\n  one\ndef f():\n    return 1 / 0\n\nf()  # here"
    outcome = run_in_fork(source, filename="<cell report>")["outcomes"][0]
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


def test_traceback_shows_causes_notes_and_groups(run_in_fork):
    """Every part of the exception is shown."""
    source = (
        "try:\n    {}['k']\nexcept KeyError as e:\n"
        "    error = ExceptionGroup('many', [ValueError('v')])\n"
        "    error.add_note('a note')\n    raise error from e"
    )
    outcome = run_in_fork(source)["outcomes"][0]
    for text in (outcome["text"], outcome["ansi"]):
        for part in ("KeyError: 'k'", "ValueError: v", "a note", "direct cause"):
            assert part in text


def test_failure_is_reported_when_the_error_cannot_be_printed(run_in_fork):
    """An exception whose text raises is still reported with its name."""
    report = run_in_fork(
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
@pytest.mark.alone
def test_extreme_failure_is_reported_at_once(run_in_fork, source, error):
    """Deep recursion, no memory, errors that are not an `Exception`."""
    outcome = run_in_fork(source)["outcomes"][0]
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
def test_error_may_render_itself(run_in_fork, body, shown):
    """IPython's protocol is supported, and a bug in it hides nothing."""
    outcome = run_in_fork(f"class Odd(Exception):\n    {body}\nraise Odd")["outcomes"][
        0
    ]
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
def test_error_that_ipython_would_only_show_fails_the_run(run_in_fork, source, error):
    """An unattended run must not look like a success."""
    assert run_in_fork(source)["outcomes"][0]["error"][0] == error


def test_failing_repr_is_not_a_failure_of_the_run(run_in_fork):
    """As in a notebook, the value is the result, and the error is shown."""
    report = run_in_fork("class C:\n    def __repr__(self): 1 / 0\nC()")
    assert report["outcomes"][0]["is_ok"]
    assert "ZeroDivisionError" in report["stderr"]
    assert report["displays"] == []


@pytest.mark.parametrize(
    "source", ["import time\ntime.sleep(30)", "while True: pass", "!exec sleep 30"]
)
def test_interrupt_ends_a_run(run_in_fork, source):
    """A signal's KeyboardInterrupt is the run's error."""
    # Late enough for the command to run: `subprocess` itself forgets its child when it
    # is interrupted between the fork and the exec. `exec`, for some shells fork first:
    # what a shell leaves behind goes with the worker's group, which there is none here.
    report = run_in_fork(source, alarm=(1, "SIGINT"))
    assert report["outcomes"][0]["error"][0] == "KeyboardInterrupt"
    assert report["outcomes"][0]["seconds"] < 5


@pytest.mark.parametrize("number", ["SIGINT", "SIGALRM"])
def test_interrupted_coroutine_does_not_wake_up_in_the_next_run(run_in_fork, number):
    """What an interrupted run awaited is cancelled; the loop continues."""
    report = run_in_fork(
        "import asyncio, signal\n"
        "async def wait():\n"
        "    try:\n"
        "        if ctx:\n            signal.setitimer(signal.ITIMER_REAL, 0.2)\n"
        "        await asyncio.sleep(ctx)\n"
        "    finally:\n        print('left', ctx)\n"
        "    return ctx\n"
        "await wait()",
        contexts=[30, 0],
        alarm=(0, number),
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
def test_syntax_error_is_raised_by_load(run_in_fork, source, line, text):
    """Invalid IPython code fails when it is loaded, at its own line."""
    report = run_in_fork(source)
    if line is None:  # a magic's body is the magic's affair, when it runs
        # Python 3.13 has a class of its own for what may only be unfinished.
        names = ("SyntaxError", "_IncompleteInputError")
        assert report["outcomes"][0]["error"][0] in names
        return
    name, _, lineno, quoted = report["load_error"]
    assert (name, lineno) == ("SyntaxError", line)
    assert quoted.rstrip("\n") == text


def test_closed_stdout_is_not_a_failure(run_in_fork):
    """A cell may close fd 1 or `sys.stdout`; its run still ends normally."""
    report = run_in_fork("import os, sys\nprint(1)\nsys.stdout.flush()\nos.close(1)\n5")
    assert get_result(report) == 5
    report = run_in_fork("import sys\nsys.stdout.close()\n6")
    assert pickle.loads(report["outcomes"][0]["result"]) == 6
