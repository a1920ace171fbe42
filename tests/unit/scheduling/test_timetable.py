"""One heap and one timer for all slots."""

import asyncio
from collections import defaultdict

import pytest

from ipycron.scheduling.timetable import BURST, LONGEST_SLEEP, Timetable
from ipycron.testing import FakeClock


class Watched(FakeClock):
    """A fake clock that records requested delays."""

    def __init__(self):
        super().__init__(0)
        self.delays = []

    def call_punctually(self, delay, callback):
        """Record the delay."""
        self.delays.append(delay)
        return super().call_punctually(delay, callback)


@pytest.fixture
def clock():
    """A recording clock at zero."""
    return Watched()


class Owner:
    """The owner of a slot; calls the function set last."""

    call = None

    def __call__(self, now):
        """Call the function."""
        return self.call(now)


class Named(Timetable):
    """A timetable whose owners have names."""

    def __init__(self, clock):
        super().__init__(clock)
        self.owners = defaultdict(Owner)

    def arm(self, name, slot, call):
        """Arm a slot for an owner."""
        self.owners[name].call = call
        return super().arm(self.owners[name], slot)

    def disarm(self, name):
        """Disarm an owner."""
        super().disarm(self.owners[name])


@pytest.fixture
def table(clock):
    """An empty timetable."""
    return Named(clock)


async def test_slots_are_called_in_order(clock, table):
    """Earlier slots first; slots of one second in the order of arming."""
    calls = []
    for owner, slot in [("a", 3), ("b", 2), ("c", 3), ("d", 2)]:
        table.arm(owner, slot, lambda now, owner=owner: calls.append((owner, now)))
    await clock.advance(10)
    assert calls == [("b", 2), ("d", 2), ("a", 3), ("c", 3)]


async def test_timer_is_set_once_when_slots_are_armed_together(clock, table):
    """A slot that is not the earliest needs no new timer."""
    for owner in range(100):
        table.arm(owner, 3, print)
    assert clock.delays == [3]
    table.arm("early", 1, print)
    assert clock.delays == [3, 1]


async def test_timer_sleeps_no_longer_than_its_limit(clock, table):
    """Even for a slot in a day, the clock is checked every few seconds."""
    table.arm("a", 86_400, print)
    await clock.advance(11)
    assert clock.delays == [LONGEST_SLEEP] * 3


async def test_slot_is_called_when_the_clock_steps_over_it(clock, table):
    """A step is noticed at the next check."""
    calls = []
    table.arm("a", 3600, calls.append)
    await clock.advance(1)
    clock.step(7200)
    await clock.advance(4)
    assert calls == [7205]


async def test_slot_armed_after_a_step_is_on_time(clock, table):
    """Timers are compared in monotonic time, which no step affects."""
    calls = []
    table.arm("a", 86_400, print)
    clock.step(1000)
    table.arm("b", 1002, calls.append)
    await clock.advance(2)
    assert calls == [1002]


async def test_slot_is_not_called_when_disarmed(clock, table):
    """A disarmed owner is not called; the others are."""
    calls = []
    table.arm("a", 2, calls.append)
    table.arm("b", 2, calls.append)
    table.disarm("a")
    table.disarm("a")
    await clock.advance(5)
    assert calls == [2]


async def test_timer_is_gone_when_nothing_is_armed(clock, table):
    """An empty timetable does not wake up."""
    table.arm("a", 2, print)
    table.disarm("a")
    assert table._timer is None
    await clock.advance(20)
    assert clock.delays == [2]


async def test_slot_is_replaced_when_armed_again(clock, table):
    """An owner has only one slot."""
    calls = []
    table.arm("a", 2, calls.append)
    table.arm("a", 4, calls.append)
    await clock.advance(10)
    assert calls == [4]


async def test_slot_is_one_object_for_all_that_are_armed_for_it(table):
    """A thousand tasks due at one second keep one int object."""
    slots = [table.arm(owner, int("1795856400"), print) for owner in "abc"]
    assert slots == [1795856400] * 3
    assert len({id(slot) for slot in slots}) == 1


async def test_slot_may_be_armed_and_disarmed_by_a_call(clock, table):
    """A callback's changes take effect at once, even in the same second."""
    calls = []

    def first(now):
        calls.append("first")
        table.disarm("b")
        table.arm("a", 3, lambda _: calls.append("again"))

    table.arm("a", 2, first)
    table.arm("b", 2, lambda _: calls.append("never"))
    table.arm("c", 2, lambda _: calls.append("third"))
    await clock.advance(5)
    assert calls == ["first", "third", "again"]


async def test_others_are_called_when_a_call_raises(clock, table):
    """The failure is reported to the loop; the timetable continues."""
    failures, calls = [], []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: failures.append(context)
    )

    def fail(now):
        raise ZeroDivisionError

    table.arm("a", 2, fail)
    table.arm("b", 2, calls.append)
    table.arm("c", 3, calls.append)
    await clock.advance(5)
    assert calls == [2, 3]
    assert len(failures) == 1


async def test_what_a_call_returns_is_called_after_the_slots(clock, table):
    """It only waits for slots due now, and is not lost if a call raises."""
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    calls = []

    def fail(now):
        raise ZeroDivisionError

    for owner in ("a", "b"):
        table.arm(
            owner,
            2,
            lambda _, owner=owner: (
                calls.append(owner) or (lambda: calls.append("after"))
            ),
        )
    table.arm("c", 2, fail)
    table.arm("d", 3, lambda _: calls.append("d"))
    await clock.advance(5)
    assert calls == ["a", "b", "after", "after", "d"]


async def test_all_is_called_after_the_slots_when_one_of_it_raises(clock, table):
    """One task's error while arming costs the others no slot."""
    failures, calls = [], []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: failures.append(context)
    )

    def fail():
        raise ZeroDivisionError

    def arm_again():
        table.arm("b", 3, lambda _: calls.append("b"))

    table.arm("a", 2, lambda _: fail)
    table.arm("b", 2, lambda _: arm_again)
    await clock.advance(5)
    assert calls == ["b"]
    assert len(failures) == 1


async def test_long_burst_lets_the_loop_do_other_work(clock, table):
    """After some time the loop gets its turn, and nothing is lost."""
    calls = []

    def work(now):
        # What takes time on the loop moves both clocks.
        clock._pass(clock._monotonic + int(BURST / 3 * 1e9))
        asyncio.get_running_loop().call_soon(calls.append, "other")
        calls.append("slot")

    for owner in range(8):
        table.arm(owner, 2, work)
    await clock.advance(10)
    assert calls.count("slot") == 8
    assert calls[:4] == ["slot"] * 4
    assert calls[4:8] == ["other"] * 4


async def test_cancelled_slots_are_swept_when_there_are_many(clock, table):
    """Stops and starts of a yearly task do not accumulate."""
    for slot in range(1000):
        table.arm("a", 1_000_000 + slot, print)
    assert len(table._heap) < 70
    table.disarm("a")
    assert table._heap == []


async def test_cancelled_slots_cost_no_wakeup(clock, table):
    """After a wake-up the timer is set for the next slot that is still armed."""
    table.arm("a", 1, lambda _: None)
    table.arm("b", 2, print)
    table.arm("c", 4, lambda _: None)
    table.disarm("b")
    await clock.advance(4)
    assert clock.delays == [1, 3]
