"""The keeper: the tasks of the service, from its beginning to its end.

Runs on the loop of the service's client, which schedules the tasks like those of any
program. It restores them from the store and starts them; what clients see of them is in
`reports`, what they request in `requests`.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from msgspec.structs import replace

from ipycron.errors import StartRevoked
from ipycron.process.service.protocol import Going
from ipycron.service.declaring import Declaring
from ipycron.service.handover import Handover
from ipycron.service.kept import KeptTasks
from ipycron.service.recalling import read_past, recall_runs
from ipycron.service.reports import Reports
from ipycron.service.requests import Requests
from ipycron.service.saving import Saver
from ipycron.service.server import Server, Visitor
from ipycron.service.store import Store
from ipycron.service.tasks import KeptTask, limit_runs, redact

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipycron.process.service.paths import Places
    from ipycron.process.service.protocol import Greeting
    from ipycron.process.wire.channel import Frame
    from ipycron.process.wire.protocol import Message
    from ipycron.service.client import ServiceClient
    from ipycron.service.store import StoredTask

STARTS_AT_ONCE = 8
"""Tasks that are started at once with the service: a thousand that load their jobs
together would all take too long."""
_ENDED = "ended"

_log = logging.getLogger("ipycron.service")


class Keeper:
    """See the module.

    Args:
        client: runs the tasks.
        places: the service's files.
        greeting: the service's.
        on_end: called with a number of seconds for the runs in progress, and whether
            another service follows, when a client asks for the end.
    """

    def __init__(
        self,
        client: ServiceClient,
        places: Places,
        greeting: Greeting,
        *,
        on_end: Callable[[float, bool], None],
    ) -> None:
        self._client = client
        self._places = places
        self._saver = saver = Saver()
        self._tasks = tasks = KeptTasks()
        self._work: set[asyncio.Task[None]] = set()
        self._starts = asyncio.Semaphore(STARTS_AT_ONCE)
        self._is_open = False
        self._handover = handover = Handover(client, places.begun)
        self._server = server = Server(
            places.socket, greeting, on_attach=self._attach, on_message=self._handle
        )
        self._reports = reports = Reports(client, server, tasks, saver)
        self._requests = Requests(
            client,
            tasks,
            saver,
            handover,
            reports=reports,
            declaring=Declaring(client, tasks, saver, handover, reports),
            on_end=on_end,
        )

    def _attach(self, visitor: Visitor) -> None:
        self._reports.attach(visitor)

    def _handle(self, visitor: Visitor, message: Message, frame: Frame) -> None:
        self._requests.handle(visitor, message, frame)

    # --- its beginning and its end --------------------------------------------------

    async def open(self) -> None:
        """Load the tasks, listen, and begin to start the tasks.

        Raises:
            ServiceError: if the store or the socket cannot be used.
        """
        saver = self._saver
        await saver.open(self._places)
        await saver.call(Store.collect)
        await self._handover.take(await saver.call(Store.read_mark, _ENDED))
        pools = await saver.call(Store.read_pools)
        for name, limit in pools.items():
            self._client.set_pool(name, limit)
        stored = await saver.call(Store.load)
        run = asyncio.get_running_loop().run_in_executor
        reading = run(None, read_past, self._client.history, stored)
        restored = [await self._restore(each) for each in stored]
        recall_runs(self._tasks.values(), await reading)
        self._client.observer = self._reports
        self._server.open()
        self._is_open = True
        for kept in restored:
            if kept is not None and kept.record is not None and kept.state.is_started:
                kept.is_due = True
                kept.start = work = asyncio.ensure_future(self._start_again(kept))
                self._work.add(work)
                work.add_done_callback(self._work.discard)

    async def prepare_end(self, *, is_restart: bool) -> None:
        """Begin nothing more; let the clients know, and save what is to be saved."""
        self._tasks.is_ending = self._saver.is_ending = True
        starts = list(self._work)  # the next service makes them
        for start in starts:
            start.cancel()
        reason = "it is being restarted" if is_restart else "it was told to end"
        self._server.broadcast(Going(reason, is_restart))
        await asyncio.gather(*starts, return_exceptions=True)
        await self._saver.save()

    def close(self) -> None:
        """Save the last states; called when the client is gone, on any thread."""
        self._server.close()
        # One that has not run hands nothing over: what was owed before still is.
        mark = _ENDED if self._is_open else None
        self._saver.close(mark, self._client.clock.now())

    # --- tasks of the store ---------------------------------------------------------

    async def _restore(self, stored: StoredTask) -> KeptTask | None:
        """Make the task of a row again; one that cannot be is failed, and says why."""
        declaration = stored.declaration
        if stored.state.runs_left == 0:  # killed before it was removed
            self._saver.remove_soon(stored.id)
            return None
        if declaration is None:
            _log.error("task %r cannot be loaded: %s", stored.name, stored.error)
            self._tasks.unreadable[stored.name] = stored.error
            return None
        register = replace(
            declaration.register,
            pause=stored.state.pause,
            policy=limit_runs(declaration.register.policy, stored.state.runs_left),
        )
        declaration = replace(declaration, register=register)
        record, error = None, ""
        try:
            payload = await self._saver.call(Store.read_payload, stored.payload)
            record = self._handover.make_record(declaration, payload)
        except Exception as failure:  # noqa: BLE001 - border: one task, not the service
            error = f"{type(failure).__name__}: {failure}"
            _log.error("task %r cannot be loaded: %s", stored.name, error)
        kept = KeptTask(
            redact(declaration),
            record,
            stored.state,
            error=error or stored.state.error,
        )
        self._tasks[stored.id] = kept
        if record is not None:
            self._client.add(record)
        return kept

    async def _start_again(self, kept: KeptTask) -> None:
        """Start a task as the store has it; a failure is logged and shown."""
        async with self._starts:
            if self._tasks.get(kept.id) is not kept or not kept.is_due:
                return  # it was started, stopped, destroyed or replaced before its turn
            try:
                await self._handover.start_restored(kept)
            except StartRevoked:
                pass
            except Exception as error:  # noqa: BLE001 - border: one task
                self._reports.fail(kept, error)
