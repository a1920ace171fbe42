"""Backfills whose supervisor is lost, or shut down (C5)."""

import os
import signal
import threading
from datetime import UTC, datetime, timedelta

from house import ASYNC, Record, drain, submit_to_client
from polling import SECONDS, eventually

import ipycron
from ipycron.client.registry import registry
from ipycron.errors import SupervisorLost

HOURLY = "0 * * * *"
DAY = datetime(2024, 3, 2, tzinfo=UTC)
SLOTS = [DAY + timedelta(hours=hour) for hour in range(4)]
PERIOD = (SLOTS[0], SLOTS[-1])


def list_runs(record):
    """Return the runs that have ended."""
    return [
        context.execution
        for context in record.contexts
        if context.event in ("execution:finished", "execution:failed")
    ]


def test_shutdown_ends_a_backfill(house):
    """Whoever waits is not left waiting."""
    gate = house.gate()

    def wait(ctx):
        yield from gate.pass_through()

    task = house.start(wait, HOURLY, timezone="UTC")
    record = Record(task)
    backfill = task.backfill(*PERIOD, only="all")
    record.wait("execution:started")
    waiter = threading.Thread(target=backfill.wait)
    waiter.start()
    if house.kind == ASYNC:
        gate.open()
    ipycron.shutdown(0.5)  # the gate is closed: a run uses all of it
    gate.open()
    waiter.join(SECONDS)
    assert not waiter.is_alive()
    assert backfill.is_over


def test_backfill_continues_with_the_next_supervisor(write):
    """The run in progress fails with its process; the slots after it run."""
    source = """
        import time, pathlib
        def task(ctx):
            if ctx.date.hour == 1 and not pathlib.Path({mark!r}).exists():
                pathlib.Path({mark!r}).touch()
                time.sleep(60)
            return ctx.date.hour
    """
    mark = write("", "unused").parent / "mark"
    task = ipycron.create_task(
        HOURLY, write(source.format(mark=str(mark))), timezone="UTC"
    )
    task.start().result(SECONDS)
    record = Record(task)
    backfill = task.backfill(*PERIOD, only="all")
    eventually(mark.exists, "the second run is in progress")
    record.wait("execution:started", 2)
    submit_to_client(lambda: os.kill(registry.client.supervisor_pid, signal.SIGKILL))
    assert backfill.wait(2 * SECONDS)
    assert (backfill.ended, backfill.failed) == (4, 1)
    assert backfill.stopped_by == ""
    drain()
    runs = list_runs(record)
    assert [run.date for run in runs] == SLOTS
    assert isinstance(runs[1].error, SupervisorLost)
    assert [run.result for run in (runs[0], *runs[2:])] == [0, 2, 3]


def test_backfill_survives_a_loss_between_its_runs(write):
    """A run that was requested and never began is requested again."""
    source = "def task(ctx):\n    return ctx.date.hour\n"
    task = ipycron.create_task(HOURLY, write(source), timezone="UTC")
    task.start().result(SECONDS)
    record = Record(task)
    pid = registry.client.supervisor_pid
    os.kill(pid, signal.SIGSTOP)
    backfill = task.backfill(*PERIOD, only="all")
    submit_to_client(lambda: os.kill(pid, signal.SIGKILL))
    assert backfill.wait(2 * SECONDS)
    assert (backfill.ended, backfill.failed) == (4, 0)
    drain()
    assert [run.date for run in list_runs(record)] == SLOTS
