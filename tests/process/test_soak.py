"""A minute of everything at once: the books balance, nothing grows, nobody is left."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from scores import get_scores

SECONDS = float(os.environ.get("IPYCRON_SOAK_SECONDS", "60"))
SOAK = Path(__file__).parents[2] / "benchmarks" / "soak.py"


@pytest.mark.timeout(SECONDS + 90)
def test_every_slot_is_accounted_for_when_everything_happens_at_once(pytestconfig):
    """No slot lost or told twice, no run without its end, no orphan, flat memory."""
    done = subprocess.run(
        [sys.executable, SOAK, "--seconds", str(SECONDS), "--tasks", "80"],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS + 80,
    )
    for line in done.stdout.splitlines():
        name, _, count = line.rpartition("  ")
        if name.startswith("slots") and count.replace(",", "").strip().isdigit():
            number = int(count.replace(",", ""))
            is_bad = name.strip() in ("slots unaccounted", "slots told twice")
            scores = get_scores(pytestconfig)
            scores.count("soak", name.strip(), tried=number, lost=number * is_bad)
    assert done.returncode == 0, done.stdout + done.stderr
