"""What keeps a script alive, and when it stops doing so."""

import asyncio
import os
import signal
import sys
import threading
from dataclasses import dataclass

import pytest
from leaks import find_descriptors
from polling import eventually

from ipycron.client import keepalive
from ipycron.client.keepalive import Keepalive, SignalWatch, is_interactive


@pytest.fixture
def held(monkeypatch):
    """A keepalive in what looks like a script, whatever pytest is."""
    monkeypatch.setattr(keepalive, "is_interactive", lambda: False)
    held = Keepalive()
    yield held
    held.close()


@dataclass
class Holder:
    """The part of a task that matters here."""

    id: str
    is_holding: bool
    lacks_loop: bool = False


def count():
    """Return how many threads keep the interpreter alive."""
    return sum(t.name == "ipycron-keepalive" for t in threading.enumerate())


def find_wakeup():
    """Return the interpreter's wakeup descriptor; -1 if there is none."""
    current = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(current)
    return current


def test_one_thread_stands_for_all_held_tasks(held):
    """The first held task adds the thread; releasing the last one ends it."""
    for task in "abc":
        held.update(Holder(task, True))
    assert count() == 1
    (thread,) = (t for t in threading.enumerate() if t.name == "ipycron-keepalive")
    assert not thread.daemon
    for task in "ab":
        held.update(Holder(task, False))
    assert count() == 1
    held.update(Holder("c", False))
    eventually(lambda: count() == 0)
    held.update(Holder("c", True))
    assert count() == 1


def test_process_is_held_when_update_returns(held, monkeypatch):
    """Even if another thread is about to do the work."""
    is_there, may_go_on = threading.Event(), threading.Event()

    class Late(threading.Thread):
        def start(self):
            is_there.set()
            assert may_go_on.wait(10)
            super().start()

    task = Holder("a", True)
    other = threading.Thread(target=held.update, args=(task,))
    monkeypatch.setattr(keepalive.threading, "Thread", Late)
    other.start()
    assert is_there.wait(10)
    threading.Timer(0.02, may_go_on.set).start()
    held.update(task)
    assert count() >= 1  # two that come at once may start two, for the same time
    other.join()
    held.update(Holder("a", False))
    eventually(lambda: count() == 0)


def test_task_is_asked_once_the_lock_is_held(held):
    """A state read while another thread holds the lock would be outdated."""
    answers = [False, True]

    class Asked:
        id = "a"
        lacks_loop = False

        @property
        def is_holding(self):
            return answers.pop()

    with held._lock:
        other = threading.Thread(target=held.update, args=(Asked(),))
        other.start()
        threading.Event().wait(0.02)
        assert answers == [False, True]
    other.join()
    assert count() == 1
    held.update(Asked())
    eventually(lambda: count() == 0)


def test_nothing_is_left_behind_when_it_ends(held):
    """No hook, no handler and no wakeup descriptor are left behind."""
    before = (sys.excepthook, find_descriptors(), find_wakeup())
    held.update(Holder("a", True))
    assert find_wakeup() != -1
    held.update(Holder("a", False))
    assert (sys.excepthook, find_descriptors(), find_wakeup()) == before


def test_wakeup_descriptor_of_a_loop_stays(held):
    """It belongs to the loop, whether set before or after ours."""
    loop = asyncio.new_event_loop()
    loop.add_signal_handler(signal.SIGUSR1, print)
    loops = find_wakeup()
    assert loops != -1
    held.update(Holder("a", True))
    assert find_wakeup() == loops
    held.update(Holder("a", False))
    assert find_wakeup() == loops
    loop.close()
    held.update(Holder("a", True))
    loop = asyncio.new_event_loop()
    loop.add_signal_handler(signal.SIGUSR1, print)
    loops = find_wakeup()
    held.update(Holder("a", False))
    assert find_wakeup() == loops
    loop.close()


def test_pipe_of_the_watch_is_not_read_once_it_is_closed():
    """By another client's thread, while the main thread opens and closes the watch.

    Its number may be that of another file by then, which loses nothing.
    """
    watch, is_over, errors = SignalWatch(), threading.Event(), []

    def read():
        try:
            while not is_over.is_set():
                watch.has_seen_end()
        except BaseException as error:  # noqa: BLE001 - the test names it
            errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(2000):
            watch.open("a")
            watch.close("a")
            ends = os.pipe()  # under the numbers that have become free
            os.write(ends[1], b"x")
            os.set_blocking(ends[0], False)
            assert os.read(ends[0], 2) == b"x"
            for end in ends:
                os.close(end)
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    assert errors == []


def test_main_module_that_is_still_running_has_not_ended(held):
    """A multiprocessing child ends while its copy of `__main__` has not."""
    held.update(Holder("a", True))
    held.handle_main_end()
    eventually(lambda: count() == 0)
    held.update(Holder("b", True))
    assert count() == 0


def test_prompt_is_never_held(monkeypatch):
    """An interactive prompt or a kernel needs no keepalive."""
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    assert is_interactive()
    held = Keepalive()
    held.update(Holder("a", True))
    assert count() == 0
    held.close()
