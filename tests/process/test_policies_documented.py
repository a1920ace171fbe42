"""The examples of `docs/policies.md`, run as they stand there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hours import pass_full_hour

TEXT = (Path(__file__).parents[2] / "docs/policies.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
PRINTED = [
    r"fetched in attempt 3\n",
    r"(attempt \d: no answer; again at \d\d:\d\d:\d\d\n){2}TimeoutError\n",
    r"cancelled - no statement this month\n",
    r"loaded\n",
    r"\['done', 'done', 'done'\] one after another\n",
    r"one after the other: True\n",
]


@pytest.mark.parametrize(
    ("program", "printed"), list(zip(PROGRAMS, PRINTED, strict=True))
)
def test_example_of_the_policies_prints_what_it_says(program, printed, tmp_path):
    """Each is a program of its own; a shutdown ends it."""
    pass_full_hour()
    script = tmp_path / "example.py"
    script.write_text(f"{program}\nipycron.shutdown()\n")
    environment = {**os.environ, "IPYCRON_HISTORY": str(tmp_path / "history.sqlite")}
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(printed, done.stdout), done.stdout
