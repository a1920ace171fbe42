"""What a failing test prints: a test of the tests."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from watching import SESSION

SUPPORT = Path(__file__).parents[1] / "support"
HEAD = """
import sys
import pytest
import ipycron

def work():
    print("a word of the job", file=sys.stderr)

def begin():
    task = ipycron.schedule("0 0 1 1 *", work, background=True, name="report")
    task.execute().result(20)

@pytest.fixture
def over():
    yield
    ipycron.shutdown()
"""
FAILING = {
    "call": "def test_it(over):\n    begin()\n    assert 0\n",
    "setup": "@pytest.fixture\ndef bad(over):\n    begin()\n    assert 0\n"
    "def test_it(bad): pass\n",
}


def run_pytest(folder, source):
    """Run a file of tests; return the output."""
    path = folder / "test_failing.py"
    path.write_text(HEAD + source)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "evidence", path],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(SUPPORT),
            "COLUMNS": "200",
            SESSION: os.urandom(8).hex(),  # else it finds the processes of this session
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # half of the time
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout


@pytest.mark.parametrize("when", FAILING)
def test_failure_names_the_processes_and_their_last_lines(tmp_path, when):
    """The reader need not run the test again to see which were there."""
    printed = run_pytest(tmp_path, FAILING[when])
    _, alive = printed.split("processes alive", 1)
    alive, rest = alive.split("supervisor's last lines", 1)
    assert [line.split()[-1] for line in alive.splitlines()[1:-1]] == [
        *("supervisor", "zygote", "worker")
    ]
    assert "(nothing)" in rest
    assert "<Task 'report' idle" in rest
    assert "stderr: a word of the job" in rest


def test_success_prints_nothing_of_it(tmp_path):
    """Nothing is collected for a passing test."""
    printed = run_pytest(tmp_path, "def test_it(over):\n    begin()\n")
    assert "1 passed" in printed
    assert "processes alive" not in printed


@pytest.mark.parametrize(
    ("last", "seconds"), [("time.sleep(30)", 3), ("sys.exit(3)", 60)]
)
def test_program_that_hangs_or_fails_is_quoted(tmp_path, last, seconds):
    """What `subprocess` says of it is only its command and its exit code."""
    program = "import sys, time\n"
    program += f"print('a', 'last', 'word', file=sys.stderr, flush=True)\n{last}"
    source = (
        f"import subprocess\ndef test_it():\n    subprocess.run([sys.executable, '-c', "
        f"{program!r}], capture_output=True, check=True, timeout={seconds})\n"
    )
    printed = run_pytest(tmp_path, source)
    _, quoted = printed.split("the program's last lines", 1)
    assert "stderr: a last word" in quoted
