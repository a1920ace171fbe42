"""What keeps a script alive, and when it lets go."""

import sys
import threading
from dataclasses import dataclass

import pytest
from polling import eventually

from ipycron.client import keepalive
from ipycron.client.keepalive import Keepalive, is_interactive


@pytest.fixture
def held(monkeypatch):
    """A keepalive in what looks like a script; pytest may be anything."""
    monkeypatch.setattr(keepalive, "is_interactive", lambda: False)
    held = Keepalive()
    yield held
    held.close()


@dataclass
class Holder:
    """A task, as far as it matters here."""

    id: str
    is_holding: bool


def count():
    """Return how many threads hold the interpreter."""
    return sum(t.name == "ipycron-keepalive" for t in threading.enumerate())


def test_one_thread_stands_for_all_held_tasks(held):
    """The first task that is held adds it, the last one that is let go ends it."""
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
    """Also for who finds that another thread is about to see to it."""
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


def test_task_is_asked_after_whoever_came_before(held):
    """What it says while another thread holds the books would be too old."""
    answers = [False, True]

    class Asked:
        id = "a"

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


def test_hook_is_ours_while_something_is_held(held):
    """The hook of uncaught exceptions is put back when nothing is held."""
    before = sys.excepthook
    held.update(Holder("a", True))
    assert sys.excepthook != before
    held.update(Holder("a", False))
    assert sys.excepthook is before


def test_hook_of_somebody_else_on_top_stays(held):
    """What was put over ours is not ours to take away."""
    before = sys.excepthook
    held.update(Holder("a", True))
    top = sys.excepthook = print
    held.close()
    assert sys.excepthook is top
    sys.excepthook = before


def test_uncaught_exception_lets_go_for_good(held, monkeypatch):
    """The hook before is called; then nothing is held any more, come what may."""
    seen = []
    monkeypatch.setattr(sys, "excepthook", lambda *error: seen.append(error))
    held.update(Holder("a", True))
    error = KeyError("lost")
    sys.excepthook(KeyError, error, None)
    assert seen == [(KeyError, error, None)]
    eventually(lambda: count() == 0)
    held.update(Holder("b", True))
    assert count() == 0


def test_exception_of_another_thread_changes_nothing(held, monkeypatch):
    """Only the main thread's end is the script's end."""
    monkeypatch.setattr(sys, "excepthook", lambda *_: None)
    held.update(Holder("a", True))
    hook = sys.excepthook
    thread = threading.Thread(target=lambda: hook(KeyError, KeyError(), None))
    thread.start()
    thread.join()
    assert count() == 1


def test_prompt_is_never_held(monkeypatch):
    """Somebody sits there, or a kernel waits: nothing is to be kept alive."""
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    assert is_interactive()
    held = Keepalive()
    held.update(Holder("a", True))
    assert count() == 0
    held.close()
