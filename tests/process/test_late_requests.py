"""Requests to a task that is about to be gone, or during a shutdown."""

import asyncio
import os
import signal
import threading
import uuid

import pytest
from house import NEVER
from polling import SECONDS, eventually
from watching import find_living_children, read_command

import ipycron
from ipycron.api.task import get_record
from ipycron.client.completion import Completion
from ipycron.client.registry import registry
from ipycron.errors import StartError, TaskDestroyed

ACTIONS = ["start", "stop", "destroy"]
JOBS = {"inline": {}, "background": {"background": True}}


@pytest.fixture(params=JOBS)
def task(request):
    """A started task."""
    task = ipycron.create_task(NEVER, lambda: 1, **JOBS[request.param])
    task.start().result(SECONDS)
    return task


def ask(client, task, action):
    """Do what the task's method does, after a check that was just too early."""
    record = get_record(task)
    completion = Completion(action, record)
    client.control(record, action, completion, force=False)
    return completion


def call(client, task):
    """Do the same for a run."""
    record = get_record(task)
    completion = Completion("execute", record)
    execution_id = uuid.uuid4().hex
    record.waiters.add(execution_id, completion)
    client.execute(record, execution_id)
    return completion


@pytest.mark.parametrize("action", ACTIONS)
def test_control_ends_when_the_task_is_destroyed_before_it_is_heard(task, action):
    """It changes nothing (A9), and no caller waits for ever."""
    task.destroy().result(SECONDS)
    ask(registry.client, task, action).result(SECONDS)
    assert task.status == "destroyed"


def test_call_fails_when_the_task_is_destroyed_before_it_is_heard(task):
    """Like any call of a destroyed task."""
    task.destroy().result(SECONDS)
    with pytest.raises(TaskDestroyed):
        call(registry.client, task).result(SECONDS)


def test_call_fails_when_its_task_ends_while_it_is_made(task, monkeypatch):
    """All calls were ended just before this one was added."""
    client = registry.client
    make_id = client.make_id

    def make_late():
        task.destroy().result(SECONDS)
        return make_id()

    monkeypatch.setattr(client, "make_id", make_late)
    with pytest.raises(TaskDestroyed):
        task.execute().result(SECONDS)


@pytest.mark.parametrize("action", [*ACTIONS, "execute"])
def test_request_during_the_shutdown_starts_nothing(task, action):
    """The task would run on in a supervisor that nobody ends."""
    client = registry.client
    remote = client._engine.background
    shut_down = remote.shutdown
    late = []

    def say():
        is_call = action == "execute"
        late.append(call(client, task) if is_call else ask(client, task, action))

    async def shut_down_and_hear(timeout):
        asyncio.get_running_loop().call_soon(say)
        await shut_down(timeout)  # up to its first wait before that

    remote.shutdown = shut_down_and_hear
    ipycron.shutdown(0)
    (completion,) = late
    if action == "execute":
        with pytest.raises(TaskDestroyed):
            completion.result(SECONDS)
    else:
        completion.result(SECONDS)
    assert "supervisor" not in map(read_command, find_living_children(os.getpid()))


@pytest.mark.parametrize("action", [*ACTIONS, "execute"])
def test_request_after_the_shutdown_is_answered(task, action):
    """The loop that would have handled it is closed."""
    client = registry.client
    ipycron.shutdown(0)
    if action == "execute":
        with pytest.raises(TaskDestroyed):
            call(client, task).result(SECONDS)
    else:
        ask(client, task, action).result(SECONDS)


def test_task_that_is_too_large_to_register_fails_alone(write):
    """Other tasks continue, and it can be destroyed."""
    path = write("def task(): return 1")
    other = ipycron.create_task(NEVER, path)
    other.start().result(SECONDS)
    pid = registry.client.supervisor_pid
    task = ipycron.create_task(NEVER, path, args=["x" * 1000] * 20_000)
    with pytest.raises(StartError, match=r"a message of 20,\d+,\d+ bytes, more than"):
        task.start().result(SECONDS)
    with pytest.raises(StartError, match="Put what is large into a file"):
        task.execute().result(SECONDS)
    task.stop().result(SECONDS)
    task.destroy().result(SECONDS)
    assert task.id not in ipycron.get_tasks()
    assert other.execute().result(SECONDS) == 1
    assert registry.client.supervisor_pid == pid


@pytest.mark.parametrize("place", ["_localize", "_resumptions.get_outage"])
def test_call_does_not_overtake_the_start_by_the_next_supervisor(write, place):
    """At any step of the resumption, a call waits for the start (A8)."""
    task = ipycron.create_task(NEVER, write("def task(): return 1"))
    task.start().result(SECONDS)
    owner = registry.client._engine.background
    *path, name = place.split(".")
    for part in path:
        owner = getattr(owner, part)
    step = getattr(owner, name)
    calls = []

    def call_first(*arguments):
        if not calls:
            thread = threading.Thread(target=lambda: calls.append(task.execute()))
            thread.start()
            thread.join()
        return step(*arguments)

    setattr(owner, name, call_first)
    os.kill(registry.client.supervisor_pid, signal.SIGKILL)
    eventually(lambda: calls, "the resumption")
    assert calls[0].result(SECONDS) == 1
