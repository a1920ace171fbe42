"""How long the machine let nothing run, for which a slot may be missed."""

from __future__ import annotations

import subprocess
import sys

SLEEPER = """
import time
worst = 0.0
while True:
    until = time.monotonic() + 0.05
    time.sleep(0.05)
    worst = max(worst, time.monotonic() - until)
    print(worst, flush=True)
"""
LONG = 0.25
"""Seconds: where a process without work is so late, one with work may miss a slot."""


class Sleeper:
    """A process that does nothing but sleep, and tells how late it woke up."""

    def __init__(self):
        words = [sys.executable, "-I", "-S", "-c", SLEEPER]
        self._process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        self._told = self._process.stdout.readline()

    def end(self):
        """End it; return by how many seconds it was late at most. May be repeated."""
        if self._process.poll() is None:
            self._process.kill()
            self._told += self._process.communicate()[0]
        return float(self._told.split()[-1])

    def check_missed(self, record):
        """Fail if a slot was missed that the machine had left time for."""
        missed = record.of("execution:missed")
        late = self.end()
        assert not missed or late > LONG, f"{missed}; a sleeper was {late} s late"
