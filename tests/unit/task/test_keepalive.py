"""What keeps a script alive, and when it lets go."""

import sys
import threading

import pytest
from polling import eventually

from ipycron.task import keepalive
from ipycron.task.keepalive import Keepalive, is_interactive


@pytest.fixture
def held(monkeypatch):
    """A keepalive in what looks like a script; pytest may be anything."""
    monkeypatch.setattr(keepalive, "is_interactive", lambda: False)
    held = Keepalive()
    yield held
    held.close()


def count():
    """Return how many threads hold the interpreter."""
    return sum(t.name == "ipycron-keepalive" for t in threading.enumerate())


def test_one_thread_stands_for_all_held_tasks(held):
    """The first task that is held adds it, the last one that is let go ends it."""
    for task in "abc":
        held.update(task, is_held=True)
    assert count() == 1
    (thread,) = (t for t in threading.enumerate() if t.name == "ipycron-keepalive")
    assert not thread.daemon
    for task in "ab":
        held.update(task, is_held=False)
    assert count() == 1
    held.update("c", is_held=False)
    eventually(lambda: count() == 0)
    held.update("c", is_held=True)
    assert count() == 1


def test_hook_is_ours_while_something_is_held(held):
    """The hook of uncaught exceptions is put back when nothing is held."""
    before = sys.excepthook
    held.update("a", is_held=True)
    assert sys.excepthook != before
    held.update("a", is_held=False)
    assert sys.excepthook is before


def test_hook_of_somebody_else_on_top_stays(held):
    """What was put over ours is not ours to take away."""
    before = sys.excepthook
    held.update("a", is_held=True)
    top = sys.excepthook = print
    held.close()
    assert sys.excepthook is top
    sys.excepthook = before


def test_uncaught_exception_lets_go_for_good(held, monkeypatch):
    """The hook before is called; then nothing is held any more, come what may."""
    seen = []
    monkeypatch.setattr(sys, "excepthook", lambda *error: seen.append(error))
    held.update("a", is_held=True)
    error = KeyError("lost")
    sys.excepthook(KeyError, error, None)
    assert seen == [(KeyError, error, None)]
    eventually(lambda: count() == 0)
    held.update("b", is_held=True)
    assert count() == 0


def test_exception_of_another_thread_changes_nothing(held, monkeypatch):
    """Only the main thread's end is the script's end."""
    monkeypatch.setattr(sys, "excepthook", lambda *_: None)
    held.update("a", is_held=True)
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
    held.update("a", is_held=True)
    assert count() == 0
    held.close()
