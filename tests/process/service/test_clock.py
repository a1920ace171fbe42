"""Steps of the clock while a service runs, and while it is down (C3, K6).

Every slot of the right clock is in one row; what ran while the clock was ahead has rows
of no slot.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

import psutil
import pytest
from history_books import list_slots, read
from kept_service import PATIENCE, declare_file
from polling import eventually

from ipycron.process.wire.protocol import Pausing
from ipycron.scheduling.events import Pause
from ipycron.scheduling.policy import CatchUp

SUPPORT = Path(__file__).parents[2] / "support"
AHEAD = 20_000
LATER = 300  # than before: in the middle of the slots that were missed


class Clock:
    """The clock of a service and of all that it starts, beside that of the test."""

    def __init__(self, path, service):
        self._path = path
        self.shift = 0
        self.set(0)
        service.env |= {
            "PYTHONPATH": str(SUPPORT / "shifted"),
            "IPYCRON_TEST_SHIFT_FILE": str(path),
        }

    def set(self, shift):
        """Have it be so many seconds ahead of the test's."""
        new = self._path.with_name("clock-new")
        new.write_text(str(shift))
        new.replace(self._path)
        self.shift = shift

    def read(self):
        """Return its time."""
        return time.time() + self.shift  # noqa: TID251 - the machine's, as theirs


@pytest.fixture
def clock(service, tmp_path):
    """The clock of the test's service: right, until it is set."""
    return Clock(tmp_path / "clock", service)


def declare(client, slots, catch_up):
    """Have a task kept that runs each second; return its id."""
    options = {"catch_up": catch_up, "tolerance": 5}
    return client.declare(declare_file(slots.job, "night", **options))


def await_runs(client, clock, least=2):
    """Return when slots have run that the clock, as it is set now, has reached."""
    since = clock.read()
    while least:
        run = client.wait_for("execution:finished").execution
        # What is caught up on may be of a time that the service has not left yet.
        is_new = since - 1 <= run.date <= since + PATIENCE
        least -= is_new and run.reason == "scheduled"


def end_all(service, how):
    """End the service and its supervisor, by a signal; return when they are gone."""
    family = service.find_family()
    for process in family[:1] if how is signal.SIGTERM else family[:2]:
        with contextlib.suppress(psutil.Error):
            process.send_signal(how)
    _, alive = psutil.wait_procs(family, PATIENCE)
    assert not alive


def read_books(service):
    """End the service; return the rows of no slot, and the slots of the others."""
    rows = read_rows(service)
    ahead = [row for row in rows if row["slot"] is None]
    return ahead, sorted(list_slots([row for row in rows if row["slot"] is not None]))


def read_rows(service):
    """End the service; return all rows."""
    assert service.end()
    return read("night", {**os.environ, **service.env})


def check_whole(slots):
    """Check that there is one row for every slot from the first one to the last."""
    assert len(slots) == len(set(slots)), "doubled"
    missing = set(range(slots[0], slots[-1] + 1)) - set(slots)
    assert not missing, f"missing: {sorted(missing)[:20]}"


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


@pytest.mark.parametrize("what", ["supervisor", "both"])
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


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("catch_up", ["none", "all"])
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


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("catch_up", ["none", "all"])
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


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("catch_up", ["none", "all"])
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
