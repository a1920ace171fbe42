"""Logging in jobs: the documented recipes, whose records reach a file."""

import re
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "logging.md"
RECIPES = dict(
    re.findall(
        r"^## (\w+)$.*?```python\n(.*?)```", PAGE.read_text(), re.MULTILINE | re.DOTALL
    )
)
EXPECTED = {
    "structlog": ('"event": "started"', '"rows": 3', '"event": "lost"'),
    "loguru": (
        "INFO __main__: started",
        "INFO __main__: sent 3",
        "ERROR __main__: lost",
    ),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_recipe_runs(start, tmp_path, name):
    """Each record of a worker is in the program's file exactly once."""
    program = start(sys.executable, "app.py", app=RECIPES[name])
    assert program.wait() == 0, program.stderr
    log = (tmp_path / "app.log").read_text()
    begin, sent, lost = EXPECTED[name]
    assert log.count(begin) == 1, log
    assert log.count(sent) in (2, 3), log
    assert log.count(lost) == log.count("Error: division by zero") >= 2, log
    assert not program.stderr


def test_page_has_no_other_programs():
    """Every program on the page is tested."""
    assert set(RECIPES) == set(EXPECTED)
    assert PAGE.read_text().count("```python") == len(EXPECTED)
