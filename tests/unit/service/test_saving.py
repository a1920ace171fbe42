"""The saver: what has changed comes to the disk, whatever happens meanwhile."""

import asyncio
import threading

import pytest
from kept_service import declare_file
from polling import eventually_async

from ipycron.errors import ServiceError
from ipycron.process.service.paths import VARIABLE, find_places
from ipycron.service import saving
from ipycron.service.saving import Saver
from ipycron.service.store import KeptState, Store

PAUSED = KeptState(runs_left=7)
SECONDS = 20


@pytest.fixture
def places(tmp_path):
    """The files of a service."""
    return find_places({VARIABLE: str(tmp_path / "service")})


async def open_saver(places, *names):
    """Return a saver whose store has tasks of these names, and their ids."""
    saver = Saver()
    await saver.open(places)
    ids = []
    for name in names:
        declaration = declare_file("/job.py", name)
        await saver.call(Store.put, declaration, None, KeptState())
        ids.append(declaration.register.task_id)
    return saver, ids


class Gate:
    """Has calls of the store wait, fail, or go on."""

    def __init__(self, monkeypatch, name):
        self.begun, self.is_open = threading.Event(), threading.Event()
        self.error = None
        write = getattr(Store, name)

        def wait(store, *args):
            self.begun.set()
            error, self.error = self.error, None
            assert self.is_open.wait(SECONDS)
            if error is not None:
                raise error
            return write(store, *args)

        monkeypatch.setattr(Store, name, wait)

    async def until_begun(self):
        """Return once a call waits."""
        await eventually_async(self.begun.is_set, "the store is called")


def read(places, saver):
    """Return the states in the file, once the saver is closed."""
    saver.close(None, 0.0)
    store = Store(places)
    try:
        return {stored.id: stored.state for stored in store.load()}
    finally:
        store.close()


def test_state_that_changes_during_a_save_is_saved_next(places, monkeypatch):
    """Nothing else has to happen for it: a kill a moment later loses nothing."""

    async def main():
        saver, (first, second) = await open_saver(places, "first", "second")
        gate = Gate(monkeypatch, "save")
        saver.put(first, PAUSED)
        await gate.until_begun()
        saver.put(second, PAUSED)
        gate.is_open.set()
        reader = Store(places)  # as the service that follows a kill

        def is_saved():
            return all(stored.state == PAUSED for stored in reader.load())

        await eventually_async(is_saved, "both are saved")
        reader.close()
        saver.close(None, 0.0)

    asyncio.run(main())


def test_failed_save_does_not_bring_back_an_older_state(places, monkeypatch):
    """The newer one was saved by another request while the older one failed."""

    async def main():
        saver, (task_id,) = await open_saver(places, "report")
        gate = Gate(monkeypatch, "save")
        gate.error = ServiceError(reason="the disk is full")
        saver.put(task_id, KeptState(runs_left=8))
        await gate.until_begun()
        saver.put(task_id, PAUSED)
        request = asyncio.ensure_future(saver.save())
        await asyncio.sleep(0)
        gate.is_open.set()
        assert await request
        return saver, task_id

    saver, task_id = asyncio.run(main())
    assert read(places, saver) == {task_id: PAUSED}


def test_save_returns_when_what_was_being_saved_is_on_the_disk(places, monkeypatch):
    """An answer to a client relies on it."""

    async def main():
        saver, (task_id,) = await open_saver(places, "report")
        gate = Gate(monkeypatch, "save")
        saver.put(task_id, PAUSED)
        await gate.until_begun()
        request = asyncio.ensure_future(saver.save())
        await asyncio.sleep(0.1)
        assert not request.done()
        gate.is_open.set()
        assert await request
        reader = Store(places)
        assert [stored.state for stored in reader.load()] == [PAUSED]
        reader.close()
        saver.close(None, 0.0)

    asyncio.run(main())


@pytest.mark.parametrize("name", ["save", "remove"])
def test_trouble_is_over_with_the_next_success(places, monkeypatch, name):
    """`service status` says what is wrong now, not what was."""
    monkeypatch.setattr(saving, "RETRY", 0.01)

    async def main():
        saver, (task_id,) = await open_saver(places, "report")
        gate = Gate(monkeypatch, name)
        gate.error = ServiceError(reason="the disk is full")
        if name == "save":
            saver.put(task_id, PAUSED)
            work = None
        else:
            work = asyncio.ensure_future(saver.remove(task_id))
        await gate.until_begun()
        gate.is_open.set()
        await eventually_async(lambda: saver.error, "it is noted")
        await eventually_async(lambda: not saver.error, "it is over")
        if work is not None:
            await work
        saver.close(None, 0.0)

    asyncio.run(main())


def test_state_of_a_save_that_fails_at_the_end_is_saved_by_the_close(
    places, monkeypatch
):
    """The loop is gone then, and nobody else would try again."""

    async def main():
        saver, (task_id,) = await open_saver(places, "report")
        gate = Gate(monkeypatch, "save")
        gate.error = ServiceError(reason="the disk is full")
        saver.put(task_id, PAUSED)
        await gate.until_begun()
        saver._saving.cancel()
        gate.is_open.set()
        return saver, task_id

    saver, task_id = asyncio.run(main())
    assert read(places, saver) == {task_id: PAUSED}


def test_store_that_was_never_opened_is_closed(places):
    """So that its own error reaches the user, and no other."""
    places.folder.mkdir(mode=0o700)
    places.store.write_bytes(b"no database" * 100)

    async def main():
        saver = Saver()
        with pytest.raises(ServiceError, match="damaged"):
            await saver.open(places)
        saver.close("ended", 1.0)

    asyncio.run(main())
