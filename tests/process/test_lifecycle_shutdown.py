"""Shutting down: runs waited for or ended, all processes gone, then a new start."""

import threading
import time
from datetime import timedelta

import pytest
from house import BOTH, EVERY_SECOND, INLINE, NEVER, Record
from polling import SECONDS, eventually, pause
from watching import find_children

import ipycron
from ipycron.client.completion import Wakeup
from ipycron.errors import ExecutionStopped, InvalidOption, StartError, TaskDestroyed

on_both = pytest.mark.parametrize("house", BOTH, indirect=True)


def answer(ctx):
    """The simplest job."""
    return 42


def test_shutdown_is_harmless_when_there_is_nothing():
    """Without tasks it does nothing, even when repeated."""
    ipycron.shutdown()
    ipycron.shutdown()
    assert not ipycron.get_tasks()


def test_shutdown_destroys_idle_tasks_and_returns_when_all_is_gone(house):
    """Idle tasks are reported as stopped and destroyed; no process is left."""
    before = find_children()
    tasks = [house.start(answer) for _ in range(3)]
    records = [Record(task) for task in tasks]
    begin = time.monotonic()
    ipycron.shutdown(SECONDS)
    assert time.monotonic() - begin < SECONDS / 2
    assert find_children() == before
    assert [task.status for task in tasks] == ["destroyed"] * 3
    assert [record.names for record in records] == [
        ["task:stopped", "task:destroyed"]
    ] * 3
    assert not ipycron.get_tasks()
    with pytest.raises(TaskDestroyed):
        tasks[0].execute().result(SECONDS)
    ipycron.shutdown()


def test_shutdown_waits_for_runs_in_progress(house):
    """A manual run in progress ends normally."""
    gate = house.gate()

    def wait(ctx):
        yield from gate.pass_through()
        return "whole"

    task = house.start(wait)
    run = task.execute()
    eventually(lambda: task.running)
    opener = threading.Timer(0.2, gate.open)
    opener.start()
    ipycron.shutdown(SECONDS)
    opener.join()
    assert run.result(0) == "whole"


def test_shutdown_ends_runs_that_take_too_long(house):
    """After the timeout workers are killed, coroutines cancelled, threads left."""
    gate = house.gate()

    def wait(ctx):
        yield from gate.pass_through()

    task = house.start(wait)
    run = task.execute()
    eventually(lambda: task.running)
    begin = time.monotonic()
    ipycron.shutdown(timedelta(seconds=0.1))
    assert time.monotonic() - begin < SECONDS / 2
    assert task.status == "destroyed"
    with pytest.raises(ExecutionStopped):
        run.result(0)
    if house.kind == INLINE:
        gate.open()


@on_both
def test_shutdown_does_not_wait_for_a_random_delay(house):
    """A run that has not begun delays nothing."""
    task = house.start(answer, EVERY_SECOND, jitter=3600)
    Record(task).wait("execution:overlap")  # one run waits for its delay
    begin = time.monotonic()
    ipycron.shutdown(SECONDS)
    assert time.monotonic() - begin < SECONDS / 2


@on_both
def test_shutdown_revokes_a_start(house):
    """A task being started is gone as well, and its start fails."""
    task = house.schedule(answer)
    start = task.start()
    ipycron.shutdown()
    assert start.exception(0) is None or isinstance(start.exception(0), StartError)
    assert task.status == "destroyed"


@on_both
def test_ipycron_is_usable_again_after_a_shutdown(house):
    """The next task starts everything again; old tasks stay destroyed."""
    old = house.start(answer)
    for _ in range(2):
        ipycron.shutdown()
        task = house.start(answer)
        assert task.execute().result(SECONDS) == 42
    assert old.status == "destroyed"
    assert list(ipycron.get_tasks()) == [task.id]


@on_both
def test_shutdown_may_be_called_from_several_threads_at_once(house):
    """All callers return, none before everything is gone."""
    before = find_children()
    task = house.start(answer)
    left = []

    def end():
        ipycron.shutdown()
        left.append((task.status, find_children() - before))

    threads = [threading.Thread(target=end) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert left == [("destroyed", set())] * 3


def test_shutdown_may_be_called_again_while_the_first_ends(monkeypatch):
    """The second call may come before the engine's thread has ended."""

    class Lingering(Wakeup):
        """Signals that it was reached, and blocks."""

        def set(self):
            super().set()
            pause(0.2)

    errors = []
    monkeypatch.setattr("ipycron.client.engine.Wakeup", Lingering)
    monkeypatch.setattr(threading, "excepthook", errors.append)
    task = ipycron.create_task(NEVER, lambda: 42)
    task.start().result(SECONDS)
    (engine,) = [t for t in threading.enumerate() if t.name == "ipycron"]
    ipycron.shutdown()
    ipycron.shutdown()
    engine.join(SECONDS)
    assert errors == []


@pytest.mark.parametrize("timeout", [-1, float("nan"), True, "5", None])
def test_shutdown_refuses_an_invalid_timeout(timeout):
    """An invalid timeout is an error, and ends nothing."""
    task = ipycron.create_task(NEVER, lambda: 42)
    task.start().result(SECONDS)
    with pytest.raises(InvalidOption, match=r"timeout: got .*expected seconds"):
        ipycron.shutdown(timeout)
    assert task.execute().result(SECONDS) == 42
