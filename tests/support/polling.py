"""Waiting for what another thread or process does: never longer than it takes."""

from __future__ import annotations

import threading
import time

SECONDS = 10.0
"""The machine is shared: generous where only the order matters."""


def eventually(ask, what="it", seconds=SECONDS):
    """Return the first true answer; fail when there is none in time."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not (answer := ask()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        pause.wait(0.005)
    return answer
