"""Slots that are due while a run is pending or in progress (R3)."""

import asyncio


async def test_slot_is_skipped_when_no_overlap_and_a_run_is_in_progress(world):
    """With no_overlap the overlap is reported and the slot does not run."""
    world.script.run_seconds = 90
    await world.start(no_overlap=True)
    await world.clock.advance(300)
    assert world.slots("execution:started") == [60, 180, 300]
    assert world.slots("execution:overlap") == [120, 240]


async def test_slot_runs_in_parallel_when_overlap_is_allowed(world):
    """Otherwise it is reported, too, and runs on its own worker."""
    world.script.run_seconds = 90
    await world.start()
    await world.clock.advance(120)
    assert world.slots("execution:overlap") == [120]
    assert world.slots("execution:started") == [60, 120]
    assert len(world.launcher.alive) == 2
    assert world.told()[-2:] == [(120, "execution:overlap"), (120, "execution:started")]
    await world.clock.advance(95)
    # The overlap worker went with its run; the main one is busy again.
    assert world.launcher.alive == world.launcher.workers[:1]
    assert world.status() == "running"


async def test_overlapping_run_shares_the_worker_when_it_can(world):
    """Inline jobs do not need a second worker."""
    world.share_workers()
    world.script.run_seconds = 90
    await world.start()
    await world.clock.advance(180)
    assert world.slots("execution:started") == [60, 120, 180]
    assert len(world.launcher.workers) == 1
    assert world.events.of("execution:started")[0].execution.pid is None


async def test_status_is_running_until_the_last_overlapping_run_ends(world):
    """The first end of two overlapping runs leaves the task running."""
    world.script.run_seconds = 90
    await world.start()
    await world.clock.advance(150)
    assert world.events.names()[-1] == "execution:finished"
    assert world.events.notices[-1].status == "running"
    assert world.status() == "running"


async def test_slot_overlaps_when_a_manual_run_is_in_progress(world):
    """Manual runs count, too (defect 10)."""
    world.script.run_seconds = 90
    await world.start(no_overlap=True)
    await world.clock.advance(50)
    call = asyncio.ensure_future(world.scheduler.execute("t"))
    await world.clock.advance(20)
    assert world.slots("execution:overlap") == [60]
    await world.clock.advance(70)
    assert call.result().is_ok
    assert world.slots("execution:started") == [50]


async def test_no_overlap_survives_when_the_task_is_stopped_and_started(world):
    """The option belongs to the task, not to the start (defect 10)."""
    world.script.run_seconds = 90
    await world.start(no_overlap=True)
    await world.scheduler.stop("t")
    await world.scheduler.start("t")
    await world.clock.advance(120)
    assert world.slots("execution:started") == [60]
    assert world.slots("execution:overlap") == [120]


async def test_slot_is_free_when_a_run_fails(world):
    """A failed run does not block the next slot."""
    world.script.error = ValueError()
    world.script.run_seconds = 30
    await world.start(no_overlap=True)
    await world.clock.advance(180)
    assert world.slots("execution:started") == [60, 120, 180]
    assert world.slots("execution:overlap") == []


async def test_slot_is_failed_when_its_own_worker_cannot_be_loaded(world):
    """An overlapping slot never disappears silently."""
    world.script.run_seconds = 90
    await world.start()
    await world.clock.advance(60)
    world.script.load_error = OSError("no more processes")
    await world.clock.advance(60)
    failed = world.events.notices[-1]
    assert failed.event == "execution:failed"
    assert failed.date == 3720
    assert failed.outcome.summary == "OSError: no more processes"
    assert world.events.names()[-2] == "execution:started"


async def test_loading_overlap_worker_is_given_up_when_the_task_stops(world):
    """A stop cancels the launch and drops the slot without an event."""
    world.script.run_seconds = 90
    await world.start()
    await world.clock.advance(60)
    world.script.load_seconds = None
    await world.clock.advance(60)
    assert world.launcher.loading == 1
    await world.scheduler.stop("t", force=True)
    assert world.launcher.loading == 0
    assert world.events.names()[-3:] == [
        "execution:overlap",
        "execution:failed",
        "task:stopped",
    ]
