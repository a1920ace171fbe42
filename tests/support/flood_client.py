"""A client whose tasks print, log and display without pause; reports what it got.

    python flood_client.py FOLDER

Writes its supervisor's pid and how many runs have ended, then on each line of stdin
what it has heard of since, and what the slow task returned, as JSON.
"""

from __future__ import annotations

import json
import logging
import sys
from functools import partial
from pathlib import Path

from polling import eventually

import ipycron
from ipycron.client.jobs import Cell
from ipycron.client.registry import registry
from ipycron.process.wire.payload import Payload
from ipycron.process.wire.protocol import Preload

NOISY = """
import logging, os
from IPython.display import display
for number in range(100):
    os.write(1, b"x" * 60_000)
    logging.getLogger("noisy").warning("y" * 1000)
    display({"text/plain": "z" * 20_000}, raw=True)
number
"""
SLOW = "import time\ndef task():\n    time.sleep(2)\n    return bytes(200_000)\n"


def main(folder):
    """Run until stdin ends."""
    logging.getLogger("noisy").addHandler(logging.NullHandler())
    logging.getLogger("noisy").propagate = False
    path = folder / "slow.py"
    path.write_text(SLOW)
    registry.client.warm(Preload((), shell=True))
    cell = Cell(source=NOISY, filename="<cell noisy>", payload=Payload())
    ended, slots = [], set()

    def note_slot(context):
        slots.add((context.task.id, context.date.timestamp()))

    def knows_all(instant):
        # For each task, in this order: a reported slot implies all before it.
        newest = dict(sorted(slots))
        return all(newest.get(task.id, 0) >= instant for task in noisy)

    ipycron.set_echo(False)  # its own output is read from its stdout
    noisy = [
        ipycron.create_task("* * * * * *", cell, start_timeout=60) for _ in range(8)
    ]
    for task in noisy:
        task.on("execution:finished", lambda context: ended.append(context.date))
        for event in ("started", "overlap", "missed"):
            task.on(f"execution:{event}", note_slot)
        task.start().result(60)
    slow = ipycron.create_task("0 0 1 1 *", path)
    slow.start().result(30)
    eventually(lambda: all(task.last_run for task in noisy), "they run", 80)
    run = slow.execute()
    count = len(ended)
    tell({"supervisor": registry.client.supervisor_pid, "ended": count})
    slots.clear()
    for line in sys.stdin:
        size = len(run.result(20))
        eventually(partial(knows_all, float(line)), "all is heard", 20)
        eventually(lambda: len(ended) > count, "runs still end", 20)
        shown = [len(task.last_run.output.displays) for task in noisy]
        said = noisy[0].last_run.output.stderr
        heard = {"ended": len(ended), "slots": sorted(slots), "said": said[-200:]}
        tell({"size": size, "shown": shown, **heard})
    ipycron.shutdown(1)  # the runs in progress keep flooding for longer


def tell(facts):
    """Write one line."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
