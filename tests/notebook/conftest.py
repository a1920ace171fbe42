"""Fixtures of the notebook's tests: a shell here, workers in forks, real kernels."""

import builtins
import importlib.util
import os
import pickle
import re
import sys
import time
from pathlib import Path

import nbclient
import nbformat
import psutil
import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from ipycron.notebook.capture import capture_names

_spec = importlib.util.spec_from_file_location(
    "shell_zygote",
    Path(__file__).parent.with_name("process") / "shell_zygote.py",
)
shell_zygote = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(shell_zygote)


@pytest.fixture(scope="session")
def zygote():
    """One prepared process, for all cells that tests run."""
    zygote = shell_zygote.Zygote()
    yield zygote
    zygote.close()


@pytest.fixture(scope="module")
def module_shell():
    """A plain IPython shell in this process, put away afterwards."""
    before = dict(vars(builtins)), sys.modules["__main__"]
    config = Config()
    config.HistoryManager.enabled = False
    config.HistoryManager.hist_file = ":memory:"
    yield InteractiveShell.instance(config=config)
    InteractiveShell.clear_instance()
    for name in set(vars(builtins)) - set(before[0]):
        delattr(builtins, name)
    sys.modules["__main__"] = before[1]


@pytest.fixture
def shell(module_shell):
    """The shell, with an empty namespace."""
    yield module_shell
    module_shell.reset(new_session=False)


@pytest.fixture
def use(shell, zygote):
    """Run cells in the notebook, then one cell in a worker; return its result."""

    def run(notebook, cell, contexts=(None,), **options):
        for source in [notebook] if isinstance(notebook, str) else notebook:
            shell.run_cell(source, store_history=True).raise_error()
        captured = capture_names(cell, shell, **options)
        (report,) = zygote.run(
            {
                "source": cell,
                "contexts": list(contexts),
                "extensions": captured.extensions,
                "snapshot": (captured.pickle, [bytes(b) for b in captured.buffers]),
            }
        )
        assert report["status"] == 0, report["stderr"]
        assert "load_error" not in report, report["load_error"]
        outcome = report["outcomes"][-1]
        assert outcome["is_ok"], outcome["text"]
        return pickle.loads(outcome["result"])

    return run


# --- real kernels ------------------------------------------------------------------

PROGRAM = "ipycron.process"
DEADLINE = 30.0
NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def find_processes():
    """Return the processes of ipycron that descend from, or outlived, this test run.

    Each leads a session of its own and an orphan has another parent: they are told
    by a variable of the environment that this run has set.
    """
    mark = os.environ["IPYCRON_TEST_RUN"]
    found = []
    for process in psutil.process_iter():
        try:
            if (
                any(PROGRAM in word for word in process.cmdline())
                and process.environ().get("IPYCRON_TEST_RUN") == mark
            ):
                found.append(process)
        except psutil.Error:
            continue  # gone, or not ours
    return found


def wait_for(look, deadline=10.0, every=0.05):
    """Return what `look` returns as soon as that is true; fail at the deadline."""
    end = time.monotonic() + deadline
    while not (seen := look()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline} s: {look}")
        time.sleep(every)  # noqa: TID251 - a poll with a deadline
    return seen


def strip_colours(text):
    """Return a text without terminal colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.fixture(scope="session", autouse=True)
def _mark_environment():
    os.environ["IPYCRON_TEST_RUN"] = f"{os.getpid()}-{time.time_ns()}"
    yield
    del os.environ["IPYCRON_TEST_RUN"]


@pytest.fixture
def leaves_no_process(_mark_environment):
    """Fail a test that leaves a process of ipycron behind."""
    yield
    wait_for(lambda: not find_processes())


class Executed:
    """A notebook that has run: its code cells and what they show."""

    def __init__(self, notebook):
        self.cells = [c for c in notebook.cells if c.cell_type == "code"]

    def text(self, index):
        """Return all text that a cell shows, colours stripped."""
        parts = []
        for output in self.cells[index].outputs:
            if output.output_type == "stream":
                parts.append(output.text)
            elif output.output_type == "error":
                parts.append("\n".join(output.traceback))
            else:
                parts.append(output.data.get("text/plain", ""))
        return strip_colours("\n".join(parts))

    def find(self, start):
        """Return the index of the first cell whose source begins so."""
        return next(
            i for i, c in enumerate(self.cells) if c.source.strip().startswith(start)
        )


@pytest.fixture
def execute(leaves_no_process):
    """Execute a notebook, or a list of cells, from top to bottom in a real kernel."""

    def run(cells, *, allow_errors=False, cwd=NOTEBOOKS):
        if isinstance(cells, Path):
            notebook = nbformat.read(cells, 4)
        else:
            notebook = nbformat.v4.new_notebook(
                cells=[nbformat.v4.new_code_cell(source) for source in cells]
            )
        client = nbclient.NotebookClient(
            notebook,
            timeout=DEADLINE,
            kernel_name="python3",
            allow_errors=allow_errors,
            resources={"metadata": {"path": str(cwd)}},
        )
        client.execute()
        return Executed(notebook)

    return run
