"""Tasks that are not as they should be when the service starts: the others run."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3

from kept_service import PATIENCE, declare_file
from msgspec.structs import replace
from polling import eventually, pause

from ipycron.errors import ServiceError
from ipycron.service.store import Store


def change(keeper, query, *values):
    """Change the store of a keeper that is closed."""
    with contextlib.closing(sqlite3.connect(keeper.places.store)) as connection:
        connection.execute(query, values)
        connection.commit()


def test_task_that_cannot_be_read_is_reported(keeper, slots):
    """It is not forgotten: its name and the reason are seen until it is replaced."""
    keeper.open()
    client = keeper.attach()
    for name in ("bad", "good"):
        client.declare(declare_file(slots.job, name, "0 0 1 1 *"))
    keeper.close()
    change(keeper, "UPDATE tasks SET declaration = ? WHERE name = 'bad'", b"\x80")
    keeper.open()
    client = keeper.attach()
    report = client.status()
    (failed,) = report.failed
    assert (report.tasks, failed.name) == (2, "bad")
    assert "another version of ipycron" in failed.reason
    client.declare(declare_file(slots.job, "bad", "0 0 2 1 *"))
    report = client.status()
    assert (report.tasks, report.failed) == (2, ())


def test_task_that_is_over_and_cannot_be_removed_stops_nobody(
    keeper, slots, monkeypatch
):
    """The disk is full; the other tasks run, and that one never again."""
    keeper.open()
    client = keeper.attach()
    over = declare_file(slots.job, "over", max_executions=1, is_started=False)
    client.declare(over)
    client.declare(declare_file(slots.job, "good", "0 0 1 1 *"))
    keeper.close()
    with contextlib.closing(Store(keeper.places)) as store:
        (state,) = (task.state for task in store.load() if task.name == "over")
        state = replace(state, is_started=True, runs_left=0)
        store.save({over.register.task_id: state})
    remove = Store.remove

    def refuse(store, task_id):
        raise ServiceError(reason="the disk is full")

    monkeypatch.setattr(Store, "remove", refuse)
    monkeypatch.setattr("ipycron.service.saving.RETRY", 0.01)
    keeper.open()
    client = keeper.attach()
    eventually(lambda: client.status().store_error, "it was tried", PATIENCE)
    assert [k.declaration.register.name for k in client.tasks.values()] == ["good"]
    monkeypatch.setattr(Store, "remove", remove)
    eventually(lambda: not client.status().store_error, "it was removed", PATIENCE)
    keeper.close()
    with contextlib.closing(Store(keeper.places)) as store:
        assert [task.name for task in store.load()] == ["good"]
    assert not slots.read()


def test_history_is_written_though_the_supervisor_is_lost(keeper, slots):
    """Slots that have begun before a kill wait for it: they must get their rows."""
    keeper.open()
    keeper.attach().declare(declare_file(slots.job, "report", "0 0 1 1 *"))
    client = keeper.client
    supervisor = client.supervisor_pid
    os.kill(supervisor, signal.SIGSTOP)
    written = client.run(client.write_history())
    pause(0.5)  # the supervisor has been asked
    assert not written.done()
    os.kill(supervisor, signal.SIGKILL)
    written.result(PATIENCE)
