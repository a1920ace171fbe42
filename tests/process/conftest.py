"""Fixtures of the processes' tests: cells in forked children."""

import importlib.util
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location(
    "shell_zygote", Path(__file__).with_name("shell_zygote.py")
)
shell_zygote = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(shell_zygote)


@pytest.fixture(scope="session")
def zygote():
    """One prepared process, for all cells that tests run."""
    zygote = shell_zygote.Zygote()
    yield zygote
    zygote.close()


@pytest.fixture
def run_in_fork(zygote):
    """Run one cell in a child of its own; return the report."""

    def run_cell(source, **options):
        (report,) = zygote.run({"source": source, **options})
        assert report["status"] == 0, report["stderr"]
        return report

    return run_cell
