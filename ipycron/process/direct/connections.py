"""All direct connections from a client to its workers: calls, answers, bookkeeping.

`DirectConnections.try_call` is the way in. Where it returns False, the caller asks the
supervisor, as if there were no direct connections at all (``IPYCRON_DIRECT=0``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipycron.process.direct.client_end import SOON, DirectConnection

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from ipycron.process.direct.client_end import (
        Answer,
        CallState,
        Ending,
        Held,
        Waiting,
    )
    from ipycron.process.wire.payload import Payload
    from ipycron.process.wire.protocol import DirectOpened


class DirectConnections:
    """The connections of all tasks; one that belongs to a replaced worker is closed.

    Args:
        get_waiters: returns a task's runs that were called for, None for a task that
            is gone.
        take_answers: receives a task's runs that have ended, in their order.
        hold: returns the holder of a result that is not decoded yet.
        loop: the client's.
        submit: calls a function on the loop, from any thread.
        tell: asks the supervisor to see to a call (task, run, what the line says), from
            any thread; returns whether it has been asked, or the loop has yet to.
    """

    def __init__(
        self,
        *,
        get_waiters: Callable[[str], Waiting | None],
        take_answers: Callable[[str, list[Answer]], None],
        hold: Callable[[Payload], Held],
        loop: asyncio.AbstractEventLoop,
        submit: Callable[[Callable[[], object]], object],
        tell: Callable[[str, str, CallState], bool],
    ) -> None:
        self._get_waiters = get_waiters
        self._take_answers = take_answers
        self._by_task: dict[str, DirectConnection] = {}
        self._is_watching = False
        self._timer: asyncio.TimerHandle | None = None
        self.hold = hold
        self.loop = loop
        self.submit = submit
        self.tell = tell

    # --- in any thread --------------------------------------------------------------

    def try_call(
        self, task_id: str, completion: Ending, waiters: Waiting, *, is_watched: bool
    ) -> bool:
        """Ask a task's worker for a run; return whether it has been asked.

        If not, nothing has happened.

        Args:
            task_id: the task.
            completion: ends with the run.
            waiters: where the run is added before it can end.
            is_watched: whether the end must be reported without delay, since somebody
                listens to it.
        """
        connection = self._by_task.get(task_id)
        return connection is not None and connection.call(
            completion, waiters, is_watched=is_watched
        )

    def find(self, task_id: str) -> DirectConnection | None:
        """Return the line to a task's worker, None where there is none."""
        return self._by_task.get(task_id)

    def watch(self) -> None:
        """Have the loop look at the lines for as long as there are calls."""
        if not self._is_watching:
            self.submit(self._look_soon)
            self._is_watching = True

    def see_to(self, task_id: str) -> bool:
        """Report the call under way to the supervisor; see `DirectConnection.tell`."""
        line = self._by_task.get(task_id)
        return line is None or line.tell()

    # --- on the loop ----------------------------------------------------------------

    def open(self, opened: DirectOpened, payload: Payload) -> None:
        """Take a line to a task's worker, in place of the one before."""
        self.close(opened.task_id)
        waiters = self._get_waiters(opened.task_id)
        if waiters is None or payload.fd is None:
            return
        self._by_task[opened.task_id] = DirectConnection(
            self,
            opened.task_id,
            fd=payload.detach(),
            name=opened.name,
            pid=opened.pid,
            waiters=waiters,
        )

    def _look_soon(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(SOON, self._look)

    def _look(self) -> None:
        # First: a look that fails must not be the last.
        timer = self._timer = self.loop.call_later(SOON, self._look)
        now = self.loop.time()
        looks = [line.look(now) for line in tuple(self._by_task.values())]
        if any(looks):
            return
        timer.cancel()
        self._timer = None
        self._is_watching = False
        if any(line.is_busy for line in tuple(self._by_task.values())):
            self.watch()  # a call came between the look and this

    def book(self, connection: DirectConnection) -> None:
        """Have the runs that have ended put into the books."""
        answers = connection.take_answers()
        if answers:
            self._take_answers(connection.task_id, answers)

    def catch_up(self, task_id: str) -> None:
        """Put into the books what the line of a task has brought so far."""
        line = self._by_task.get(task_id)
        if line is not None:
            while line.read():
                pass
            self.book(line)

    def has_answers(self, task_id: str) -> bool:
        """Return whether a task's books are behind. In any thread."""
        line = self._by_task.get(task_id)
        return line is not None and line.has_answers

    def close(self, task_id: str) -> None:
        """Give up the line of a task, if it has one. May be repeated."""
        line = self._by_task.pop(task_id, None)
        if line is not None:
            line.close()
            self.book(line)

    def close_all(self) -> None:
        """Give up all lines: their supervisor is gone."""
        for task_id in tuple(self._by_task):
            self.close(task_id)

    def close_in_child(self) -> None:
        """Let go of all in a process that the client forked."""
        for line in tuple(self._by_task.values()):
            line.close_in_child()
