"""Everything at once: all slots accounted for, nothing grows, nothing is left."""

import subprocess
import sys
from pathlib import Path

import pytest
from lengths import choose
from scores import count_score

SECONDS = choose(short=20, full=60)
SOAK = Path(__file__).parents[2] / "benchmarks" / "soak.py"


@pytest.mark.timeout(SECONDS + 90)
def test_every_slot_is_accounted_for_when_everything_happens_at_once(request):
    """No slot lost or reported twice, every run ends, no orphans, flat memory."""
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
            lost = number * is_bad
            count_score(request, "soak", name.strip(), tried=number, lost=lost)
    assert done.returncode == 0, done.stdout + done.stderr
