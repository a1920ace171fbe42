"""Threads for calls that may block."""

import sys
import threading
from concurrent.futures import CancelledError

import pytest
from polling import SECONDS

from ipycron.coordinate.call import CallThreads


def wait_for_no_thread():
    """Join the threads that are about to end."""
    for thread in threading.enumerate():
        if thread.name == "ipycron-coordinator":
            thread.join(SECONDS)
            assert not thread.is_alive()


def test_submit_returns_the_result_or_the_error():
    """SystemExit, too: it must reach the caller, not end a thread silently."""
    threads = CallThreads()
    assert threads.submit(lambda: 7).result(30) == 7
    assert isinstance(
        threads.submit(lambda: 1 / 0).exception(SECONDS), ZeroDivisionError
    )
    assert isinstance(
        threads.submit(lambda: sys.exit(3)).exception(SECONDS), SystemExit
    )


def test_threads_end_when_no_call_is_waiting():
    """There is nothing to close."""
    threads = CallThreads()
    futures = [threads.submit(lambda: None) for _ in range(50)]
    for future in futures:
        future.result(30)
    wait_for_no_thread()
    assert threads._count == 0


def test_submit_uses_no_more_threads_than_the_limit():
    """Further calls wait until a thread is free."""
    threads = CallThreads(limit=2)
    gate = threading.Event()
    stuck = [threads.submit(lambda: gate.wait(60)) for _ in range(2)]
    waiting = threads.submit(lambda: "made")
    names = [t.name for t in threading.enumerate()]
    assert names.count("ipycron-coordinator") == 2
    assert not waiting.done()
    gate.set()
    assert waiting.result(30) == "made"
    assert all(future.result(30) for future in stuck)


def test_a_waiting_call_that_was_cancelled_is_never_made():
    """A claim that nobody waits for must not be made."""
    threads = CallThreads(limit=1)
    gate = threading.Event()
    made = []
    stuck = threads.submit(lambda: gate.wait(60))
    waiting = threads.submit(lambda: made.append(1))
    assert waiting.cancel()
    gate.set()
    assert stuck.result(30)
    wait_for_no_thread()
    assert made == []
    with pytest.raises(CancelledError):
        waiting.result(0)


def test_submit_raises_when_the_system_has_no_thread_to_give(monkeypatch):
    """The call is not made later, either, and the next one tries again."""
    threads = CallThreads(limit=1)
    made = []

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            threads.submit(lambda: made.append("refused"))
    threads.submit(lambda: made.append("next")).result(30)
    assert made == ["next"]


def test_threads_do_not_keep_the_interpreter_alive():
    """A coordinator that never answers does not keep a script from ending."""
    assert all(
        CallThreads().submit(lambda: threading.current_thread().daemon).result(30)
        for _ in range(3)
    )
