"""Starts, stops and destroys under way, and what the end of a supervisor makes of them.

What a supervisor was told to stop is stopped when it is gone; what it was told to
start is started by the next one. The last word about a task counts.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Literal

from ipycron.errors import StartRevoked

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipycron.errors import SupervisorLost

    Ask = Callable[..., asyncio.Future[None]]

Action = Literal["start", "stop", "destroy"]


class _Request:
    """One word about a task; `answer` is what the present supervisor says to it."""

    def __init__(self, action: Action, *, force: bool) -> None:
        self.action = action
        self.force = force
        self.end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.answer: asyncio.Future[None] | None = None


class Controls:
    """Every control that is not answered yet, by task, oldest first.

    Args:
        ask: sends a control (id, action, `force`) and returns the answer to come.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._open: dict[str, list[_Request]] = {}

    def add(
        self, task_id: str, action: Action, *, force: bool = False
    ) -> asyncio.Future[None]:
        """Ask for a control; the future outlives the supervisor that is asked."""
        request = _Request(action, force=force)
        self._open.setdefault(task_id, []).append(request)
        self._send(task_id, request)
        return request.end

    def has_open(self, task_id: str) -> bool:
        """Return whether a control is not answered yet. From any thread."""
        return task_id in self._open

    def get_last(self, task_id: str) -> Action | None:
        """Return the last word that is not answered yet, or None."""
        requests = self._open.get(task_id)
        return requests[-1].action if requests else None

    def _send(self, task_id: str, request: _Request) -> None:
        request.answer = self._ask(task_id, request.action, force=request.force)
        request.answer.add_done_callback(partial(self._settle, task_id, request))

    def _settle(
        self, task_id: str, request: _Request, answer: asyncio.Future[None]
    ) -> None:
        error = answer.exception()
        if request.answer is answer:
            self._close(task_id, request, error)

    def _close(
        self, task_id: str, request: _Request, error: BaseException | None
    ) -> None:
        request.answer = None
        requests = self._open[task_id]
        requests.remove(request)
        if not requests:
            del self._open[task_id]
        if request.end.done():
            return
        if error is None:
            request.end.set_result(None)
        else:
            request.end.set_exception(error)

    def take_loss(self, task_id: str, name: str, error: SupervisorLost | None) -> None:
        """The supervisor is gone: end what is open, or ask the next one.

        Args:
            task_id: whose controls these are.
            name: that task's name.
            error: what starts fail with where nothing takes over, else None.
        """
        requests = list(self._open.get(task_id, ()))
        for place, request in enumerate(requests):
            if request.action != "start":
                self._close(task_id, request, None)
            elif any(later.action != "start" for later in requests[place:]):
                self._close(task_id, request, StartRevoked(name=name))
            elif error is not None:
                self._close(task_id, request, error)
            else:
                self._send(task_id, request)
