"""Steps of the clock while no service runs (C3, K6).

Every slot of the right clock is in one row; what ran while the clock was ahead has rows
of no slot.
"""

from __future__ import annotations

import signal

import pytest
from history_books import list_slots
from kept_service import PATIENCE
from lengths import choose
from polling import eventually
from service_clock import (
    AHEAD,
    LATER,
    await_runs,
    check_whole,
    declare,
    end_all,
    read_books,
    read_rows,
)

from ipycron.scheduling.policy import CatchUp

WAYS = choose(
    [("none", signal.SIGKILL), ("all", signal.SIGTERM)],
    [(m, how) for m in ("none", "all") for how in (signal.SIGTERM, signal.SIGKILL)],
)
"""Whether a task catches up, and how its service ends."""


@pytest.mark.parametrize(("catch_up", "how"), WAYS)
def test_correction_while_the_service_is_down(service, slots, clock, catch_up, how):
    """The next one counts from the right time; what the others ran stays known."""
    service.start()
    client = service.attach()
    declare(client, slots, catch_up)
    await_runs(client, clock)
    clock.set(AHEAD)
    await_runs(client, clock)
    end_all(service, how)
    clock.set(LATER)
    service.start()
    await_runs(service.attach(), clock)
    ahead, known = read_books(service)
    check_whole(known)
    assert LATER < known[-1] - known[0] < AHEAD // 2
    assert ahead  # perhaps not the last one: it was killed


@pytest.mark.parametrize(("catch_up", "how"), WAYS)
def test_clock_is_set_back_a_little_while_the_service_is_down(
    service, slots, clock, catch_up, how
):
    """What has passed is not run again; a clean end changes nothing about that."""
    service.start()
    client = service.attach()
    declare(client, slots, catch_up)
    await_runs(client, clock)
    end_all(service, how)
    clock.set(-10)
    last = max(slots.read())
    service.start()
    eventually(lambda: max(slots.read()) > last + 2, slots.read, PATIENCE)
    ahead, known = read_books(service)
    check_whole(known)
    assert not ahead
    assert slots.find_doubled() == []


@pytest.mark.parametrize(("catch_up", "how"), WAYS)
def test_services_of_a_clock_that_was_ahead_hide_no_later_one(
    service, slots, clock, catch_up, how
):
    """Nothing is known of the time before the first right one; after it, every slot."""
    clock.set(AHEAD)
    service.start()
    declare(service.attach(), slots, catch_up)
    for shift in (AHEAD, AHEAD, 0, 0):
        clock.set(shift)
        service.start()
        await_runs(service.attach(), clock)
        end_all(service, how)
    service.start()
    await_runs(service.attach(), clock)
    extra, known = read_books(service)
    check_whole(known)
    assert known[-1] - known[0] < AHEAD // 2
    assert extra


@pytest.mark.parametrize("catch_up", ["none", "all"])
def test_slots_of_a_clock_that_was_ahead_are_reached_while_the_service_is_down(
    service, slots, clock, catch_up
):
    """They have begun only by the wrong clock: by the right one they are owed."""
    service.start()
    client = service.attach()
    declare(client, slots, CatchUp(catch_up, limit=200))
    await_runs(client, clock)
    clock.set(AHEAD)
    begun = int(clock.read())
    await_runs(client, clock)
    ahead = {slot for slot in slots.read() if slot > begun}
    clock.set(0)
    await_runs(client, clock)
    clock.set(AHEAD - 150)  # hours go by
    await_runs(client, clock)
    end_all(service, signal.SIGKILL)
    assert clock.read() < begun, "the machine is too slow for this test"
    before = len(slots.read())
    clock.set(AHEAD + 20)
    service.start()
    client = service.attach()
    await_runs(client, clock)
    if catch_up == "all":
        eventually(lambda: ahead <= set(slots.read()[before:]), ahead, PATIENCE)
    rows = [row for row in read_rows(service) if row["slot"] is not None]
    check_whole(sorted(list_slots(rows)))
    lost = set(list_slots([row for row in rows if row["outcome"] == "lost"]))
    assert not lost & ahead
