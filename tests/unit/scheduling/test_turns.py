"""Slots that are due while a run is in progress: queued, or replacing it (O1)."""

import asyncio

import pytest

from ipycron.errors import ExecutionReplaced, InvalidOption, OverlapError, QueueFull
from ipycron.scheduling.admission import MAX_QUEUED
from ipycron.scheduling.policy import CatchUp, Policy, check_overlap
from ipycron.scheduling.retry import Retry


class Times:
    """A schedule with these slots, in seconds since the hour."""

    def __init__(self, *times):
        self._slots = [3600 + time for time in times]

    def find_next(self, after):
        """Return the next slot."""
        return next((slot for slot in self._slots if slot > after), None)


def starts(world):
    """Return the slots of the runs that started, and when they did."""
    started = world.events.of("execution:started")
    return [(n.date - 3600, n.triggered_at - 3600) for n in started]


def count(world, event):
    """Return how often something was reported."""
    return len(world.events.of(event))


def reasons(world):
    """Return the slots that were skipped, and why."""
    skips = world.events.of("execution:skipped")
    return [(n.date - 3600, n.reason) for n in skips]


@pytest.mark.parametrize("is_shared", [False, True])
async def test_queued_slot_runs_after_the_run_in_progress(world, is_shared):
    """Late, however late it is: it has waited for its turn, not been forgotten."""
    if is_shared:
        world.share_workers()
    world.script.run_seconds = 90
    await world.start(overlap="queue")
    await world.clock.advance(60 + 90)
    assert starts(world) == [(60, 60), (120, 150)]
    assert count(world, "execution:missed") == 0
    (queued,) = world.events.of("execution:queued")
    assert (queued.date, queued.execution.started_at) == (3720, None)
    assert world.slots("execution:overlap") == [120]


async def test_newest_slot_waits_and_older_ones_are_superseded(world):
    """One place in the queue."""
    world.script.run_seconds = None
    await world.start(overlap="queue")
    await world.clock.advance(250)
    assert reasons(world) == [(120, "superseded"), (180, "superseded")]
    superseded = world.events.of("execution:skipped")
    queued = world.events.of("execution:queued")
    assert [n.run_id for n in superseded] == [n.execution.id for n in queued[:2]]
    world.worker.finish()
    await world.clock.advance()
    assert starts(world) == [(60, 60), (240, 250)]


async def test_runs_of_a_queue_never_overlap(world):
    """Neither slots nor calls: each waits for the one before."""
    world.script.run_seconds = 10
    await world.start(overlap="queue")
    calls = [asyncio.ensure_future(world.scheduler.execute("t")) for _ in range(3)]
    await world.clock.advance(9)
    assert len(world.scheduler.get_executions("t")) == 1
    await world.clock.advance(21)
    assert all(call.done() for call in calls)
    assert [at for _, at in starts(world)] == [0, 10, 20]
    assert len(world.launcher.workers) == 1


async def test_calls_are_not_superseded(world):
    """Somebody waits for each of them."""
    world.script.run_seconds = 100
    await world.start(overlap="queue")
    await world.clock.advance(60)
    world.scheduler.execute_nowait("t", "c1")
    world.scheduler.execute_nowait("t", "c2")
    await world.clock.advance(60)
    world.script.run_seconds = 1
    await world.clock.advance(50)
    ids = [n.execution.id for n in world.events.of("execution:started")]
    assert ids[1:3] == ["c1", "c2"]


async def test_queue_that_is_full_refuses_calls(world):
    """With the number, and what they wait for; slots are not affected."""
    world.script.run_seconds = None
    await world.start(overlap="queue")
    for _ in range(MAX_QUEUED + 1):
        world.scheduler.execute_nowait("t")
    with pytest.raises(QueueFull, match=f"{MAX_QUEUED} runs are already waiting"):
        world.scheduler.execute_nowait("t")
    await world.clock.advance(60)
    assert world.slots("execution:queued")[-1:] == [60]


async def test_slot_that_waited_through_a_suspend_is_missed(world):
    """Waiting for the turn is no lateness, a suspend is (C2)."""
    world.script.run_seconds = 110
    await world.start(overlap="queue", every=100)
    await world.clock.advance(205)
    world.clock.step(20)
    await world.clock.advance(10)
    assert starts(world) == [(100, 100)]
    assert world.slots("execution:missed") == [200]


async def test_slot_that_waited_through_a_suspend_is_caught_up_on(world):
    """If it is within the window."""
    world.script.run_seconds = 110
    await world.start(overlap="queue", every=100, catch_up=CatchUp("all"))
    await world.clock.advance(205)
    world.clock.step(20)
    await world.clock.advance(10)
    started = world.events.of("execution:started")
    assert [(n.date - 3600, n.execution.reason) for n in started] == [
        (100, "scheduled"), (200, "catch_up"),
    ]  # fmt: skip
    assert (
        started[1].execution.id == world.events.of("execution:queued")[0].execution.id
    )


@pytest.mark.parametrize("what", ["stop", "destroy"])
async def test_stop_drops_what_is_queued(world, what):
    """The slot was not reported as started; the caller gets an answer."""
    world.script.run_seconds = 5
    await world.start(overlap="queue", every=3)
    await world.clock.advance(3)
    call = asyncio.ensure_future(world.scheduler.execute("t"))
    await world.clock.advance(3)
    await world.clock.pass_until(getattr(world.scheduler, what)("t"))
    assert (await call).manner == "stopped"
    assert [slot for slot, _ in starts(world)] == [3, 3]


async def test_pause_skips_what_is_queued(world):
    """As every slot that has not begun; calls keep their places."""
    world.script.run_seconds = 90
    await world.start(overlap="queue")
    await world.clock.advance(130)
    world.scheduler.execute_nowait("t", "c")
    world.scheduler.pause("t")
    assert reasons(world) == [(120, "paused")]
    await world.clock.advance(30)
    assert [n.execution.id for n in world.events.of("execution:started")][-1] == "c"


async def test_replaced_run_is_ended_and_the_slot_runs(world):
    """As a timeout ends it: the process goes, the next one is loaded."""
    world.script.run_seconds = None
    await world.start(overlap="replace")
    await world.clock.advance(125)
    assert starts(world) == [(60, 60), (120, 120)]
    (end,) = world.events.of("execution:failed")
    assert (end.date, end.outcome.manner) == (3660, "replaced")
    assert isinstance(end.outcome.value, ExecutionReplaced)
    names = [str(n.event) for n in world.events.notices if n.execution]
    assert names[1:4] == ["execution:queued", "execution:failed", "execution:started"]


async def test_replaced_run_that_ignores_sigterm_is_killed_first(world):
    """The slot waits for that, which is no lateness of its own."""
    world.script.run_seconds, world.script.is_stubborn = None, True
    await world.start(overlap="replace")
    await world.clock.advance(130)
    assert starts(world) == [(60, 60), (120, 122)]


async def test_replaced_run_is_not_repeated(world):
    """The newer run is in its place."""
    world.script.run_seconds = None
    await world.start(overlap="replace", retry=3)
    await world.clock.advance(125)
    assert count(world, "execution:retry") == 0


async def test_run_between_attempts_is_replaced_at_once(world):
    """If it outlasts the slot; there is nothing to end."""
    world.script.error = OSError("no")
    retry = Retry(3, delay=100, jitter=0, past_next=True)
    await world.start(overlap="replace", retry=retry)
    await world.clock.advance(119)
    world.script.error = None
    await world.clock.advance(1)
    assert starts(world) == [(60, 60), (120, 120)]
    (end,) = world.events.of("execution:failed")
    assert end.outcome.manner == "replaced"
    assert end.execution.attempt == 1


async def test_slot_that_comes_during_a_replacement_supersedes(world):
    """The newest slot runs when the process is gone."""
    world.script.run_seconds, world.script.is_stubborn = None, True
    await world.start(overlap="replace", every=1)
    await world.clock.advance(4.5)
    assert starts(world)[:2] == [(1, 1), (3, 4)]
    assert reasons(world) == [(2, "superseded")]


async def test_call_replaces_and_is_replaced(world):
    """Whoever waited for the replaced call gets the error."""
    world.script.run_seconds = None
    await world.start(overlap="replace")
    call = asyncio.ensure_future(world.scheduler.execute("t"))
    await world.clock.advance(60)
    assert isinstance((await call).value, ExecutionReplaced)
    world.scheduler.execute_nowait("t", "c")
    await world.clock.advance(1)
    assert [n.execution.id for n in world.events.of("execution:started")][-1] == "c"
    world.worker.finish()
    await world.clock.advance()


async def test_run_of_the_past_replaces_nothing(world):
    """A backfill is beside the schedule: it waits for its turn."""
    world.script.run_seconds = 30
    await world.start(overlap="replace")
    await world.clock.advance(61)
    world.scheduler.execute_nowait("t", "b", slot=3000)
    await world.clock.advance(29)
    assert [n.execution.id for n in world.events.of("execution:started")][-1] == "b"
    assert count(world, "execution:failed") == 0


@pytest.mark.parametrize("overlap", ["queue", "replace"])
async def test_code_that_cannot_be_ended_keeps_its_turn(world, overlap):
    """What is freed is freed by the end of the code, not by a flag."""
    world.share_workers()
    world.script.run_seconds, world.script.is_stubborn = None, True
    await world.start(overlap=overlap, timeout=10)
    await world.clock.advance(130)
    assert [slot for slot, _ in starts(world)] == [60]
    world.script.run_seconds = 0
    world.worker.finish()
    await world.clock.advance()
    assert starts(world) == [(60, 60), (120, 130)]


@pytest.mark.parametrize("overlap", ["queue", "replace"])
async def test_limit_counts_what_starts(world, overlap):
    """A superseded slot uses none of `max_executions`."""
    world.script.run_seconds = 200 if overlap == "queue" else 50
    await world.start(overlap=overlap, max_executions=2)
    await world.clock.advance(600)
    assert count(world, "execution:started") == 2
    assert count(world, "task:destroyed") == 1


async def test_claim_is_held_while_a_slot_waits(world):
    """It was elected at its slot: no other instance may run it meanwhile."""

    class Coordinator:
        def __init__(self):
            self.calls = []

        async def should_run(self, _, key, __):
            self.calls.append(("claim", key[-14:-9]))
            return True

        async def on_complete(self, _, key):
            self.calls.append(("release", key[-14:-9]))

    world.elector = Coordinator()
    world.script.run_seconds = 130
    await world.start(overlap="queue", distributed=True)
    await world.clock.advance(185)
    assert world.elector.calls == [
        ("claim", "01:01"), ("claim", "01:02"), ("claim", "01:03"),
        ("release", "01:02"),
    ]  # fmt: skip


async def test_skip_is_another_word_for_no_overlap(world):
    """Slots are skipped, calls refused."""
    world.script.run_seconds = None
    await world.start(overlap="skip")
    await world.clock.advance(120)
    assert [n.is_skipped for n in world.events.of("execution:overlap")] == [True]
    with pytest.raises(OverlapError):
        world.scheduler.execute_nowait("t")


async def test_queued_run_with_a_shorter_delay_is_not_superseded_by_an_older(world):
    """The newest slot remains, in whatever order the delays end."""
    delays = iter([0, 50, 1])
    services = world.scheduler._services
    object.__setattr__(services, "uniform", lambda *_: next(delays))
    world.script.run_seconds = None
    await world.start(overlap="queue", every=Times(10, 20, 30), jitter=90)
    await world.clock.advance(360)
    assert reasons(world) == [(20, "superseded")]


@pytest.mark.parametrize("value", ["que", "Queue", None, True, 1])
def test_unknown_mode_is_refused(value):
    """With the ones that there are."""
    with pytest.raises(InvalidOption, match="'allow', 'skip', 'queue', 'replace'"):
        check_overlap("overlap", value)


def test_mode_follows_from_both_options():
    """`no_overlap` is the older word."""
    assert Policy().overlap_mode == "allow"
    assert Policy(no_overlap=True).overlap_mode == "skip"
    assert Policy(overlap="skip").skips_overlap
