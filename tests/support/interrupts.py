"""Exceptions between any two steps of the main thread, like Ctrl-C."""

from __future__ import annotations

import os
import random
import select
import signal
import threading


class Interrupts:
    """Raises `KeyboardInterrupt` on the main thread repeatedly, where allowed.

    Not with a timer: pytest's own limit of time is one.

    Attributes:
        may_come: set by the test where it can take the next one; then reset.
        count: how many there were.
    """

    def __init__(self, *, seed, longest):
        self.may_come = False
        self.count = 0
        self._dice = random.Random(seed)
        self._longest = longest
        self._is_over = False
        self._thread = threading.Thread(target=self._send, daemon=True)

    def _send(self):
        while not self._is_over:
            select.select([], [], [], self._dice.uniform(0, self._longest))
            os.kill(os.getpid(), signal.SIGUSR1)

    def _raise(self, *_):
        if self.may_come:
            self.may_come = False
            self.count += 1
            raise KeyboardInterrupt

    def __enter__(self):
        self._before = signal.signal(signal.SIGUSR1, self._raise)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.may_come = False
        self._is_over = True
        self._thread.join()
        signal.signal(signal.SIGUSR1, self._before)
