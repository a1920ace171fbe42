"""Waiters for runs: each is resolved once, whichever thread does it."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from ipycron.client.completion import Waiters


def test_call_is_taken_once():
    """Later lookups, and unknown ids, find no waiter."""
    calls = Waiters()
    calls.add("a", "first")
    calls.add("b", "second")
    assert calls.take("c") is None
    assert calls.take("a") == "first"
    assert calls.take("a") is None
    assert calls.take_all() == ("second",)
    assert calls.take_all() == ()


def test_no_call_is_lost_between_threads():
    """One thread adds calls while another ends the runs."""
    calls = Waiters()
    barrier = threading.Barrier(4)
    interval = sys.getswitchinterval()

    def play(number):
        taken = 0
        barrier.wait(10)
        for count in range(2000):
            calls.add((number, count), count)
            taken += calls.take((number, count)) == count
        return taken

    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(play, range(4))) == [2000] * 4
    finally:
        sys.setswitchinterval(interval)
    assert calls.take_all() == ()
