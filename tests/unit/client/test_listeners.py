"""Listeners: once or permanent, and the threads that call them."""

import asyncio
import logging
import threading

import pytest
from polling import eventually

from ipycron.client.listeners import Dispatcher, Listeners, check_event
from ipycron.errors import InvalidOption
from ipycron.scheduling.events import Event


@pytest.fixture
def listeners():
    """An empty registry of listeners."""
    return Listeners()


def test_listeners_are_taken_in_order_named_before_star(listeners):
    """Listeners of the event come first, each group in the order of adding."""
    listeners.add("*", str)
    listeners.add("task:started", int)
    listeners.add(Event.TASK_STARTED, len)
    assert listeners.take("task:started") == [int, len, str]
    assert listeners.take(Event.TASK_STOPPED) == [str]


def test_once_is_taken_once(listeners):
    """Taking removes the listeners added by `once`, and only those."""
    listeners.add("task:started", int, once=True)
    listeners.add("*", str, once=True)
    listeners.add("task:started", len)
    assert listeners.take("task:started") == [int, len, str]
    assert listeners.take("task:started") == [len]


def test_remove_takes_one_listener_or_all(listeners):
    """Without a listener, all of the event are removed; unknown ones are ignored."""
    for listener in (int, len):
        listeners.add("task:started", listener)
    listeners.remove("task:started", str)
    listeners.remove("task:stopped")
    listeners.remove("task:started", int)
    assert listeners.take("task:started") == [len]
    listeners.remove("task:started")
    assert not listeners.has("task:started")


def test_has_tells_named_listeners_from_star(listeners):
    """Only listeners that name the event count as listening for missed runs."""
    listeners.add("*", str)
    assert listeners.has("task:started")
    assert not listeners.has_named("task:started")
    assert listeners.events == ["*"]
    listeners.clear()
    assert listeners.events == []


@pytest.mark.parametrize("event", ["", "started", "task:Started", "execution:*", "**"])
def test_unknown_event_is_refused(listeners, event):
    """A misspelt event would never occur, so it is an error."""
    for call in (check_event, listeners.remove, lambda e: listeners.add(e, str)):
        with pytest.raises(
            InvalidOption, match=r"expected '\*' or one of task:started"
        ):
            call(event)


@pytest.mark.parametrize("event", [*Event, "*"])
def test_known_events_are_accepted(event):
    """Enum members and their strings."""
    check_event(event)
    check_event(str(event))


@pytest.fixture
def dispatcher():
    """A dispatcher that is closed after the test."""
    dispatcher = Dispatcher()
    yield dispatcher
    dispatcher.close()


def test_calls_are_made_in_order_on_one_thread(dispatcher):
    """Calls are made in the order of submission, all on one thread."""
    seen, done = [], threading.Event()
    for number in range(100):
        dispatcher.submit(
            lambda number=number: seen.append((number, threading.current_thread()))
        )
    dispatcher.submit(done.set)
    assert done.wait(20)
    assert seen == [(number, dispatcher.thread) for number in range(100)]


@pytest.mark.parametrize(
    "error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()]
)
def test_call_that_raises_is_logged_and_the_thread_lives(dispatcher, caplog, error):
    """No exception of a listener ends the thread of all listeners."""

    def fail():
        raise error

    done = threading.Event()
    dispatcher.submit(fail)
    dispatcher.submit(done.set)
    assert done.wait(20)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info[1] is error


def test_awaitables_are_awaited(dispatcher):
    """A coroutine runs to its end before the next call."""
    seen, done = [], threading.Event()

    async def listen():
        seen.append("awaited")

    dispatcher.submit(listen)
    dispatcher.submit(lambda: seen.append("next"))
    dispatcher.submit(done.set)
    assert done.wait(20)
    assert seen == ["awaited", "next"]


def test_close_lets_happen_what_was_submitted(dispatcher):
    """Closing completes submitted calls; later ones are called directly."""
    seen = []
    for number in range(10):
        dispatcher.submit(lambda number=number: seen.append(number))
    dispatcher.close()
    assert seen == list(range(10))
    assert not dispatcher.thread.is_alive()
    dispatcher.submit(lambda: seen.append(threading.current_thread()))
    assert seen[-1] is threading.current_thread()


def test_close_waits_only_as_long_as_it_may(dispatcher):
    """A blocking listener does not delay a close beyond its deadline."""
    release, is_there = threading.Event(), threading.Event()
    blocked = dispatcher.thread  # another one may take its place

    def wait():
        is_there.set()
        assert release.wait(60)

    dispatcher.submit(wait)
    assert is_there.wait(20)
    dispatcher.close(timeout=0.01)
    assert blocked.is_alive()
    release.set()
    blocked.join(20)
    assert not blocked.is_alive()


def test_dispatcher_may_be_closed_by_a_listener(dispatcher):
    """A listener that shuts down does not wait for itself."""
    dispatcher.submit(dispatcher.close)
    dispatcher.thread.join(10)
    assert not dispatcher.thread.is_alive()


def block(dispatcher, lane="slow", label="a listener of x of task 'slow'"):
    """Submit a call that blocks; return how to end it and its end."""
    release, ended = threading.Event(), threading.Event()

    def listen():
        release.wait(20)
        ended.set()

    dispatcher.submit(listen, lane=lane, label=label)
    return release, ended


def test_slow_call_does_not_block_other_lanes(dispatcher, caplog):
    """Other lanes continue on another thread; its own lane waits, in order."""
    release, ended = block(dispatcher)
    seen, other = [], threading.Event()
    for number in range(3):
        dispatcher.submit(lambda number=number: seen.append(number), lane="slow")
    dispatcher.submit(other.set, lane="quick")
    assert other.wait(20)
    assert (seen, ended.is_set()) == ([], False)
    (record,) = eventually(lambda: caplog.records, "the warning")
    release.set()
    done = threading.Event()
    eventually(lambda: len(seen) == 3, "the calls that waited")
    dispatcher.submit(done.set, lane="slow")
    assert done.wait(20)
    assert seen == [0, 1, 2]
    assert caplog.records == [record]
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        "a listener of x of task 'slow' has been running for more than 1 s; its later "
        "events wait for it"
    )


def test_many_slow_calls_leave_a_thread_for_the_others(dispatcher):
    """Each slow call occupies its own thread, up to a limit."""
    blocked = [block(dispatcher, lane=f"t{number}", label="") for number in range(3)]
    other = threading.Event()
    dispatcher.submit(other.set, lane="quick")
    assert other.wait(20)
    for release, _ in blocked:
        release.set()
    dispatcher.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("ipycron-events")]


def test_slow_coroutine_does_not_block_other_lanes(dispatcher):
    """A coroutine being awaited blocks its thread, too."""
    release, other = threading.Event(), threading.Event()

    async def listen():
        while not release.is_set():  # noqa: ASYNC110 - an event of another thread
            await asyncio.sleep(0.02)

    dispatcher.submit(listen, lane="slow")
    dispatcher.submit(other.set, lane="quick")
    assert other.wait(20)
    release.set()


def test_blocked_call_does_not_keep_the_last_events_of_others(dispatcher):
    """A close delivers the other lanes' events within its time, too."""
    release, ended = block(dispatcher)
    seen = []

    def listen():
        seen.append(ended.is_set())
        release.set()

    dispatcher.submit(listen, lane="quick")
    dispatcher.close(timeout=20)
    assert seen == [False]


def test_same_failure_is_logged_once_a_minute(dispatcher, caplog):
    """Per label; a different failure is logged separately."""

    def fail():
        raise ValueError

    done = threading.Event()
    for label in ("one", "two", "one", "one"):
        dispatcher.submit(fail, label=label)
    dispatcher.submit(done.set)
    assert done.wait(20)
    assert [r.getMessage() for r in caplog.records] == ["one failed", "two failed"]
    caplog.clear()
    for what in dispatcher._logged:
        dispatcher._logged[what] -= 61
    dispatcher.submit(fail, label="one")
    dispatcher.close()
    assert [r.getMessage() for r in caplog.records] == ["one failed"]
