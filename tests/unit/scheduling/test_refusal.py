"""Starts that the system refuses for now: not deaths, and retried without end."""

import pytest

from ipycron.errors import StartRefused, WorkerCrashed

REFUSED = StartRefused(name="t", reason="[Errno 11] no process. Raise the limit.")
MINUTES = 10


@pytest.mark.parametrize("max_restarts", [0, 3])
async def test_task_goes_on_when_its_worker_is_refused_for_long(world, max_restarts):
    """However few deaths are allowed; slots in the meantime are missed, once."""
    await world.start(max_restarts=max_restarts, tolerance=1)
    world.script.load_error = REFUSED
    world.worker.die(signal_name="SIGKILL", is_lost=True)
    await world.clock.advance(60 * MINUTES + 1)
    assert world.status() != "stopped"
    world.script.load_error = None
    await world.clock.advance(30)
    assert world.status() == "idle"
    (restarted,) = world.events.of("task:restarted")
    assert restarted.outcome.value is REFUSED
    assert not world.events.of("task:failed")
    missed = world.slots("execution:missed")
    assert missed == [60 * number for number in range(1, MINUTES + 1)]
    await world.clock.advance(60)
    assert world.events.names()[-1] == "execution:finished"


async def test_refusal_is_warned_of_once_a_minute(world, caplog):
    """With the task's name and advice; one warning for all tasks."""
    for name in ("t", "u"):
        await world.start(name)
    world.script.load_error = REFUSED
    for worker in world.launcher.alive:
        worker.die(signal_name="SIGKILL", is_lost=True)
    await world.clock.advance(60 * MINUTES)
    texts = [record.getMessage() for record in caplog.records]
    assert MINUTES - 2 <= len(texts) <= MINUTES + 1
    assert "task 't' did not start" in texts[0]
    assert "Raise the limit" in texts[0]


async def test_deaths_are_counted_apart_from_refusals(world):
    """A job that dies at each load fails its task despite refusals in between."""
    await world.start(max_restarts=2)
    world.script.load_error = REFUSED
    world.worker.die(signal_name="SIGKILL", is_lost=True)
    await world.clock.advance(20)
    world.script.load_error = WorkerCrashed(name="t", exit_code=3)
    await world.clock.advance(200)
    (failed,) = world.events.of("task:failed")
    assert "exited with code 3" in failed.outcome.summary
    assert world.status() == "stopped"


async def test_start_that_is_refused_fails_at_once(world):
    """The caller gets the reason and may try again."""
    world.script.load_error = REFUSED
    with pytest.raises(StartRefused):
        await world.start()
    assert world.status() == "stopped"
    world.script.load_error = None
    await world.scheduler.start("t")
    assert world.status() == "idle"
