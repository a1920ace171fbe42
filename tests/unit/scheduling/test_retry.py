"""Attempts of a run: one run, however many there are (Y1 to Y4)."""

import asyncio

import pytest

from ipycron.errors import Cancel, Snooze
from ipycron.scheduling.policy import CatchUp
from ipycron.scheduling.retry import Retry
from ipycron.testing import Every, RecordedEvents, Script

PLAIN = {"delay": 1, "backoff": 1, "jitter": 0}
"""Attempts one second apart."""
ENDS = ("execution:finished", "execution:failed")


def count(world, event):
    """Return how often something was reported."""
    return len(world.events.of(event))


@pytest.mark.parametrize("is_shared", [False, True])
async def test_failed_run_is_repeated_as_one_run(world, is_shared):
    """One start, one end, one id; the events between them say what happened."""
    if is_shared:
        world.share_workers()
    world.script.error = OSError("no")
    await world.start(retry=Retry(2, delay=5, backoff=2, jitter=0))
    await world.clock.advance(60 + 5 + 10)
    assert world.told()[1:] == [
        (60, "execution:started"),
        (60, "execution:retry"),
        (65, "execution:retry"),
        (75, "execution:failed"),
    ]
    retries = world.events.of("execution:retry")
    assert [n.next_attempt_at - 3600 for n in retries] == [65, 75]
    assert [n.execution.attempt for n in retries] == [1, 2]
    assert [n.outcome.summary for n in retries] == ["OSError: no"] * 2
    (end,) = world.events.of("execution:failed")
    assert end.execution.attempt == 3
    assert {n.execution.id for n in (*retries, end)} == {"r1"}
    runs = [run for worker in world.launcher.workers for run in worker.runs]
    assert len(runs) == 3


async def test_attempt_that_succeeds_ends_the_run(world):
    """What failed before is forgotten."""
    world.script.error = OSError("no")
    await world.start(retry=Retry(5, **PLAIN))
    await world.clock.advance(60)
    world.script.error = None
    await world.clock.advance(1)
    assert count(world, "execution:retry") == 1
    assert count(world, "execution:finished") == 1
    assert world.status() == "idle"


async def test_task_is_running_between_attempts(world):
    """The run is in progress, though no code is."""
    world.script.error = OSError("no")
    await world.start(retry=Retry(1, delay=10, jitter=0))
    await world.clock.advance(65)
    assert world.status() == "running"
    (execution,) = world.scheduler.get_executions("t")
    assert execution.attempt == 2


async def test_caller_of_a_run_gets_the_last_outcome(world):
    """`execute` waits for all attempts."""
    world.script.error = OSError("no")
    await world.start(every=3600, retry=Retry(1, **PLAIN))
    call = asyncio.ensure_future(world.scheduler.execute("t"))
    await world.clock.advance(0.5)
    assert not call.done()
    world.script.error, world.script.result = None, 7
    await world.clock.advance(1)
    assert (await call).value == 7


async def test_ladder_ends_at_the_next_slot(world):
    """The next run is the retry: an attempt that would come later does not."""
    world.script.error = OSError("no")
    await world.start(retry=Retry(9, delay=40, backoff=1, jitter=0))
    await world.clock.advance(60 + 41)
    assert count(world, "execution:retry") == 1
    (end,) = world.events.of("execution:failed")
    assert end.triggered_at == 3700
    assert "the next slot" in end.outcome.remark
    await world.clock.advance(19)
    assert world.slots("execution:started") == [60, 120]
    assert count(world, "execution:overlap") == 0


async def test_attempt_in_progress_at_the_next_slot_is_the_last(world):
    """It may end, and nothing follows it, although there is time."""
    world.script.run_seconds, world.script.error = 35, OSError("no")
    await world.start(retry=Retry(9, delay=1, jitter=0))
    await world.clock.advance(60 + 36 + 24)  # the second attempt runs at the slot
    assert world.slots("execution:overlap") == [120]
    await world.clock.advance(40)
    first = [n for n in world.events.of("execution:failed") if n.date == 3660]
    assert len(first) == 1
    assert first[0].execution.attempt == 2


async def test_ladder_may_outlast_the_next_slot(world):
    """The run that goes on counts as an overlap of the slot."""
    world.script.error = OSError("no")
    await world.start(
        retry=Retry(2, delay=45, backoff=1, jitter=0, past_next=True), no_overlap=True
    )
    await world.clock.advance(60 + 90)
    assert world.slots("execution:overlap") == [120]
    assert world.slots("execution:failed") == [60]
    (end,) = world.events.of("execution:failed")
    assert end.execution.attempt == 3


@pytest.mark.parametrize("what", ["stop", "destroy", "pause"])
async def test_ladder_ends_with_its_task(world, what):
    """The run ends at once, with its last error, and the reason is noted."""
    world.script.error = OSError("no")
    await world.start(retry=Retry(9, delay=20, jitter=0))
    await world.clock.advance(65)
    if what == "pause":
        world.scheduler.pause("t")
    else:
        await world.clock.pass_until(getattr(world.scheduler, what)("t"))
    (end,) = world.events.of("execution:failed")
    assert end.triggered_at == 3665
    assert end.outcome.summary == "OSError: no"
    word = {"stop": "stop", "destroy": "destruction", "pause": "pause"}[what]
    assert end.outcome.remark == f"no further attempt: ended by the {word} of the task"
    assert end.execution.attempt == 1  # the second has not begun


@pytest.mark.parametrize(
    ("retry", "remark"),
    [
        (Retry(1, **PLAIN), "no further attempt: all 2 are used up"),
        (
            Retry(3, on="ValueError"),
            "no further attempt: on= does not name this failure",
        ),
        (0, ""),
    ],
)
async def test_last_failure_says_why_it_is_the_last(world, retry, remark):
    """As one does that something has ended; without retries there is nothing to say."""
    world.script.error = OSError("no")
    await world.start(retry=retry)
    await world.clock.advance(65)
    (end,) = world.events.of("execution:failed")
    assert end.outcome.remark == remark


@pytest.mark.parametrize("what", ["stop", "replace"])
async def test_run_that_somebody_ends_needs_no_further_reason(world, what):
    """Its outcome is the reason."""
    world.script.run_seconds = None
    await world.start(retry=Retry(1, **PLAIN), overlap="replace", stop_timeout=1)
    await world.clock.advance(61)
    if what == "stop":
        await world.clock.pass_until(world.scheduler.stop("t"))
    else:
        await world.clock.advance(70)
    end = world.events.of("execution:failed")[0]
    assert end.outcome.manner == {"stop": "stopped", "replace": "replaced"}[what]
    assert end.outcome.remark == ""


async def test_stop_lets_an_attempt_end_and_no_other_follow(world):
    """The attempt has `stop_timeout`, as any run has."""
    world.script.run_seconds, world.script.error = 2, OSError("no")
    await world.start(retry=Retry(9, **PLAIN))
    await world.clock.advance(61)
    await world.clock.pass_until(world.scheduler.stop("t"))
    (end,) = world.events.of("execution:failed")
    assert end.triggered_at == 3662
    assert end.outcome.summary == "OSError: no"


async def test_manual_run_of_a_paused_task_is_repeated(world):
    """The pause is about slots; only runs that it found end with it."""
    await world.start(retry=Retry(1, **PLAIN))
    world.scheduler.pause("t")
    world.script.error = OSError("no")
    world.scheduler.execute_nowait("t")
    await world.clock.advance(1)
    (end,) = world.events.of("execution:failed")
    assert end.execution.attempt == 2


async def test_timeout_is_for_each_attempt(world):
    """An attempt that takes too long fails, and the next one has its own time."""
    world.script.run_seconds = None
    await world.start(every=600, timeout=10, retry=Retry(1, **PLAIN))
    await world.clock.advance(600 + 10 + 1 + 10)
    (retry,) = world.events.of("execution:retry")
    assert retry.triggered_at == 3600 + 610
    (end,) = world.events.of("execution:failed")
    assert "ExecutionTimeout" in end.outcome.summary
    assert end.triggered_at == 3600 + 621


async def test_deadline_is_for_all_attempts_together(world):
    """It ends the attempt that is in progress then."""
    world.script.run_seconds = None
    await world.start(every=600, timeout=10, retry=Retry(9, **PLAIN, deadline=25))
    await world.clock.advance(600 + 30)
    (end,) = world.events.of("execution:failed")
    assert end.triggered_at == 3600 + 625
    assert end.execution.attempt == 3
    assert "its deadline" in end.outcome.remark


async def test_no_attempt_begins_after_the_deadline(world):
    """The run ends when that is known."""
    world.script.error = OSError("no")
    await world.start(
        every=600, retry=Retry(9, delay=10, backoff=1, jitter=0, deadline=15)
    )
    await world.clock.advance(611)
    (end,) = world.events.of("execution:failed")
    assert (end.triggered_at, end.execution.attempt) == (3600 + 610, 2)


async def test_death_of_a_worker_is_repeated(world):
    """With another worker; the deaths of one run count as one."""
    world.script.dies = True
    await world.start(every=600, retry=Retry(6, **PLAIN), max_restarts=1)
    await world.clock.advance(600 + 6)
    (end,) = world.events.of("execution:failed")
    assert end.execution.attempt == 7
    assert "WorkerCrashed" in end.outcome.summary
    world.script.dies = False
    await world.clock.advance(594)
    assert world.slots("execution:finished") == [1200]
    assert count(world, "task:failed") == 0


@pytest.mark.parametrize(
    ("on", "attempts"),
    [
        (None, 3), ((OSError,), 3), ((LookupError,), 1), (("OSError", "crash"), 3),
        (("builtins.Exception",), 3), (("timeout",), 1), ((3,), 1),
    ],
)  # fmt: skip
async def test_only_failures_that_are_named_are_repeated(world, on, attempts):
    """By class, as `isinstance` would have it."""
    world.script.error = FileNotFoundError("no")
    await world.start(retry=Retry(2, **PLAIN, on=on).as_names)
    await world.clock.advance(70)
    (end,) = world.events.of("execution:failed")
    assert end.execution.attempt == attempts


@pytest.mark.parametrize(
    ("on", "script", "attempts"),
    [
        ("timeout", Script(run_seconds=None), 2),
        (TimeoutError, Script(run_seconds=None), 2),
        ("crash", Script(run_seconds=None), 1),
        ("crash", Script(dies=True), 2),
        ("timeout", Script(dies=True), 1),
        ("ipycron.errors.WorkerCrashed", Script(dies=True), 2),
    ],
)
async def test_what_the_scheduler_itself_ends_is_named_too(world, on, script, attempts):
    """A run that takes too long, and a worker that dies."""
    for name in ("run_seconds", "dies"):
        setattr(world.script, name, getattr(script, name))
    await world.start(every=600, timeout=5, retry=Retry(1, **PLAIN, on=on).as_names)
    await world.clock.advance(620)
    (end,) = world.events.of("execution:failed")
    assert end.execution.attempt == attempts


async def test_run_with_attempts_counts_once(world):
    """`max_executions` sees one run, and the task ends after its last attempt."""
    world.script.error = OSError("no")
    await world.start(retry=Retry(2, **PLAIN), max_executions=1)
    await world.clock.advance(61)
    assert world.status() == "running"
    await world.clock.advance(1)
    assert count(world, "execution:started") == 1
    assert [name for _, name in world.told()][-3:] == [
        "execution:max_reached", "task:stopped", "task:destroyed",
    ]  # fmt: skip


async def test_claim_is_held_through_the_ladder(world):
    """Another instance must not take the slot over between two attempts."""

    class Coordinator:
        def __init__(self):
            self.calls = []

        async def should_run(self, *_):
            self.calls.append("claim")
            return True

        async def on_complete(self, *_):
            self.calls.append("release")

    world.elector = Coordinator()
    world.script.error = OSError("no")
    await world.start(retry=Retry(2, **PLAIN), distributed=True)
    await world.clock.advance(61)
    assert world.elector.calls == ["claim"]
    await world.clock.advance(1)
    assert world.elector.calls == ["claim", "release"]


async def test_backlog_waits_for_the_ladder(world):
    """Slots that are caught up on are runs like others."""
    world.script.error = OSError("no")
    await world.start(
        every=600, catch_up=CatchUp("all"), retry=Retry(1, delay=2, jitter=0)
    )
    world.clock.step(1300)
    await world.clock.advance(12)
    assert [n.date - 3600 for n in world.events.of("execution:started")] == [600, 1200]
    told = [n for n in world.events.notices if n.execution]
    assert [str(n.event) for n in told] == [
        "execution:started", "execution:retry", "execution:failed",
    ] * 2  # fmt: skip


async def test_suspend_between_attempts_ends_the_ladder(world):
    """Whichever timer notices it first: the slot has come, and its run is the retry."""
    world.script.error = OSError("no")
    await world.start(retry=Retry(9, delay=20, jitter=0), tolerance=3)
    await world.clock.advance(61)
    world.clock.step(3600)
    await world.clock.advance(10)
    assert count(world, "execution:retry") == 1
    assert world.slots("execution:failed") == [60]


async def test_another_schedule_with_an_earlier_slot_ends_the_ladder(world):
    """What counts is the task's next slot, whenever it was set."""
    world.script.error = OSError("no")
    await world.start(every=3600, retry=Retry(9, delay=50, jitter=0))
    await world.clock.advance(3600)
    world.scheduler.reschedule("t", Every(10))
    await world.clock.advance(10)
    (end,) = world.events.of("execution:failed")[:1]
    assert (end.date, end.triggered_at) == (7200, 7210)


async def test_clock_set_back_outlives_no_ladder(world):
    """The slots are counted anew, and the first one ends it."""
    world.script.error = OSError("no")
    await world.start(retry=Retry(9, delay=58, backoff=1, jitter=0))
    await world.clock.advance(61)
    world.clock.step(-4 * 3600)
    world.script.error = None
    await world.clock.advance(90)
    ends = [n.execution.id for n in world.events.of(*ENDS)]
    assert len(ends) == len(set(ends))
    assert ends[0] == "r1"


async def test_attempt_waits_for_a_worker(world):
    """A single-use worker is replaced first, however long that takes."""
    world.script.is_single_use, world.script.error = True, OSError("no")
    await world.start(every=600, retry=Retry(1, **PLAIN), start_timeout=60)
    await world.clock.advance(595)  # loaded again shortly before its slot
    world.script.load_seconds = 30
    await world.clock.advance(5)
    await world.clock.advance(29)
    assert count(world, "execution:failed") == 0
    await world.clock.advance(1)
    (end,) = world.events.of("execution:failed")
    assert end.execution.attempt == 2


async def test_attempt_that_cannot_be_loaded_is_an_attempt(world):
    """After a failed reload, each attempt loads its own worker, or fails."""
    world.script.is_single_use, world.script.error = True, OSError("no")
    await world.start(every=600, retry=Retry(2, **PLAIN))
    world.script.load_error = ImportError("gone")
    await world.clock.advance(603)
    (end,) = world.events.of("execution:failed")
    assert end.outcome.summary == "ImportError: gone"
    assert end.execution.attempt == 3


async def test_code_that_cannot_be_ended_is_not_repeated_beside_itself(world):
    """A coroutine that ignores its cancellation, or a run on an executor."""
    world.share_workers()
    world.script.run_seconds, world.script.is_stubborn = None, True
    await world.start(every=600, timeout=5, retry=Retry(3, **PLAIN))
    await world.clock.advance(620)
    (end,) = world.events.of("execution:failed")
    assert end.execution.attempt == 1
    assert "could not be ended" in end.outcome.remark
    world.worker.finish()


async def test_direct_call_in_progress_is_noticed_before_the_slot(world):
    """It is a run in progress at the slot, after which no attempt follows."""
    await world.start(retry=Retry(3, **PLAIN))
    world.scheduler.execute_nowait("t")
    await world.clock.advance(59)
    world.script.run_seconds, world.script.error = 10, OSError("no")
    assert world.worker.call("c")
    await world.clock.advance(12)
    assert [n.execution.id for n in world.events.of("execution:failed")][:1] == ["c"]


async def test_cancelled_run_is_no_failure_and_not_repeated(world):
    """The job has decided that there is nothing to do."""
    world.script.error = Cancel("a holiday")
    await world.start(retry=Retry(3, **PLAIN))
    await world.clock.advance(70)
    (end,) = world.events.of("execution:finished")
    assert (end.outcome.manner, end.outcome.summary) == ("cancelled", "a holiday")
    assert count(world, "execution:failed") == count(world, "execution:retry") == 0


async def test_snoozed_run_is_the_same_attempt_later(world):
    """It uses none of the attempts, and needs no policy."""
    world.script.error = Snooze(10)
    await world.start()
    await world.clock.advance(85)
    assert [n.triggered_at - 3600 for n in world.events.of("execution:retry")] == [
        60, 70, 80,
    ]  # fmt: skip
    assert [n.outcome for n in world.events.of("execution:retry")] == [None] * 3
    world.script.error = None
    await world.clock.advance(5)
    (end,) = world.events.of("execution:finished")
    assert (end.triggered_at, end.execution.attempt) == (3690, 1)


async def test_snooze_beyond_the_next_slot_is_a_cancelled_run(world):
    """It has not failed: the next run is the one that it asked for."""
    world.script.error = Snooze(100)
    await world.start()
    await world.clock.advance(60)
    (end,) = world.events.of("execution:finished")
    assert end.outcome.manner == "cancelled"
    assert "the next slot" in end.outcome.summary


async def test_snooze_of_no_time_does_not_spin(world):
    """At least a tenth of a second passes."""
    world.script.error = Snooze(0)
    await world.start()
    await world.clock.advance(61)
    assert count(world, "execution:retry") == 11


async def test_receiver_that_stops_the_task_ends_the_ladder(world):
    """The stop comes while the retry is being reported."""
    stops = []

    class Stopping(RecordedEvents):
        def __call__(self, notice):
            super().__call__(notice)
            if notice.event == "execution:retry":
                stop = world.scheduler.stop("t")
                stops.append(asyncio.ensure_future(stop))

    world.events = Stopping()
    world.script.error = OSError("no")
    await world.start(retry=Retry(9, **PLAIN))
    await world.clock.advance(65)
    await stops[0]
    assert count(world, "execution:retry") == len(stops) == 1
    assert count(world, "execution:failed") == 1
