"""Steps of the clock while a service runs (C3, K6).

Every slot of the right clock is in one row; what ran while the clock was ahead has rows
of no slot.
"""

from __future__ import annotations

import time

import pytest
from kept_service import PATIENCE, declare_file
from lengths import choose
from polling import eventually
from service_clock import AHEAD, LATER, await_runs, check_whole, declare, read_books

from ipycron.process.wire.protocol import Pausing
from ipycron.scheduling.events import Pause


@pytest.mark.parametrize("catch_up", ["none", "all"])
def test_clock_that_is_set_ahead_and_corrected(service, slots, clock, catch_up):
    """Its slots are counted anew from the right time."""
    service.start()
    client = service.attach()
    declare(client, slots, catch_up)
    await_runs(client, clock)
    clock.set(AHEAD)
    await_runs(client, clock)
    clock.set(LATER)
    await_runs(client, clock)
    client.close()
    ahead, known = read_books(service)
    check_whole(known)
    assert LATER < known[-1] - known[0] < AHEAD // 2
    assert len(ahead) >= 2


@pytest.mark.parametrize("what", choose(["both"], ["supervisor", "both"]))
@pytest.mark.parametrize("lost", ["before", "unnoticed", "after"])
def test_processes_are_lost_with_the_clock_that_was_ahead(
    service, slots, clock, lost, what
):
    """Just before the correction, before it is noticed, or right after that."""

    def kill():
        family = service.find_family()
        for process in family[1:2] if what == "supervisor" else family[:2]:
            process.kill()

    service.start()
    client = service.attach()
    declare(client, slots, "none")
    await_runs(client, clock)
    clock.set(AHEAD)
    await_runs(client, clock)
    if lost == "before":
        kill()
    clock.set(LATER)
    if lost == "unnoticed":
        kill()
    elif lost == "after":
        await_runs(client, clock, 1)
        kill()
    service.start()
    await_runs(service.attach(), clock)
    ahead, known = read_books(service)
    check_whole(known)
    assert LATER < known[-1] - known[0] < AHEAD // 2
    assert ahead


def test_correction_is_told_to_clients(service, slots, clock):
    """Else they would show, hours later, that the next slot has passed already."""
    service.start()
    client = service.attach()
    clock.set(AHEAD)
    declare(client, slots, "none")
    rare = client.declare(declare_file(slots.job, "rare", "0 0 1 1 *"))
    client.request(lambda n: Pausing(n, rare, Pause(since=clock.read())))
    await_runs(client, clock)
    client = service.attach()
    state = client.tasks[rare].state
    assert min(state.passed, state.pause.since) > time.time() + AHEAD // 2  # noqa: TID251 - the right clock's
    clock.set(0)
    await_runs(client, clock)
    deadline = time.monotonic() + PATIENCE
    while client.tasks[rare].state.passed is not None:
        assert time.monotonic() < deadline
        client.receive()
    assert client.tasks[rare].state.pause.since < clock.read() + 1


@pytest.mark.parametrize("catch_up", ["none", "all"])
def test_clock_that_is_set_back_a_little(service, slots, clock, catch_up):
    """What has passed is not run again, and nothing after it is left out."""
    service.start()
    client = service.attach()
    task_id = declare(client, slots, catch_up)
    await_runs(client, clock)
    clock.set(-10)
    last = max(slots.read())
    eventually(lambda: max(slots.read()) > last + 2, slots.read, PATIENCE)
    client.control(task_id, "destroy")
    slots.check()
    ahead, known = read_books(service)
    check_whole(known)
    assert not ahead
