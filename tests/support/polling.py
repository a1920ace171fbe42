"""Waiting, the one way to do it: never longer than necessary."""

from __future__ import annotations

import asyncio
import threading
import time

SECONDS = 20.0
"""Several tests run at once: generous where only the order matters."""
_SHORTEST = 0.002
_LONGEST = 0.02
"""Seconds between two looks: soon at first, for most of what is waited for is near."""


def eventually(ask, what="it", seconds=SECONDS):
    """Return the first true answer; fail if there is none in time.

    Args:
        ask: called again and again.
        what: what was waited for, for the failure; a function is called then.
        seconds: how long to wait at most.
    """
    deadline = time.monotonic() + seconds
    rest = _SHORTEST
    while not (answer := ask()):
        if time.monotonic() > deadline:
            told = what() if callable(what) else what
            raise AssertionError(f"not within {seconds:g} s: {told}")
        pause(rest)
        rest = min(2 * rest, _LONGEST)
    return answer


async def eventually_async(ask, what="it", seconds=SECONDS):
    """Do the same while the loop keeps running."""
    deadline = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        await asyncio.sleep(_SHORTEST)
    return answer


def pause(seconds):
    """Let time pass, where that is what is tested; otherwise use `eventually`."""
    threading.Event().wait(seconds)
