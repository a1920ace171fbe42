"""Elections in a fleet (D1)."""

import asyncio
from contextvars import ContextVar

import pytest

from ipycron.scheduling.aio import sleep


class Elector:
    """Gives the answers it is told to, after some fake seconds."""

    def __init__(self, clock, *, answer=True, seconds=0.0, complete_error=None):
        self.clock = clock
        self.answer = answer
        self.seconds = seconds
        self.complete_error = complete_error
        self.asked = []
        self.completed = []

    async def should_run(self, task_id, key, lease):
        """Answer, or raise."""
        self.asked.append((task_id, key, lease))
        if self.seconds:
            await sleep(self.clock, self.seconds)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    async def on_complete(self, task_id, key):
        """Record the key."""
        self.completed.append((task_id, key))
        if self.complete_error is not None:
            raise self.complete_error


KEY = "t:1970-01-01T01:01:00+00:00"


async def test_slot_runs_when_elected(world):
    """The coordinator is asked about the slot and notified of the run's end."""
    world.elector = Elector(world.clock)
    world.script.run_seconds = 5
    await world.start(distributed=True, distributed_lease=12)
    await world.clock.advance(60)
    assert world.elector.asked == [("t", KEY, 12)]
    assert world.elector.completed == []
    await world.clock.advance(5)
    assert world.elector.completed == [("t", KEY)]
    assert world.events.names()[1:] == ["execution:started", "execution:finished"]


async def test_end_is_reported_in_the_context_of_the_run(world):
    """A coordinator sees its context variables in both calls."""
    tenant = ContextVar("tenant", default="nobody")

    class Tenants(Elector):
        """Records the context in which it is called."""

        async def should_run(self, *_):
            """Record the tenant; return True."""
            self.asked.append(tenant.get())
            return True

        async def on_complete(self, *_):
            """Record the tenant."""
            self.completed.append(tenant.get())

    world.elector = elector = Tenants(world.clock)
    world.script.run_seconds = 5
    tenant.set("somebody")
    await world.start(distributed=True)
    await world.clock.advance(65)
    assert (elector.asked, elector.completed) == (["somebody"], ["somebody"])


async def test_slot_is_skipped_when_not_elected(world):
    """Another instance runs it; the skip has its reason."""
    world.elector = Elector(world.clock, answer=False)
    await world.start(distributed=True)
    await world.clock.advance(60)
    (skipped,) = world.events.of("execution:skipped")
    assert skipped.reason == "not-elected"
    assert skipped.date == 3660
    assert skipped.outcome is None
    assert world.elector.completed == []
    assert world.events.names()[1:] == ["execution:skipped"]


@pytest.mark.parametrize(
    ("answer", "summary"),
    [
        (ConnectionError("no route"), "ConnectionError: no route"),
        (None, "CoordinatorError: run coordinator: should_run answered None"),
        ("yes", "CoordinatorError: run coordinator: should_run answered 'yes'"),
        (1, "CoordinatorError: run coordinator: should_run answered 1"),
        (asyncio.CancelledError(), "RuntimeError: the call was cancelled from inside"),
    ],
)
async def test_slot_is_skipped_when_the_coordinator_gives_no_clear_answer(
    world, answer, summary
):
    """An error, or any value but True and False, means no (fail closed)."""
    world.elector = Elector(world.clock, answer=answer)
    await world.start(distributed=True)
    await world.clock.advance(60)
    (skipped,) = world.events.of("execution:skipped")
    assert skipped.reason == "coordinator-error"
    assert skipped.outcome.summary.startswith(summary)
    assert "execution:started" not in world.events.names()


async def test_slot_is_skipped_when_the_coordinator_takes_too_long(world):
    """No answer within five seconds means no; the next slot is asked again."""
    world.elector = Elector(world.clock, seconds=6)
    await world.start(distributed=True, no_overlap=True)
    await world.clock.advance(64.9)
    assert world.events.names() == ["task:started"]
    await world.clock.advance(0.1)
    (skipped,) = world.events.of("execution:skipped")
    assert skipped.reason == "coordinator-error"
    assert "no answer within 5 s" in skipped.outcome.summary
    world.elector.seconds = 1
    await world.clock.advance(56)
    assert world.slots("execution:started") == [120]


async def test_slot_is_skipped_when_there_is_no_coordinator(world):
    """A distributed task without a coordinator must not run everywhere."""
    await world.start(distributed=True)
    await world.clock.advance(60)
    (skipped,) = world.events.of("execution:skipped")
    assert skipped.reason == "coordinator-error"


async def test_late_yes_is_given_back_when_the_coordinator_ignored_its_deadline(world):
    """A claim granted after the skip is released, since no run uses it."""
    elector = Elector(world.clock)

    async def should_run(task_id, key, lease):
        try:
            await sleep(world.clock, 8)
        except asyncio.CancelledError:
            await sleep(world.clock, 3)
        return True

    elector.should_run = should_run
    world.elector = elector
    await world.start(distributed=True)
    await world.clock.advance(65)
    assert world.slots("execution:skipped") == [60]
    await world.clock.advance(3)
    assert elector.completed == [("t", KEY)]


async def test_election_is_pending_and_overlaps(world):
    """A slot in its election counts as a pending run."""
    world.elector = Elector(world.clock, seconds=1.5)
    await world.start(distributed=True, no_overlap=True, every=1, tolerance=2)
    await world.clock.advance(2.6)
    assert world.slots("execution:overlap") == [2]
    assert world.slots("execution:started") == [1]


@pytest.mark.parametrize("seconds", [1.2, 4.5])
async def test_slot_is_missed_when_the_coordinator_answers_too_late(world, seconds):
    """A yes after the tolerance starts nothing, and the claim is released."""
    world.elector = Elector(world.clock, seconds=seconds)
    await world.start(distributed=True, every=1)
    await world.clock.advance(10)
    assert world.slots("execution:started") == []
    missed = world.slots("execution:missed")
    assert missed == list(range(1, len(missed) + 1))
    assert len(missed) >= 10 - seconds - 1
    await world.clock.advance(1)
    assert len(world.elector.completed) >= len(missed)


async def test_slot_runs_when_the_coordinator_answers_within_the_tolerance(world):
    """However long that is, within an election's deadline."""
    world.elector = Elector(world.clock, seconds=4.5)
    await world.start(distributed=True, tolerance=4.6)
    await world.clock.advance(65)
    assert world.slots("execution:started") == [60]
    assert world.slots("execution:missed") == []


async def test_delay_comes_after_the_election(world):
    """One instance is elected and then waits; the others do not wait (R4)."""
    world.elector = Elector(world.clock, seconds=1)
    await world.start(distributed=True, jitter=20)
    await world.clock.advance(70.9)
    assert world.events.names() == ["task:started"]
    await world.clock.advance(0.1)
    assert world.told()[1] == (71, "execution:started")


async def test_elected_run_gives_its_claim_back_when_it_fails(world):
    """on_complete is called however the run ended."""
    world.elector = Elector(world.clock)
    world.script.error = ValueError()
    await world.start(distributed=True)
    await world.clock.advance(60)
    assert world.elector.completed == [("t", KEY)]


async def test_elected_run_gives_its_claim_back_when_it_is_dropped_in_its_delay(world):
    """A claim is not renewed for a run that will never start."""
    world.elector = Elector(world.clock)
    await world.start(distributed=True, jitter=20)
    await world.clock.advance(65)
    await world.scheduler.stop("t")
    await world.clock.advance()
    assert world.elector.completed == [("t", KEY)]
    assert world.events.names()[1:] == ["task:stopped"]


async def test_election_is_dropped_when_the_task_stops(world):
    """A stop does not wait for the coordinator."""
    world.elector = Elector(world.clock, seconds=4)
    await world.start(distributed=True)
    await world.clock.advance(61)
    await world.scheduler.stop("t")
    assert world.events.names()[1:] == ["task:stopped"]
    await world.clock.advance(10)
    assert world.events.names()[1:] == ["task:stopped"]
    assert world.elector.completed == []


async def test_claim_is_given_back_when_the_yes_meets_a_stop(world):
    """A claim that no run needs any more is released."""
    answer = asyncio.get_running_loop().create_future()
    world.elector = Elector(world.clock)

    async def should_run(task_id, key, lease):
        return await answer

    world.elector.should_run = should_run
    await world.start(distributed=True)
    await world.clock.advance(60)
    stop = asyncio.ensure_future(world.scheduler.stop("t"))
    answer.set_result(True)
    await stop
    await world.clock.advance()
    assert world.events.names()[1:] == ["task:stopped"]
    assert world.elector.completed == [("t", KEY)]


async def test_failure_of_on_complete_is_logged_only(world, caplog):
    """The run's outcome does not depend on the coordinator's answer."""
    world.elector = Elector(world.clock, complete_error=ConnectionError("no route"))
    await world.start(distributed=True)
    await world.clock.advance(60)
    assert world.events.names()[-1] == "execution:finished"
    assert f"on_complete of {KEY} failed" in caplog.text


async def test_manual_run_is_not_elected(world):
    """A manual run takes place where it was requested."""
    world.elector = Elector(world.clock, answer=False)
    await world.start(distributed=True)
    assert (await world.scheduler.execute("t")).is_ok
    assert world.elector.asked == []


async def test_skipped_slots_do_not_count_towards_the_limit(world):
    """Only runs started here count; a slot in its election reserves one."""
    world.elector = Elector(world.clock, answer=False, seconds=1.5)
    await world.start(distributed=True, max_executions=1, every=1, tolerance=2)
    await world.clock.advance(2.6)
    assert world.slots("execution:overlap") == [2]
    assert world.slots("execution:skipped") == [1]
    world.elector.answer = True
    await world.clock.advance(10)
    assert world.slots("execution:started") == [3]
    assert world.status() == "destroyed"


async def test_shutdown_waits_for_on_complete(world):
    """Claims are released before the loop ends."""
    world.elector = Elector(world.clock)
    world.script.run_seconds = 3

    async def on_complete(task_id, key):
        await sleep(world.clock, 2)
        world.elector.completed.append(key)

    world.elector.on_complete = on_complete
    await world.start(distributed=True)
    await world.clock.advance(60)
    down = asyncio.ensure_future(world.scheduler.shutdown(10))
    await world.clock.advance(3)
    assert not down.done()
    await world.clock.advance(2)
    assert down.done()
    assert world.elector.completed == [KEY]


async def test_shutdown_gives_up_a_coordinator_that_refuses_to_end(world):
    """A call that ignores its cancellation delays a shutdown only briefly."""
    end = asyncio.Event()
    world.elector = Elector(world.clock)

    async def should_run(task_id, key, lease):
        while not end.is_set():
            try:
                await end.wait()
            except asyncio.CancelledError:
                continue
        return False

    world.elector.should_run = should_run
    await world.start(distributed=True)
    await world.clock.advance(61)
    down = asyncio.ensure_future(world.scheduler.shutdown(10))
    await world.clock.advance(4.9)
    assert not down.done()
    await world.clock.advance(0.1)
    assert down.done()
    end.set()
