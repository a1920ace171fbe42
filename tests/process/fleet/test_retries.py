"""Retries in a fleet: one instance makes all attempts of a slot (Y2)."""

import os
import subprocess
import sys
from collections import defaultdict

from polling import eventually

MEMBER = """
import os, sys
import ipycron
from ipycron.coordinate import SQLiteRunCoordinator
folder, name, kind = sys.argv[1:]

def work(ctx):
    line = f"{ctx.date.timestamp():.0f} {name} {ctx.attempt}\\n"
    fd = os.open(f"{folder}/runs", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(fd, line.encode())
    os.close(fd)
    if ctx.attempt < 3:
        raise ConnectionError(ctx.attempt)

task = ipycron.create_task(
    "*/4 * * * * *", work, name="beat", background=kind == "background",
    distributed=True, run_coordinator=SQLiteRunCoordinator(f"{folder}/claims.sqlite"),
    distributed_lease=0.5, tolerance=0.5, overlap="queue",
    retry=ipycron.Retry(5, delay=0.8, backoff=1, jitter=0, on="ConnectionError"),
)
task.start().result(20)
print("ready", flush=True)
sys.stdin.read()
ipycron.shutdown()
"""


def read_slots(path):
    """Return the members and the attempts of each slot that is over."""
    slots = defaultdict(list)
    for line in path.read_text().splitlines() if path.exists() else []:
        slot, name, attempt = line.split()
        slots[slot].append((name, int(attempt)))
    return {slot: runs for slot, runs in slots.items() if runs[-1][1] >= 3}


def test_one_instance_makes_all_attempts_of_a_slot(tmp_path):
    """Longer than the claim would last by itself: it is renewed between attempts."""
    path = tmp_path / "runs"
    environment = {**os.environ, "IPYCRON_HISTORY": "off"}
    members = [
        subprocess.Popen(
            [sys.executable, "-c", MEMBER, tmp_path, f"m{number}", kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        for number, kind in enumerate(("inline", "background", "background"))
    ]
    try:
        for member in members:
            assert member.stdout.readline() == b"ready\n"
        eventually(lambda: len(read_slots(path)) >= 3, "three slots are over", 60)
        slots = read_slots(path)
    finally:
        for member in members:
            member.communicate(timeout=60)
    for runs in slots.values():
        assert len({name for name, _ in runs}) == 1
        assert [attempt for _, attempt in runs] == [1, 2, 3]
