"""The supervisor's questions to the coordinator, and the answers to them."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from ipycron.errors import CoordinatorError
from ipycron.process.wire.protocol import Completed, Elect, Elected

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipycron.client.connection import Connection
    from ipycron.scheduling.ports import Elector


class Votes:
    """Asks the coordinator for whichever supervisor wants to know.

    Args:
        elector: who is asked.
        is_present: whether a connection is that of the present supervisor.
    """

    def __init__(
        self, elector: Elector, is_present: Callable[[Connection], bool]
    ) -> None:
        self._elector = elector
        self._is_present = is_present
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, message: Elect | Completed, asking: Connection | None) -> None:
        """Ask what a supervisor asks, or tell what it tells."""
        if isinstance(message, Elect):
            vote = asyncio.ensure_future(self._vote(message, asking))
            vote.add_done_callback(self._tasks.discard)
        else:
            work = self._elector.on_complete(message.task_id, message.key)
            vote = asyncio.ensure_future(work)
            vote.add_done_callback(self._finish)
        self._tasks.add(vote)

    def _finish(self, vote: asyncio.Task[None]) -> None:
        self._tasks.discard(vote)
        if not vote.cancelled() and (error := vote.exception()) is not None:
            logging.getLogger("ipycron").error(
                "run coordinator: on_complete failed", exc_info=error
            )

    async def _vote(self, elect: Elect, asking: Connection | None) -> None:
        error = None
        is_elected = False
        try:
            is_elected = await self._elector.should_run(
                elect.task_id, elect.key, elect.lease
            )
        except CoordinatorError as failure:
            error = failure.reason
        except Exception as failure:  # noqa: BLE001 - a user's coordinator
            error = f"{type(failure).__name__}: {failure}"
        if asking is not None and self._is_present(asking):
            asking.send(Elected(elect.request_id, is_elected, error))
        elif is_elected:
            # Another supervisor would take it for the answer to its own question.
            await self._elector.on_complete(elect.task_id, elect.key)
