"""Slots that have begun and have no row: the history is told of many at once."""

import asyncio

import pytest
from kept_service import declare_file
from polling import eventually_async

from ipycron.client.declaration import restore_task
from ipycron.runlog.begun import Begun
from ipycron.runlog.reading import Query, read_history
from ipycron.runlog.rows import RunOutcome
from ipycron.runlog.settings import make_settings
from ipycron.service.client import ServiceClient
from ipycron.service.unwritten import UnwrittenSlots


class CountingClient(ServiceClient):
    """A client that counts how often it writes its history."""

    writes = 0

    async def write_history(self):
        """Count, and write."""
        self.writes += 1
        await super().write_history()


@pytest.fixture
def client(tmp_path):
    """A client whose history is a file of the test."""
    client = CountingClient()
    client.history.use(make_settings(tmp_path / "history.sqlite"))
    yield client
    client.shutdown(20)


def make_tasks(client, count):
    """Return tasks that were started, each with a slot that began an hour ago."""
    slot = client.clock.now() // 60 * 60 - 3600
    tasks = []
    for number in range(count):
        name = f"task {number}"
        declaration = declare_file("/job.py", name)
        record = restore_task(client, declaration)
        client.history.expect(record, declaration, "life")
        client.history.begin(record)
        begun = Begun(name, slot, f"run-{number}", "scheduled", slot + 0.5)
        tasks.append((record, [begun]))
    return tasks


def read(path):
    """Return the names and outcomes of all rows."""
    return {(run.task_name, run.outcome) for run in read_history(path, Query())}


async def wait_for_rows(path, expected):
    """Wait until the file has exactly these rows."""
    await eventually_async(lambda: read(path) == expected, "the rows")


def test_many_tasks_share_one_write(client, tmp_path):
    """A restart with very many tasks writes its history once for them, not for each."""
    path, tasks = tmp_path / "history.sqlite", make_tasks(client, 300)

    async def main():
        slots = UnwrittenSlots(client)
        for record, begun in tasks:
            slots.add(record, begun)
        lost = {(record.name, RunOutcome.LOST) for record, _ in tasks}
        await wait_for_rows(path, lost)

    asyncio.run(main())
    assert client.writes == 1


def test_task_that_comes_during_a_write_has_a_later_one(client, tmp_path):
    """Its own rows may have come too late for that one; the next is not waited for."""
    path, tasks = tmp_path / "history.sqlite", make_tasks(client, 3)

    async def main():
        slots = UnwrittenSlots(client)
        slots.add(*tasks[0])
        await eventually_async(lambda: client.writes, "a write")
        slots.add(*tasks[1])
        await wait_for_rows(
            path, {(record.name, RunOutcome.LOST) for record, _ in tasks[:2]}
        )
        slots.add(*tasks[2])
        await wait_for_rows(
            path, {(record.name, RunOutcome.LOST) for record, _ in tasks}
        )

    asyncio.run(main())
    assert client.writes == 3


def test_slot_that_has_a_row_keeps_it(client, tmp_path):
    """It is told of once, whatever the notes say again."""
    path, (task,) = tmp_path / "history.sqlite", make_tasks(client, 1)

    async def main():
        slots = UnwrittenSlots(client)
        slots.add(*task)
        await wait_for_rows(path, {(task[0].name, RunOutcome.LOST)})
        slots.add(*task)
        await slots._work

    asyncio.run(main())
    assert len(read_history(path, Query())) == 1
