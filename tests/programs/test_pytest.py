"""pytest, with and without xdist: a task left by a test blocks nothing."""

import sys
from importlib.metadata import entry_points

import pytest

TESTS = """
import atexit, os
from pathlib import Path
import ipycron

# Not in a process that is killed because something keeps it alive.
atexit.register(Path(f"ended-{os.getpid()}").touch)

def test_fails():
    task = ipycron.schedule("* * * * * *", "tick.py", name="tick")
    task.execute().result()
    assert 0

def test_passes():
    task = ipycron.schedule("* * * * * *", "tick.py", name="tock")
    task.execute().result()
"""
# Hypothesis, too, is a plugin: it takes longer to load than these tests to run.
WITHOUT = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest")
PYTEST = (sys.executable, "-m", "pytest", *WITHOUT, "-q")


PLUGIN = (
    ()
    if entry_points(group="pytest11", name="ipycron")
    else ("-p", "ipycron.testing.plugin")  # a source tree that was not reinstalled
)


@pytest.mark.parametrize(
    ("options", "processes"), [((), 1), (("-n2",), 2), (("-x",), 1)], ids=str
)
def test_run_ends_whatever_a_test_leaves(start, options, processes):
    """A failing test ends with its task still started: so does the run of pytest."""
    program = start(*PYTEST, *PLUGIN, *options, "test_left.py", test_left=TESTS)
    assert program.wait() == 1, program.stdout
    assert any("1 failed" in line for line in program.stdout), program.stdout
    assert len(list(program.folder.glob("ended-*"))) == processes


LEAKS = """
import ipycron, pytest

pytestmark = pytest.mark.usefixtures("ipycron_tasks")

def test_leaves_one():
    ipycron.schedule("* * * * * *", "tick.py", name="tick").execute().result()

def test_leaves_none():
    assert not ipycron.get_tasks()
    task = ipycron.schedule("* * * * * *", "tick.py", name="tock")
    task.execute().result()
    task.stop().result()
    ipycron.create_task("* * * * * *", "tick.py")

def test_uses_nothing():
    pass
"""


def test_fixture_fails_the_test_that_leaves_a_task(start):
    """It names the task, ends everything, and does not affect other tests."""
    program = start(*PYTEST, *PLUGIN, "test_leaks.py", test_leaks=LEAKS)
    assert program.wait() == 1, program.stdout
    assert "3 passed, 1 error" in program.stdout[-1], program.stdout
    said = "the test left tasks started: 'tick' (* * * * * *)"
    assert any(said in line for line in program.stdout), program.stdout


def test_plugin_loads_nothing_of_ipycron_until_it_is_used(start):
    """Every pytest run in this environment loads the plugin."""
    program = start(
        *PYTEST,
        *PLUGIN,
        "test_loaded.py",
        test_loaded="""
        import sys
        def test_loaded():
            loaded = {name for name in sys.modules if name.startswith("ipycron")}
            assert loaded <= {
                "ipycron", "ipycron.lazy", "ipycron.testing", "ipycron.testing.plugin"
            }
        """,
    )
    assert program.wait() == 0, program.stdout
