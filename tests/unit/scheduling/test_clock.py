"""The contract of every clock, real and fake."""

import asyncio
import contextlib
import gc
import math
import threading
import time as systime
import weakref
from datetime import UTC, datetime

import pytest

from ipycron.scheduling import clock as clock_module
from ipycron.scheduling.clock import SystemClock
from ipycron.testing import FakeClock


class Real:
    """The real clock, and how a test lets time pass on it."""

    def __init__(self):
        self.clock = SystemClock()

    async def pass_time(self, seconds):
        """Let real time pass, and a little more, since timers are late."""
        await asyncio.sleep(seconds + 0.003)

    async def pass_until(self, condition):
        """Let real time pass until a condition holds."""
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.001)


class Fake:
    """The fake clock, and how a test lets time pass on it."""

    def __init__(self):
        self.clock = FakeClock()

    async def pass_time(self, seconds):
        """Let fake time pass."""
        await self.clock.advance(seconds)

    async def pass_until(self, condition):
        """Let fake time pass until a condition holds."""
        while not condition():
            await self.clock.advance(0.001)


@pytest.fixture(params=[Real, Fake])
def time(request):
    """A clock and a way to let its time pass."""
    return request.param()


@pytest.fixture(params=["call_later", "call_punctually"])
def call(request, time):
    """One of the two ways to schedule a call."""
    return getattr(time.clock, request.param)


async def test_clocks_go_on(time):
    """Both kinds of time show what has passed."""
    wall, monotonic = time.clock.now(), time.clock.monotonic()
    await time.pass_time(0.01)
    assert 0.009 < time.clock.now() - wall < 5
    assert 0.009 < time.clock.monotonic() - monotonic < 5


async def test_call_comes_once_and_not_early(time, call):
    """A scheduled call is made at its time."""
    calls = []
    began = time.clock.monotonic()
    call(0.01, lambda: calls.append(time.clock.monotonic() - began))
    await time.pass_until(lambda: calls)
    assert calls[0] >= 0.01 - 1e-9
    await time.pass_time(0.01)
    assert len(calls) == 1


async def test_calls_come_in_the_order_of_their_deadlines(time, call):
    """A later deadline means a later call, whatever was scheduled first."""
    calls = []
    call(0.2, lambda: calls.append("late"))  # long after, on a busy machine, too
    call(0.005, lambda: calls.append("early"))
    await time.pass_until(lambda: len(calls) == 2)
    assert calls == ["early", "late"]


@pytest.mark.parametrize("delay", [0, -1])
async def test_call_without_a_delay_comes_soon_but_not_at_once(time, call, delay):
    """No callback runs inside the call that schedules it."""
    calls = []
    call(delay, lambda: calls.append(1))
    assert calls == []
    await time.pass_until(lambda: calls)
    assert calls == [1]


async def test_cancelled_call_never_comes(time, call):
    """A cancel is final and may be repeated."""
    calls = []
    timer = call(0.005, lambda: calls.append(1))
    timer.cancel()
    timer.cancel()
    await time.pass_time(0.01)
    assert calls == []


async def test_cancel_may_come_late(time, call):
    """Cancelling after the call changes nothing."""
    calls = []
    timer = call(0.005, lambda: calls.append(1))
    await time.pass_until(lambda: calls)
    timer.cancel()
    await time.pass_time(0.005)
    assert calls == [1]


async def test_call_may_be_cancelled_by_one_that_comes_before(time, call):
    """A call that is cancelled at the last moment is not made."""
    calls = []
    # Far enough apart for a busy machine.
    later = call(0.025, lambda: calls.append("later"))
    call(0.005, lambda: (later.cancel(), calls.append("before")))
    await time.pass_until(lambda: calls)
    await time.pass_time(0.025)
    assert calls == ["before"]


async def test_call_may_put_off_another(time, call):
    """A callback may schedule the next one."""
    calls = []
    call(0.005, lambda: call(0.005, lambda: calls.append(1)))
    await time.pass_until(lambda: calls)
    assert calls == [1]


@contextlib.contextmanager
def without_collector():
    """Release only what has no reference left."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def test_call_is_released_once_it_was_made(time, call):
    """Objects held by a call are released after it, without the collector."""

    class Held:
        def ring(self):
            calls.append(1)

    calls = []
    held = Held()
    ghost = weakref.ref(held)
    with without_collector():
        timer = call(0.005, held.ring)
        del held
        await time.pass_until(lambda: calls)
        del timer
        await time.pass_time(0.001)
        assert ghost() is None


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_owner_of_a_call_is_released_once_it_is_over(time, call, is_cancelled):
    """Without the collector, even if it still holds the timer."""

    class Owner:
        def ring(self):
            calls.append(1)

    calls = []
    owner = Owner()
    ghost = weakref.ref(owner)
    with without_collector():
        owner.timer = call(0.005, owner.ring)
        if is_cancelled:
            owner.timer.cancel()
        else:
            await time.pass_until(lambda: calls)
        del owner
        await time.pass_time(0.001)
        assert ghost() is None


async def test_call_that_raises_harms_no_other(time, call):
    """The failure is reported to the loop; the other calls are made."""
    failures, calls = [], []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: failures.append(context["exception"])
    )

    def fail():
        raise ZeroDivisionError

    call(0.005, fail)
    call(0.01, lambda: calls.append(1))
    await time.pass_until(lambda: calls)
    assert calls == [1]
    assert [type(failure) for failure in failures] == [ZeroDivisionError]


async def test_punctual_call_is_punctual():
    """The real clock is much less late than its timers' two milliseconds."""
    clock = SystemClock()
    lateness = []
    # The best of several, since the machine may be busy with something else.
    while len(lateness) < 50 and min(lateness, default=1) > 0.0005:
        done = asyncio.Event()
        deadline = clock.monotonic() + 0.02
        clock.call_punctually(0.02, done.set)
        await done.wait()
        lateness.append(clock.monotonic() - deadline)
    assert 0 <= min(lateness) < 0.0005


async def test_punctual_call_sleeps_most_of_its_delay(monkeypatch):
    """Woken early, it sleeps again, and polls only near the end."""
    monkeypatch.setattr(clock_module, "SLACK", 0.5)
    clock, done = SystemClock(), asyncio.Event()
    # Half of it is slept at first: a busy machine may wake it so much late.
    deadline = clock.monotonic() + 0.4
    timer = clock.call_punctually(0.4, done.set)
    handles = set()
    while not done.is_set():
        handles.add(timer._handle)
        await asyncio.sleep(0)
    assert clock.monotonic() >= deadline
    sleeps = [h for h in handles if isinstance(h, asyncio.TimerHandle)]
    assert len(sleeps) > 1


async def test_fake_clock_begins_where_it_is_told():
    """At an aware datetime or at Unix seconds."""
    at = datetime(2026, 11, 24, 9, tzinfo=UTC)
    assert FakeClock(at).now() == at.timestamp()
    assert FakeClock(12.5).now() == 12.5


async def test_fake_clock_adds_up_without_error():
    """A thousand small steps are exactly one large step."""
    clock = FakeClock(1_764_000_000)
    for _ in range(1000):
        await clock.advance(0.001)
    assert clock.now() == 1_764_000_001
    assert clock.monotonic() == 1


async def test_fake_step_moves_the_wall_clock_only():
    """A step has no effect until a timer expires."""
    clock = FakeClock(100)
    calls = []
    clock.call_later(10, lambda: calls.append(clock.now()))
    clock.step(50)
    assert clock.now() == 150
    clock.step(-20)
    assert clock.monotonic() == 0
    await clock.advance(9)
    assert calls == []
    await clock.advance(1)
    assert calls == [140]


async def test_fake_advance_waits_for_what_the_calls_start():
    """Tasks that a timer starts run as far as they can."""
    clock = FakeClock()
    steps = []

    async def walk():
        for step in range(50):
            await asyncio.sleep(0)
            steps.append(step)

    tasks = []
    clock.call_later(1, lambda: tasks.append(asyncio.ensure_future(walk())))
    await clock.advance(1)
    assert len(steps) == 50


async def test_fake_advance_works_when_the_loop_hides_its_queue(monkeypatch):
    """On a foreign loop, it runs a fixed number of iterations."""

    class Foreign:
        call_soon = asyncio.get_running_loop().call_soon

    clock = FakeClock()
    calls = []
    clock.call_later(1, lambda: calls.append(1))
    monkeypatch.setattr(asyncio, "get_running_loop", Foreign)
    await clock.advance(1)
    assert calls == [1]


async def test_fake_time_passes_until_the_work_is_done():
    """The result is returned, and no more time passes than it took."""
    clock = FakeClock(0)
    over = asyncio.get_running_loop().create_future()
    clock.call_later(30, lambda: over.set_result("done"))
    clock.call_later(60, lambda: None)
    assert await clock.pass_until(over) == "done"
    assert clock.now() == 30


async def test_fake_time_does_not_pass_for_ever():
    """Work that no timer will ever end is given up."""
    clock = FakeClock(0)
    with pytest.raises(TimeoutError, match="not done within 10 s of fake time"):
        await clock.pass_until(asyncio.Event().wait(), limit=10)
    clock.call_later(11, lambda: None)
    with pytest.raises(TimeoutError):
        await clock.pass_until(asyncio.Event().wait(), limit=10)


async def test_call_waits_for_what_came_first_when_the_process_stood_still(
    monkeypatch,
):
    """Messages that arrived during our own pause are handled before a deadline."""
    monkeypatch.setattr(clock_module, "STALL", 0.02)
    monkeypatch.setattr(clock_module, "CATCH_UP", 0.05)
    order = []
    clock = SystemClock()
    loop = asyncio.get_running_loop()
    clock.call_later(0.01, lambda: order.append("deadline"))

    def stand_still():
        threading.Event().wait(0.04)
        # What arrived in the meantime takes a few iterations of the loop.
        loop.call_soon(loop.call_soon, loop.call_soon, order.append, "news")

    loop.call_soon(stand_still)
    while len(order) < 2:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0.001)
    assert order == ["news", "deadline"]


class Hands:
    """The two readings of a computer's clock, both set by the test."""

    def __init__(self, monkeypatch):
        self.real = self.coarse = 0.0
        monkeypatch.setattr(clock_module.time, "time", lambda: self.real)
        monkeypatch.setattr(clock_module.time, "clock_gettime", lambda _: self.coarse)
        monkeypatch.setattr(clock_module, "_COARSE", 5)
        monkeypatch.setattr(clock_module, "_TICK", 0.004)


@pytest.fixture
def hands(monkeypatch):
    """The clock's two readings."""
    return Hands(monkeypatch)


@pytest.mark.parametrize(
    ("real", "coarse", "shown"),
    [
        (99.5, 99.4985, 99.5),
        (100.0, 99.9985, math.nextafter(100.0, 0.0)),
        (100.0039, 99.9999, math.nextafter(100.0, 0.0)),
        (100.0, 100.0, 100.0),
        (100.0045, 100.0005, 100.0045),
        (100.5, 60.0, 100.5),  # one of the two is not this computer's time
        (100.5, 140.0, 100.5),
    ],
)
def test_second_begins_when_every_clock_shows_it(hands, real, coarse, shown):
    """Until then it is the last instant of the previous second."""
    hands.real, hands.coarse = real, coarse
    assert SystemClock().now() == shown


def test_second_begins_after_a_margin_where_no_clock_is_known_to_be_slow(
    hands, monkeypatch
):
    """Ten milliseconds, the longest usual tick."""
    monkeypatch.setattr(clock_module, "_COARSE", None)
    hands.real = 100.009
    assert SystemClock().now() == math.nextafter(100.0, 0.0)
    assert clock_module.measure_wait(100.0) == pytest.approx(0.001)
    hands.real = 100.011
    assert SystemClock().now() == 100.011
    assert clock_module.measure_wait(100.0) == 0.0


@pytest.mark.parametrize(
    ("real", "coarse", "wait"),
    [
        (99.5, 99.499, 0.503),  # the tick at 100.003 is the first to show it
        (100.001, 99.999, 0.002),
        (100.0031, 99.999, 0.00005),  # over, and not counted yet
        (100.003, 100.003, 0.0),
        (160.0, 100.0, 0.0),
    ],
)
def test_wait_is_until_the_tick_that_shows_the_moment(hands, real, coarse, wait):
    """All that wait for one slot wake up once, when they may begin."""
    hands.real, hands.coarse = real, coarse
    assert clock_module.measure_wait(100.0) == pytest.approx(wait, abs=1e-9)


async def test_punctual_call_comes_when_every_clock_shows_its_second():
    """At the start of a second, no clock is behind."""
    clock, seen = SystemClock(), asyncio.get_running_loop().create_future()
    now = clock.now()
    slot = math.floor(now) + 1

    def look():
        # The file system's time and the C library's are the slow ones.
        seen.set_result((clock.now(), systime.mktime(systime.localtime())))

    clock.call_punctually(slot - now, look)
    assert min(await asyncio.wait_for(seen, 5)) >= slot
