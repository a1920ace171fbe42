"""The documentation names tests that there are."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
NAMED = re.compile(r"`([\w/]+\.py)::(test_\w+)`")


def test_what_happens_when_names_tests_that_exist():
    """A line without its proof would be a promise only."""
    text = (TESTS.parent / "docs" / "history.md").read_text()
    chapter = text.partition("## What happens when")[2]
    named = NAMED.findall(chapter)
    lines = [line for line in chapter.splitlines() if line.startswith("| ")][1:]
    assert len(named) >= len(lines) > 10
    assert all(NAMED.search(line) for line in lines)
    missing = [
        f"{path}::{name}"
        for path, name in named
        if f"def {name}(" not in (TESTS / path).read_text()
    ]
    assert missing == []
