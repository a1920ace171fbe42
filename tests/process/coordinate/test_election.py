"""Calling a coordinator: sync, async, blocking, raising, invalid, silent (D1)."""

import asyncio
import gc
import threading

import pytest
from polling import eventually_async

from ipycron.coordinate.session import CoordinatorSession
from ipycron.errors import CoordinatorError, InvalidOption

LEASE = 30.0
SOON = 0.2
YES = True


class Sync:
    """Returns what it is told to, or raises it."""

    def __init__(self, answer=YES):
        self.answer = answer
        self.calls = []

    def should_run(self, key, lease):
        """Answer."""
        return self._say(("should_run", key, lease), self.answer)

    def on_complete(self, key):
        """Record the key, or raise."""
        self._say(("on_complete", key), None)

    def _say(self, call, answer):
        self.calls.append((*call, threading.current_thread().name))
        if isinstance(answer, BaseException):
            raise answer
        return answer


class Async(Sync):
    """The same, with coroutines."""

    async def should_run(self, key, lease):
        """Answer."""
        await asyncio.sleep(0)
        return Sync.should_run(self, key, lease)

    async def on_complete(self, key):
        """Record the key, or raise."""
        await asyncio.sleep(0)
        Sync.on_complete(self, key)


class Deferred(Sync):
    """Plain functions that return awaitables, as with an asyncio Redis client."""

    def should_run(self, key, lease):
        """Answer."""
        return Async.should_run(self, key, lease)

    def on_complete(self, key):
        """Record the key, or raise."""
        return Async.on_complete(self, key)


KINDS = pytest.mark.parametrize("kind", [Sync, Async, Deferred])


def run(coroutine):
    """Run a coroutine on a fresh loop."""
    return asyncio.run(coroutine)


@KINDS
@pytest.mark.parametrize("answer", [True, False])
def test_should_run_returns_the_answer_of_every_kind_of_coordinator(kind, answer):
    """Plain functions, coroutine functions and awaitables are all supported."""
    coordinator = kind(answer)

    async def ask():
        election = CoordinatorSession(coordinator)
        assert await election.should_run("report:x", LEASE) is answer
        await election.on_complete("report:x")

    run(ask())
    assert [call[:-1] for call in coordinator.calls] == [
        ("should_run", "report:x", LEASE),
        ("on_complete", "report:x"),
    ]


def test_plain_methods_are_called_in_a_thread_and_coroutines_on_the_loop():
    """A plain coordinator may block."""
    for kind, name in [(Sync, "ipycron-coordinator"), (Async, "MainThread")]:
        coordinator = kind()
        run(CoordinatorSession(coordinator).should_run("report:x", LEASE))
        assert coordinator.calls[0][-1] == name


@KINDS
@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        (1, "an int"),
        (0, "an int"),
        (None, "a NoneType"),
        ("true", "a str"),
        ([True], "a list"),
    ],
)
def test_should_run_raises_when_the_answer_is_not_a_boolean(kind, answer, shown):
    """A truthy mistake must never run a fire everywhere."""
    with pytest.raises(CoordinatorError) as caught:
        run(CoordinatorSession(kind(answer)).should_run("report:x", LEASE))
    assert str(caught.value) == (
        f"run coordinator: {kind.__name__}.should_run() returned {shown}, "
        "expected True or False."
    )


class Unspeakable(Exception):
    """An error that cannot even be printed."""

    def __str__(self):
        raise ZeroDivisionError


@KINDS
@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("no"), "raised ValueError: no"),
        (SystemExit(3), "raised SystemExit: 3"),
        (KeyboardInterrupt(), "raised KeyboardInterrupt"),
        (StopIteration(), "StopIteration"),
        (Unspeakable(), "Unspeakable: <exception str() failed>"),
    ],
)
def test_should_run_raises_coordinator_error_when_the_coordinator_raises(
    kind, error, text
):
    """Whatever it raises, the loop keeps running and the cause is kept."""
    with pytest.raises(CoordinatorError) as caught:
        run(CoordinatorSession(kind(error)).should_run("report:x", LEASE))
    assert text in str(caught.value)
    assert f"{kind.__name__}.should_run()" in str(caught.value)
    cause = caught.value.__cause__
    if not isinstance(error, StopIteration):  # a coroutine may not raise it
        assert cause is error


@KINDS
def test_should_run_raises_the_same_error_when_it_is_a_coordinator_error(kind):
    """It is not wrapped again."""
    error = CoordinatorError(reason="Redis: down")
    with pytest.raises(CoordinatorError) as caught:
        run(CoordinatorSession(kind(error)).should_run("report:x", LEASE))
    assert caught.value is error


def test_should_run_raises_in_time_when_a_plain_coordinator_blocks():
    """The loop keeps running; a late answer changes nothing."""
    gate = threading.Event()
    coordinator = Sync()
    coordinator.should_run = lambda *_: gate.wait(30)
    ticks = []

    async def ask():
        async def tick():
            while True:
                ticks.append(1)
                await asyncio.sleep(0.01)

        ticking = asyncio.create_task(tick())
        election = CoordinatorSession(coordinator, deadline=SOON)
        with pytest.raises(CoordinatorError, match=r"no answer within 0\.2 s"):
            await election.should_run("report:x", LEASE)
        # It still blocks.
        await eventually_async(lambda: len(ticks) > 5)
        gate.set()
        await asyncio.sleep(0.05)
        assert election._renewals == {}
        ticking.cancel()

    run(ask())


def test_should_run_raises_in_time_when_a_coroutine_refuses_its_cancellation():
    """Its late error is dropped silently."""
    refused = []

    class Stubborn(Async):
        async def should_run(self, key, _lease):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                refused.append(key)
                await asyncio.sleep(0.05)
                raise ValueError("late") from None

    complaints = []

    async def ask():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda *_: complaints.append(1))
        with pytest.raises(CoordinatorError, match="no answer"):
            await CoordinatorSession(Stubborn(), deadline=SOON).should_run(
                "report:x", LEASE
            )
        await eventually_async(lambda: len(asyncio.all_tasks()) == 1)
        gc.collect()

    run(ask())
    assert refused == ["report:x"]
    assert complaints == []


def test_should_run_raises_when_the_coroutine_cancels_itself():
    """A coordinator cannot cancel the scheduler."""
    coordinator = Async(asyncio.CancelledError())
    with pytest.raises(CoordinatorError, match=r"Async.should_run\(\) was cancelled"):
        run(CoordinatorSession(coordinator).should_run("report:x", LEASE))


def test_should_run_is_cancelled_with_its_caller():
    """The coroutine ends with its caller."""
    begun, ended = [], []

    class Slow(Async):
        async def should_run(self, key, _lease):
            begun.append(key)
            try:
                await asyncio.sleep(60)
            finally:
                ended.append(key)

    async def ask():
        asking = asyncio.create_task(
            CoordinatorSession(Slow()).should_run("report:x", LEASE)
        )
        await eventually_async(lambda: begun)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await eventually_async(lambda: ended)

    run(ask())


def test_calls_of_one_coordinator_that_blocks_do_not_delay_another():
    """Each has its own threads."""
    gate = threading.Event()
    blocked = Sync()
    blocked.should_run = lambda *_: gate.wait(30)

    async def ask():
        election = CoordinatorSession(blocked, deadline=SOON)
        stuck = [election.should_run(f"a:{n}", LEASE) for n in range(40)]
        asking = asyncio.gather(*stuck, return_exceptions=True)
        assert await CoordinatorSession(Sync(), deadline=20).should_run("b:1", LEASE)
        assert all(isinstance(e, CoordinatorError) for e in await asking)
        gate.set()

    run(ask())


def test_error_names_a_callable_that_is_not_a_method():
    """Any callable may be a method, and errors name it."""

    class Callable_:  # noqa: N801 - a fixture
        def __call__(self, *_):
            raise ValueError("no")

    coordinator = Sync()
    coordinator.should_run = Callable_()
    with pytest.raises(CoordinatorError, match=r"Callable_\(\) raised ValueError: no"):
        run(CoordinatorSession(coordinator).should_run("report:x", LEASE))


def test_session_refuses_an_invalid_coordinator():
    """At once, when the task is created."""
    with pytest.raises(InvalidOption):
        CoordinatorSession(object())


def test_on_complete_raises_when_the_coordinator_does():
    """The caller logs it: the run has ended anyway."""
    coordinator = Sync()

    def fail(key):
        raise OSError("away")

    coordinator.on_complete = fail
    with pytest.raises(CoordinatorError, match=r"fail\(\) raised OSError: away"):
        run(CoordinatorSession(coordinator).on_complete("report:x"))
