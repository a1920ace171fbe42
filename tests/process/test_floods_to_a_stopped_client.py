"""A client that reads nothing for some seconds, while its tasks produce output."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from lengths import choose
from polling import eventually, pause
from scores import score_test
from watching import read_rss

from ipycron.scheduling.clock import SystemClock

MAX_GROWN = choose(short=45_000_000, full=60_000_000)
TASKS = 8  # of the client
SECONDS = choose(short=3, full=10)
PROGRAM = Path(__file__).parents[1] / "support" / "flood_client.py"


@pytest.mark.alone
@pytest.mark.timeout(240)
def test_supervisor_is_bounded_when_its_client_is_stopped(tmp_path, request):
    """Output is dropped and counted; schedule and results are not affected."""
    score_test(request, "floods", f"client_stopped_for_{SECONDS}_seconds")
    client = subprocess.Popen(
        [sys.executable, PROGRAM, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=PROGRAM.parent,
    )
    with client:
        told = json.loads(client.stdout.readline())
        supervisor, ended = told["supervisor"], told["ended"]
        before = read_rss(supervisor)
        client.send_signal(signal.SIGSTOP)
        stopped, grown = SystemClock().now(), 0
        for _ in range(SECONDS * 5):
            pause(0.2)
            grown = max(grown, read_rss(supervisor) - before)
        client.send_signal(signal.SIGCONT)
        continued = SystemClock().now()
        client.stdin.write(f"{continued}\n")
        client.stdin.flush()
        told = json.loads(client.stdout.readline())
        eventually(lambda: read_rss(supervisor) - before < MAX_GROWN, "it drains")
        client.stdin.close()
        assert client.wait(30) == 0
    assert grown < MAX_GROWN, f"{grown / 1e6:.0f} MB"
    assert told["size"] == 200_000
    # Each second was reported, run or missed, and the runs that began have ended.
    slots = [slot for _, slot in told["slots"] if stopped < slot < continued]
    assert len(slots) >= TASKS * (SECONDS - 1)
    assert told["ended"] > ended
    assert all(told["shown"])
