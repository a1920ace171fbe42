"""Requests that meet: each finds the task as the one before has left it."""

from __future__ import annotations

import contextlib
import gc
import threading

import pytest
from kept_service import PATIENCE, declare_file
from polling import eventually, pause

from ipycron.errors import ServiceError, StartError, StartRevoked
from ipycron.process.service.protocol import Declare, Rescheduling
from ipycron.process.wire.outcome import decode_error
from ipycron.process.wire.payload import Payload
from ipycron.process.wire.protocol import Control, FlushHistory, Pausing, Reply
from ipycron.process.wire.triggers import describe_trigger
from ipycron.scheduling.events import Pause
from ipycron.service.client import ServiceHistory
from ipycron.service.store import Store
from ipycron.triggers.union import read_trigger


class Gate:
    """Has a method, of the store or another class, wait until it is opened."""

    def __init__(self, monkeypatch, name, owner=Store):
        self.begun, self.is_open = threading.Event(), threading.Event()
        call = getattr(owner, name)

        def wait(target, *args, **kwargs):
            self.begun.set()
            assert self.is_open.wait(PATIENCE)
            return call(target, *args, **kwargs)

        monkeypatch.setattr(owner, name, wait)


class Loading:
    """A job whose module is loaded as soon as a file is there."""

    def __init__(self, folder):
        self.flag = folder / "flag"
        self.begun = folder / "begun"
        self.job = folder / "slow.py"
        self.job.write_text(
            "import pathlib, time\n"
            f"pathlib.Path({str(self.begun)!r}).touch()\n"
            f"while not pathlib.Path({str(self.flag)!r}).exists(): time.sleep(0.01)\n"
            "def task(): pass\n"
        )

    def allow(self):
        """Let it be loaded, now and later."""
        self.flag.touch()

    def forbid(self):
        """Have it wait the next time."""
        self.flag.unlink()
        self.begun.unlink()


@pytest.fixture
def loading(tmp_path):
    """A job that is slow to load."""
    loading = Loading(tmp_path)
    yield loading
    loading.allow()


def make_trigger(text):
    """Return a schedule as it travels."""
    return describe_trigger(read_trigger(text, hash_id="report"))


def wait_for_answer(client, number):
    """Read until the service has answered a request; return its error, if any."""
    while True:
        frame = client.receive()
        if isinstance(frame.message, Reply) and frame.message.request_id == number:
            return None if frame.message.is_ok else decode_error(frame.payload)


def wait_for_status(client, task_id, status):
    """Read until a task has this status."""
    while True:
        known = client.tasks.get(task_id)
        if known is not None and known.state.status == status:
            return
        if any(n.task_id == task_id and n.status == status for n in client.notices):
            return
        client.receive()


def test_task_that_ends_while_it_is_rescheduled_is_gone(keeper, slots, monkeypatch):
    """No client is told of it any more as if it were still kept."""
    keeper.open()
    client, other = keeper.attach(), keeper.attach()
    task_id = client.declare(declare_file(slots.job, "report", "0 0 1 1 *"))
    gate = Gate(monkeypatch, "change")
    trigger = make_trigger("0 0 2 1 *")
    client.channel.send(Rescheduling(1000, task_id, trigger, "0 0 2 1 *"))
    assert gate.begun.wait(PATIENCE)
    other.channel.send(Control(1001, task_id, "destroy"))
    # Long enough for the second one to be done, if it did not wait for the first.
    other.request(FlushHistory)
    pause(0.5)
    gate.is_open.set()
    assert wait_for_answer(client, 1000) is None
    assert wait_for_answer(other, 1001) is None
    client.status()  # everything before it has been read
    assert not client.tasks
    assert not keeper.attach().tasks


def test_task_whose_only_run_ends_while_it_is_stored_is_gone(
    keeper, slots, monkeypatch
):
    """It is neither shown nor stored."""
    keeper.open()
    client = keeper.attach()
    gate = Gate(monkeypatch, "put")
    client.channel.send(
        Declare(1000, declare_file(slots.job, "once", max_executions=1))
    )
    assert gate.begun.wait(PATIENCE)
    eventually(lambda: not keeper.client.tasks, "its run has ended", PATIENCE)
    gate.is_open.set()
    assert wait_for_answer(client, 1000) is None
    assert keeper.attach().status().tasks == 0
    keeper.close()
    keeper.open()
    assert keeper.attach().status().tasks == 0
    assert len(slots.read()) == 1


def test_forced_stop_does_not_wait_for_one_that_is_patient(keeper, tmp_path):
    """The run in progress ends now, whoever has allowed it to go on."""
    job = tmp_path / "long.py"
    job.write_text("import time\ndef task(): time.sleep(1000)\n")
    keeper.open()
    patient, hasty = keeper.attach(), keeper.attach()
    request = declare_file(job, "long", stop_timeout=1000)
    task_id = patient.declare(request)
    patient.wait_for("execution:started", task_id)
    patient.channel.send(Control(1000, task_id, "stop"))
    patient.status()  # the stop has begun
    hasty.control(task_id, "stop", force=True)
    assert wait_for_answer(patient, 1000) is None


@pytest.mark.parametrize("action", ["stop", "destroy"])
def test_start_of_another_client_is_revoked(keeper, loading, action):
    """A job that takes long to load keeps nobody from stopping it."""
    keeper.open()
    first, second = keeper.attach(), keeper.attach()
    request = declare_file(loading.job, "report", is_started=False, start_timeout=1000)
    task_id = first.declare(request)
    first.channel.send(Control(1000, task_id, "start"))
    eventually(loading.begun.exists, "it is being loaded", PATIENCE)
    second.control(task_id, action)
    assert isinstance(wait_for_answer(first, 1000), StartRevoked)
    assert not second.status().failed
    assert len(keeper.attach().tasks) == (action == "stop")


def test_task_that_is_stopped_before_its_turn_is_not_started(
    keeper, loading, slots, monkeypatch
):
    """A service that has just begun starts some tasks at a time."""
    monkeypatch.setattr("ipycron.service.keeper.STARTS_AT_ONCE", 1)
    loading.allow()
    keeper.open()
    client = keeper.attach()
    options = {"start_timeout": 1000}
    client.declare(declare_file(loading.job, "first", "0 0 1 1 *", **options))
    second = client.declare(declare_file(slots.job, "second"))
    third = client.declare(declare_file(slots.job, "third", "0 0 1 1 *"))
    keeper.close()
    loading.forbid()
    keeper.open()
    eventually(loading.begun.exists, "the first is being loaded", PATIENCE)
    client = keeper.attach()
    client.control(second, "stop")
    loading.allow()
    wait_for_status(client, third, "idle")
    known = keeper.attach().find("second")
    assert known.state.status == "stopped"
    keeper.close()
    keeper.open()
    assert keeper.attach().find("second").state.status == "stopped"


def test_end_leaves_no_start_behind(keeper, slots, monkeypatch):
    """Not one that looks into the history, nor those that wait for their turn."""
    monkeypatch.setattr("ipycron.service.keeper.STARTS_AT_ONCE", 1)
    keeper.open()
    client = keeper.attach()
    for name in ("first", "second"):
        client.declare(declare_file(slots.job, name, "0 0 1 1 *"))
    keeper.close()
    with monkeypatch.context() as gated:
        look = Gate(gated, "find_outage", ServiceHistory)
        keeper.open()
        assert look.begun.wait(PATIENCE)
        keeper.close()
        look.is_open.set()
    keeper.open()
    client = keeper.attach()
    for name in ("first", "second"):
        task_id = client.find(name).declaration.register.task_id
        wait_for_status(client, task_id, "idle")
    gc.collect()  # what is left behind is complained about: an error in tests


@pytest.fixture
def behind(keeper, loading, slots, monkeypatch):
    """A service that has just begun: one task waits for its turn after a slow one."""
    monkeypatch.setattr("ipycron.service.keeper.STARTS_AT_ONCE", 1)
    loading.allow()
    keeper.open()
    client = keeper.attach()
    options = {"start_timeout": 1000}
    client.declare(declare_file(loading.job, "first", "0 0 1 1 *", **options))
    task_id = client.declare(declare_file(slots.job, "second"))
    client.declare(declare_file(slots.job, "third", "0 0 1 1 *"))
    eventually(slots.read, "a run", PATIENCE)
    keeper.close()
    last = slots.read()[-1]
    eventually(lambda: keeper.client.clock.now() > last + 3, "a gap", PATIENCE)
    loading.forbid()
    keeper.open()
    eventually(loading.begun.exists, "the first is being loaded", PATIENCE)
    return task_id


def find_id(client, name):
    """Return the id of a task."""
    return client.find(name).declaration.register.task_id


def test_start_before_its_turn_catches_up(keeper, behind, loading, slots):
    """Whoever starts it, it has the slots that a restart owes it, and each once."""
    client = keeper.attach()
    client.control(behind, "start")  # its turn has not come: the first still loads
    client.wait_for("execution:finished", behind)
    loading.allow()
    wait_for_status(client, find_id(client, "third"), "idle")
    client.wait_for("execution:finished", behind)
    client.control(behind, "stop")
    slots.check()


def test_start_after_a_stop_before_its_turn_owes_nothing(
    keeper, behind, loading, slots
):
    """The user has ended it; its turn changes nothing any more."""
    last = slots.read()[-1]
    client = keeper.attach()
    client.control(behind, "stop")
    since = keeper.client.clock.now()
    client.control(behind, "start")
    loading.allow()
    wait_for_status(client, find_id(client, "third"), "idle")
    client.wait_for("execution:finished", behind)
    client.control(behind, "stop")
    assert not [slot for slot in slots.read() if last < slot < since - 1]
    assert slots.find_doubled() == []


@pytest.mark.parametrize("is_requested", [False, True])
@pytest.mark.parametrize("action", ["stop", "destroy"])
def test_stop_revokes_a_start_that_looks_for_what_is_owed(
    keeper, slots, monkeypatch, action, is_requested
):
    """It was lost if it came before the start itself had begun."""
    monkeypatch.setattr("ipycron.service.keeper.STARTS_AT_ONCE", 1)
    keeper.open()
    client = keeper.attach()
    task_id = client.declare(declare_file(slots.job, "report"))
    client.declare(declare_file(slots.job, "next", "0 0 1 1 *"))
    eventually(slots.read, "a run", PATIENCE)
    keeper.close()
    ran = slots.read()
    gate = Gate(monkeypatch, "find_outage", ServiceHistory)
    keeper.open()
    assert gate.begun.wait(PATIENCE)
    client, other = keeper.attach(), keeper.attach()
    if is_requested:
        client.channel.send(Control(1000, task_id, "start"))
        client.status()  # it waits for the same start
    other.channel.send(Control(1001, task_id, action))
    other.status()
    gate.is_open.set()
    if is_requested:
        assert isinstance(wait_for_answer(client, 1000), StartRevoked)
    assert wait_for_answer(other, 1001) is None
    wait_for_status(other, find_id(other, "next"), "idle")
    assert not other.status().failed
    known = keeper.attach().tasks.get(task_id)
    assert known is None if action == "destroy" else known.state.status == "stopped"
    assert slots.read() == ran


def test_task_that_cannot_be_loaded_says_so_to_every_request(keeper, slots):
    """It cannot be paused as if nothing were wrong."""
    keeper.open()
    request = declare_file(slots.job, "report")
    task_id = keeper.attach().declare(request, Payload(b"variables"))
    keeper.close()
    (stored,) = keeper.places.payloads.iterdir()
    stored.write_bytes(b"something else")
    keeper.open()
    client = keeper.attach()
    trigger = make_trigger("0 0 2 1 *")
    for make in (
        lambda number: Pausing(number, task_id, Pause(since=1.0)),
        lambda number: Rescheduling(number, task_id, trigger, "0 0 2 1 *"),
        lambda number: Control(number, task_id, "start"),
    ):
        with pytest.raises(StartError, match="changed or is damaged"):
            client.request(make)


def test_service_that_cannot_listen_hands_nothing_over(keeper):
    """Else the next one would catch up on slots that nobody has owed."""
    keeper.places.socket.mkdir(parents=True)
    with pytest.raises(ServiceError, match="cannot listen"):
        keeper.open()
    keeper.close()
    with contextlib.closing(Store(keeper.places)) as store:
        assert store.read_mark("ended") is None
