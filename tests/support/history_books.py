"""Rows of a history as the command line tells them, and the slots that they are of."""

import json
import subprocess
import sys
from datetime import datetime


def read(name, environment):
    """Return all rows of a task, oldest first, by the command line."""
    command = [sys.executable, "-m", "ipycron", "history", name, "--json"]
    done = subprocess.run(
        [*command, "-n", "100000"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()][::-1]


def list_slots(rows):
    """Return the slots that rows stand for, in Unix seconds, each as often as told."""
    told = [
        (int(datetime.fromisoformat(row["slot"]).timestamp()), row["missed_count"])
        for row in rows
    ]
    own = {slot for slot, count in told if (count or 1) == 1}
    slots = [slot for slot, count in told if (count or 1) == 1]
    for newest, count in told:
        slot, left = newest, count or 1
        while left and (count or 1) > 1:
            if slot not in own:
                slots.append(slot)
                left -= 1
            slot -= 1
    return slots
