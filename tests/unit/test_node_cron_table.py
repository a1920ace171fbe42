"""The table of node-cron's tested behaviours names tests that exist."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
REFERENCE = re.compile(r"`((?:process|unit|property)/[\w/]+\.py)(?:::(test_\w+))?`")


def test_every_named_test_exists():
    """A renamed test must be renamed in the table, too."""
    text = (TESTS / "process" / "node_cron.md").read_text()
    references = REFERENCE.findall(text)
    assert len(references) > 100
    missing = [
        f"{file}::{name}"
        for file, name in references
        if not (TESTS / file).is_file()
        or not re.search(rf"def {name}\b", (TESTS / file).read_text())
    ]
    assert missing == []
