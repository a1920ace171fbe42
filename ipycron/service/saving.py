"""The store as the service's loop uses it: on a thread of its own, call after call.

The states of tasks are saved soon after they have changed, and again and again while
the disk refuses them.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from msgspec.structs import replace

from ipycron.errors import ServiceError
from ipycron.service.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipycron.process.service.paths import Places
    from ipycron.service.store import KeptState
    from ipycron.service.tasks import KeptTask

RETRY = 5.0
"""Seconds until the next attempt to save what could not be saved."""

_log = logging.getLogger("ipycron.service")

P = ParamSpec("P")
T = TypeVar("T")


class Saver:
    """Calls the store; made, and used but for `close`, on the service's loop.

    Attributes:
        error: why the store could not be written; "" if it could.
        is_ending: whether only `save` writes any more.
    """

    def __init__(self) -> None:
        self.error = ""
        self.is_ending = False
        self._store: Store | None = None
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, "ipycron-store")
        # Until it is on the disk: a save that is not answered any more has not failed
        # for good.
        self._dirty: dict[str, KeptState] = {}
        self._saving: asyncio.Task[None] | None = None
        self._removals: set[asyncio.Task[None]] = set()

    async def open(self, places: Places) -> None:
        """Open the store.

        Raises:
            ServiceError: if it cannot be used.
        """
        self._store = await self._loop.run_in_executor(self._thread, Store, places)

    async def call(
        self,
        method: Callable[Concatenate[Store, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Call a method of the store after the calls so far; return its result."""
        assert self._store is not None
        call = partial(method, self._store, *args, **kwargs)
        return await self._loop.run_in_executor(self._thread, call)

    def put(self, task_id: str, state: KeptState) -> None:
        """Have the state of a task saved soon."""
        self._dirty[task_id] = state
        if self._saving is None and not self.is_ending:
            self._saving = asyncio.ensure_future(self._save_until_done())

    def change(self, kept: KeptTask, **changes: Any) -> None:
        """Have a state saved soon, if it is another one with these changes."""
        state = replace(kept.state, **changes)
        if state != kept.state:
            kept.state = state
            self.put(kept.id, state)

    def remove_soon(self, task_id: str) -> None:
        """Begin to remove a task that has ended; see `remove`."""
        removal = asyncio.ensure_future(self.remove(task_id))
        self._removals.add(removal)
        removal.add_done_callback(self._removals.discard)

    async def remove(self, task_id: str) -> None:
        """Remove a task that has ended; again and again if the disk refuses it."""
        self._dirty.pop(task_id, None)
        while not self.is_ending:
            try:
                await self.call(Store.remove, task_id)
            except ServiceError as error:
                self.note_trouble(error)
                await asyncio.sleep(RETRY)
            else:
                self.error = ""
                return

    async def save(self) -> bool:
        """Save the states that have changed; return whether that was possible."""
        states = dict(self._dirty)
        if not states:
            return True
        try:
            await self.call(Store.save, states)
        except ServiceError as error:
            self.note_trouble(error)
            return False
        for task_id, state in states.items():
            if self._dirty.get(task_id) is state:  # and has not changed meanwhile
                del self._dirty[task_id]
        self.error = ""
        return True

    def check(self, *, is_saved: bool) -> None:
        """Check that what is answered is on the disk.

        Args:
            is_saved: as `save` has returned it.

        Raises:
            ServiceError: if it is not, and why.
        """
        if not is_saved:
            raise ServiceError(
                reason=f"this is done, but not stored: {self.error}. The service keeps "
                "trying; if it ends before that succeeds, the change is lost"
            )

    def close(self, name: str | None, now: float) -> None:
        """Save the last states and a mark of this moment; from any thread.

        Args:
            name: the mark's; None for no mark.
            now: Unix seconds.
        """
        self._thread.shutdown()
        if self._store is None:
            return
        try:
            if self._dirty:
                self._store.save(self._dirty)
            if name is not None:
                self._store.put_mark(name, now)
        except ServiceError as error:
            _log.error("%s", error)
        self._store.close()

    def note_trouble(self, error: ServiceError) -> None:
        """Note that the store cannot be written; what is new is logged."""
        if error.reason != self.error:
            self.error = error.reason
            _log.error("%s", error)

    async def _save_until_done(self) -> None:
        try:
            while self._dirty:  # also what has changed during a save
                if not await self.save():
                    await asyncio.sleep(RETRY)
        finally:
            self._saving = None
