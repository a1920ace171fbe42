"""What a flood costs its neighbours: memory, and the lateness of other tasks."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

from house import EVERY_SECOND
from polling import eventually
from trouble import get_supervisor
from watching import read_rss

import ipycron

PUNCTUAL = """
import time
def task(ctx):
    return time.time() - ctx.date.timestamp()
"""
# Sleeps until each tenth of a second and reports how late it woke up.
CONTROL = """
import time
for _ in range(3000):
    slot = int(time.time() * 10 + 1) / 10
    time.sleep(max(0.0, slot - time.time()))
    print(time.time() - slot, flush=True)
"""
WATCHERS = 12
PERIOD = 0.02


class Gauge:
    """Runs other tasks and measures until it is closed.

    Attributes:
        lateness: seconds between slot and first line of every bystander's run, in
            the order of their ends.
        machine: the same of a process that only sleeps: what the machine's other
            work costs, and no fault of ours.
        grown: bytes that client and supervisor grew by at most, by name.
    """

    def __init__(self, folder):
        path = folder / "punctual.py"
        path.write_text(PUNCTUAL)
        self.lateness = []
        self.machine = [0.0]
        self.grown = {"client": 0, "supervisor": 0}
        self._tasks = [ipycron.create_task(EVERY_SECOND, path) for _ in range(WATCHERS)]
        for task in self._tasks:
            task.on("execution:finished", self._hear)
        self._over = threading.Event()
        self._sampler = threading.Thread(target=self._sample)

    def _hear(self, context):
        self.lateness.append(context.execution.result)

    def __enter__(self):
        for task in self._tasks:
            task.start().result(30)
        eventually(lambda: len(self.lateness) >= WATCHERS, "the watchers run")
        self.lateness.clear()
        pids = {"client": os.getpid(), "supervisor": get_supervisor()}
        self._before = {name: (pid, read_rss(pid)) for name, pid in pids.items()}
        self._sampler.start()
        self._control = subprocess.Popen(
            [sys.executable, "-c", CONTROL], stdout=subprocess.PIPE, text=True
        )
        return self

    def _sample(self):
        while not self._over.wait(PERIOD):
            for name, (pid, before) in self._before.items():
                self.grown[name] = max(self.grown[name], read_rss(pid) - before)

    def stop(self):
        """Stop measuring memory. May be repeated."""
        self._over.set()
        self._sampler.join()

    def __exit__(self, *_):
        self.stop()
        self._control.kill()
        with self._control:
            self.machine += map(float, self._control.stdout.read().split())

    def wait_for_runs(self, count):
        """Return once the neighbours have had so many runs, all together."""
        eventually(lambda: len(self.lateness) >= count, f"{count} runs", 20)

    @property
    def excess(self):
        """By how many seconds our p99 exceeds the machine's."""
        return get_p99(self.lateness) - get_p99(self.machine)

    def __str__(self):
        grown = ", ".join(f"{n} +{b / 1e6:.0f} MB" for n, b in self.grown.items())
        late, machine = (get_p99(x) * 1e3 for x in (self.lateness, self.machine))
        return (
            f"{grown}; {len(self.lateness)} other runs, p99 {late:.0f} ms "
            f"(of a process that sleeps: {machine:.0f} ms)"
        )


def get_p99(late):
    """Return the 99th percentile of the lateness."""
    return sorted(late)[int(0.99 * (len(late) - 1))]
