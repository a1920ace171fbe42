"""Fixtures of the notebook's tests: a shell in this process, workers in forks."""

import builtins
import importlib.util
import pickle
import sys
from pathlib import Path

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
