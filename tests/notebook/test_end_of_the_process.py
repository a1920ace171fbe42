"""Pages show the tasks as they were when their process ended."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import time, ipycron
from ipycron.client.registry import registry
from ipycron.notebook.display.feed import Feed

class View:
    outlives_process = {outlives}

    def note(self, task_ids):
        print(task.status, flush=True)

    def push(self, now):
        return now + 60

task = ipycron.schedule("0 0 1 1 *", lambda: None, unref=True)
task.start().result(20)
registry.get_single(Feed).attach(View())
# The end of the program waits for this, and the feed has time to show it.
task.on("task:destroyed", lambda context: time.sleep(0.8))
task.execute().result(20)
time.sleep(0.3)
"""


@pytest.mark.parametrize("outlives", [True, False])
def test_pages_are_left_as_they_are_at_the_end(outlives):
    """A terminal is told of all; a page would have nothing left to restore."""
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(outlives=outlives)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.split()
    assert "idle" in said
    assert ("destroyed" in said) is not outlives
