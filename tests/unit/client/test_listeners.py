"""Who is told of an event, once or always; and the thread that tells."""

import logging
import threading

import pytest

from ipycron.client.listeners import Dispatcher, Listeners, check_event
from ipycron.errors import InvalidOption
from ipycron.scheduling.events import Event


@pytest.fixture
def listeners():
    """No listeners yet."""
    return Listeners()


def test_listeners_are_taken_in_order_named_before_star(listeners):
    """Those of the event come first, each group in the order of adding."""
    listeners.add("*", str)
    listeners.add("task:started", int)
    listeners.add(Event.TASK_STARTED, len)
    assert listeners.take("task:started") == [int, len, str]
    assert listeners.take(Event.TASK_STOPPED) == [str]


def test_once_is_taken_once(listeners):
    """Taking removes the listeners of `once`, and only those."""
    listeners.add("task:started", int, once=True)
    listeners.add("*", str, once=True)
    listeners.add("task:started", len)
    assert listeners.take("task:started") == [int, len, str]
    assert listeners.take("task:started") == [len]


def test_remove_takes_one_listener_or_all(listeners):
    """Without a listener all of the event go; a stranger is ignored."""
    for listener in (int, len):
        listeners.add("task:started", listener)
    listeners.remove("task:started", str)
    listeners.remove("task:stopped")
    listeners.remove("task:started", int)
    assert listeners.take("task:started") == [len]
    listeners.remove("task:started")
    assert not listeners.has("task:started")


def test_has_tells_named_listeners_from_star(listeners):
    """A missed execution is heard by those who asked for it by name."""
    listeners.add("*", str)
    assert listeners.has("task:started")
    assert not listeners.has_named("task:started")
    assert listeners.events == ["*"]
    listeners.clear()
    assert listeners.events == []


@pytest.mark.parametrize("event", ["", "started", "task:Started", "execution:*", "**"])
def test_unknown_event_is_refused(listeners, event):
    """A misspelt event would never come: it is an error."""
    for call in (check_event, listeners.remove, lambda e: listeners.add(e, str)):
        with pytest.raises(
            InvalidOption, match=r"expected '\*' or one of task:started"
        ):
            call(event)


@pytest.mark.parametrize("event", [*Event, "*"])
def test_known_events_are_accepted(event):
    """Members and their strings alike."""
    check_event(event)
    check_event(str(event))


@pytest.fixture
def dispatcher():
    """A dispatcher that is closed after the test."""
    dispatcher = Dispatcher()
    yield dispatcher
    dispatcher.close()


def test_calls_are_made_in_order_on_one_thread(dispatcher):
    """What is submitted first is called first, and nowhere else."""
    seen, done = [], threading.Event()
    for number in range(100):
        dispatcher.submit(
            lambda number=number: seen.append((number, threading.current_thread()))
        )
    dispatcher.submit(done.set)
    assert done.wait(10)
    assert seen == [(number, dispatcher.thread) for number in range(100)]


@pytest.mark.parametrize(
    "error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()]
)
def test_call_that_raises_is_logged_and_the_thread_lives(dispatcher, caplog, error):
    """Nothing that a listener raises ends the thread of all listeners."""

    def fail():
        raise error

    done = threading.Event()
    dispatcher.submit(fail)
    dispatcher.submit(done.set)
    assert done.wait(10)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info[1] is error


def test_awaitables_are_awaited(dispatcher):
    """A coroutine is run to its end before the next call."""
    seen, done = [], threading.Event()

    async def listen():
        seen.append("awaited")

    dispatcher.submit(listen)
    dispatcher.submit(lambda: seen.append("next"))
    dispatcher.submit(done.set)
    assert done.wait(10)
    assert seen == ["awaited", "next"]


def test_close_lets_happen_what_was_submitted(dispatcher):
    """Closing is the last call; what comes later is called at once, here."""
    seen = []
    for number in range(10):
        dispatcher.submit(lambda number=number: seen.append(number))
    dispatcher.close()
    assert seen == list(range(10))
    assert not dispatcher.thread.is_alive()
    dispatcher.submit(lambda: seen.append(threading.current_thread()))
    assert seen[-1] is threading.current_thread()


def test_close_waits_only_as_long_as_it_may(dispatcher):
    """A listener that blocks does not hold up an end with a deadline."""
    release = threading.Event()
    dispatcher.submit(lambda: release.wait(10))
    dispatcher.close(timeout=0.01)
    assert dispatcher.thread.is_alive()
    release.set()
    dispatcher.thread.join(10)
    assert not dispatcher.thread.is_alive()


def test_dispatcher_may_be_closed_by_a_listener(dispatcher):
    """A listener that shuts down does not wait for itself."""
    dispatcher.submit(dispatcher.close)
    dispatcher.thread.join(10)
    assert not dispatcher.thread.is_alive()
