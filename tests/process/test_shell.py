"""A worker's shell: real cells in really forked children."""

import pickle

import pytest
from fresh import run_fresh


def get_result(report):
    """Return the result of the last run, which must have succeeded."""
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
    """The forking process has one thread and passes on no descriptor."""
    before, after = zygote.preparation["before"], zygote.preparation["after"]
    assert after["threads"] == after["os_threads"] == 1
    assert after["descriptors"] == before["descriptors"]
    assert "IPython" in after["modules"]
    assert "asyncio" in after["modules"]
    assert "matplotlib" not in after["modules"]


def test_forks_run_correctly_when_twenty_at_once(zygote):
    """Each of twenty parallel cells gets its own result and output."""
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


@pytest.mark.alone
def test_first_run_is_quick_and_small(run_in_fork):
    """A child's first run takes milliseconds and little memory of its own."""
    reports = [run_in_fork("x = 1", contexts=[None] * 5) for _ in range(5)]
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
def test_result_is_the_value_of_the_trailing_expression(run_in_fork, source, expected):
    """A cell's result is what a notebook would show under it."""
    assert get_result(run_in_fork(source, contexts=["context"])) == expected


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
def test_output_goes_to_the_pipes(run_in_fork, source, stdout, stderr):
    """All output, Python's or not, goes to fds 1 and 2, in order."""
    report = run_in_fork(source)
    get_result(report)
    assert (report["stdout"], report["stderr"]) == (stdout, stderr)


def test_time_magic_says_how_long(run_in_fork):
    """`%time` prints the same as in a notebook."""
    assert "Wall time" in run_in_fork("%time 1")["stdout"]


@pytest.mark.alone
def test_command_takes_milliseconds(run_in_fork):
    """``!true`` is a plain subprocess: IPython's own takes 100 ms."""
    report = run_in_fork("!true", contexts=[None] * 10)
    seconds = sorted(outcome["seconds"] for outcome in report["outcomes"])
    assert seconds[2] < 0.02


def test_background_command_is_refused(run_in_fork):
    """``!cmd &`` is an error, as in a notebook."""
    assert run_in_fork("!sleep 1 &")["outcomes"][0]["error"][0] == "OSError"


# --- from run to run --------------------------------------------------------------


def test_namespace_stays_from_run_to_run(run_in_fork):
    """Variables are kept for the next run; each run has its own `ctx`."""
    source = "try:\n    n += 1\nexcept NameError:\n    n = 1\n(n, ctx)"
    report = run_in_fork(source, contexts=["a", "b", "c"])
    results = [pickle.loads(outcome["result"]) for outcome in report["outcomes"]]
    assert results == [(1, "a"), (2, "b"), (3, "c")]


def test_event_loop_stays_from_run_to_run(run_in_fork):
    """Objects of the loop may be kept: a lock, a session, a queue."""
    source = (
        "import asyncio\n"
        "try:\n    queue\nexcept NameError:\n    queue = asyncio.Queue()\n"
        "await queue.put(ctx)\nawait asyncio.wait_for(queue.get(), 1)"
    )
    report = run_in_fork(source, contexts=[1, 2])
    assert [pickle.loads(o["result"]) for o in report["outcomes"]] == [1, 2]


def test_results_are_not_kept(run_in_fork):
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
    report = run_in_fork(source, contexts=[None] * 300 + ["last"])
    assert pickle.loads(report["outcomes"][-1]["result"]) == 1
    assert report["out"] == 0


def test_failures_are_not_kept(run_in_fork):
    """The frames of a failed run, and what they hold, are gone at the next."""
    source = (
        "import gc, weakref\n"
        "class Big: pass\n"
        "seen = globals().setdefault('seen', weakref.WeakSet())\n"
        "def fail():\n    big = Big(); seen.add(big); 1 / 0\n"
        "if ctx == 'last':\n    gc.collect(); count = len(seen)\nelse:\n    fail()\n"
        "count"
    )
    report = run_in_fork(source, contexts=[None] * 5 + ["last"])
    assert pickle.loads(report["outcomes"][-1]["result"]) == 0


# --- extensions and events --------------------------------------------------------


def test_extension_is_loaded_with_the_cell(run_in_fork, tmp_path):
    """An extension's magics work, and its events occur in every run."""
    (tmp_path / "my_extension.py").write_text(
        "def load_ipython_extension(ip):\n"
        "    ip.register_magic_function(lambda line: line.upper(), 'line', 'upper')\n"
        "    ip.events.register('pre_run_cell', lambda info: print(info.raw_cell))\n"
        "    ip.events.register('post_run_cell', lambda r: print(r.result))\n"
    )
    report = run_in_fork("%upper abc", extensions=["my_extension"], path=str(tmp_path))
    assert get_result(report) == "ABC"
    assert report["stdout"] == "%upper abc\nABC\n"


def test_missing_extension_is_an_error_of_load(run_in_fork):
    """The cell is not run without what it needs."""
    report = run_in_fork("1", extensions=["no_such_extension"])
    assert report["load_error"][0] == "ModuleNotFoundError"


def test_file_run_by_the_cell_fails_it(run_in_fork, tmp_path):
    """`%run` of a script that raises is a failure, unlike in IPython."""
    script = tmp_path / "script.py"
    script.write_text("value = 6\n1 / 0\n")
    outcome = run_in_fork(f"%run {script}")["outcomes"][0]
    assert outcome["error"][0] == "ZeroDivisionError"
    script.write_text("value = 7\n")
    assert get_result(run_in_fork(f"%run {script}\nvalue")) == 7


def test_shell_is_built_where_no_zygote_has_prepared_one():
    """A spawned worker builds its own shell."""
    code = (
        "from ipycron.process.shell.cell import CellShell\n"
        "shell = CellShell(publish=print)\n"
        "shell.load('import asyncio\\nawait asyncio.sleep(0, ctx)')\n"
        "import json\n"
        "print(json.dumps(shell.run('spawned').result))\n"
    )
    assert run_fresh(code) == "spawned"
