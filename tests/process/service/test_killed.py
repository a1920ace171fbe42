"""SIGKILL at any moment: the old task or the new one, whole; no orphan, no double."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading

import psutil
import pytest
from kept_service import PATIENCE, declare_file
from lengths import choose
from polling import eventually, pause

from ipycron.runlog.reading import Query, read_history

ROUNDS = choose(4, 34)
"""Kills of each kind: with three kinds, a hundred at full length."""

pytestmark = pytest.mark.timeout(choose(120, 900))


def kill_in_the_middle(service, what, delay):
    """Kill processes of a service after a while; return its family of that time."""
    family = service.find_family()
    chosen = {
        "service": family[:1],
        "supervisor": family[1:2],
        "both": family[:2],
    }[what]

    def kill():
        pause(delay)
        for process in chosen:
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread, family


def change(client, job, known, number):
    """Declare, replace and destroy tasks, until the service is gone.

    Returns:
        By name, the ids that may be kept afterwards; None stands for no task.
    """
    possible = {name: {task_id} for name, task_id in known.items()}
    with contextlib.suppress(OSError, EOFError):
        for step in range(20):
            name = f"task-{(number + step) % 3}"
            if step % 4 == 3 and known.get(name):
                possible[name] = {known[name], None}
                client.control(known[name], "destroy")
                known[name], possible[name] = None, {None}
            else:
                declaration = declare_file(job, name)
                new = declaration.register.task_id
                possible[name] = possible.get(name, {None}) | {new}
                client.declare(declaration)
                known[name], possible[name] = new, {new}
    return possible


@pytest.mark.parametrize("what", ["service", "both"])
def test_kill_leaves_the_old_task_or_the_new_one(service, slots, what, record_property):
    """In every step of declaring, replacing and destroying."""
    draw = random.Random(7)
    known = {}
    service.start()
    for number in range(ROUNDS):
        client = service.attach()
        thread, family = kill_in_the_middle(service, what, draw.uniform(0, 0.4))
        possible = change(client, slots.job, known, number)
        thread.join(PATIENCE)
        service.start()
        # Whoever holds the lock next finds nothing left of the one before.
        assert not [p for p in family if is_alive(p)]
        client = service.attach()
        known = {
            k.declaration.register.name: k.declaration.register.task_id
            for k in client.tasks.values()
        }
        for name, ids in possible.items():
            assert known.get(name) in ids, f"round {number}, {name}"
        assert not client.status().store_error
    for task_id in filter(None, known.values()):
        client.control(task_id, "destroy")
    record_property("kills", ROUNDS)


def is_alive(process):
    """Return whether a process is there, and not just its remains."""
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


@pytest.mark.parametrize("catch_up", ["none", "all"])
@pytest.mark.parametrize("what", ["service", "supervisor", "both"])
def test_no_slot_is_lost_or_runs_twice_through_kills(
    service, slots, what, catch_up, record_property
):
    """Each has run once, or has a row that says that it was missed or lost.

    The kills come while slots are caught up on, too, and before their rows are written.
    """
    draw = random.Random(8)
    service.start()
    client = service.attach()
    task_id = client.declare(declare_file(slots.job, "report", catch_up=catch_up))
    for number in range(ROUNDS):
        if number % 3 == 0:
            client.wait_for("execution:finished", task_id)
        thread, _ = kill_in_the_middle(service, what, draw.uniform(0, 1))
        thread.join(PATIENCE)
        if what != "supervisor":
            service.start()
        client = service.attach()
    client.wait_for("execution:finished", task_id)
    last = max(slots.read())
    eventually(lambda: max(slots.read()) > last + 2, "it goes on", PATIENCE)

    def find_lost():
        ran = set(slots.read())
        known = ran | read_slots(service, "report")
        return sorted(set(range(min(ran), last + 1)) - known)

    eventually(lambda: not find_lost(), lambda: f"lost: {find_lost()}", PATIENCE)
    client.control(task_id, "destroy")
    record_property("kills", ROUNDS)
    record_property("slots", len(slots.read()))
    assert slots.find_doubled() == []


@pytest.mark.parametrize("delay", choose([0.0, 0.5], [0.0, 0.2, 0.5, 1.0]))
def test_slots_of_a_restart_are_owed_through_a_kill(service, slots, delay):
    """The next service is killed before it has made up for all of them, or for any."""
    service.start()
    client = service.attach()
    task_id = client.declare(declare_file(slots.job, "report", tolerance=0.5))
    client.wait_for("execution:finished", task_id)
    family = service.find_family()
    family[0].terminate()
    psutil.wait_procs(family, PATIENCE)
    pause(2.5)  # two slots at least are those of the restart
    service.start()
    family = service.find_family()
    thread, _ = kill_in_the_middle(service, "both", delay)
    thread.join(PATIENCE)
    psutil.wait_procs(family, PATIENCE)
    service.start()
    client = service.attach()
    client.wait_for("execution:finished", task_id)
    client.wait_for("execution:finished", task_id)
    client.control(task_id, "destroy")
    assert service.end()
    ran = set(slots.read())
    known = ran | read_slots(service, "report")
    missing = set(range(min(ran), max(ran) + 1)) - known
    assert not missing, f"missing: {sorted(missing)} of {sorted(ran)}"
    assert slots.find_doubled() == []


def read_slots(service, name):
    """Return the slots of which the history says what became of them."""
    slots = set()
    for row in read_history(service.history, Query(names=(name,))):
        count = row.missed_count or 1
        slots |= {int(row.slot.timestamp()) - back for back in range(count)}
    return slots


def test_attached_client_may_be_killed(service, slots):
    """In the middle of a declaration: the service goes on, with the task or without."""
    service.start()
    pid = os.fork()  # noqa: TID251 - a client that vanishes without a word
    if pid == 0:
        with contextlib.suppress(BaseException):
            service.attach().declare(declare_file(slots.job, "report"))
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    client = service.attach()
    (known,) = client.tasks.values()
    assert client.wait_for("execution:finished", known.declaration.register.task_id)
