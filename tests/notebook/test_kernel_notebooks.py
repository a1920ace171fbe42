"""The notebooks that we ship, executed from top to bottom in a real kernel."""

import re
from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.timeout(60)]


def test_quickstart_shows_what_it_says_when_executed(execute):
    """The first notebook that people run does what its text says."""
    done = execute(NOTEBOOKS / "quickstart.ipynb")
    greeter = done.text(done.find("%%cron"))
    assert greeter.startswith("greeter: Every second (")
    assert "captured: words (list), shout (function)" in greeter
    assert "results go to greeting" in greeter
    waited = done.text(done.find("%cron wait greeter"))
    assert re.match(r"waited \d+\.\d s; greeter: 2 runs\n", waited)
    assert waited.rstrip().endswith(("'SUN!'", "'MOON!'", "'STAR!'"))
    disk = done.text(done.find("import ipycron"))
    assert re.search(r"check 1, .*: \d+ % of the disk is free", disk)
    stopped = done.text(done.find("%cron stop"))
    assert "greeter: stopped" in stopped
    assert stopped.rstrip().endswith("no task is scheduled")
