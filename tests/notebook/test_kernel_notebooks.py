"""The shipped notebooks, executed from top to bottom in a real kernel."""

import re
from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"

pytestmark = pytest.mark.filterwarnings("default")


def test_quickstart_shows_what_it_says_when_executed(execute):
    """The first notebook that people run does what its text says."""
    done = execute(NOTEBOOKS / "quickstart.ipynb")
    greeter = done.text(done.find("%%cron"))
    assert greeter.lstrip().startswith("greeter: Every second (")
    assert "captured: words (list), shout (function)" in greeter
    assert "each result goes to greeting" in greeter
    waited = done.text(done.find("%cron wait greeter"))
    # What runs every second may have run once more by the time that it is counted.
    assert re.match(r"waited [\d.]+ s; greeter: ([2-9]|\d\d+) runs\n", waited)
    assert waited.rstrip().endswith(("'SUN!'", "'MOON!'", "'STAR!'"))
    under = done.cells[done.find("%%cron")].outputs[-1].data
    assert "and all is" in under["text/plain"]
    assert "and all is" in under["text/html"]
    disk = done.text(done.find("import ipycron"))
    assert re.search(r"check 1, .*: \d+ % of the disk is free", disk)
    stopped = done.text(done.find("%cron stop"))
    assert "greeter: stopped" in stopped
    assert stopped.rstrip().endswith("no task is scheduled")


def test_events_and_control_does_what_it_says_when_executed(execute):
    """Listeners, manual runs, overlaps and limits behave as the text says."""
    done = execute(NOTEBOOKS / "events_and_control.ipynb")
    heard = done.text(done.find("flaky = "))
    runs = re.search(r"waited [\d.]+ s; flaky: (\d+) runs, (\d+) failed\n", heard)
    assert int(runs[1]) >= 4
    assert 0 < int(runs[2]) < int(runs[1])
    assert re.search(r"\d+ finished, \{0\}\n\d+ failed, \{'odd second'\}\n", heard)
    events = done.text(done.find('ipycron.off("*")'))
    assert events.startswith("['task:stopped', 'task:started'")
    by_hand = done.text(done.find("divide = "))
    assert by_hand == "the third time: division by zero\n\n[3.0, 6.0]"
    assert done.text(done.find("await divide.stop()")) == "3.0"
    assert "slots were skipped\nOverlapError\n" in done.text(done.find("slow = "))
    assert done.text(done.find("try:")) == (
        "task 'endless': a run took longer than 0.5 s and was ended.\n"
    )
    assert "2 runs, then destroyed" in done.text(done.find("twice = "))
    assert "False ValueError: odd second" in done.text(done.find("for run in"))
    assert "on the first Monday of the month" in done.text(done.find("%cron next"))
    assert done.text(done.find("%cron destroy")).endswith("no task is scheduled\n")
