"""The page for users of other schedulers: every line runs."""

import re
from pathlib import Path

import pytest

import ipycron

PAGE = Path(__file__).parents[2] / "docs" / "coming-from.md"
LINES = re.findall(r"^\| `(.+)` \| `(.+)` \|$", PAGE.read_text(), re.MULTILINE)


def job(a=0, b=0):
    """Return its argument."""
    return (a, b)


def test_page_has_lines_for_each_scheduler():
    """A table in another format would not be tested."""
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert len(rows) == len(LINES) > 45


@pytest.mark.parametrize("code", [pytest.param(ours, id=ours) for _, ours in LINES])
def test_line_of_the_page_runs(code, write, monkeypatch):
    """With a job, a task, and a task called report."""
    monkeypatch.chdir(write("def task(): pass", "task.py").parent)
    task = ipycron.schedule("0 0 1 1 *", job, name="report")
    names = {"ipycron": ipycron, "job": job, "task": task}
    code = code.replace('"task.py"', repr(str(Path("task.py").resolve())))
    exec(code, names)
    ipycron.shutdown(0)
