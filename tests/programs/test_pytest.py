"""pytest, with and without xdist: a task that a test leaves holds up nothing."""

import sys

import pytest

TESTS = """
import ipycron

def test_fails():
    task = ipycron.schedule("* * * * * *", "tick.py", name="tick")
    task.execute().result()
    assert 0

def test_passes():
    task = ipycron.schedule("* * * * * *", "tick.py", name="tock")
    task.execute().result()
"""
PYTEST = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q")


@pytest.mark.parametrize("options", [(), ("-n2",), ("-x",)], ids=str)
def test_run_ends_whatever_a_test_leaves(start, options):
    """A failing test ends with its task still started: so does the run of pytest."""
    program = start(*PYTEST, *options, "test_left.py", test_left=TESTS)
    assert program.wait(20) == 1, program.stdout
    assert any("1 failed" in line for line in program.stdout), program.stdout
