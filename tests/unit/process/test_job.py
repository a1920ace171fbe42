"""How a file is classified by its code, and what a job is given."""

import atexit
import sys

import pytest

from ipycron.process.worker.job import FunctionRunner, binds_task
from ipycron.process.worker.script import ScriptRunner

MANY_NAMES = "\n".join(f"name_{number} = 1" for number in range(700))


@pytest.mark.parametrize(
    "line",
    [
        "def task(): pass",
        "async def task(): pass",
        "class task: pass",
        "import os as task",
        "from os import getpid as task",
        "task: int = 3",
        "(task := 3)",
        "if True:\n    def task(): pass",
        "for task in (): pass",
        "global task\ntask = 1",
        "raise SystemExit\ndef task(): pass",
        "import sys\nsys.exit()\nwhile True:\n    def task(): pass",
        "if 0:\n    def task(): pass",
        "try:\n    import x\nexcept ImportError:\n    def task(): pass",
        "try:\n    pass\nfinally:\n    task = print",
        "with open('x') as task: pass",
        "match 1:\n    case 2:\n        async def task(): pass",
        "match 1:\n    case task: pass",
        "import task.part",
        "print([(task := n) for n in ()])",
    ],
)
def test_file_that_binds_task(line):
    """By any statement, and after any number of names."""
    assert binds_task(line.encode(), "file")
    assert binds_task(f"{MANY_NAMES}\n{line}".encode(), "file")


@pytest.mark.parametrize(
    "line",
    [
        "print(task)",
        "def f():\n    task = 1",
        "def f():\n    global task\n    task = 1",
        "class C:\n    def task(self): pass",
        "[task for task in ()]",
        "del task",
        "self.task = 1",
        "if True:\n    def f():\n        task = 1",
        "lambda: (task := 1)",
        "import os.task",
        "f(task=1)",
        "raise SystemExit\nprint(task)",
        "",
    ],
)
def test_file_that_does_not_bind_task(line):
    """A local name, an attribute or a mere mention is not a binding."""
    assert not binds_task(line.encode(), "file")
    assert not binds_task(f"{MANY_NAMES}\n{line}".encode(), "file")


def test_file_with_a_deeply_nested_expression():
    """A sum of five hundred strings is five hundred levels deep."""
    text = " + ".join(["'a'"] * 500)
    assert not binds_task(f"x = {text}".encode(), "file")
    assert binds_task(f"x = {text}\ntask = x".encode(), "file")


def test_file_that_is_not_python():
    """The error is raised before anything runs."""
    with pytest.raises(SyntaxError):
        binds_task(b"def task(:", "file")


def test_context_is_made_for_a_job_that_takes_it_alone():
    """Making it takes a fifth of a worker's time around a short, silent job."""
    made = []

    def describe():
        made.append("context")
        return made[-1]

    assert FunctionRunner(lambda: "none").run(describe) == "none"
    assert FunctionRunner(lambda ctx=0: ctx).run(describe) == 0
    assert made == []
    assert FunctionRunner(lambda ctx: ctx).run(describe) == "context"


def test_script_that_has_not_run_has_no_end():
    """Its worker was stopped: there is nothing to wait for or clean up."""
    modules, calls = dict(sys.modules), atexit._ncallbacks()
    ScriptRunner("script.py", ()).end()
    assert sys.modules == modules
    assert atexit._ncallbacks() == calls
